/* SPDX-License-Identifier: ISC */
/*
 * Every mtactl command that a daemon answers, declared once: mtactl takes names, arguments, --help and
 * the manual page from here; a daemon's handler table is expanded for its role, so that a command
 * without a handler does not compile.
 *
 * X(ROLE, handler, "command", "arguments", "documentation").
 * Arguments: NAME a required word, [NAME] an optional one, NAME... one or more ("-" reads them from
 * standard input, one a line), --option=VALUE, --flag. All reach the handler by name, in lower case
 * (option names without the dashes). CTL_FILTERS are the queue filters.
 */
#ifndef EKIDEN_CTL_SCHEMA_H
#define EKIDEN_CTL_SCHEMA_H

#define CTL_FILTERS                                                                                \
	"--tenant=TENANT --key=USER --domain=DOMAIN --sender=ADDRESS --id=ID --age=DURATION "      \
	"--state=STATE"

#define CTL_AUTHD(X)                                                                               \
	X(AUTHD, tenant_add, "tenant add", "NAME --enabled",                                       \
	    "Create a tenant. It cannot send before `tenant enable`, unless with --enabled.")      \
	X(AUTHD, tenant_list, "tenant list", "", "List tenants.")                                  \
	X(AUTHD, tenant_show, "tenant show", "NAME", "Show one tenant.")                           \
	X(AUTHD, tenant_enable, "tenant enable", "NAME", "Let a tenant send.")                     \
	X(AUTHD, tenant_disable, "tenant disable", "NAME", "Refuse a tenant's mail and log-ins.")  \
	X(AUTHD, tenant_delete, "tenant delete", "NAME --force",                                   \
	    "Delete a tenant; with --force also its keys and domains.")                            \
	X(AUTHD, key_issue, "key issue", "TENANT USER --note=TEXT",                                \
	    "Issue a key. The secret is printed once and cannot be shown again.")                  \
	X(AUTHD, key_list, "key list", "[TENANT]", "List keys.")                                   \
	X(AUTHD, key_show, "key show", "USER", "Show one key, without its secret.")                \
	X(AUTHD, key_revoke, "key revoke", "USER", "Revoke a key for good.")                       \
	X(AUTHD, domain_add, "domain add", "TENANT DOMAIN --verified",                             \
	    "Register a sender domain: pending with a TXT record to publish, or verified.")        \
	X(AUTHD, domain_list, "domain list", "[TENANT]", "List sender domains.")                   \
	X(AUTHD, domain_show, "domain show", "DOMAIN", "Show one sender domain.")                  \
	X(AUTHD, domain_verify, "domain verify", "DOMAIN --force",                                 \
	    "Look for the verification TXT record; --force takes the admin's word.")               \
	X(AUTHD, domain_delete, "domain delete", "DOMAIN", "Delete a sender domain.")

#define CTL_QMGR(X)                                                                                \
	X(QMGR, queue_list, "queue list", CTL_FILTERS " --limit=N", "List queued recipients.")     \
	X(QMGR, queue_count, "queue count", CTL_FILTERS, "Count messages, recipients and bytes.")  \
	X(QMGR, queue_show, "queue show", "ID --content",                                          \
	    "Show one message with its recipients; with --content also its text.")                 \
	X(QMGR, queue_flush, "queue flush", "[ID...] " CTL_FILTERS " --all", "Try again now.")     \
	X(QMGR, queue_hold, "queue hold", "[ID...] " CTL_FILTERS " --all", "Keep until released.") \
	X(QMGR, queue_release, "queue release", "[ID...] " CTL_FILTERS " --all", "End a hold.")    \
	X(QMGR, queue_delete, "queue delete", "[ID...] " CTL_FILTERS " --all",                     \
	    "Remove without a report.")                                                            \
	X(QMGR, queue_bounce, "queue bounce", "[ID...] " CTL_FILTERS " --all",                     \
	    "Return to the sender now.")

#define CTL_DNSD(X)                                                                                \
	X(DNSD, dns_txt, "dns txt", "NAME", "Look TXT records up as the suite sees them.")

/* Every daemon answers these; `status` asks each in turn. */
#define CTL_MASTER(X)                                                                              \
	X(MASTER, status, "status", "", "Show the processes of the suite.")                        \
	X(MASTER, reload, "reload", "", "Read the configuration again; the old one stays if it is wrong.") \
	X(MASTER, stop, "stop", "", "Stop gracefully.")                                            \
	X(MASTER, dkim_reload, "dkim reload", "",                                                  \
	    "Read the DKIM keys again; the commands that change them do it by themselves.")

#define CTL_COMMANDS(X) CTL_AUTHD(X) CTL_QMGR(X) CTL_MASTER(X) CTL_DNSD(X)

#endif
