/* SPDX-License-Identifier: ISC */
/*
 * A lane: what waits for one next hop under one policy, and the connections that take it there.
 * Recipients of one message that go the same way wait as one item.
 */
#ifndef EKIDEN_QMGR_LANE_H
#define EKIDEN_QMGR_LANE_H

#include "qmgr/message.h"
#include "qmgr/sched.h"

struct shaper;
struct conn;
struct site;

struct lane {
	struct table_node node;
	struct link runnable; /* in qmgr.runnable or qmgr.starved */
	struct link site_link; /* in its site's lanes */
	struct link slot;      /* in starved of its shaper or source, or qmgr.untried */
	struct qmgr *q;
	struct route route;
	struct sched sched;
	struct window window;
	struct shaper *shaper;	 /* limits, shared by the lanes of a group */
	struct backoff backoff;
	char *backoff_cause;	 /* reply of the last signal; NULL: none */
	struct pace slow_pace;	 /* under backoff.cap */
	uint64_t minute_us;	 /* begin of this_minute */
	uint32_t this_minute, last_minute; /* recipients given to connections */
	struct loop_timer wake;	 /* when a limit frees */
	struct link conns;	 /* all of them */
	uint32_t opening, ready; /* connections */
	bool proven;		 /* has done a job */
	bool displaced;		 /* what waits may find a better way */
	uint64_t rest_until_ms;	 /* monotonic: what comes is deferred with `reason` */
	uint64_t open_after_ms;	 /* no further connection before this */
	uint64_t idle_since_ms;
	struct item *filling;	 /* the item put last, while it waits */
	struct outcome reason;	 /* views own their memory (reason_text, reason_relay) */
	char *reason_text, *reason_relay;
	char name[320];
};

struct item {
	struct sched_item sched;
	struct lane *lane;
	struct message *m;
	struct rcpt *head, *tail;
	uint32_t count;
};

/* Puts r (in no lane) where its route leads. front: it came back untried. */
void lane_put(struct rcpt *r, bool front);
/* Takes an R_READY recipient out; it is R_NEW then. */
void lane_cut(struct rcpt *r);
/* Work or a connection came: looked at later in this turn. */
void lane_wake(struct lane *lane);
void lanes_dispatch(struct loop_task *t); /* of qmgr.dispatch_task */
void lanes_wake_all(struct qmgr *q);
void lanes_wake_site(struct site *site);
/* The hosts of the domain are others now: what waits for it at its former site finds its way anew. */
void lanes_rehome(struct dest *d, struct site *from);
/* A connection could not be set up; permanent: it never will be. */
void lane_failed(struct lane *lane, const struct outcome *o, bool permanent);
/* Ends a rest: the admin wants a try now. */
void lane_unrest(struct lane *lane);
void lanes_unrest_all(struct qmgr *q);
/* A connection of this lane is gone: the next lanes that wait for one. */
void lanes_feed_starved(struct lane *lane);
/* Its source cannot be used any more: when it is its turn, what waits finds its way anew. */
void lane_displace(struct lane *lane);
void lane_put_anew(struct lane *lane);
void lanes_displace_all(struct qmgr *q);
/* Frees lanes that nobody used for a while. */
void lanes_sweep(struct qmgr *q);
/* New settings: lanes get their group and source by name; what waits finds its way anew. */
void lanes_rebind(struct qmgr *q);
/* Counts of an item's recipients taken for a job: the first n, in a list of their own. */
struct rcpt *item_take(struct item *item, uint32_t n);

#endif
