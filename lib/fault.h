/* SPDX-License-Identifier: ISC */
/*
 * Named fault points of durable effects, in builds with --enable-faults only. EKIDEN_FAULT="name
 * [:occurrence[:action]]" chooses one; occurrence 0 is every one. What fired is told on stderr. The names
 * are kept in sections of the binary, so that a test can list them: ekiden_faults, ekiden_fault_calls (those
 * around a call) and ekiden_mutants.
 *
 *	kill		the process dies here
 *	EIO, ENOSPC	the code goes on as if the system call had failed with it
 *	short		the next write that the process makes is cut short
 *	torn		the same, and then the process dies
 * and at points around a call:
 *	after		the call is made, then the process dies
 *	skip		the call is not made, yet succeeds: what a forgotten sync does
 *	late		every other call is not made, yet succeeds: what an answer before its sync does
 */
#ifndef EKIDEN_FAULT_H
#define EKIDEN_FAULT_H

#ifdef EKIDEN_FAULTS
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAULT_SKIPPED = -1 };
int fault_point(const char *name);
int fault_before(const char *name);
void fault_after(void);
bool fault_mutant(const char *name);
size_t fault_length(size_t n);
int64_t fault_clock_us(void);

#define FAULT_NAME(section_name, name)                                                             \
	({                                                                                         \
		static const char fault_name[] __attribute__((section(section_name), used)) = name; \
		fault_name;                                                                        \
	})
#define FAULT(name) fault_point(FAULT_NAME("ekiden_faults", name))
#define FAULT_CALL(name, call, failed)                                                             \
	({                                                                                         \
		int fault_code = fault_before(FAULT_NAME("ekiden_fault_calls", name));             \
		if (fault_code > 0)                                                                \
			errno = fault_code;                                                        \
		int fault_rc = fault_code == 0 ? (call) : fault_code > 0 ? (failed) : 0;           \
		fault_after();                                                                     \
		fault_rc;                                                                          \
	})
#define FAULT_MUTANT(name) fault_mutant(FAULT_NAME("ekiden_mutants", name))
#define FAULT_LENGTH(n) fault_length(n)
#define FAULT_CLOCK_US() fault_clock_us()
#else
/* An int: 0 to go on, or an errno value that the code treats as that of a failed system call. */
#define FAULT(name) 0
/* The call's own result; failed is what stands for it when it shall fail, with errno set. */
#define FAULT_CALL(name, call, failed) (call)
/* Whether the code shall be wrong here, so that the crash test can prove that it sees it. */
#define FAULT_MUTANT(name) false
/* How many of n bytes, or parts, a write may take. */
#define FAULT_LENGTH(n) (n)
/* What the wall clock is off by. */
#define FAULT_CLOCK_US() 0
#endif

#endif
