/* SPDX-License-Identifier: ISC */
/*
 * Every mtactl command that a daemon answers, declared once: mtactl takes names, arguments, --help and
 * the manual page from here; a daemon's handler table is expanded for its role, so that a command
 * without a handler does not compile.
 *
 * X(ROLE, handler, "command", "arguments", "documentation").
 * Arguments: NAME a required word, [NAME] an optional one, NAME... one or more ("-" reads them from
 * standard input, one a line), --option=VALUE, --flag. All reach the handler by name, in lower case
 * (option names without the dashes). A value in brackets may be empty. @FILE a file
 * ("-": standard input), whose lines reach the handler as its values. CTL_FILTERS are the queue filters.
 * A command with --yes asks before it changes what a filter finds.
 */
#ifndef EKIDEN_CTL_SCHEMA_H
#define EKIDEN_CTL_SCHEMA_H

#define CTL_FILTERS                                                                                \
	"--tenant=TENANT --key=USER --domain=DOMAIN --sender=ADDRESS --id=ID --age=DURATION "      \
	"--state=STATE"

#define CTL_QUOTAS                                                                                 \
	"--quota-minute=N --quota-hour=N --quota-day=N --rcpt-minute=N --rcpt-hour=N --rcpt-day=N"

#define CTL_AUTHD(X)                                                                               \
	X(AUTHD, tenant_add, "tenant add", "NAME --enabled",                                       \
	    "Create a tenant. It cannot send before `tenant enable`, unless with --enabled.")      \
	X(AUTHD, tenant_list, "tenant list", "", "List tenants.")                                  \
	X(AUTHD, tenant_show, "tenant show", "NAME",                                               \
	    "Show one tenant: settings, use of its quotas, containment, and how its mail fares.")  \
	X(AUTHD, tenant_set, "tenant set",                                                         \
	    "NAME " CTL_QUOTAS " --networks=[CIDR,...] --header-from=any|tenant|default "          \
	    "--weight=1-100",                                                                      \
	    "Change settings of a tenant at once. Quotas count messages (quota) and recipients "   \
	    "(rcpt) in a minute, an hour, 24 hours: a number, none, or default for what the "      \
	    "configuration says. networks: log-ins from elsewhere are refused; empty: from anywhere. " \
	    "header-from tenant: the domain in From must be the tenant's. weight: its part of the " \
	    "turns where several tenants wait for one destination; 1 at first.")                   \
	X(AUTHD, tenant_enable, "tenant enable", "NAME", "Let a tenant send.")                     \
	X(AUTHD, tenant_disable, "tenant disable", "NAME", "Refuse a tenant's mail and log-ins.")  \
	X(AUTHD, tenant_freeze, "tenant freeze", "NAME --reason=TEXT",                             \
	    "Contain a tenant: no new mail, and what it has queued waits.")                        \
	X(AUTHD, tenant_thaw, "tenant thaw", "NAME", "End the containment of a tenant.")           \
	X(AUTHD, tenant_delete, "tenant delete", "NAME --force",                                   \
	    "Delete a tenant; with --force also its keys and domains.")                            \
	X(AUTHD, key_issue, "key issue", "TENANT USER --note=TEXT",                                \
	    "Issue a key. The secret is printed once and cannot be shown again.")                  \
	X(AUTHD, key_list, "key list", "[TENANT]", "List keys.")                                   \
	X(AUTHD, key_show, "key show", "USER", "Show one key, without its secret.")                \
	X(AUTHD, key_set, "key set",                                                               \
	    "USER " CTL_QUOTAS " --over-quota=defer|reject|hold --networks=[CIDR,...] "            \
	    "--pattern=[TEXT] --expires=TIME|DURATION|never --rights=RIGHT,... --priority=0-9 "    \
	    "--retry=[SCHEDULE] --note=[TEXT]",                                                                       \
	    "Change settings of a key at once. Quotas as of tenants, beside the tenant's. rights: " \
	    "send; future, to schedule mail (RFC 4865); priority, to have one and to ask for one "  \
	    "(RFC 6710); or none. retry: a retry-schedule of the configuration; empty for the usual " \
	    "one. pattern: envelope senders that contain it are "      \
	    "replaced by a service-owned address; @ for all, empty for none. expires: UTC, such as " \
	    "2026-12-31T00:00:00Z, or a duration from now on.")                                    \
	X(AUTHD, key_rotate, "key rotate", "USER --overlap=DURATION",                              \
	    "Give a key a new secret, printed once. The former one ends at once, or after the overlap.") \
	X(AUTHD, key_freeze, "key freeze", "USER --reason=TEXT",                                   \
	    "Contain a key: no new mail, and what it has queued waits.")                           \
	X(AUTHD, key_thaw, "key thaw", "USER", "End the containment of a key: its queued mail goes on.") \
	X(AUTHD, key_purge, "key purge", "USER",                                                   \
	    "Delete the queued mail of a frozen or revoked key, without reports.")                 \
	X(AUTHD, key_revoke, "key revoke", "USER", "Revoke a key for good.")                       \
	X(AUTHD, domain_add, "domain add", "TENANT DOMAIN --verified",                             \
	    "Register a sender domain: pending with a TXT record to publish, or verified.")        \
	X(AUTHD, domain_list, "domain list", "[TENANT]", "List sender domains.")                   \
	X(AUTHD, domain_show, "domain show", "DOMAIN", "Show one sender domain.")                  \
	X(AUTHD, domain_set, "domain set",                                                         \
	    "DOMAIN --rewrite=keep|ADDRESS|@DOMAIN|default --hosted=yes|no --bounce=yes|no",       \
	    "Change settings of a domain at once. rewrite: of envelope senders; it wins over the " \
	    "configuration, and keep opts out of it. hosted: mail for the domain is taken from "   \
	    "anybody. bounce: it takes the returns of service-owned senders.")                     \
	X(AUTHD, domain_verify, "domain verify", "DOMAIN --force",                                 \
	    "Look for the verification TXT record; --force takes the admin's word.")               \
	X(AUTHD, domain_delete, "domain delete", "DOMAIN", "Delete a sender domain.") \
	X(AUTHD, quota_show, "quota show", "[NAME]",                                               \
	    "Show quotas of a tenant or key, or those in use of all tenants: limit (0: none), use, " \
	    "and when the next one is taken again.")                                               \
	X(AUTHD, export, "export", "",                                                             \
	    "Write all tenants, keys (hashes, never secrets) and domains as JSON lines.")          \
	X(AUTHD, import, "import", "@FILE --dry-run",                                              \
	    "Read JSON lines as export writes them: what is there takes the fields that a line has, " \
	    "what is not is made. All lines are checked before the first change.")                 \
	X(AUTHD, audit, "audit", "--tenant=TENANT --since=TIME|DURATION",                          \
	    "Show who changed what, from the oldest on. since: UTC, such as 2026-12-31, or a "     \
	    "duration before now.")

#define CTL_QMGR(X)                                                                                \
	X(QMGR, queue_list, "queue list", CTL_FILTERS " --limit=N",                               \
	    "List queued recipients. STATE: active, deferred, held, paused, or scheduled (to be sent " \
	    "later by the wish of the sender).")                                                         \
	X(QMGR, queue_count, "queue count", CTL_FILTERS, "Count messages, recipients and bytes.")  \
	X(QMGR, queue_shape, "queue shape", CTL_FILTERS " --limit=N",                              \
	    "Count recipients by destination and by how many minutes ago they came, the destinations with the " \
	    "most first (at most 100, or N). A destination is a site, where DNS was asked lately, or a domain.") \
	X(QMGR, queue_show, "queue show", "ID --content",                                          \
	    "Show one message with its recipients; with --content also its text.")                 \
	X(QMGR, queue_flush, "queue flush", "[ID...] " CTL_FILTERS " --all",                      \
	    "Try again now. A scheduled message goes before its time only when its ID is given.")  \
	X(QMGR, queue_hold, "queue hold", "[ID...] " CTL_FILTERS " --all --yes", "Keep until released.") \
	X(QMGR, queue_release, "queue release", "[ID...] " CTL_FILTERS " --all --yes",                  \
	    "End a hold. A message that is to be sent later still waits for that.")                \
	X(QMGR, queue_delete, "queue delete", "[ID...] " CTL_FILTERS " --all --yes",                     \
	    "Remove without a report.")                                                            \
	X(QMGR, queue_bounce, "queue bounce", "[ID...] " CTL_FILTERS " --all --yes",                     \
	    "Return to the sender now.")                                                           \
	X(QMGR, queue_move, "queue move", "[ID...] --pool=[POOL] " CTL_FILTERS " --all --yes",           \
	    "Send by the sources of this pool, whatever group and routes say; empty: as configured again. What is " \
	    "under way goes on.")                                                           \
	X(QMGR, why, "why", "WHAT --limit=N",                                                     \
	    "WHAT: a queue id, an address, a domain. Say for each queued recipient (at most 100, or N) what it waits for: the limit that holds it with its " \
	    "counter and when that frees, or the next attempt; the last reply, and when it is given up.") \
	X(QMGR, pause, "pause",                                                                    \
	    "--tenant=TENANT --domain=DOMAIN --site=SITE --source=SOURCE --for=DURATION --reason=TEXT", \
	    "Send no mail of a tenant, to a domain (or .DOMAIN: all below), to a site or group as lane list names it, " \
	    "or from a source: one of them, until it is resumed or for a time. What is under way is ended; the rest " \
	    "waits, without attempts, and grows older. A pause outlives a restart.")               \
	X(QMGR, resume, "resume", "--tenant=TENANT --domain=DOMAIN --site=SITE --source=SOURCE",   \
	    "End a pause: what it held back goes on.")                                             \
	X(QMGR, pause_list, "pauses", "", "List the pauses.")                                      \
	X(QMGR, source_list, "source list", "",                                                    \
	    "Show sources: addresses, name, whether they can be used, connections, recipients of the day under " \
	    "warm-up at the destination with the most.")                                \
	X(QMGR, plan, "plan", "@FILE --sender=ADDRESS --tenant=TENANT --key=USER --tag=TAG",       \
	    "Say what would become of mail to the addresses in FILE, one a line, without sending any: destinations " \
	    "with their groups, sources, TLS policies and limits, and how long each would take as fast as its limits " \
	    "let it. DNS is asked.")                                                               \
	X(QMGR, lane_list, "lane list", "--limit=N",                                               \
	    "Show where mail goes at the moment, the busiest first (at most 200, or N): a lane is a destination from one " \
	    "source under one TLS policy.")                                                        \
	X(QMGR, lane_show, "lane show", "LANE",                                                    \
	    "Show one lane: limits, back-off and its cause, connections, tenants that wait.")

/* What mtactl asks for commands of its own: no names for people. */
#define CTL_QMGR_OWN(X)                                                                            \
	X(QMGR, route_find, "route find", "ADDRESS --sender=ADDRESS --tenant=TENANT --key=USER --tag=TAG", "")

#define CTL_DNSD(X)                                                                                \
	X(DNSD, dns_txt, "dns txt", "NAME", "Look TXT records up as the suite sees them.") \
	X(DNSD, dns_ptr, "dns ptr", "ADDRESS",                                                     \
	    "Look up the name of an address that has this address itself, as the suite sees it.")

/*
 * What mtactl asks of one process at a time for a command of its own: no names for people. Rows of both are lines
 * of a dialogue: time, process, instance, session, peer, direction (in, out, note), text.
 */
#define CTL_SMTPD(X)                                                                               \
	X(SMTPD, trace, "trace", "--tenant=TENANT --domain=DOMAIN --ip=ADDRESS --for=DURATION", "")
#define CTL_SMTP(X)                                                                                \
	X(SMTP, trace, "trace", "--tenant=TENANT --domain=DOMAIN --ip=ADDRESS --for=DURATION", "") \
	/* Connects as conn_open would, talks up to where mail could flow, and quits; tls: a number of enum tls_policy. */ \
	X(SMTP, dialogue, "dialogue",                                                              \
	    "NEXTHOP --mx --port=N --tls=N --source=ADDRESS --source6=ADDRESS --helo=NAME --auth=NAME", "")

/* Every daemon answers these; `status` asks each in turn. */
#define CTL_MASTER(X)                                                                              \
	X(MASTER, status, "status", "", "Show the processes of the suite.")                        \
	X(MASTER, reload, "reload", "", "Read the configuration again; the old one stays if it is wrong.") \
	X(MASTER, stop, "stop", "", "Stop gracefully.")                                            \
	X(MASTER, listener_list, "listener list", "", "List the listening addresses and their states.") \
	X(MASTER, listener_pause, "listener pause", "ADDRESS",                                     \
	    "New clients of this address (or of the listen block of this name) get 421; sessions go on. " \
	    "The state outlives a reload, not a restart of the suite.")                            \
	X(MASTER, listener_drain, "listener drain", "ADDRESS",                                     \
	    "As pause, and each session ends with 421 as soon as it is between two messages.")     \
	X(MASTER, listener_resume, "listener resume", "ADDRESS", "Take clients again.") \
	X(MASTER, dkim_reload, "dkim reload", "",                                                  \
	    "Read the DKIM keys again; the commands that change them do it by themselves.")

#define CTL_COMMANDS(X) CTL_AUTHD(X) CTL_QMGR(X) CTL_MASTER(X) CTL_DNSD(X)

#endif
