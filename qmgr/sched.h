/* SPDX-License-Identifier: ISC */
/*
 * Who is next in a lane, and how many connections it may have. Pure: no clock, no I/O.
 *
 * Round robin over tenants: each turn takes one item, so a tenant with 100,000 waiting items delays
 * another one's single item by one turn. Within a tenant fresh items go before retries, but after
 * SCHED_STREAK fresh ones a waiting retry has its turn.
 *
 * A slowed tenant (A28) has its turns in a part of each SCHED_PERIOD_MS only, and goes at full pace in
 * that: a share of its normal pace, whether others wait or not, and never none.
 */
#ifndef EKIDEN_QMGR_SCHED_H
#define EKIDEN_QMGR_SCHED_H

#include "lib/table.h"

enum { SCHED_STREAK = 4, SCHED_PERIOD_MS = 4000, WINDOW_FIRST = 5, CONN_AHEAD = 2 };

struct sched_tenant;

/* Embedded in what waits. In at most one sched; `tenant` is NULL while in none. */
struct sched_item {
	struct sched_item *next, *prev;
	struct sched_tenant *tenant;
	bool retry;
};

struct sched {
	struct sched_tenant *turn; /* a ring; NULL: nothing waits */
	struct table tenants;
	size_t waiting;
	uint32_t (*share)(const void *tenant); /* percent of its pace; NULL: everybody has all */
};

/* `tenant` is a name by address: equal tenants have equal pointers. item->retry is set before. */
void sched_put(struct sched *s, const void *tenant, struct sched_item *item);
/* In front of its tenant's items of its kind: for what was taken and came back untried. */
void sched_put_back(struct sched *s, const void *tenant, struct sched_item *item);
struct sched_item *sched_take(struct sched *s, uint64_t now_ms); /* NULL: nobody has a turn */
bool sched_ready(const struct sched *s, uint64_t now_ms); /* somebody has */
/* How long until a slowed tenant's part of the period begins. */
static inline uint64_t
sched_period_left_ms(uint64_t now_ms)
{
	return SCHED_PERIOD_MS - now_ms % SCHED_PERIOD_MS;
}
void sched_remove(struct sched *s, struct sched_item *item);
/* Any item, for emptying; NULL: nothing waits. */
struct sched_item *sched_any(const struct sched *s);

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
 * How many connections to open: enough that each waiting item has one that is free or being opened,
 * within the window and `room` (what the limit over all lanes leaves).
 */
uint32_t sched_connections(size_t waiting, uint32_t opening, uint32_t open, uint32_t window,
    uint32_t room);

#endif
