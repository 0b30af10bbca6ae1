/* SPDX-License-Identifier: ISC */
/*
 * seccomp allow-lists (libseccomp), one per role; what is not on the list kills the process
 * (SCMP_ACT_KILL_PROCESS) except where a library probes, which gets EPERM/ENOSYS as noted in the .c.
 */
#ifndef EKIDEN_SANDBOX_H
#define EKIDEN_SANDBOX_H

#include "lib/err.h"

enum sandbox_profile {
	SANDBOX_SMTPD,	/* base + accept4, pwrite/fdatasync on given fds; no open, no socket, no connect */
	SANDBOX_AUTHD,	/* base + files below its folder */
	SANDBOX_SIGND,	/* base only */
	SANDBOX_QMGR,	/* base + files below its folder, flock, fallocate, rename */
	SANDBOX_SMTP,	/* base + socket(AF_INET, AF_INET6), connect, bind; pread on given fds; no open */
	SANDBOX_BOUNCE, /* as SMTPD, plus files below its folder */
	SANDBOX_DNSD,	/* base + UDP and TCP sockets; libunbound's needs; no open */
};

/* For good, for all threads of the process. 0, or -1 with the reason. no_new_privs is set here. */
int sandbox_enter(enum sandbox_profile profile, struct err *e);

#endif
