/* SPDX-License-Identifier: ISC */
/*
 * What a lane does when its destination says that it is too much, and how it comes back. Pure.
 *
 * A signal makes it slower; without a further one it recovers in steps, each twice as fast, until what it
 * had when the first signal came is reached: then the limit falls away. Signals within SETTLE of the last one
 * change nothing (answers to what was on its way already).
 */
#ifndef EKIDEN_QMGR_BACKOFF_H
#define EKIDEN_QMGR_BACKOFF_H

#include "qmgr/pace.h"

enum backoff_action {
	BACKOFF_SLOW,	/* to `percent` of the rate and connections it had just now */
	BACKOFF_PAUSE,	/* nothing for `for_s`, then as after SLOW */
	BACKOFF_ONE,	/* one connection for `for_s`, then as after SLOW */
	BACKOFF_SUSPEND /* the source is not used for this group for `for_s`: the caller's work */
};

enum {
	BACKOFF_SETTLE_S = 10,
	BACKOFF_STEP_S = 300, /* default of for_s: how long each step lasts */
	BACKOFF_FLOOR_PER_MIN = 1
};

struct backoff_order {
	enum backoff_action action;
	uint32_t percent; /* 1-99; 0: 50 */
	uint32_t for_s;	  /* of the pause, of one connection, of each step; 0: BACKOFF_STEP_S */
};

/* All zero: nothing is the matter. Times are queue time. */
struct backoff {
	uint32_t percent;	   /* of what was normal; 0: all */
	struct pace_limit cap;	   /* recipients; n 0: none */
	uint32_t normal_per_min;   /* its rate when the first signal came */
	uint32_t connections;	   /* at most; 0: no limit */
	uint32_t normal_connections;
	uint64_t paused_until_us;
	uint64_t step_at_us;	   /* when the next step is due; 0: none */
	uint64_t last_us, since_us; /* last signal, first signal */
	uint32_t step_s, signals;
	bool one;
};

/* rate_per_min and connections: what the lane did just now. false: nothing changed. */
bool backoff_signal(struct backoff *b, const struct backoff_order *o, uint64_t now_us,
    uint32_t rate_per_min, uint32_t connections);
/* Steps that are due. false: nothing changed. All zero again at the end of recovery. */
bool backoff_recover(struct backoff *b, uint64_t now_us);
static inline bool
backoff_active(const struct backoff *b)
{
	return b->since_us != 0;
}
/* When pause or step end, whichever is first; 0: nothing to wait for. */
uint64_t backoff_next_us(const struct backoff *b);
/* How many connections it may have of `max`, at least 1. */
uint32_t backoff_connections(const struct backoff *b, uint32_t max);
/* "50% (30/min, 2 connections)", "paused", "one connection": for people; appended. */
void backoff_text(const struct backoff *b, uint64_t now_us, struct buf *out);

#endif
