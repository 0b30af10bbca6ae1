/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "qmgr/authd.h"
#include "qmgr/dest.h"
#include "qmgr/lane.h"
#include "qmgr/list.h"
#include "qmgr/logline.h"
#include "qmgr/pause.h"
#include "qmgr/shape.h"
#include "qmgr/special.h"
#include "qmgr/way.h"

enum { IDLE_MS = 60000, PAUSE_MS = 5000 };

static uint64_t
lane_hash(const struct route *r)
{
	uint64_t more = (uint64_t)r->copy << 32 | (uint64_t)r->port << 16 | (uint64_t)r->tls << 8 | r->mx << 1 | r->auth;

	return r->site ? hash_u64((uint64_t)(uintptr_t)r->site ^ more) : hash_view(view_str(r->host), more);
}

static bool
same_route(const struct route *a, const struct route *b)
{
	return a->site == b->site && a->group == b->group && a->source == b->source && a->mx == b->mx &&
	    a->port == b->port && a->tls == b->tls && a->auth == b->auth && a->copy == b->copy &&
	    (a->site || strcmp(a->host, b->host) == 0);
}

static bool
tenant_stopped(void *ctx, const void *tenant)
{
	struct stop why;

	return lane_tenant_stop(ctx, tenant, &why);
}

static void
on_wake(struct loop_timer *t)
{
	lane_wake(CONTAINER(t, struct lane, wake));
}

static uint32_t
tenant_weight(void *ctx, const void *tenant)
{
	(void)ctx;
	return ((const struct tenant *)tenant)->weight;
}

/* That of its site, where it has one: no domain of several. */
static void
set_name(struct lane *lane)
{
	const struct route *r = &lane->route;
	uint16_t port = lane->q->set.route.port;
	struct buf name = { .p = lane->name, .cap = sizeof(lane->name), .max = 300 };

	if (r->site == NULL) {
		route_text(r, port, &name);
		return;
	}
	buf_printf(&name, "%s%s", r->copy ? "copy:" : "", r->site->name);
	if (r->port != port)
		buf_printf(&name, ":%u", r->port);
}

static struct lane *
lane_get(struct qmgr *q, const struct route *route)
{
	uint64_t hash = lane_hash(route);

	for (struct table_node *n = table_first(&q->lanes, hash); n; n = table_next(n)) {
		struct lane *lane = CONTAINER(n, struct lane, node);
		if (same_route(&lane->route, route))
			return lane;
	}
	struct lane *lane = x_calloc(1, sizeof(*lane));
	lane->q = q;
	lane->route = *route;
	lane->sched.stopped = tenant_stopped;
	lane->sched.weight = tenant_weight;
	lane->sched.ctx = lane;
	set_name(lane);
	if (route->site)
		list_put(&site_ref(route->site)->lanes, &lane->site_link);
	list_init(&lane->conns);
	lane->wake.fire = on_wake;
	shape_join(lane);
	table_put(&q->lanes, &lane->node, hash);
	return lane;
}

static void
free_reason(struct lane *lane)
{
	free(lane->reason_text);
	free(lane->reason_relay);
	lane->reason_text = lane->reason_relay = NULL;
}

static void
lane_free(struct lane *lane)
{
	link_cut(&lane->runnable);
	link_cut(&lane->slot);
	loop_timer_cancel(lane->q->loop, &lane->wake);
	pace_free(&lane->slow_pace);
	free(lane->backoff_cause);
	shape_leave(lane);
	table_del(&lane->q->lanes, &lane->node);
	link_cut(&lane->site_link);
	if (lane->route.site)
		site_unref(lane->q, lane->route.site);
	free_reason(lane);
	free(lane);
}

/* The route says no, or the lane rests: decided without a connection. */
static void
refuse(struct rcpt *r, const struct outcome *o, bool permanent, const char *lane)
{
	logline_rcpt(r, o, permanent ? "bounced" : "deferred", lane);
	outcomes_count(r, permanent ? OUTCOME_FAILED : OUTCOME_DEFERRED);
	if (permanent)
		rcpt_bounce(r, o);
	else
		rcpt_defer(r, o);
	event_rcpt(r, permanent ? EVENT_bounced : EVENT_deferred);
}

static struct item *
item_new(struct lane *lane, struct message *m, bool retry, bool front)
{
	struct item *item = x_calloc(1, sizeof(*item));

	item->lane = lane;
	item->m = m;
	item->sched.retry = retry;
	item->sched.cost = 1; /* until recipients are added */
	item->sched.level = (uint8_t)sched_level(message_priority(m));
	if (front)
		sched_put_back(&lane->sched, m->tenant, &item->sched);
	else
		sched_put(&lane->sched, m->tenant, &item->sched);
	lane->filling = item;
	return item;
}

/* A turn takes no more of them than one transaction holds. */
static void
set_count(struct item *item, uint32_t count)
{
	uint32_t most = item->lane->shaper->group->recipients_per_message;

	item->count = count;
	item->sched.cost = count < most ? count : most;
}

static void
append(struct item *item, struct rcpt *r, struct dest *dest)
{
	r->item = item;
	r->dest = dest;
	if (dest)
		dest->waiting++;
	r->next = NULL;
	if (item->tail)
		item->tail->next = r;
	else
		item->head = r;
	item->tail = r;
	set_count(item, item->count + 1);
	rcpt_set_state(r, R_READY);
}

void
lane_put(struct rcpt *r, bool front)
{
	struct message *m = r->m;
	struct qmgr *q = m->q;
	bool retry = r->attempts > 0;
	struct way way;
	struct err e;

	if (special_take(r))
		return;
	if (way_find(r, &way, &e) < 0) {
		struct outcome o = { .esc = e.esc, .text = view_str(e.text) };
		refuse(r, &o, e.class == ERR_PERM, NULL);
		return;
	}
	const struct pause *pause = q->pauses ? pause_find(r, &way) : NULL;
	if (pause) {
		pause_wait(r, pause);
		return;
	}
	struct lane *lane = lane_get(q, &way.route);
	if (loop_now_ms(q->loop) < lane->rest_until_ms) {
		refuse(r, &lane->reason, false, lane->name);
		return;
	}
	struct item *item = lane->filling;
	if (item == NULL || item->m != m || item->sched.retry != retry)
		item = item_new(lane, m, retry, front);
	append(item, r, way.dest);
	lane_wake(lane);
}

static void
item_free(struct item *item)
{
	if (item->lane->filling == item)
		item->lane->filling = NULL;
	if (item->sched.tenant)
		sched_remove(&item->lane->sched, &item->sched);
	free(item);
}

static void
leave_dest(struct rcpt *r)
{
	if (r->dest)
		r->dest->waiting--;
	r->dest = NULL;
}

void
lane_cut(struct rcpt *r)
{
	struct item *item = r->item;
	struct rcpt **at = &item->head, *prev = NULL;

	for (; *at != r; at = &(*at)->next)
		prev = *at;
	*at = r->next;
	if (item->tail == r)
		item->tail = prev;
	set_count(item, item->count - 1);
	leave_dest(r);
	r->item = NULL;
	r->next = NULL;
	rcpt_set_state(r, R_NEW);
	if (item->count == 0)
		item_free(item);
}

struct rcpt *
item_take(struct item *item, uint32_t n)
{
	struct lane *lane = item->lane;
	struct rcpt *list = item->head, *last = NULL;

	for (struct rcpt *r = list; r && n--; r = r->next) {
		leave_dest(r);
		r->item = NULL;
		last = r;
		set_count(item, item->count - 1);
	}
	if (last == NULL)
		return NULL;
	item->head = last->next;
	last->next = NULL;
	if (item->count == 0) {
		item_free(item);
	} else {
		if (lane->filling == item)
			lane->filling = NULL;
		sched_put_back(&lane->sched, item->m->tenant, &item->sched);
	}
	return list;
}

/* A next hop in trouble. */

/* Everything that waits is refused with the reason; it cannot come back into this lane now. */
static void
refuse_all(struct lane *lane, const struct outcome *o, bool permanent)
{
	struct sched_item *s;

	while ((s = sched_any(&lane->sched)) != NULL) {
		struct item *item = CONTAINER(s, struct item, sched);
		struct rcpt *r = item->head;
		lane_cut(r);
		refuse(r, o, permanent, lane->name);
	}
}

static void
rest(struct lane *lane, const struct outcome *o)
{
	struct qmgr *q = lane->q;

	free_reason(lane);
	lane->reason_text = x_strndup(o->text);
	lane->reason_relay = x_strndup(o->relay);
	lane->reason = *o;
	lane->reason.text = view_str(lane->reason_text);
	lane->reason.relay = view_str(lane->reason_relay);
	lane->rest_until_ms = loop_now_ms(q->loop) + retry_wait_s(lane->route.group->retry, 1) * 1000;
}

void
lane_failed(struct lane *lane, const struct outcome *o, bool permanent)
{
	window_bad(&lane->window);
	if (!permanent && lane->ready + lane->opening > 0) {
		/* Others work or may: the host just does not want so many. */
		lane->open_after_ms = loop_now_ms(lane->q->loop) + PAUSE_MS;
		lane_wake(lane);
		return;
	}
	if (!permanent)
		rest(lane, o);
	refuse_all(lane, permanent ? o : &lane->reason, permanent);
}

void
lane_unrest(struct lane *lane)
{
	lane->rest_until_ms = lane->open_after_ms = 0;
	lane_wake(lane);
}

static void
unrest(void *ctx, struct table_node *n)
{
	(void)ctx;
	lane_unrest(CONTAINER(n, struct lane, node));
}

void
lanes_unrest_all(struct qmgr *q)
{
	table_each(&q->lanes, unrest, NULL);
}

/* All lanes. */

/* A lane that paused may have nobody left to wake it. */
static void
sweep(void *ctx, struct table_node *n)
{
	struct lane *lane = CONTAINER(n, struct lane, node);
	uint64_t now = loop_now_ms(lane->q->loop);

	(void)ctx;
	shape_recover(lane);
	if (lane->sched.waiting)
		lane_wake(lane);
	else if (list_empty(&lane->conns) && now >= lane->rest_until_ms && !backoff_active(&lane->backoff) &&
	    now - lane->idle_since_ms >= IDLE_MS)
		lane_free(lane);
}

void
lanes_sweep(struct qmgr *q)
{
	table_each(&q->lanes, sweep, q);
}

static void
rebind_one(void *ctx, struct table_node *n)
{
	struct lane *lane = CONTAINER(n, struct lane, node);
	struct qmgr *q = ctx;
	const struct group *g = group_by_name(q->set.groups, view_str(lane->route.group->name));

	lane->route.group = g ? g : &q->set.groups->general;
	lane->shaper->group = lane->route.group;
}

/* Recipients out of their lanes, in order, to find their ways anew. */
struct movers {
	struct rcpt *list, **end;
	struct dest *dest; /* rehoming: of this one */
	struct buf items;  /* with some of them */
};

static void
move_out(struct movers *v, struct rcpt *r)
{
	lane_cut(r);
	*v->end = r;
	v->end = &r->next;
}

static void
put_anew(struct movers *v)
{
	struct rcpt *r;

	*v->end = NULL;
	while ((r = v->list) != NULL) {
		v->list = r->next;
		r->next = NULL;
		lane_put(r, false);
	}
}

static void
empty_one(void *ctx, struct table_node *n)
{
	struct lane *lane = CONTAINER(n, struct lane, node);
	struct sched_item *s;

	while ((s = sched_any(&lane->sched)) != NULL)
		move_out(ctx, CONTAINER(s, struct item, sched)->head);
}

void
lane_displace(struct lane *lane)
{
	lane->displaced = true;
	lane_wake(lane);
}

static void
displace_one(void *ctx, struct table_node *n)
{
	(void)ctx;
	lane_displace(CONTAINER(n, struct lane, node));
}

void
lanes_displace_all(struct qmgr *q)
{
	table_each(&q->lanes, displace_one, NULL);
}

void
lane_put_anew(struct lane *lane)
{
	struct movers v = { .end = &v.list };

	lane->displaced = false;
	empty_one(&v, &lane->node);
	put_anew(&v);
}

void
lanes_rebind(struct qmgr *q)
{
	struct movers v = { .end = &v.list };

	table_each(&q->lanes, rebind_one, q);
	table_each(&q->lanes, empty_one, &v);
	put_anew(&v);
}

static bool
note_item(void *ctx, struct sched_item *s)
{
	struct movers *v = ctx;
	struct item *item = CONTAINER(s, struct item, sched);

	for (const struct rcpt *r = item->head; r; r = r->next)
		if (r->dest == v->dest) {
			buf_put(&v->items, &item, sizeof(item));
			break;
		}
	return true;
}

void
lanes_rehome(struct dest *d, struct site *from)
{
	struct movers v = { .end = &v.list, .dest = d, .items = BUF_INIT(SIZE_MAX / 2) };
	struct item *item;

	if (d->waiting == 0)
		return;
	LIST_EACH(&from->lanes, l, after)
		sched_each_item(&CONTAINER(l, struct lane, site_link)->sched, note_item, &v);
	for (struct view all = buf_view(&v.items); all.n; all = view_skip(all, sizeof(item))) {
		memcpy(&item, all.p, sizeof(item));
		for (struct rcpt *r = item->head, *next; r; r = next) {
			next = r->next; /* the item goes with its last one */
			if (r->dest == d)
				move_out(&v, r);
		}
	}
	buf_free(&v.items);
	put_anew(&v);
}
