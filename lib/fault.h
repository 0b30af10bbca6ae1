/* SPDX-License-Identifier: ISC */
/*
 * Named fault points of durable effects, in builds with --enable-faults only. FAULT("seg.sync") is an
 * int: 0 to go on, or an errno value that the code treats as if the system call had failed with it.
 * The environment variable EKIDEN_FAULT="name[:occurrence[:kill|EIO|ENOSPC]]" chooses the point; every
 * name is kept in the section "ekiden_faults" of the binary, so that a test can list them.
 */
#ifndef EKIDEN_FAULT_H
#define EKIDEN_FAULT_H

#ifdef EKIDEN_FAULTS
int fault_point(const char *name);
#define FAULT(name)                                                                                \
	({                                                                                         \
		static const char fault_name[] __attribute__((section("ekiden_faults"), used)) = name; \
		fault_point(fault_name);                                                           \
	})
#else
#define FAULT(name) 0
#endif

#endif
