/* SPDX-License-Identifier: ISC */
/*
 * Every message between two processes of the suite, declared once.
 *
 * M(number, name) lists a channel's messages in one direction; F(kind, field, limit) their fields.
 * Structs, encoder, decoder, names, trace printer, schema digest and fuzz target are expanded from
 * these lists (lib/ipc.h). Numbers are never reused: two equal ones do not compile.
 *
 * Kinds: u8 u16 u32 u64 flag (bool) | blob any bytes | text no control bytes (0x00-0x1f, 0x7f) |
 * addr a text that is empty or has no blank outside quotes and an '@' or no domain | domain letters,
 * digits, ".-_:[]" or 8-bit. The limit is in bytes. A message with (fd) carries one descriptor.
 */
#ifndef EKIDEN_IPC_SCHEMA_H
#define EKIDEN_IPC_SCHEMA_H

/* Limits that more than one message shares. */
#define IPC_ADDR_MAX 324   /* local part 64, domain 255, '@', quotes */
#define IPC_NAME_MAX 64	   /* tenant, key user name */
#define IPC_TEXT_MAX 1024  /* a reply or error text */
#define IPC_BULK_MAX 60000 /* what still fits into one frame with its neighbours */

/* Both directions of every channel: the first frame. */
#define IPC_HELLO(M) M(0x0001, hello)
#define IPC_FIELDS_hello(F) F(u64, digest, 0)

/* master -> every daemon. All that precedes the first `apply` is read before the sandbox closes. */
#define IPC_MASTER_TO_DAEMON(M)                                                                    \
	M(0x0101, setup)                                                                           \
	M(0x0102, config)   /* (fd) sealed memfd: the checked configuration, includes expanded */  \
	M(0x0103, peer)	    /* (fd) a channel to another daemon; replaces the former one */        \
	M(0x0104, listener) /* (fd) smtpd */                                                       \
	M(0x0105, log)	    /* (fd) */                                                             \
	M(0x0106, key)	    /* signd: a private key */                                             \
	M(0x0107, cert)	    /* smtpd: a certificate chain, by the number of its key */             \
	M(0x0108, ticket_key)                                                                      \
	M(0x0109, secret) /* smtp: credentials for a smarthost */                                  \
	M(0x010a, trust)  /* (fd) smtp: CA bundle */                                               \
	M(0x010b, apply)  /* all of this generation was sent: use it */                            \
	M(0x010c, admin)  /* (fd) a control connection, peer credentials checked */                \
	M(0x010d, drain)  /* take nothing new, finish, exit 0 */                                   \
	M(0x010e, peer_gone)                                                                       \
	M(0x010f, anchor) /* (fd) dnsd: DNSSEC root key file */                                    \
	M(0x0110, nameservers) /* (fd) dnsd: the host's resolv.conf, for a resolver without servers */ \
	M(0x0118, listener_state) /* smtpd: of an address, at once */ \
	M(0x0130, dkim_key)   /* signd: a private key of the set of DKIM keys under way */         \
	M(0x0131, dkim_name)  /* smtpd: a domain signs with this key */                            \
	M(0x0132, dkim_apply) /* the set is whole and replaces the former one, whatever `apply` does */ \
	M(0x0133, ticket_next) /* smtpd: from now on tickets are made with this key */            \
	M(0x0134, milter) /* (fd) smtpd: a connection that it wanted, or why there is none */
#define IPC_FIELDS_setup(F)                                                                        \
	F(u8, role, 0) F(u32, instance, 0) F(u32, instances, 0) F(u32, uid, 0) F(u32, gid, 0)      \
	F(flag, confine, 0) /* chroot and setresuid; seccomp is always on */                       \
	F(text, dir, 4096)  /* chroot, or working directory */                                     \
	F(flag, foreground, 0)
#define IPC_FIELDS_config(F) F(u32, serial, 0)
#define IPC_FIELDS_peer(F) F(u8, role, 0) F(u32, instance, 0)
#define IPC_FIELDS_peer_gone(F) F(u8, role, 0) F(u32, instance, 0)
#define IPC_FIELDS_listener(F) F(u32, listener, 0) F(text, address, 128) F(u8, state, 0)
#define IPC_FIELDS_listener_state(F) F(text, address, 128) F(u8, state, 0) /* enum listener_state */
#define IPC_FIELDS_log(F) F(u8, kind, 0) /* enum log_kind */
#define IPC_FIELDS_key(F) F(u32, key, 0) F(blob, pem, IPC_BULK_MAX)
#define IPC_FIELDS_cert(F) F(u32, key, 0) F(text, name, 255) F(blob, chain, IPC_BULK_MAX)
#define IPC_FIELDS_ticket_key(F) F(u32, listener, 0) F(blob, key, 80)
#define IPC_FIELDS_secret(F) F(text, name, 255) F(text, user, 255) F(blob, secret, 1024)
#define IPC_FIELDS_trust(F) F(u32, serial, 0)
#define IPC_FIELDS_anchor(F) F(u32, serial, 0)
#define IPC_FIELDS_nameservers(F) F(u32, serial, 0)
#define IPC_FIELDS_dkim_key(F)                                                                     \
	F(u64, pin, 0) /* tls_key_pin() of its public half */                                      \
	F(u8, algorithm, 0) /* enum dkim_algorithm */ F(blob, pem, 16384)
#define IPC_FIELDS_dkim_name(F)                                                                    \
	F(domain, domain, 255) F(domain, selector, 240) F(u8, algorithm, 0) F(u64, pin, 0)
#define IPC_FIELDS_dkim_apply(F) F(u32, count, 0)
#define IPC_FIELDS_ticket_next(F) F(u32, listener, 0) F(blob, key, 80)
#define IPC_FIELDS_milter(F) F(u64, req, 0) F(text, why, 255)
#define IPC_FIELDS_apply(F) F(u32, serial, 0)
#define IPC_FIELDS_admin(F) F(u32, uid, 0) F(u32, pid, 0)
#define IPC_FIELDS_drain(F) F(u32, deadline_s, 0)

#define IPC_DAEMON_TO_MASTER(M)                                                                    \
	M(0x0201, ready)   /* serves with configuration `serial` */                                \
	M(0x0202, refused) /* configuration `serial` cannot be applied; the old one stays */       \
	M(0x0203, milter_want) /* smtpd: a connection to the milter of that name */
#define IPC_FIELDS_milter_want(F) F(u64, req, 0) F(text, name, 64)
#define IPC_FIELDS_ready(F) F(u32, serial, 0)
#define IPC_FIELDS_refused(F) F(u32, serial, 0) F(text, why, IPC_TEXT_MAX)

#define IPC_SMTPD_TO_AUTHD(M)                                                                      \
	M(0x0301, auth)		/* is this user and secret good? */                                \
	M(0x0302, mail_check)	/* may this identity use this envelope sender? Reserves a message */ \
	M(0x0303, connect)	/* a client is here; req 0: it was let in before, no answer */     \
	M(0x0304, disconnect)	/* it is gone or was refused: once for each `connect` */           \
	M(0x0305, scram_start)                                                                     \
	M(0x0306, scram_finish) /* answered by auth_result */                                      \
	M(0x0307, rcpt_check)	/* of one pipelined group; no tenant: a stranger's */             \
	M(0x0308, txn_end)	/* what became of a reservation */                                 \
	M(0x0309, from_check)	/* are these domains of the header From the tenant's? */
#define IPC_FIELDS_auth(F)                                                                         \
	F(u64, req, 0) F(text, client, 64) F(text, method, 16) F(blob, user, 1024)                 \
	F(blob, secret, 12288)
#define IPC_FIELDS_mail_check(F)                                                                   \
	F(u64, req, 0) F(text, client, 64) F(text, tenant, IPC_NAME_MAX)                           \
	F(text, user, IPC_NAME_MAX) /* empty: identified by network */                             \
	F(addr, sender, IPC_ADDR_MAX) F(u64, size, 0)
#define IPC_FIELDS_connect(F) F(u64, req, 0) F(text, client, 64) F(text, listener, 128)
#define IPC_FIELDS_disconnect(F) F(text, client, 64)
#define IPC_FIELDS_scram_start(F) F(u64, req, 0) F(text, client, 64) F(blob, user, 1024)
#define IPC_FIELDS_scram_finish(F)                                                                 \
	F(u64, req, 0) F(text, client, 64) F(blob, user, 1024)                                     \
	F(blob, message, 4096) /* AuthMessage of RFC 5802, 3 */ F(blob, proof, 32)
#define IPC_FIELDS_rcpt_check(F)                                                                   \
	F(u64, req, 0) F(text, tenant, IPC_NAME_MAX) F(text, user, IPC_NAME_MAX)                   \
	F(u32, count, 0) F(blob, rcpts, IPC_BULK_MAX) /* rcpt_name records */
#define IPC_FIELDS_txn_end(F)                                                                      \
	F(text, tenant, IPC_NAME_MAX) F(text, user, IPC_NAME_MAX)                                  \
	F(u64, reserved_s, 0) /* of mail_result */                                                 \
	F(flag, stored, 0) F(u32, rcpts, 0) /* of the message, or of all leased ones */            \
	F(u32, reserved, 0)   /* of them by rcpt_check */                                          \
	F(u32, leased, 0)     /* messages stored on a lease, for which nothing was reserved */
#define IPC_FIELDS_from_check(F)                                                                   \
	F(u64, req, 0) F(text, tenant, IPC_NAME_MAX) F(blob, domains, IPC_BULK_MAX) /* from_domain */

#define IPC_AUTHD_TO_SMTPD(M)                                                                      \
	M(0x0401, auth_result)                                                                     \
	M(0x0402, mail_result)                                                                     \
	M(0x0403, connect_result) /* 220 or 421 */                                                 \
	M(0x0404, scram_salt)	  /* of an unknown user too: a stable one */                       \
	M(0x0405, rcpt_result)                                                                     \
	M(0x0406, from_result)                                                                     \
	M(0x0407, lease_end) /* of all that were given: something changed */
#define IPC_FIELDS_lease_end(F) F(u64, changes, 0) /* of the store, so far */
#define IPC_FIELDS_auth_result(F)                                                                  \
	F(u64, req, 0) F(u16, code, 0) /* 235, 535, 454 */ F(u32, esc, 0) F(text, text, 255)       \
	F(text, tenant, IPC_NAME_MAX) F(text, user, IPC_NAME_MAX) F(text, why, 255) /* log only */ \
	F(blob, server_signature, 32) /* of scram_finish */                                        \
	F(flag, may_future, 0) F(flag, may_priority, 0) /* rights of the key */
#define IPC_FIELDS_mail_result(F)                                                                  \
	F(u64, req, 0) F(u16, code, 0) F(u32, esc, 0) F(text, text, 255) F(text, why, 255)         \
	F(u8, rewrite, 0)	    /* enum sender_rewrite */                                      \
	F(addr, sender, IPC_ADDR_MAX) /* replaces the envelope sender */                           \
	F(u32, key_serial, 0) F(flag, header_from_tenant, 0) /* ask from_check */                  \
	F(flag, hold, 0)	    /* over quota: queued, not delivered */                        \
	F(flag, check_rcpts, 0)	    /* recipients need rcpt_check */                               \
	F(u8, priority, 0) F(u64, reserved_s, 0) /* 0: nothing was reserved, no txn_end */         \
	F(flag, may_future, 0) F(flag, may_priority, 0) /* rights of the key */                    \
	F(text, retry, 64) /* name of its retry schedule, or empty */                              \
	F(u32, lease, 0)   /* so many further messages of this session and sender need not be asked \
			      about, for LEASE_MS: the answer would be this one */
#define IPC_FIELDS_connect_result(F)                                                               \
	F(u64, req, 0) F(u16, code, 0) F(u32, esc, 0) F(text, text, 255)                           \
	F(u32, surplus, 0) /* clients of this process beyond those of the one that has fewest */
#define IPC_FIELDS_scram_salt(F) F(u64, req, 0) F(blob, salt, 64) F(u32, iterations, 0)
#define IPC_FIELDS_rcpt_result(F)                                                                  \
	F(u64, req, 0) F(flag, hold, 0) /* as in mail_result */                                    \
	F(blob, results, IPC_BULK_MAX)	/* rcpt_verdict records */
#define IPC_FIELDS_from_result(F)                                                                  \
	F(u64, req, 0) F(flag, ok, 0) F(flag, failed, 0) /* nobody can say now */                  \
	F(text, domain, 255) /* the first that is not */

#define IPC_AUTHD_TO_QMGR(M)                                                                       \
	M(0x1101, token_key)	 /* of return addresses; a known id: the same key, perhaps not current */ \
	M(0x1102, tenant_factor) /* how much of its normal pace a tenant may use */                \
	M(0x1103, key_hold)	 /* of all queued mail of one key */
#define IPC_FIELDS_token_key(F) F(u8, id, 0) F(blob, key, 64) F(flag, current, 0)
#define IPC_FIELDS_tenant_factor(F) F(text, tenant, IPC_NAME_MAX) F(u32, factor, 0) /* percent */ \
	F(u32, weight, 0) /* of its turns, 1-100; 0: 1 */
#define IPC_FIELDS_key_hold(F)                                                                     \
	F(text, tenant, IPC_NAME_MAX) F(text, user, IPC_NAME_MAX) F(u8, act, 0) /* enum key_hold_act */

#define IPC_QMGR_TO_AUTHD(M) M(0x1201, outcomes) /* since the last frame; at most one a second */
#define IPC_FIELDS_outcomes(F) F(flag, more, 0) F(blob, outcomes, IPC_BULK_MAX) /* outcome records */

/* Processes that append to the spool (smtpd, bounce) -> qmgr. */
#define IPC_WRITER_TO_QMGR(M)                                                                      \
	M(0x0501, segment_want)	   /* up to `count` segments, now or when there is space */        \
	M(0x0502, segment_release) /* this writer will not write to it again */                    \
	M(0x0503, stored)	   /* a synced record; head: record header + envelope, or empty */ \
	M(0x0504, big_want)	   /* a file for a message over the inline limit */                \
	M(0x0505, big_drop)
#define IPC_FIELDS_segment_want(F) F(u32, count, 0)
#define IPC_FIELDS_segment_release(F) F(u64, gen, 0) F(u64, end, 0) F(flag, failed, 0)
#define IPC_FIELDS_stored(F)                                                                       \
	F(u64, gen, 0) F(u64, offset, 0) F(u64, end, 0) F(blob, head, IPC_BULK_MAX)
#define IPC_FIELDS_big_want(F) F(u64, req, 0)
#define IPC_FIELDS_big_drop(F) F(u64, big, 0)

#define IPC_QMGR_TO_WRITER(M)                                                                      \
	M(0x0601, segment) /* (fd) write-only, locked for this writer */                           \
	M(0x0602, no_space)                                                                        \
	M(0x0603, big) /* (fd) unless big == 0: no space */
#define IPC_FIELDS_segment(F) F(u64, gen, 0) F(u64, start, 0) F(u64, size, 0)
#define IPC_FIELDS_no_space(F) F(u32, count, 0)
#define IPC_FIELDS_big(F) F(u64, req, 0) F(u64, big, 0)

#define IPC_QMGR_TO_SMTP(M)                                                                        \
	M(0x0701, conn_open)                                                                       \
	M(0x0702, content)	/* (fd) read-only: a segment or a big file, by number */           \
	M(0x0703, content_drop) /* not needed any more */                                          \
	M(0x0704, deliver)                                                                         \
	M(0x0705, conn_close) /* when the jobs it has are done */                                  \
	M(0x0706, job_recall) /* is too old: back as far as nobody can have it already */
#define IPC_FIELDS_conn_open(F)                                                                    \
	F(u64, conn, 0) F(text, nexthop, 255) F(flag, mx, 0) F(u16, port, 0)                       \
	F(u8, tls, 0) /* enum tls_policy */                                                        \
	F(text, source, 64) F(text, source6, 64) /* addresses to send from, empty: any; only one \
						   given: that family alone */                 \
	F(text, helo, 255) F(text, auth, 255) /* name of the secret, empty: none */                \
	F(u32, idle_s, 0) F(text, group, 64)  /* whose throttle patterns apply, beside the general */ \
	/* mx: what DNS said, as in mx_answer with DNS_OK; empty: look it up */                    \
	F(flag, secure, 0) F(flag, implicit, 0) F(blob, hosts, 50000) /* mx_host records */
#define IPC_FIELDS_content(F) F(u64, content, 0)
#define IPC_FIELDS_content_drop(F) F(u64, content, 0)
#define IPC_FIELDS_conn_close(F) F(u64, conn, 0)
#define IPC_FIELDS_job_recall(F) F(u64, conn, 0) F(u64, job, 0)
#define IPC_FIELDS_deliver(F)                                                                      \
	F(u64, conn, 0) F(u64, job, 0) F(u64, qid, 0)                                              \
	F(u64, content, 0)     /* what to read */                                                  \
	F(u64, offset, 0)      /* of the headers to put in front */                                \
	F(u32, front_len, 0)   /* their length; the content follows them */                        \
	F(u64, big, 0)	       /* content number of the big file, 0: inline */                     \
	F(u64, content_len, 0) F(u32, crc, 0) /* CRC32C of front and content */                    \
	F(u32, flags, 0)       /* SEGMENT_* */                                                     \
	F(u64, arrival_us, 0) F(u64, received_us, 0) F(u64, active_us, 0) /* wall clock */         \
	F(addr, sender, IPC_ADDR_MAX) F(text, tenant, IPC_NAME_MAX) F(text, user, IPC_NAME_MAX)    \
	F(text, lane, 300) F(u32, attempt, 0) F(text, envid, 100) F(u8, ret, 0)                    \
	F(addr, sender_original, IPC_ADDR_MAX) F(text, tag, 255) F(text, batch, 255)               \
	F(text, label, 255) F(flag, copy, 0) /* for bcc-forward: no events */                      \
	F(u8, mt_priority, 0) /* RFC 6710: value + 10; 0: none was given */                        \
	F(text, source_name, 64) F(text, site, 300) /* for events */                               \
	F(blob, rcpts, 50000) /* job_rcpt records */

#define IPC_SMTP_TO_QMGR(M)                                                                        \
	M(0x0801, conn_ready)  /* greeted, secured, authenticated: jobs can flow */                \
	M(0x0802, conn_closed) /* with the jobs that were not finished: none of them was tried */  \
	M(0x0803, job_done)
#define IPC_FIELDS_conn_ready(F) F(u64, conn, 0) F(text, relay, 330) F(u32, max_rcpts, 0)          \
	F(u32, max_mails, 0)
#define IPC_FIELDS_conn_closed(F)                                                                  \
	F(u64, conn, 0) F(u8, why, 0) /* enum conn_why */ F(u16, code, 0) F(u32, esc, 0)           \
	F(text, text, IPC_TEXT_MAX) F(text, relay, 330) F(u8, stage, 0) /* enum smtp_stage */      \
	/* What no job_done has told already: */                                                   \
	F(u8, event, 0) /* enum conn_event */                                                      \
	F(text, throttle, 64) /* name of the throttle block that the reply matched, or empty */
#define IPC_FIELDS_job_done(F)                                                                     \
	F(u64, conn, 0) F(u64, job, 0) F(text, relay, 330)                                         \
	F(u8, event, 0) /* enum conn_event: what ended the connection under the job */             \
	F(flag, more, 0) /* further job_done frames follow for this job */                         \
	F(blob, results, IPC_BULK_MAX) /* job_result records */

#define IPC_TO_DNSD(M) M(0x0901, mx_query) M(0x0902, ptr_query) M(0x0903, txt_query)
#define IPC_FIELDS_mx_query(F)                                                                     \
	F(u64, req, 0) F(domain, name, 255) F(flag, mx, 0) /* false: addresses of the name only */
#define IPC_FIELDS_ptr_query(F) F(u64, req, 0) F(blob, ip, 16) /* 4 or 16 bytes */
#define IPC_FIELDS_txt_query(F) F(u64, req, 0) F(domain, name, 255)

#define IPC_FROM_DNSD(M) M(0x0a01, mx_answer) M(0x0a02, ptr_answer) M(0x0a03, txt_answer)
#define IPC_FIELDS_mx_answer(F)                                                                    \
	F(u64, req, 0) F(u8, status, 0) /* enum dns_status */ F(flag, secure, 0) F(u32, ttl_s, 0)  \
	F(flag, implicit, 0) /* no MX record: the name itself stands in (RFC 5321, 5.1) */         \
	F(text, text, IPC_TEXT_MAX) F(blob, hosts, IPC_BULK_MAX) /* mx_host records */
#define IPC_FIELDS_ptr_answer(F)                                                                   \
	F(u64, req, 0) F(u8, status, 0) F(domain, name, 255) /* forward-confirmed, or empty */
#define IPC_FIELDS_txt_answer(F)                                                                   \
	F(u64, req, 0) F(u8, status, 0) F(flag, secure, 0) F(u32, ttl_s, 0)                        \
	F(text, text, IPC_TEXT_MAX) F(blob, strings, IPC_BULK_MAX) /* txt_string records */

#define IPC_TO_SIGND(M) M(0x0b01, sign)
#define IPC_FIELDS_sign(F)                                                                         \
	F(u64, req, 0) F(u32, key, 0) F(u8, scheme, 0) F(blob, in, 1024)                           \
	F(u64, pin, 0) /* tls_key_pin(); 0: whatever key has the number */
#define IPC_FROM_SIGND(M) M(0x0c01, signature)
#define IPC_FIELDS_signature(F) F(u64, req, 0) F(flag, ok, 0) F(blob, signature, 1024)

#define IPC_QMGR_TO_BOUNCE(M)                                                                      \
	M(0x0d01, report) /* (fd) content: the segment or the big file of the message */           \
	M(0x0d02, returned) /* a message to a return address of ours */
#define IPC_FIELDS_report(F)                                                                       \
	F(u64, req, 0) F(u64, qid, 0) F(u8, kind, 0) /* enum report_kind */                        \
	F(addr, sender, IPC_ADDR_MAX) F(text, tenant, IPC_NAME_MAX) F(text, user, IPC_NAME_MAX)    \
	F(u64, arrival_us, 0) F(u64, expires_us, 0) F(text, envid, 100) F(u8, ret, 0)              \
	F(u64, offset, 0) F(u64, content_len, 0) F(u32, flags, 0)                                  \
	F(blob, rcpts, 50000) /* report_rcpt records */

#define IPC_FIELDS_returned(F)                                                                     \
	F(u64, req, 0) F(u64, qid, 0) F(addr, sender, IPC_ADDR_MAX) F(addr, rcpt, IPC_ADDR_MAX)

#define IPC_BOUNCE_TO_QMGR(M) M(0x0e01, report_done) M(0x0e02, returned_done)
#define IPC_FIELDS_returned_done(F) F(u64, req, 0)
#define IPC_FIELDS_report_done(F)                                                                  \
	F(u64, req, 0) F(flag, ok, 0) F(u64, new_qid, 0) /* 0: none was due */ F(text, text, 255)

/* mtactl -> master, then mtactl <-> the daemon that master handed the connection to. */
#define IPC_CTL_CALLS(M) M(0x0f01, ctl_open) M(0x0f02, ctl_call) M(0x0f03, ctl_args)
#define IPC_FIELDS_ctl_open(F) F(u8, role, 0) F(u32, instance, 0) /* of the role */
#define IPC_FIELDS_ctl_call(F) F(text, command, 64) F(flag, more, 0) F(blob, args, IPC_BULK_MAX)
#define IPC_FIELDS_ctl_args(F) F(flag, more, 0) F(blob, args, IPC_BULK_MAX)
#define IPC_CTL_REPLIES(M) M(0x1001, ctl_row) M(0x1002, ctl_end)
#define IPC_FIELDS_ctl_row(F) F(blob, fields, IPC_BULK_MAX) /* ctl_field records */
#define IPC_FIELDS_ctl_end(F) F(u8, status, 0) /* exit code */ F(text, text, IPC_TEXT_MAX)

/* Records: parts of a message, repeated inside one of its blobs. */
#define IPC_RECORDS(M)                                                                             \
	M(0, job_rcpt) M(0, job_result) M(0, mx_host) M(0, txt_string) M(0, report_rcpt)           \
	M(0, ctl_arg) M(0, ctl_field) M(0, rcpt_name) M(0, rcpt_verdict) M(0, from_domain)         \
	M(0, outcome)
#define IPC_FIELDS_job_rcpt(F)                                                                     \
	F(u32, index, 0) F(addr, rcpt, IPC_ADDR_MAX) F(text, orcpt, 500) F(u8, notify, 0)
#define IPC_FIELDS_job_result(F)                                                                   \
	F(u32, index, 0) F(u8, status, 0) /* enum rcpt_status */ F(u8, stage, 0)                   \
	F(u16, code, 0) F(u32, esc, 0) F(text, text, IPC_TEXT_MAX)                                 \
	F(flag, remote, 0) /* the text is what the remote host said */                             \
	F(text, throttle, 64) /* as in conn_closed; at the first recipient that the reply decided */
#define IPC_FIELDS_mx_host(F)                                                                      \
	F(u16, pref, 0) F(domain, name, 255) F(u8, status, 0) F(flag, secure, 0)                   \
	F(blob, v4, 4 * 64) F(blob, v6, 16 * 64) /* addresses, concatenated */
#define IPC_FIELDS_txt_string(F) F(blob, text, 4096)
#define IPC_FIELDS_report_rcpt(F)                                                                  \
	F(u32, index, 0) F(addr, rcpt, IPC_ADDR_MAX) F(text, orcpt, 500) F(u16, code, 0)           \
	F(u32, esc, 0) F(text, text, IPC_TEXT_MAX) F(flag, remote, 0) F(text, relay, 330)          \
	F(u64, last_attempt_us, 0)
#define IPC_FIELDS_ctl_arg(F) F(text, name, 64) F(blob, value, 16384)
#define IPC_FIELDS_ctl_field(F) F(text, name, 64) F(u8, type, 0) /* enum ctl_type */               \
	F(blob, value, 32768)

#define IPC_FIELDS_rcpt_name(F) F(addr, addr, IPC_ADDR_MAX)
#define IPC_FIELDS_rcpt_verdict(F) F(u16, code, 0) F(u32, esc, 0) F(text, text, 255)
#define IPC_FIELDS_from_domain(F) F(text, domain, 255)
#define IPC_FIELDS_outcome(F)                                                                      \
	F(text, tenant, IPC_NAME_MAX) F(text, user, IPC_NAME_MAX) F(u32, sent, 0)                  \
	F(u32, failed, 0) F(u32, deferred, 0) /* recipients */

#define IPC_MESSAGES(M)                                                                            \
	IPC_HELLO(M)                                                                               \
	IPC_MASTER_TO_DAEMON(M)                                                                    \
	IPC_DAEMON_TO_MASTER(M)                                                                    \
	IPC_SMTPD_TO_AUTHD(M)                                                                      \
	IPC_AUTHD_TO_SMTPD(M)                                                                      \
	IPC_WRITER_TO_QMGR(M)                                                                      \
	IPC_QMGR_TO_WRITER(M)                                                                      \
	IPC_QMGR_TO_SMTP(M)                                                                        \
	IPC_SMTP_TO_QMGR(M)                                                                        \
	IPC_TO_DNSD(M)                                                                             \
	IPC_FROM_DNSD(M)                                                                           \
	IPC_TO_SIGND(M)                                                                            \
	IPC_FROM_SIGND(M)                                                                          \
	IPC_QMGR_TO_BOUNCE(M)                                                                      \
	IPC_BOUNCE_TO_QMGR(M)                                                                      \
	IPC_CTL_CALLS(M)                                                                           \
	IPC_CTL_REPLIES(M)                                                                         \
	IPC_AUTHD_TO_QMGR(M)                                                                       \
	IPC_QMGR_TO_AUTHD(M)

/* Values on the wire; numbers are never reused. */
enum role {
	ROLE_MASTER = 0,
	ROLE_SMTPD = 1,
	ROLE_AUTHD = 2,
	ROLE_SIGND = 3,
	ROLE_QMGR = 4,
	ROLE_SMTP = 5,
	ROLE_BOUNCE = 6,
	ROLE_DNSD = 7,
	ROLE_MTACTL = 8,
	ROLES
};

enum log_kind { LOG_KIND_FILE = 0, LOG_KIND_SYSLOG = 1, LOG_KIND_EVENTS = 2 };
/* The first two are for TLS keys, by number or pin; the others for DKIM keys, by pin, on a SHA-256. */
enum sign_scheme { SIGN_RSA_RAW = 1, SIGN_ECDSA = 2, SIGN_DKIM_RSA = 3, SIGN_DKIM_ED25519 = 4 };
enum tls_policy { TLS_POLICY_NONE = 0, TLS_POLICY_MAY = 1, TLS_POLICY_ENCRYPT = 2, TLS_POLICY_VERIFY = 3 };
enum rcpt_status {
	RCPT_SENT = 1,
	RCPT_DEFERRED = 2,
	RCPT_BOUNCED = 3,
	RCPT_AGAIN = 4,	 /* not tried (a pooled connection died): costs no attempt */
	RCPT_DAMAGED = 5 /* the content failed its checksum: hold the message */
};
enum conn_why {
	CONN_IDLE = 0,	 /* closed by us or by the peer between messages */
	CONN_FAILED = 1, /* could not be set up: the lane's next hop is in trouble (temporary) */
	CONN_REFUSED = 2, /* can never work: null MX, no such domain, loop (permanent) */
	CONN_SOURCE = 3	 /* the source address cannot be used on this host: nothing was tried */
};
/* What happened to a TCP connection, beside what a server said. */
enum conn_event { CONN_EVENT_NONE = 0, CONN_EVENT_RESET = 1, CONN_EVENT_REFUSED = 2, CONN_EVENT_TIMEOUT = 3 };
enum smtp_stage {
	STAGE_NONE, STAGE_DNS, STAGE_CONNECT, STAGE_GREETING, STAGE_EHLO, STAGE_TLS, STAGE_AUTH,
	STAGE_MAIL, STAGE_RCPT, STAGE_DATA, STAGE_EOD, STAGE_RSET
};
enum dns_status {
	DNS_OK = 0,
	DNS_NXDOMAIN = 1, /* no such name: 5.1.2 */
	DNS_NODATA = 2,	  /* the name has no MX and no address: 5.1.2 / 5.4.4 */
	DNS_NULLMX = 3,	  /* RFC 7505: 5.1.10 */
	DNS_TEMP = 4,	  /* SERVFAIL, timeout: 4.4.3 */
	DNS_BOGUS = 5	  /* DNSSEC validation failed: treated as temporary */
};
enum sender_rewrite {
	SENDER_KEEP = 0,
	SENDER_REPLACE = 1, /* by mail_result.sender */
	SENDER_TOKEN = 2    /* by an address made for each recipient at delivery; sender: @domain */
};
enum { LEASE_MS = 500 };
enum key_hold_act { KEY_RELEASE = 0, KEY_HOLD = 1, KEY_PURGE = 2 };
enum listener_state { LISTENER_OPEN = 0, LISTENER_PAUSED = 1, LISTENER_DRAINED = 2, LISTENER_STATES };
enum report_kind { REPORT_FAILED = 1, REPORT_EXPIRED = 2, REPORT_DELAYED = 3 };
enum ctl_type { CTL_TEXT = 0, CTL_NUMBER = 1, CTL_TIME = 2, CTL_BOOL = 3, CTL_LIST = 4 };
/* DSN parameters (RFC 3461). */
enum { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };
enum { RET_NONE = 0, RET_HDRS = 1, RET_FULL = 2 };

#endif
