/* SPDX-License-Identifier: ISC */
/*
 * The commands of mtactl: those that a daemon answers (lib/ctl_schema.h) and those that mtactl does
 * itself, in one table of the same form. Names, arguments, usage texts, --help and the manual page
 * come from it.
 */
#ifndef EKIDEN_MTACTL_COMMAND_H
#define EKIDEN_MTACTL_COMMAND_H

#include "lib/ctl_schema.h"
#include "lib/ipc.h"

struct mtactl;
struct args;

struct command {
	enum role role; /* who answers; ROLE_MTACTL: `run` does */
	const char *name;
	const char *args; /* as described in lib/ctl_schema.h */
	const char *doc;
	int (*run)(struct mtactl *m, const struct args *a); /* exit status */
};

/* X(role, handler, "command", "arguments", "documentation") */
#define LOCAL_COMMANDS(X)                                                                          \
	X(MTACTL, map_build, "map build", "FILE [DB]",                                             \
	    "Build the look-up table FILE.db (or DB) from the text file FILE: lines \"key value\".") \
	X(MTACTL, map_query, "map query", "FILE KEY",                                              \
	    "Look KEY up in FILE.db. Exit status 1 when it is not there.")                         \
	X(MTACTL, config_check, "config check", "",                                                \
	    "Check the configuration and the files it names, as a start or reload would.")         \
	X(MTACTL, config_show, "config show", "[NAME] --changed",                                  \
	    "Show the configuration as it is understood: all of it, what differs from the defaults " \
	    "(--changed), or the value of one directive such as retry.a or \"listen mx.tls\".")    \
	X(MTACTL, config_defaults, "config defaults", "",                                          \
	    "Print a sample configuration with every directive, its default and its documentation.") \
	X(MTACTL, spf, "spf", "[DOMAIN] --address=ADDRESS,... --zone",                             \
	    "Print the SPF record for a customer's domain, in the form that includes ours and in the " \
	    "narrow form with the sending addresses, and the record that is included.")            \
	X(MTACTL, domain_records, "domain records", "DOMAIN --address=ADDRESS,... --selector=NAME --zone",         \
	    "Print the DNS records to publish for a domain: verification, SPF in both forms, MX, "  \
	    "DMARC, DKIM where there is a key (of this selector), and the names of the sending "      \
	    "addresses. zone: in zone-file syntax; what depends on a condition is a comment.")                         \
	X(MTACTL, dkim_new, "dkim new", "DOMAIN --algorithm=ALGORITHM --selector=NAME --bits=N",   \
	    "Make a key (rsa-sha256, or ed25519-sha256), which signs nothing before dkim activate, and " \
	    "print the record to publish.")                                                        \
	X(MTACTL, dkim_list, "dkim list", "[DOMAIN]", "List keys.")                                \
	X(MTACTL, dkim_show, "dkim show", "DOMAIN [SELECTOR]",                                     \
	    "Show keys with the records to publish, as text and as lines of a zone.")              \
	X(MTACTL, dkim_check, "dkim check", "[DOMAIN] [SELECTOR]",                                 \
	    "Look the records up and compare them with the private keys. Exit status 1 when one that " \
	    "is needed is missing or wrong.")                                                      \
	X(MTACTL, dkim_activate, "dkim activate", "DOMAIN SELECTOR --force",                       \
	    "Sign with this key from now on, in place of the domain's key of the same algorithm. It " \
	    "must sign a probe that verifies against the published record; --force takes the record " \
	    "for granted.")                                                                        \
	X(MTACTL, dkim_rotate, "dkim rotate", "DOMAIN --algorithm=ALGORITHM --wait=DURATION",      \
	    "Replace the active key: make a new one, wait until its record is seen, switch. Without " \
	    "--wait it makes the key, or switches when the record is there: run it again. The old " \
	    "record stays published until dkim list shows the key no more.")                       \
	X(MTACTL, dkim_revoke, "dkim revoke", "DOMAIN SELECTOR",                                   \
	    "Remove a key at once and print the record that says so.")                             \
	X(MTACTL, dkim_verify, "dkim verify", "FILE",                                              \
	    "Verify the signatures of a message with libopendkim. Exit status 1 unless one is good.") \
	X(MTACTL, trace, "trace", "--tenant=TENANT --domain=DOMAIN --ip=ADDRESS --for=DURATION",   \
	    "Show SMTP dialogues while they happen: of a tenant, with a domain (or mail host) that is sent to, with " \
	    "an address at the other end; with more than one of them, what all fit. Secrets and content are left out. " \
	    "A client's tenant is known from its log-in on, an outgoing connection's while its mail is under way. " \
	    "Ends after the duration, or with Ctrl-C.")                                            \
	X(MTACTL, source_check, "source check", "[SOURCE]",                                        \
	    "Look up for each address of each source (or of one) whether its PTR record names what the source greets " \
	    "with and that name has the address. Exit status 1 when one does not.")                \
	X(MTACTL, route, "route",                                                                  \
	    "ADDRESS --sender=ADDRESS --tenant=TENANT --key=USER --tag=TAG --connect",             \
	    "Say what would become of mail to this address (from that sender, by that tenant and key, with that tag): " \
	    "site and hosts, group and its limits, source, TLS policy, pauses. connect: talk to the destination as for " \
	    "mail, up to where a message could be sent, and show the dialogue.")                   \
	X(MTACTL, top, "top", "--every=DURATION --count=N",                                        \
	    "Show the queue and the busiest lanes again and again, every 2 seconds, until Ctrl-C (or N times).") \
	X(MTACTL, version, "version", "", "Print the version of mtactl.")                          \
	X(MTACTL, help, "help", "[WORD...]", "Show the commands, or how to use one of them.")

/* All commands, in the order of the documentation. */
const struct command *commands(size_t *count);
/* The command with this whole name, or NULL. */
const struct command *command_find(struct view name);
/* Whether some command's name begins with this word. */
bool command_group(struct view word);

/* Whether its rows are a list: a table even if there is one only. */
bool command_lists(const struct command *c);

enum arg_kind { ARG_WORD, ARG_VALUE, ARG_FLAG };

enum { ARG_NAME_MAX = 32, ARGS_OF_COMMAND_MAX = 16 };

struct arg_spec {
	enum arg_kind kind;
	char name[ARG_NAME_MAX];  /* as the handler knows it */
	char value[ARG_NAME_MAX]; /* as usage texts show it */
	bool optional, repeat;
	bool may_be_empty; /* the value */
	bool file;	   /* its lines are the values */
};

/* The arguments of a command, expanded; the number of them. */
size_t command_args(const struct command *c, struct arg_spec specs[static ARGS_OF_COMMAND_MAX]);

#define COMMAND_PROTOTYPE(role, handler, name, arg_list, doc)              \
	int local_##handler(struct mtactl *m, const struct args *a);
LOCAL_COMMANDS(COMMAND_PROTOTYPE)

#endif
