/* SPDX-License-Identifier: ISC */
/* Lanes that have something to do: connections are opened, and given work. */
#include "qmgr/conn.h"
#include "qmgr/list.h"
#include "qmgr/shape.h"
#include "qmgr/site.h"
#include "qmgr/source.h"

void
lane_wake(struct lane *lane)
{
	struct qmgr *q = lane->q;

	link_cut(&lane->runnable);
	list_put(&q->runnable, &lane->runnable);
	loop_post(q->loop, LOOP_WORK, &q->dispatch_task);
}

static struct conn *
least_loaded(struct lane *lane, uint32_t below)
{
	struct conn *best = NULL;

	LIST_EACH(&lane->conns, l, after) {
		struct conn *c = CONTAINER(l, struct conn, lane_link);
		if (c->state == LINK_READY && c->jobs < below && (best == NULL || c->jobs < best->jobs))
			best = c;
		if (best && best->jobs == 0)
			break;
	}
	return best;
}

/* The earliest of the times asked for; 0: none. */
static void
wake_at(struct lane *lane, uint64_t until_us)
{
	struct loop *l = lane->q->loop;
	uint64_t now = qmgr_now(lane->q), ms = until_us > now ? (until_us - now) / 1000 + 1 : 1;

	if (until_us && (!loop_timer_armed(&lane->wake) || loop_now_ms(l) + ms < lane->wake.at_ms))
		loop_timer_set(l, &lane->wake, ms);
}

/* All are taken: one that idles elsewhere makes room, or the next that ends. */
static void
starve(struct lane *lane, enum stop_cause cause)
{
	struct qmgr *q = lane->q;

	if (cause == STOP_CONNECTIONS_TOTAL) {
		link_cut(&lane->runnable);
		list_put(&q->starved, &lane->runnable);
		conn_close_idle(q, NULL, NULL);
	}
	if (link_in(&lane->slot))
		return;
	if (cause == STOP_RESERVED)
		list_put(&q->untried, &lane->slot);
	if (cause != STOP_CONNECTIONS && cause != STOP_SOURCE_CONNECTIONS)
		return;
	bool shared = cause == STOP_CONNECTIONS;
	list_put(shared ? &lane->shaper->starved : &lane->route.source->starved, &lane->slot);
	conn_close_idle(q, shared ? lane->shaper : NULL, shared ? NULL : lane->route.source);
}

static void
open_connections(struct lane *lane)
{
	struct qmgr *q = lane->q;
	struct stop why = { .cause = STOP_NONE };
	const struct sched_want w = { .waiting = lane->sched.waiting, .opening = lane->opening,
		.open = lane->ready, .window = window_size(&lane->window, shape_window(lane)),
		.room = shape_connections(lane, &why), .total = q->set.connections_total,
		.total_used = q->conns_open, .proven = lane->proven };
	uint32_t want = sched_connections(&w);

	if (want == 0 && !lane->proven && sched_reserved(w.total, w.total_used))
		why.cause = STOP_RESERVED;
	wake_at(lane, why.until_us);
	while (want-- && conn_open(lane) == 0)
		;
	if (list_empty(&lane->conns))
		starve(lane, why.cause);
}

static bool
may_give(struct lane *lane, struct stop *why)
{
	return lane->sched.waiting && shape_room(lane, why) && sched_peek(&lane->sched);
}

static void
dispatch(struct lane *lane)
{
	struct stop why = { .cause = STOP_NONE };
	struct conn *c;

	if (lane->displaced)
		lane_put_anew(lane);
	wake_at(lane, shape_recover(lane));
	while (may_give(lane, &why) && (c = least_loaded(lane, 1)) != NULL)
		conn_give(c);
	if (may_give(lane, &why))
		open_connections(lane);
	/* Jobs ahead, so that a connection need not wait for us; what is being opened keeps its share. */
	while (lane->sched.waiting > lane->opening && may_give(lane, &why) &&
	    (c = least_loaded(lane, 1 + CONN_AHEAD)) != NULL)
		conn_give(c);
	if (lane->sched.waiting)
		wake_at(lane, why.until_us);
	if (lane->sched.waiting == 0)
		lane->idle_since_ms = loop_now_ms(lane->q->loop);
}

void
lanes_dispatch(struct loop_task *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, dispatch_task);

	/* dispatch() may wake a lane again (content that cannot be read): that waits for the next round. */
	struct link round = q->runnable;
	if (list_empty(&q->runnable) || q->draining)
		return;
	round.next->prev = round.prev->next = &round;
	list_init(&q->runnable);
	while (!list_empty(&round)) {
		struct lane *lane = CONTAINER(round.next, struct lane, runnable);
		link_cut(&lane->runnable);
		dispatch(lane);
	}
}

static void
wake_waiting(void *ctx, struct table_node *n)
{
	struct lane *lane = CONTAINER(n, struct lane, node);

	(void)ctx;
	if (lane->sched.waiting)
		lane_wake(lane);
}

void
lanes_wake_all(struct qmgr *q)
{
	table_each(&q->lanes, wake_waiting, NULL);
}

void
lanes_wake_site(struct site *site)
{
	LIST_EACH(&site->lanes, l, after)
		lane_wake(CONTAINER(l, struct lane, site_link));
}

static void
feed(struct link *starved)
{
	if (list_empty(starved))
		return;
	struct lane *lane = CONTAINER(starved->next, struct lane, slot);
	link_cut(&lane->slot);
	lane_wake(lane);
}

void
lanes_feed_starved(struct lane *lane)
{
	struct qmgr *q = lane->q;

	feed(&lane->shaper->starved);
	if (lane->route.source)
		feed(&lane->route.source->starved);
	if (!sched_reserved(q->set.connections_total, q->conns_open))
		feed(&q->untried);
	if (!list_empty(&q->starved))
		lane_wake(CONTAINER(q->starved.next, struct lane, runnable));
}
