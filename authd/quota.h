/* SPDX-License-Identifier: ISC */
/*
 * Rolling quotas of one tenant or key: messages and recipients in a minute, an hour and 24 hours. Pure:
 * the caller brings the clock (wall clock in seconds, since counts survive a restart).
 *
 * A window is a ring of slots that together cover at least its whole length, so that no stretch of that
 * length ever holds more than the limit; what frees a place is the oldest slot's end. A clock that is
 * set back by more than a window takes the counts along: each of them ends within a window from then.
 */
#ifndef EKIDEN_AUTHD_QUOTA_H
#define EKIDEN_AUTHD_QUOTA_H

#include "lib/buf.h"

enum quota_unit { QUOTA_MESSAGES, QUOTA_RCPTS, QUOTA_UNITS };
enum quota_window { QUOTA_MINUTE, QUOTA_HOUR, QUOTA_DAY, QUOTA_WINDOWS };
enum { QUOTA_SLOTS = 61, QUOTA_BYTES = 2048 /* of an encoded one, at most */ };

/* Zeroed: nothing was used. */
struct quota {
	struct quota_ring {
		uint64_t newest; /* number of the slot that time has reached */
		uint32_t total;
		uint32_t slot[QUOTA_SLOTS]; /* by number modulo the ring's length */
	} ring[QUOTA_UNITS][QUOTA_WINDOWS];
};

struct quota_limits {
	uint32_t max[QUOTA_UNITS][QUOTA_WINDOWS]; /* 0: no limit */
};

/* The limit that is in the way longest. */
struct quota_lack {
	enum quota_unit unit;
	enum quota_window window;
	uint32_t max;
	uint64_t wait_s;
};

/* Whether n more are within every limit; else *lack says which one is not. */
bool quota_fits(struct quota *q, const struct quota_limits *limits, enum quota_unit unit, uint32_t n,
    uint64_t now_s, struct quota_lack *lack);
void quota_add(struct quota *q, enum quota_unit unit, uint32_t n, uint64_t now_s);
/* n that were added at `then` came to nothing. */
void quota_give_back(struct quota *q, enum quota_unit unit, uint32_t n, uint64_t then_s,
    uint64_t now_s);
uint32_t quota_used(struct quota *q, enum quota_unit unit, enum quota_window window, uint64_t now_s);
/* Seconds until n more are within `max`; 0: now. A limit below n is waited for in vain: a window. */
uint64_t quota_wait_s(struct quota *q, enum quota_unit unit, enum quota_window window, uint32_t max,
    uint32_t n, uint64_t now_s);
bool quota_limited(const struct quota_limits *limits, enum quota_unit unit);
/* "messages an hour" */
void quota_name(enum quota_unit unit, enum quota_window window, struct buf *out);

/* On disk: see quota.c. get: false when damaged; q is zeroed then. */
void quota_put(const struct quota *q, struct buf *out);
bool quota_get(struct quota *q, struct view *v);

#endif
