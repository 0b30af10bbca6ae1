/* SPDX-License-Identifier: ISC */
/*
 * The configuration language, declared once: structs, parser, checks, defaults, `mtactl config show`,
 * the sample file and the manual page are expanded from these lists (lib/conf.h).
 *
 * D(kind, field, "directive", "default", min, max, "documentation").
 * Kinds: flag yes|no | number | size bytes, suffix K M G | duration seconds, suffix s m h d | text |
 * path (relative ones are below the folder of the main file) | list of words | hostport "host:port",
 * "[v6]:port" | hostports a list of them | relay "domain[:port]" (MX look-up), "[host][:port]" (none)
 * | cidrs | auth | choice_<name> one of CONF_CHOICE_<name> | rate "10/60s" or none | spans of the day
 * "22:00-07:00 …" | members "NAME [weight N] …", may be repeated | zone local or "+09:00" | opt_number,
 * opt_duration: 0 when left out, which min need not allow.
 * min and max: of the number, or the length of a text or list. An empty default means "not set".
 */
#ifndef EKIDEN_CONF_SCHEMA_H
#define EKIDEN_CONF_SCHEMA_H

#define CONF_CHOICE_tls(X) X(none, "none") X(starttls, "starttls") X(implicit, "implicit")
#define CONF_CHOICE_policy(X)                                                                      \
	X(none, "none") X(may, "may") X(encrypt, "encrypt") X(verify, "verify")
#define CONF_CHOICE_received(X)                                                                    \
	X(abbreviated, "abbreviated") X(full, "full") X(none, "none") X(strip, "strip")
#define CONF_CHOICE_method(X)                                                                      \
	X(exponential, "exponential") X(linear, "linear") X(steps, "steps")
#define CONF_CHOICE_level(X)                                                                       \
	X(debug, "debug") X(info, "info") X(warning, "warning") X(error, "error")
#define CONF_CHOICE_version(X) X(1_2, "1.2") X(1_3, "1.3")
#define CONF_CHOICE_canon(X) X(simple, "simple") X(relaxed, "relaxed")
#define CONF_CHOICE_unsigned(X) X(send, "send") X(defer, "defer") X(refuse, "refuse")
#define CONF_CHOICE_failure(X) X(tempfail, "tempfail") X(accept, "accept") X(reject, "reject")
#define CONF_CHOICE_header_from(X) X(any, "any") X(tenant, "tenant")
#define CONF_CHOICE_duplicates(X) X(refuse, "refuse") X(log, "log") X(accept, "accept")
#define CONF_CHOICE_reset(X) X(default, "default") X(slow, "slow") X(pause, "pause") X(ignore, "ignore")
#define CONF_CHOICE_hop_tls(X)                                                                     \
	X(default, "default") X(none, "none") X(may, "may") X(encrypt, "encrypt") X(verify, "verify")
#define CONF_CHOICE_opt_flag(X) X(default, "default") X(no, "no") X(yes, "yes")
#define CONF_CHOICE_action(X) X(slow, "slow") X(pause, "pause") X(one, "one") X(suspend, "suspend") X(none, "none")
#define CONF_CHOICES(C)                                                                            \
	C(tls) C(policy) C(received) C(method) C(level) C(version) C(canon) C(unsigned) \
	C(header_from) C(duplicates) C(failure) C(reset) C(hop_tls) C(opt_flag) C(action)

#define CONF_main(D)                                                                               \
	D(text, hostname, "hostname", "", 0, 253,                                                  \
	    "Name of this host in greetings, EHLO, Received and reports. Default: the system's.")  \
	D(text, postmaster, "postmaster", "", 0, 320,                                              \
	    "Address shown in reports. Default: postmaster@ the host name.")                       \
	D(list, published_addresses, "published-addresses", "", 0, 64,                             \
	    "Addresses that mail leaves from as the world sees them, for the records that mtactl " \
	    "prints. Default: those of this host.")                                                \
	D(text, spf_name, "spf-name", "", 0, 253,                                                  \
	    "Name of the record that customers' SPF records include. Default: _spf. the host name.") \
	D(path, state_dir, "state-dir", "/var/lib/ekiden", 1, 1024,                                \
	    "Databases: one folder per daemon that owns one.")                                     \
	D(path, spool_dir, "spool-dir", "/var/spool/ekiden", 1, 1024,                              \
	    "The queue: segments and their index. On a journaled local file system.")              \
	D(path, run_dir, "run-dir", "/run/ekiden", 1, 90,                                          \
	    "Control socket, process id file, and the empty folder that daemons are chrooted to.") \
	D(number, uid_base, "uid-base", "0", 0, 2000000000,                                        \
	    "When started as root: daemons run as uid and gid uid-base + 1 … + 7. 0: the accounts " \
	    "ekiden-smtpd, ekiden-authd, … must exist.")                                           \
	D(number, smtpd_processes, "smtpd-processes", "0", 0, 256,                                 \
	    "SMTP server processes; 0: one per core.")                                             \
	D(number, smtp_processes, "smtp-processes", "0", 0, 256,                                   \
	    "SMTP client processes; 0: one per core.")                                             \
	D(duration, audit_keep, "audit-keep", "365d", 3600, 1576800000,                            \
	    "Entries of the audit trail older than this are removed.")                             \
	D(number, signd_processes, "signd-processes", "1", 1, 64,                                  \
	    "Processes that hold the private keys and sign.")                                      \
	D(duration, ticket_rotation, "ticket-rotation", "2h", 1, 604800,                           \
	    "TLS session tickets are made with a new key this often; the key before it still opens " \
	    "them.")                                                                               \
	D(choice_received, received, "received", "abbreviated", 0, 0,                              \
	    "Received field on accepted mail: abbreviated hides the client's address.")            \
	D(relay, relayhost, "relayhost", "", 0, 300,                                               \
	    "Send all mail that no transport entry routes to this host. [host] means no MX look-up.") \
	D(text, relay_user, "relay-user", "", 0, 255, "User name for AUTH to relayhost.")          \
	D(path, relay_secret, "relay-secret", "", 0, 1024,                                         \
	    "File with the secret for relay-user; readable by root only.")                         \
	D(text, transport, "transport", "", 0, 1024,                                               \
	    "Routes by recipient domain: btree:FILE (made by `mtactl map build`) or text:FILE.")   \
	D(list, local_domains, "local-domains", "", 0, 4096,                                       \
	    "Names that this host also goes by: an MX record that points to them is a loop.")       \
	D(choice_header_from, header_from, "header-from", "any", 0, 0,                             \
	    "Domains in the header field From: any, or only those of the tenant. A tenant may have " \
	    "a setting of its own.")                                                               \
	D(choice_duplicates, duplicate_fields, "duplicate-fields", "log", 0, 0,                    \
	    "A header field twice that may be there once (RFC 5322, 3.6). More than one From is "  \
	    "always refused.")                                                                     \
	D(text, tag_header, "tag-header", "", 0, 64,                                               \
	    "Name of a header field that is taken out of submitted mail and kept as its tag.")     \
	D(text, batch_header, "batch-header", "", 0, 64, "The same for the id of a batch.")        \
	D(text, label_header, "label-header", "", 0, 64, "The same for a label.")                  \
	D(relay, bcc_forward, "bcc-forward", "", 0, 300,                                           \
	    "A copy of every accepted message goes to this host, as with relayhost; what becomes " \
	    "of it does not concern the original. Not together with relayhost.")                   \
	D(text, simulator_domain, "simulator-domain", "", 0, 253,                                  \
	    "Mail for success@, hard@, soft@, complaint@ and suppressed@ of this domain ends as "  \
	    "these say, without leaving this host.")                                               \
	D(list, legacy_local_part_domains, "legacy-local-part-domains", "", 0, 256,                \
	    "Domains with addresses whose dots are misplaced (a..b@, .a@, a.@): taken, and sent "  \
	    "with the local part in quotes.")

#define CONF_listen(D)                                                                             \
	D(hostports, address, "address", "", 1, 64, "Addresses and ports to listen on.")           \
	D(choice_tls, tls, "tls", "starttls", 0, 0,                                                \
	    "starttls: nothing but EHLO, STARTTLS, NOOP, QUIT before it unless auth is optional. " \
	    "none: only on loopback or for trusted networks.")                                     \
	D(auth, auth, "auth", "required", 0, 0,                                                    \
	    "required | optional | networks CIDR… tenant NAME [and key].")                         \
	D(list, certificate, "certificate", "default", 1, 64,                                      \
	    "Names of certificate blocks. The client is shown the one for the name it asks for "   \
	    "(SNI), RSA or ECDSA as it can; else the first.")                                      \
	D(choice_version, tls_version, "tls-version", "1.2", 0, 0, "Least TLS version.")           \
	D(flag, legacy_tls, "legacy-tls", "no", 0, 0, "Also TLS 1.0 and 1.1.")                     \
	D(text, ciphers, "ciphers", "", 0, 1024,                                                   \
	    "TLS 1.2 cipher list in OpenSSL's form; key exchange by RSA is never used. Default: "  \
	    "ECDHE with AES-GCM or ChaCha20.")                                                     \
	D(text, ciphersuites, "ciphersuites", "", 0, 1024,                                         \
	    "TLS 1.3 cipher suites, separated by colons. Default: those of OpenSSL.")              \
	D(list, alpn, "alpn", "smtp", 0, 16,                                                       \
	    "Application protocols (ALPN): a client that offers only others is refused. \"\" takes any.") \
	D(flag, reverse_lookup, "reverse-lookup", "yes", 0, 0,                                     \
	    "Look up the client's name (forward-confirmed) for the log.")                          \
	D(list, milters, "milters", "", 0, 16,                                                     \
	    "Names of milter blocks: what comes in here is shown to them, in this order.")

#define CONF_certificate(D)                                                                        \
	D(path, chain, "chain", "", 1, 1024, "PEM file: the certificate, then its issuers.")       \
	D(path, key, "key", "", 1, 1024, "PEM file: the private key; not readable by others.")

#define CONF_limits(D)                                                                             \
	D(size, message_size, "message-size", "10M", 1024, 1073741824,                             \
	    "Largest message, headers and encoding included.")                                     \
	D(size, inline_size, "inline-size", "1M", 4096, 4194304,                                  \
	    "Larger messages are spooled in a file of their own; at most half of the smallest segment.")                                 \
	D(number, line_length, "line-length", "1000", 80, 65536,                                   \
	    "Longest text line in a message, with its CRLF.")                                      \
	D(number, messages_per_connection, "messages-per-connection", "100", 1, 1000000,           \
	    "Then 421.")                                                                           \
	D(number, recipients_per_message, "recipients-per-message", "1000", 100, 100000,           \
	    "Then 452.")                                                                           \
	D(number, sessions, "sessions", "10000", 1, 1000000, "Per smtpd process; then 421.")       \
	D(number, errors, "errors", "20", 1, 10000, "Refused commands in a session; then 421.")    \
	D(number, idle_commands, "idle-commands", "1000", 10, 1000000,                             \
	    "NOOP, RSET, VRFY, HELP, EHLO in a session; then 421.")                                \
	D(number, hops, "hops", "100", 1, 1000, "Received fields; then 554 5.4.6.")                \
	D(size, header_size, "header-size", "1M", 4096, 16777216, "The whole header; then 552.")   \
	D(duration, command_timeout, "command-timeout", "5m", 1, 3600,                             \
	    "From one command to the end of the next.")                                            \
	D(duration, data_timeout, "data-timeout", "10m", 1, 86400,                                 \
	    "For the whole content of a message of up to 1 MiB; larger ones get more in proportion.") \
	D(duration, tls_timeout, "tls-timeout", "30s", 1, 600, "For the whole handshake.")         \
	D(duration, auth_delay, "auth-delay", "1s", 0, 60, "Before a failed AUTH is answered.")    \
	D(number, connections_per_client, "connections-per-client", "10", 0, 1000000,              \
	    "At a time from one address, over all listeners and processes; then 421. 0: no limit.") \
	D(number, messages_per_minute, "messages-per-minute", "0", 0, 4000000000,                  \
	    "Of one tenant that has no quota of its own; then 452. 0: no limit.")                  \
	D(number, messages_per_hour, "messages-per-hour", "10000", 0, 4000000000,                  \
	    "As above.")                                                                           \
	D(number, messages_per_day, "messages-per-day", "0", 0, 4000000000,                        \
	    "As above, in any 24 hours.")                                                          \
	D(number, recipients_per_minute, "recipients-per-minute", "0", 0, 4000000000,              \
	    "The same by recipients.")                                                             \
	D(number, recipients_per_hour, "recipients-per-hour", "0", 0, 4000000000, "As above.")     \
	D(number, recipients_per_day, "recipients-per-day", "0", 0, 4000000000,                    \
	    "As above, in any 24 hours.")                                                          \
	D(duration, future_release_max, "future-release-max", "30d", 0, 31536000,                  \
	    "How far ahead a client with the right `future` may schedule its mail (RFC 4865). "    \
	    "0: not at all.")                                                                      \
	D(number, auth_failures, "auth-failures", "10", 0, 1000000,                                \
	    "Failed log-ins of one address before it has to wait; of its network (/24, /64) four " \
	    "times as many. 0: nobody waits.")                                                     \
	D(duration, auth_backoff, "auth-backoff", "10s", 1, 3600,                                  \
	    "The first such wait; doubled with each further failure.")                             \
	D(duration, auth_backoff_max, "auth-backoff-max", "1h", 1, 86400, "The longest.")

#define CONF_reputation(D)                                                                         \
	D(duration, window, "window", "1h", 12, 86400,                                             \
	    "How far back deliveries and failures are counted.")                                   \
	D(number, sample, "sample", "100", 1, 1000000,                                             \
	    "Recipients within the window below which nothing is said of a tenant.")               \
	D(number, slow_at, "slow-at", "10", 0, 100,                                                \
	    "Percent of failures for good over which a tenant's delivery is slowed. 0: never.")    \
	D(number, slow_to, "slow-to", "25", 1, 100,                                                \
	    "Percent of its pace that a slowed tenant keeps: it is served in that part of each 4 s.") \
	D(number, freeze_at, "freeze-at", "0", 0, 100,                                             \
	    "Percent of failures over which a key is frozen: nothing new, what is queued is held " \
	    "until `mtactl key thaw`. 0: never.")                                                  \
	D(number, freeze_volume, "freeze-volume", "0", 0, 10000,                                   \
	    "So many times its usual daily volume in 24 hours, and a key is frozen. 0: never.")    \
	D(number, freeze_floor, "freeze-floor", "1000", 0, 4000000000,                             \
	    "Messages in 24 hours that are never too many.")

#define CONF_retry(D)                                                                              \
	D(choice_method, method, "method", "exponential", 0, 0,                                    \
	    "Wait after failure n: exponential a*n+b, linear a, steps the n-th of `steps`.")       \
	D(number, a, "a", "480", 0, 31536000, "Seconds.")                                          \
	D(signed, b, "b", "-240", -31536000, 31536000, "Seconds; exponential only.")               \
	D(list, steps, "steps", "", 0, 1000, "Durations, the last one repeated.")                  \
	D(duration, period, "period", "86400", 60, 31536000,                                       \
	    "A message whose next attempt would be later than this after it came is returned.")    \
	D(number, attempts, "attempts", "0", 0, 100000, "Cap by count; 0: none.")

#define CONF_delivery(D)                                                                           \
	D(number, connections, "connections", "20", 1, 500, "To one destination at a time.")       \
	D(number, connections_total, "connections-total", "5000", 1, 100000, "To all.")            \
	D(number, messages_per_connection, "messages-per-connection", "1000", 1, 1000000,          \
	    "Then a new connection.")                                                              \
	D(number, recipients_per_message, "recipients-per-message", "100", 1, 1000,                \
	    "Recipients of one message sent in one transaction.")                                  \
	D(duration, idle, "idle", "5s", 1, 600, "A connection without work is kept this long.")    \
	D(choice_policy, tls, "tls", "may", 0, 0,                                                  \
	    "may: STARTTLS when offered, plain otherwise. encrypt: never plain. verify: also chain " \
	    "and name.")                                                                           \
	D(path, trust, "trust", "/etc/ssl/certs/ca-certificates.crt", 0, 1024,                     \
	    "CA certificates for tls verify.")                                                     \
	D(text, certificate, "certificate", "", 0, 64,                                             \
	    "Certificate block shown to servers that ask for a client certificate.")               \
	D(rate, rate, "rate", "", 0, 0,                                                            \
	    "Recipients to one destination in a time: 10/60s. Never more than 10 in any 60 s.")    \
	D(rate, connect_rate, "connect-rate", "", 0, 0, "New connections to one destination in a time.") \
	D(number, interval_ms, "interval", "0", 0, 10000,                                          \
	    "Milliseconds from one message to one destination to the next.")                       \
	D(number, pool_size, "pool-size", "20", 1, 500,                                            \
	    "Connections to one destination that are kept without work.")                          \
	D(number, tenant_connections, "tenant-connections", "0", 0, 500,                           \
	    "Of one tenant to one destination; 0: as many as all.")                                \
	D(rate, tenant_rate, "tenant-rate", "", 0, 0, "Recipients of one tenant to one destination in a time.") \
	D(choice_reset, on_reset, "on-reset", "slow", 0, 0,                                        \
	    "A connection that is reset or refused counts as a throttling reply: slow, pause, ignore.") \
	D(flag, fixed, "fixed", "no", 0, 0, "Limits stay as they are: no automatic back-off.")     \
	D(text, pool, "pool", "", 0, 64, "Source addresses: name of a pool. Default: the system's choice.") \
	D(number, port, "port", "25", 1, 65535, "Of hosts found by MX.")                           \
	D(duration, connect_timeout, "connect-timeout", "30s", 1, 3600, "Per address.")            \
	D(duration, reply_timeout, "reply-timeout", "5m", 1, 3600, "Greeting, EHLO, MAIL, RCPT.")  \
	D(duration, end_of_data_timeout, "end-of-data-timeout", "10m", 1, 7200, "After the dot.")  \
	D(duration, session_timeout, "session-timeout", "30m", 1, 86400,                           \
	    "For one message on a connection, whatever the peer does.")                            \
	D(number, active, "active", "100000", 100, 10000000,                                       \
	    "Recipients in memory at a time; the rest waits on disk.")                             \
	D(cidrs, deny, "deny", "", 0, 1000, "Addresses never connected to.")

#define CONF_group(D)                                                                              \
	D(list, domains, "domains", "", 0, 5000, "Recipient domains; .example.jp: all below it.")  \
	D(list, mx, "mx", "", 0, 1000,                                                             \
	    "Also domains of no group whose best MX host has a name like one of these; * stands for " \
	    "any characters.")                                                                     \
	D(opt_number, connections, "connections", "", 1, 500, "At a time.")                        \
	D(opt_number, messages_per_connection, "messages-per-connection", "", 1, 1000000,          \
	    "Then a new connection.")                                                              \
	D(opt_number, recipients_per_message, "recipients-per-message", "", 1, 1000,               \
	    "Recipients of one message sent in one transaction.")                                  \
	D(rate, rate, "rate", "", 0, 0, "Recipients in a time, over all domains of the group.")    \
	D(rate, connect_rate, "connect-rate", "", 0, 0, "New connections in a time.")              \
	D(opt_number, interval_ms, "interval", "", 1, 10000, "Milliseconds from one message to the next.") \
	D(opt_duration, idle, "idle", "", 1, 600, "A connection without work is kept this long.")  \
	D(opt_number, pool_size, "pool-size", "", 1, 500, "Connections that are kept without work.") \
	D(text, retry, "retry", "", 0, 64, "Name of a retry-schedule.")                            \
	D(relay, relay, "relay", "", 0, 300, "Goes to this host, as with relayhost, but without its credentials.") \
	D(text, pool, "pool", "", 0, 64, "Source addresses.")                                      \
	D(choice_hop_tls, tls, "tls", "default", 0, 0, "As in delivery.")                          \
	D(choice_opt_flag, fixed, "fixed", "default", 0, 0, "No automatic back-off.")              \
	D(choice_reset, on_reset, "on-reset", "default", 0, 0, "As in delivery.")                  \
	D(opt_number, tenant_connections, "tenant-connections", "", 1, 500, "Of one tenant.")      \
	D(rate, tenant_rate, "tenant-rate", "", 0, 0, "Recipients of one tenant in a time.")       \
	D(spans, quiet, "quiet", "", 0, 16, "Nothing is sent at these times of the day.")          \
	D(duration, full_hour, "full-hour", "0", 0, 1500,                                          \
	    "Nothing is sent so long before and behind each full hour.")                           \
	D(zone, time_zone, "time-zone", "local", 0, 0, "Of quiet: local, or an offset such as +09:00.")

#define CONF_source(D)                                                                             \
	D(list, address, "address", "", 1, 2, "Addresses to send from: one IPv4, one IPv6, or both.") \
	D(text, helo, "helo", "", 0, 253, "Name in EHLO; its A or AAAA and PTR should agree. Default: hostname.") \
	D(opt_number, connections, "connections", "", 1, 100000, "To all destinations at a time.") \
	D(rate, rate, "rate", "", 0, 0, "Recipients in a time, to all destinations.")              \
	D(text, warm_up, "warm-up", "", 0, 64, "Name of a warm-up plan.")                          \
	D(text, warm_up_start, "warm-up-start", "", 0, 10, "Its first day: 2026-12-31.")

#define CONF_pool(D)                                                                               \
	D(members, source, "source", "", 1, 0,                                                     \
	    "A source and its share: NAME weight 3. May be repeated.")

#define CONF_warm_up(D)                                                                            \
	D(list, daily, "daily", "", 1, 366,                                                        \
	    "Recipients to one destination on the first day, the second day, …; then without limit. " \
	    "What is over goes out by sources of the pool that are warm.")

#define CONF_route(D)                                                                              \
	D(list, to, "to", "", 0, 1000, "Recipient domains (.example.jp: all below it), or group NAME….") \
	D(list, from, "from", "", 0, 1000, "Envelope senders: address, or @domain.")               \
	D(list, header_from, "header-from", "", 0, 1000, "Addresses in the field From: address, or @domain.") \
	D(list, tenant, "tenant", "", 0, 1000, "Tenants.")                                         \
	D(list, key, "key", "", 0, 1000, "User names of keys.")                                    \
	D(list, tag, "tag", "", 0, 1000, "Tags; * stands for any characters.")                     \
	D(relay, relay, "relay", "", 0, 300, "Then: goes to this host, as with relayhost.")        \
	D(text, source, "source", "", 0, 64, "Then: from this source.")                            \
	D(text, pool, "pool", "", 0, 64, "Then: from the sources of this pool.")                   \
	D(text, group, "group", "", 0, 64, "Then: with the limits of this group.")

#define CONF_throttle(D)                                                                           \
	D(list, code, "code", "", 0, 64, "Reply codes; one digit stands for all that begin with it.") \
	D(list, enhanced, "enhanced", "", 0, 64, "Enhanced status codes, such as 4.7.28 or 4.7.*.") \
	D(text, text, "text", "", 0, 1000, "Regular expression (PCRE2, any case) that the text must match.") \
	D(list, stage, "stage", "", 0, 16,                                                         \
	    "connect greeting ehlo starttls auth mail rcpt data end-of-data: where it came. Default: anywhere.") \
	D(list, group, "group", "", 0, 64, "Of these groups only.")                                \
	D(list, mx, "mx", "", 0, 64, "Of hosts with names like these only; * stands for any characters.") \
	D(choice_action, action, "action", "slow", 0, 0,                                           \
	    "slow: to a part of the pace; pause: nothing for a time; one: one connection for a time; " \
	    "suspend: the source is not used for this group for a time; none: such a reply means " \
	    "nothing, whatever the blocks behind say.")                          \
	D(number, factor, "factor", "50", 1, 99, "Percent of the pace that is kept.")              \
	D(duration, for_s, "for", "5m", 1, 604800, "The time, and how long each step of recovery takes.")

#define CONF_retry_schedule(D) CONF_retry(D)

#define CONF_resolver(D)                                                                           \
	D(hostports, server, "server", "", 0, 16,                                                  \
	    "Forward to these name servers. Default: those of /etc/resolv.conf.")                  \
	D(flag, dnssec, "dnssec", "yes", 0, 0, "Validate.")                                        \
	D(path, root_key, "root-key", "/usr/share/dns/root.key", 0, 1024, "DNSSEC root anchor.")   \
	D(size, cache, "cache", "64M", 1048576, 17179869184, "Memory for answers.")                \
	D(duration, timeout, "timeout", "30s", 1, 600, "For one look-up with all its parts.")

#define CONF_spool(D)                                                                              \
	D(size, segment_size, "segment-size", "64M", 8388608, 4294967296, "Of one spool segment.") \
	D(number, spare_segments, "spare-segments", "2", 0, 1024, "Kept ready, pre-written.")      \
	D(number, compact_percent, "compact-percent", "25", 0, 90,                                 \
	    "A full segment with less live content than this is rewritten.")

#define CONF_dkim(D)                                                                               \
	D(flag, sign, "sign", "yes", 0, 0, "Sign the mail of clients that may relay.")             \
	D(list, headers, "headers", "default", 0, 256,                                             \
	    "Fields that are signed; a name may end in *. default: From To Cc Subject Date "       \
	    "Message-ID Reply-To Sender MIME-Version Content-* List-* In-Reply-To References "     \
	    "Resent-*. From, List-Unsubscribe and List-Unsubscribe-Post always are.")              \
	D(list, oversign, "oversign",                                                              \
	    "from to subject date message-id mime-version content-type content-transfer-encoding", \
	    0, 64, "Fields of which nobody can add another one without breaking the signature.")   \
	D(choice_canon, header_canon, "header-canonicalization", "relaxed", 0, 0,                  \
	    "relaxed survives refolding, simple does not.")                                        \
	D(choice_canon, body_canon, "body-canonicalization", "relaxed", 0, 0,                      \
	    "relaxed survives changes of blanks at line ends, simple does not.")                   \
	D(duration, expire, "expire", "0", 0, 31536000,                                            \
	    "Signatures are void (x=) this long after they were made; 0: never.")                  \
	D(choice_unsigned, without_key, "without-key", "send", 0, 0,                               \
	    "Mail whose From domain has no key: sent unsigned, deferred (451) or refused (550). "  \
	    "It is logged.")                                                                       \
	D(flag, organizational, "organizational-domain", "no", 0, 0,                               \
	    "A domain without a key is signed for by the domain it is registered under.")          \
	D(text, default_domain, "default-domain", "", 0, 253,                                      \
	    "Mail of domains without a key is signed with this domain's key.")                     \
	D(number, rsa_bits, "rsa-bits", "2048", 1024, 4096,                                        \
	    "Size of new RSA keys, and the least that is taken.")                                  \
	D(duration, publish, "publish", "7d", 3600, 31536000,                                      \
	    "The record of a key that was replaced stays published at least this long.")

#define CONF_milter(D)                                                                             \
	D(text, socket, "socket", "", 1, 300, "unix:PATH, or inet:ADDRESS:PORT, inet:[IPV6-ADDRESS]:PORT.") \
	D(choice_failure, on_failure, "on-failure", "tempfail", 0, 0,                              \
	    "When it cannot be reached, does not answer in time or breaks the protocol: mail is "  \
	    "answered 451, goes on without it, or is refused (550).")                              \
	D(duration, timeout, "timeout", "30s", 1, 3600,                                            \
	    "For a connection and for each answer; one that says it makes progress gets ten times " \
	    "as long.")                                                                            \
	D(list, tenants, "tenants", "", 0, 1000,                                                   \
	    "Only mail of these tenants is shown to it, from MAIL on (* stands for any characters). Empty: all " \
	    "that comes in.")

#define CONF_log(D)                                                                                \
	D(text, tag, "tag", "ekiden", 1, 32, "First part of the service name in log lines.")       \
	D(path, file, "file", "", 0, 1024, "Append to this file. Default: syslog.")                \
	D(path, events, "events", "", 0, 1024, "Append events here, one JSON object a line.")      \
	D(choice_level, level, "level", "info", 0, 0, "Least severe level written.")

#define CONF_envelope_sender(D)                                                                    \
	D(text, bounce_domain, "bounce-domain", "", 0, 253,                                        \
	    "Domain of the return addresses that this service makes: its MX is this host.")        \
	D(text, rewrite, "rewrite", "keep", 1, 320,                                                \
	    "keep, or account@domain instead of each sender, or @domain instead of its domain. "   \
	    "What is set for a domain wins.")                                                      \
	D(duration, token_lifetime, "token-lifetime", "14d", 86400, 31536000,                      \
	    "How long a return address is good, in whole days.")

/* B(kind, block): one (a single block, optional) or many (named, repeatable). */
#define CONF_BLOCKS(B)                                                                             \
	B(many, listen) B(many, certificate) B(one, limits) B(one, retry) B(one, delivery)         \
	B(one, resolver) B(one, spool) B(one, dkim) B(one, log) B(one, envelope_sender)            \
	B(one, reputation) B(many, milter) B(many, group) B(many, source) B(many, pool)            \
	B(many, warm_up) B(many, route) B(many, throttle) B(many, retry_schedule)

/* What a block is for: sample file and manual page. */
#define CONF_DOC_main "The host, its folders and where mail goes."
#define CONF_DOC_listen                                                                            \
	"A group of addresses with one policy, repeatable under different names. Without any: mx " \
	"(port 25), submission (587) and smtps (465) on all addresses."
#define CONF_DOC_certificate                                                                       \
	"A TLS certificate; listeners name it. Without any: tls/HOSTNAME.crt and .key beside the " \
	"configuration file, else those of certbot in /etc/letsencrypt/live/HOSTNAME."
#define CONF_DOC_limits "What one session and one message may take."
#define CONF_DOC_reputation "What a tenant's failures and a key's volume lead to."
#define CONF_DOC_retry "When a delivery that failed for now is tried again, and when it is given up."
#define CONF_DOC_delivery "Connections to other hosts."
#define CONF_DOC_resolver "DNS."
#define CONF_DOC_spool "The segments of the queue."
#define CONF_DOC_dkim                                                                              \
	"DKIM signatures. Keys are made by `mtactl dkim new` and belong to domains; the domain of the " \
	"header From decides, nothing else in a message."
#define CONF_DOC_milter                                                                            \
	"A mail filter that speaks the milter protocol (versions 2 to 6), for the listeners that name " \
	"it. Milters see a message before it is signed."
#define CONF_DOC_group                                                                             \
	"Destinations with limits of their own, which all of them share. What is left out is as in " \
	"delivery. Domains of no group are limited one by one."
#define CONF_DOC_source "An address of this host that mail leaves from."
#define CONF_DOC_pool "Sources that share the work by weight."
#define CONF_DOC_warm_up "How much a new source may send on its first days, to each group or destination."
#define CONF_DOC_route                                                                             \
	"Mail that meets all conditions goes another way. The first route that fits decides; the " \
	"transport map and relayhost are for the rest."
#define CONF_DOC_throttle                                                                          \
	"What a reply means for the pace of a destination. The first that fits decides; all " \
	"conditions must hold."
#define CONF_DOC_retry_schedule "A retry of its own, for groups and keys that name it."
#define CONF_DOC_log "Log lines and events."
#define CONF_DOC_envelope_sender "What becomes of the envelope sender, and where bounces come back to."

/* Blocks whose names are no C identifiers. */
#define CONF_SPELLED_warm_up ~, "warm-up"
#define CONF_SPELLED_retry_schedule ~, "retry-schedule"
#define CONF_SPELLED_envelope_sender ~, "envelope-sender"

#endif
