/* SPDX-License-Identifier: ISC */
/*
 * When a recipient is tried again (C7-C11), and the clock that this is counted on. Pure.
 */
#ifndef EKIDEN_QMGR_RETRY_H
#define EKIDEN_QMGR_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum retry_method { RETRY_EXPONENTIAL, RETRY_LINEAR, RETRY_STEPS };

struct retry_rule {
	enum retry_method method;
	int64_t a, b;		/* seconds */
	const uint32_t *steps;	/* seconds; the last one is repeated */
	size_t nsteps;
	uint64_t period_s;	/* a message older than this is returned */
	uint32_t attempts;	/* cap by count; 0: none */
};

/*
 * Wait after the n-th failure (n >= 1), seconds, at least 1: exponential a*n + b, linear a, steps the
 * n-th.
 */
uint64_t retry_wait_s(const struct retry_rule *r, uint32_t n);
/*
 * Decides at the n-th failure: true and the time of the next attempt, or false: give up, because that
 * time would be later than the period after arrival, or the attempts are used up.
 */
bool retry_next(const struct retry_rule *r, uint32_t n, uint64_t now_us, uint64_t arrival_us,
    uint64_t *next_us);
/* Older than the period, whatever its state. A message from the future (a clock set back) is not. */
bool retry_expired(const struct retry_rule *r, uint64_t now_us, uint64_t arrival_us);

/*
 * Queue time: the wall clock, except that a jump while this process runs is taken out again, so that a
 * clock set forward does not return the whole queue, and one set back does not stop it (ATTACKS J7).
 * The next start counts on the wall clock as it is then.
 */
struct queue_clock {
	uint64_t wall_us, mono_ms; /* at the last look; 0: none yet */
	int64_t skew_us;	   /* what jumps added to the wall clock so far */
};
enum { CLOCK_JUMP_S = 120 };
/* Queue time now; *jump_s is the jump noticed just now, 0 for none. */
uint64_t queue_clock_read(struct queue_clock *c, uint64_t wall_us, uint64_t mono_ms,
    int64_t *jump_s);

#endif
