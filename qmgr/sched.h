/* SPDX-License-Identifier: ISC */
/*
 * Who is next in a lane, and how many connections it may have. Pure: no clock, no I/O.
 *
 * Deficit round robin over tenants: a turn is worth as many recipients as the tenant's weight; what a message takes
 * beyond that is made up for by passing later turns. So a tenant with 100,000 waiting items delays another
 * one's single item by one item, and shares follow the weights whatever the sizes of messages. Within a tenant
 * the higher level goes first, and fresh items before retries; but what was passed over SCHED_STREAK times
 * has its turn: nobody starves.
 *
 * A tenant may be stopped for a time (slowed, A28; over a limit of its own; paused): it is passed over, and loses
 * nothing of its place.
 */
#ifndef EKIDEN_QMGR_SCHED_H
#define EKIDEN_QMGR_SCHED_H

#include "lib/table.h"

enum {
	SCHED_STREAK = 4,
	SCHED_PERIOD_MS = 4000, /* of slowed tenants: their part of each period is theirs */
	WINDOW_FIRST = 5,
	CONN_AHEAD = 2
};

/* From a message's priority (-9..18: key and MT-PRIORITY together): > 4, > 0, 0, < 0. */
enum sched_level { LEVEL_URGENT, LEVEL_HIGH, LEVEL_NORMAL, LEVEL_BULK, SCHED_LEVELS };
enum sched_level sched_level(int priority);

struct sched_tenant;

/* Embedded in what waits. In at most one sched; `tenant` is NULL while in none. */
struct sched_item {
	struct sched_item *next, *prev;
	struct sched_tenant *tenant;
	uint32_t cost; /* recipients that a turn with it takes; at least 1 */
	uint8_t level; /* enum sched_level */
	bool retry;
};

struct sched {
	struct sched_tenant *turn; /* a ring; NULL: nothing waits */
	struct table tenants;
	size_t waiting;
	uint32_t (*weight)(void *ctx, const void *tenant); /* 1-100; NULL: all 1 */
	bool (*stopped)(void *ctx, const void *tenant);	   /* has no turn now; NULL: nobody */
	void *ctx;
};

/* `tenant` is a name by address: equal tenants have equal pointers. cost, level, retry are set before. */
void sched_put(struct sched *s, const void *tenant, struct sched_item *item);
/* In front of its tenant's items of its kind: for what was taken and came back untried. */
void sched_put_back(struct sched *s, const void *tenant, struct sched_item *item);
struct sched_item *sched_take(struct sched *s); /* NULL: nobody has a turn */
/* What sched_take() would take; changes nothing. */
struct sched_item *sched_peek(const struct sched *s);
void sched_remove(struct sched *s, struct sched_item *item);
/* Any item, for emptying; NULL: nothing waits. */
struct sched_item *sched_any(const struct sched *s);
/* Items in no order that matters, until visit() is false; it changes nothing. */
void sched_each_item(const struct sched *s, bool (*visit)(void *ctx, struct sched_item *item), void *ctx);
/* Tenants that wait, in the order of their turns. */
void sched_each(const struct sched *s,
    void (*visit)(void *ctx, const void *tenant, size_t fresh, size_t retries), void *ctx);
/* How many items of its own tenant will be taken before this one, if nothing else comes. */
size_t sched_ahead(const struct sched_item *item);

/*
 * A28: whether a tenant with `percent` of its pace has its part of the period now, and how long until the
 * next one begins.
 */
bool sched_share_now(uint32_t percent, uint64_t now_ms);
static inline uint64_t
sched_period_left_ms(uint64_t now_ms)
{
	return SCHED_PERIOD_MS - now_ms % SCHED_PERIOD_MS;
}

/*
 * The connection window of a lane: starts at WINDOW_FIRST, grows by one with each job that a
 * connection did, halves when the next hop refuses to take a connection or a whole job.
 */
struct window {
	uint32_t size;
};
void window_good(struct window *w, uint32_t max);
void window_bad(struct window *w);
static inline uint32_t
window_size(const struct window *w, uint32_t max)
{
	uint32_t size = w->size ? w->size : WINDOW_FIRST;
	return size < max ? size : max;
}
/*
 * How many connections to open: enough that each waiting item has one that is free or being opened, within
 * the window and `room` (what the limits over lanes leave). A lane that has not yet done a job (`proven` false)
 * gets at most half of its window, one only when more than half of all connections are taken, and none of the last
 * quarter: hosts that accept and say nothing must not take the places of those that work, however many they are.
 */
static inline bool
sched_reserved(uint32_t total, uint32_t used)
{
	return used >= total - total / 4;
}
struct sched_want {
	size_t waiting;
	uint32_t opening, open, window, room;
	uint32_t total, total_used; /* connections of all lanes: limit, in use */
	bool proven;
};
uint32_t sched_connections(const struct sched_want *w);

#endif
