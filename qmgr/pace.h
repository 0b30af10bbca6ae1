/* SPDX-License-Identifier: ISC */
/*
 * "N in T": never more than N within any stretch of T. Pure.
 *
 * What went is kept as runs (time, count), so that N at once, then nothing for T, then N at once is
 * possible: 25 recipients at 10/60s leave at 0, 60 and 120 s (J11). At most PACE_RUNS runs are kept: when
 * they are full, the two oldest become one at the later time, which can only slow down.
 *
 * Times are queue time in microseconds. A clock that goes back moves no run into the future: runs later than
 * `now` count as `now`.
 */
#ifndef EKIDEN_QMGR_PACE_H
#define EKIDEN_QMGR_PACE_H

#include "lib/buf.h"

enum { PACE_RUNS = 64 };
#define PACE_ALL UINT32_MAX

struct pace_limit {
	uint32_t n; /* 0: no limit */
	uint32_t per_ms;
};

/* All zero: nothing went yet. Memory is there only while something went within T. */
struct pace {
	struct pace_run *runs; /* oldest first; NULL: none */
	uint32_t len, used;    /* used: sum of the counts */
};

/*
 * How many may go now; PACE_ALL without a limit. Forgets what is older than T.
 */
uint32_t pace_room(struct pace *p, const struct pace_limit *l, uint64_t now_us);
/* They went. Also over the limit (a limit that was lowered): room is 0 then. Nothing without a limit. */
void pace_take(struct pace *p, const struct pace_limit *l, uint64_t now_us, uint32_t n);
/* Taken back: did not go after all (the last ones that were taken). */
void pace_give_back(struct pace *p, uint32_t n);
/* When the next one may go: now_us when there is room. */
uint64_t pace_next_us(struct pace *p, const struct pace_limit *l, uint64_t now_us);
void pace_free(struct pace *p);
/* The clock that these times are of is another one now. */
void pace_shift(struct pace *p, int64_t by_us);

/* For the disk: all runs; get() is false for what put() cannot have written. Times in the future become now. */
void pace_put(const struct pace *p, struct buf *out);
bool pace_get(struct pace *p, struct view *in, uint64_t now_us);

#endif
