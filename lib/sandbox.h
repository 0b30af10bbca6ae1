/* SPDX-License-Identifier: ISC */
/*
 * seccomp allow-lists (libseccomp), one per role. What is not on the list kills the process and leaves
 * a trace in the audit log; what libraries merely try fails instead, as it would in an empty folder:
 * path names with ENOENT (for roles without files), ioctl with ENOTTY, prctl with EPERM.
 * t/unit/sandbox_t.c is the table of what each role may do.
 */
#ifndef EKIDEN_SANDBOX_H
#define EKIDEN_SANDBOX_H

#include "lib/err.h"

enum sandbox_profile {
	SANDBOX_SMTPD,	/* base + accept, write and sync of given fds; no open, no socket, no connect */
	SANDBOX_AUTHD,	/* base + files below its folder */
	SANDBOX_SIGND,	/* base only */
	SANDBOX_QMGR,	/* base + files below its folder, flock, fallocate, rename */
	SANDBOX_SMTP,	/* base + TCP sockets over IPv4 and IPv6, connect, bind; no open */
	SANDBOX_BOUNCE, /* base + files below its folder, write and sync of given fds */
	SANDBOX_DNSD,	/* base + TCP and UDP sockets over IPv4 and IPv6; no open */
};

/* For good, for all threads of the process. 0, or -1 with the reason. no_new_privs is set here. */
int sandbox_enter(enum sandbox_profile profile, struct err *e);

#endif
