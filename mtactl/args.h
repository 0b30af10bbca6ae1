/* SPDX-License-Identifier: ISC */
/* The command line: which command, which options, and its arguments as ctl_arg records. */
#ifndef EKIDEN_MTACTL_ARGS_H
#define EKIDEN_MTACTL_ARGS_H

#include "lib/err.h"
#include "mtactl/command.h"

struct args {
	const struct command *command; /* NULL: only options, or help about a group */
	char words[64];		       /* of the command, as far as they were given */
	bool help, version;
	struct buf records; /* ctl_arg */
	size_t count;	    /* records */
	bool from_stdin;    /* "-" was given */
};

enum { ARGS_MAX = 64 << 20 };

/*
 * Reads the command line; options of mtactl itself go to m. 0, or -1 with what is wrong: exit
 * status 2. a->command, if known by then, is set in both cases.
 */
int args_parse(struct args *a, struct mtactl *m, int argc, char **argv, struct err *e);
void args_free(struct args *a);
/* The n-th value of an argument; false behind the last. Borrowed from a->records. */
bool args_nth(const struct args *a, const char *name, size_t n, struct view *out);
/* The first value, or "". */
struct view args_get(const struct args *a, const char *name);

#endif
