/* SPDX-License-Identifier: ISC */
/* What the parts of mtactl share. */
#ifndef EKIDEN_MTACTL_H
#define EKIDEN_MTACTL_H

#include "lib/conf.h"
#include "mtactl/args.h"

enum { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct mtactl {
	const char *config; /* path */
	bool json, offline;
};

/* print.c */
/* A message on standard error: "mtactl: ..."; returns STATUS_FAILED. */
int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void complain_raw(struct buf *b); /* as it is */
/* Writes it all to standard output; false (with a message) when that fails. Wipes the buf. */
bool print(struct buf *b);

/*
 * The configuration, as far as it can be read, to find the suite. With `strict` any error in it is
 * fatal. NULL: told on standard error.
 */
struct conf *load_config(const struct mtactl *m, bool strict);

/* client.c: asks the running suite. offline.c: does authd's work in its place. Exit status. */
struct output;
int client_run(struct mtactl *m, const struct args *a, struct output *o);
int offline_run(struct mtactl *m, const struct args *a, struct output *o);
/* One call; its rows go to o. A failure is told on standard error. */
int client_call(const struct conf *c, const struct command *command, const struct buf *records,
    struct output *o);
/*
 * The same in parts, with one process of the command's role: -1 with the connection, or the exit status. Then frame
 * by frame: -1 as long as there are more to come, then the exit status. The end of the connection is the caller's.
 */
int client_begin(const struct conf *c, const struct command *command, uint32_t instance,
    const struct buf *records, struct output *o, int *sock);
int client_frame(int sock, const struct command *command, struct buf *store, struct output *o);
/* trace.c: the dialogue of one connection that smtp makes (CTL_SMTP, "dialogue"). Exit status. */
int dialogue_show(const struct mtactl *m, const struct conf *c, const struct buf *records);
/* confirm.c: false: nothing may be changed, and why was told. */
bool confirmed(const struct mtactl *m, const struct args *a, int *status);
/* Whether there is a suite to ask. */
bool client_reachable(const struct conf *c);

/* The one or the other. */
int call_daemon(struct mtactl *m, const struct args *a, struct output *o);
/* The exit status of a call; its text is for people. */
int finish_call(const struct ipc_ctl_end *end, struct output *o);

/* help.c */
void help_overview(struct buf *out);
/* Of one command, or of all whose name begins with these words. */
void help_command(const struct command *c, struct buf *out);
bool help_group(struct view words, struct buf *out);
/* The commands as mdoc, for mtactl(8). */
void help_man(struct buf *out);
/* "mtactl queue hold [ID...] [--tenant=TENANT] ..." */
void help_usage(const struct command *c, struct buf *out);

#endif
