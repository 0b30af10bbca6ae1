/* SPDX-License-Identifier: ISC */
/*
 * What a daemon that was taken over could do: in builds with --enable-faults, and only when the environment
 * variable EKIDEN_FAULT is "probe", each action of a table is attempted by a process of its own, forked
 * from the daemon and confined by the same code with the same ids, folder and system calls as the daemon
 * will be. The outcomes go to stderr, one a line: "probe: ROLE ACTION OUTCOME", OUTCOME being "done",
 * "killed" or the name of an error. Production builds have none of it.
 */
#ifndef EKIDEN_PROBE_H
#define EKIDEN_PROBE_H

#include <sys/types.h>

#ifdef EKIDEN_FAULTS
/* `confine` closes the sandbox for a child of `parent`: 0, or -1. Called once in each child. */
void probe_run(const char *role, int (*confine)(void *ctx, pid_t parent), void *ctx);
#else
static inline void
probe_run(const char *role, int (*confine)(void *ctx, pid_t parent), void *ctx)
{
	(void)role, (void)confine, (void)ctx;
}
#endif

#endif
