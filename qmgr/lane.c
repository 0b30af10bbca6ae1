/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "qmgr/authd.h"
#include "qmgr/conn.h"
#include "qmgr/lane.h"
#include "qmgr/list.h"
#include "qmgr/logline.h"
#include "qmgr/shape.h"
#include "qmgr/special.h"
#include "qmgr/store.h"

enum { IDLE_MS = 60000, PAUSE_MS = 5000 };

static uint64_t
lane_hash(const struct route *r)
{
	uint64_t more = (uint64_t)r->copy << 32 | (uint64_t)r->port << 16 | (uint64_t)r->tls << 8 | r->mx << 1 | r->auth;

	return hash_view(view_str(r->host), more);
}

static bool
same_route(const struct route *a, const struct route *b)
{
	return a->group == b->group && a->source == b->source && a->mx == b->mx && a->port == b->port && a->tls == b->tls && a->auth == b->auth &&
	    a->copy == b->copy &&
	    strcmp(a->host, b->host) == 0;
}

/* A28: out of its part of the period. */
static bool
tenant_stopped(void *ctx, const void *tenant)
{
	struct lane *lane = ctx;

	return !sched_share_now(((const struct tenant *)tenant)->factor, loop_now_ms(lane->q->loop)) ||
	       shape_tenant_full(lane, tenant);
}

static void
on_wake(struct loop_timer *t)
{
	lane_wake(CONTAINER(t, struct lane, wake));
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
	struct buf name = { .p = lane->name, .cap = sizeof(lane->name), .max = 300 };
	lane->q = q;
	lane->route = *route;
	lane->sched.stopped = tenant_stopped;
	lane->sched.ctx = lane;
	route_text(route, q->set.route.port, &name);
	list_init(&lane->conns);
	lane->wake.fire = on_wake;
	lane->source_name = x_strdup(route->source ? route->source->name : "");
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
	loop_timer_cancel(lane->q->loop, &lane->wake);
	pace_free(&lane->slow_pace);
	shape_leave(lane);
	table_del(&lane->q->lanes, &lane->node);
	free_reason(lane);
	free(lane->source_name);
	free(lane);
}

void
lane_wake(struct lane *lane)
{
	struct qmgr *q = lane->q;

	link_cut(&lane->runnable);
	list_put(&q->runnable, &lane->runnable);
	loop_post(q->loop, LOOP_WORK, &q->dispatch_task);
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
	item->sched.cost = 1;
	item->sched.level = (uint8_t)sched_level(message_priority(m));
	if (front)
		sched_put_back(&lane->sched, m->tenant, &item->sched);
	else
		sched_put(&lane->sched, m->tenant, &item->sched);
	lane->filling = item;
	return item;
}

static void
append(struct item *item, struct rcpt *r)
{
	r->item = item;
	r->next = NULL;
	if (item->tail)
		item->tail->next = r;
	else
		item->head = r;
	item->tail = r;
	item->count++;
	rcpt_set_state(r, R_READY);
}

/* The same message has the same source each time. */
static const struct conf_source *
source_of(const struct qmgr *q, const struct conf_route *rule, const struct group *g, uint64_t qid)
{
	const struct conf *c = q->d->conf;
	struct view pool = view_str(rule && *rule->pool ? rule->pool : g->pool);
	struct view source = view_str(rule ? rule->source : "");
	uint64_t total = 0, at = 0;

	for (size_t i = 0; source.n == 0 && i < c->pool_count; i++) {
		const struct conf_members *m = &c->pool[i].source;
		if (!view_is(pool, c->pool[i].name))
			continue;
		for (size_t k = 0; k < m->n; k++)
			total += m->v[k].weight;
		at = hash_u64(qid) % total;
		for (size_t k = 0; k < m->n && source.n == 0; at -= m->v[k++].weight)
			if (at < m->v[k].weight)
				source = view_str(m->v[k].name);
	}
	for (size_t i = 0; source.n && i < c->source_count; i++)
		if (view_is(source, c->source[i].name))
			return &c->source[i];
	return NULL;
}

/* J9: conditional routes, then the group's relay, then the transport map, relayhost, MX. */
static int
way_of(const struct rcpt *r, struct route *out, struct err *e)
{
	const struct message *m = r->m;
	const struct qmgr *q = m->q;
	const struct groups *g = q->set.groups;
	struct buf domain = BUF_INIT(256);
	struct view given = addr_domain(r->addr);
	struct route_facts f = { .sender = m->sender, .header_from = m->header_from,
		.tenant = view_str(m->tenant->name), .key = m->user, .tag = m->tag };
	const struct conf_route *rule = NULL;

	f.group = &g->general;
	if (g->domains.n || g->conf->route_count) {
		f.domain = domain_canonical(given, &domain) ? buf_view(&domain) : given;
		f.group = group_of_domain(g, f.domain);
		rule = route_choose(g, &f);
		if (rule && *rule->group)
			f.group = group_by_name(g, view_str(rule->group));
	}
	const struct relay *relay = rule && rule->relay.host ? &rule->relay : f.group->relay;
	*out = (struct route){ .port = q->set.route.port };
	int rc = relay->host ? route_to_relay(&q->set.route, relay, out, e) :
	    route_resolve(&q->set.route, given, out, e);
	out->tls = f.group->tls;
	out->group = f.group;
	out->source = source_of(q, rule, f.group, m->qid);
	buf_free(&domain);
	return rc;
}

void
lane_put(struct rcpt *r, bool front)
{
	struct message *m = r->m;
	struct qmgr *q = m->q;
	struct route route;
	struct err e;
	bool retry = r->attempts > 0;

	if (special_take(r))
		return;
	if ((r->kind == RCPT_COPY ? special_copy_route(q, &route, &e) :
	     way_of(r, &route, &e)) < 0) {
		struct outcome o = { .esc = e.esc, .text = view_str(e.text) };
		refuse(r, &o, e.class == ERR_PERM, NULL);
		return;
	}
	struct lane *lane = lane_get(q, &route);
	if (loop_now_ms(q->loop) < lane->rest_until_ms) {
		refuse(r, &lane->reason, false, lane->name);
		return;
	}
	struct item *item = lane->filling;
	if (item == NULL || item->m != m || item->sched.retry != retry)
		item = item_new(lane, m, retry, front);
	append(item, r);
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
	item->count--;
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
		r->item = NULL;
		last = r;
		item->count--;
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

/* Connections. */

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

/* The earliest of the times asked for. */
static void
wake_at(struct lane *lane, uint64_t until_us)
{
	struct loop *l = lane->q->loop;
	uint64_t now = qmgr_now(lane->q), ms = until_us > now ? (until_us - now) / 1000 + 1 : 1;

	if (until_us && (!loop_timer_armed(&lane->wake) || loop_now_ms(l) + ms < lane->wake.at_ms))
		loop_timer_set(l, &lane->wake, ms);
}

static void
open_connections(struct lane *lane)
{
	struct qmgr *q = lane->q;
	uint32_t window = window_size(&lane->window, shape_window(lane));
	uint32_t total = q->set.connections_total;
	uint32_t room = q->conns_open < total ? total - q->conns_open : 0;

	uint64_t until = 0;

	if (loop_now_ms(q->loop) < lane->open_after_ms)
		return;
	uint32_t limit = shape_connections(lane, &until);
	if (limit == 0)
		wake_at(lane, until);
	const struct sched_want w = { .waiting = lane->sched.waiting, .opening = lane->opening,
		.open = lane->ready, .window = window,
		.room = limit < room ? limit : room, .total = total,
		.total_used = q->conns_open, .proven = lane->proven };
	uint32_t want = sched_connections(&w);
	while (want-- && conn_open(lane) == 0)
		;
	if (room == 0 && lane->sched.waiting && list_empty(&lane->conns)) {
		/* All are taken: one that idles elsewhere makes room, or the next that ends. */
		link_cut(&lane->runnable);
		list_put(&q->starved, &lane->runnable);
		conn_close_idle(q);
	}
}

static bool
may_give(struct lane *lane, uint64_t *until_us)
{
	return lane->sched.waiting && shape_room(lane, until_us) && sched_peek(&lane->sched);
}

static void
dispatch(struct lane *lane)
{
	uint64_t until = 0, recover = shape_recover(lane);
	struct conn *c;

	wake_at(lane, recover);
	while (may_give(lane, &until) && (c = least_loaded(lane, 1)) != NULL)
		conn_give(c);
	if (may_give(lane, &until))
		open_connections(lane);
	/* Jobs ahead, so that a connection need not wait for us; what is being opened keeps its share. */
	while (lane->sched.waiting > lane->opening && may_give(lane, &until) &&
	    (c = least_loaded(lane, 1 + CONN_AHEAD)) != NULL)
		conn_give(c);
	if (lane->sched.waiting)
		wake_at(lane, until);
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
lanes_feed_starved(struct qmgr *q)
{
	if (!list_empty(&q->starved))
		lane_wake(CONTAINER(q->starved.next, struct lane, runnable));
}

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

/* A lane that paused may have nobody left to wake it. */
static void
sweep(void *ctx, struct table_node *n)
{
	struct lane *lane = CONTAINER(n, struct lane, node);
	uint64_t now = loop_now_ms(lane->q->loop);

	(void)ctx;
	if (lane->sched.waiting)
		lane_wake(lane);
	else if (list_empty(&lane->conns) && now >= lane->rest_until_ms &&
	    now - lane->idle_since_ms >= IDLE_MS)
		lane_free(lane);
}

void
lanes_sweep(struct qmgr *q)
{
	table_each(&q->lanes, sweep, q);
}

static void
free_one(void *ctx, struct table_node *n)
{
	struct lane *lane = CONTAINER(n, struct lane, node);
	struct sched_item *s;

	(void)ctx;
	while ((s = sched_any(&lane->sched)) != NULL) {
		struct item *item = CONTAINER(s, struct item, sched);
		sched_remove(&lane->sched, s);
		free(item);
	}
	lane_free(lane);
}

void
lanes_free(struct qmgr *q)
{
	table_each(&q->lanes, free_one, NULL);
	table_free(&q->lanes);
}

static void
rebind_one(void *ctx, struct table_node *n)
{
	struct lane *lane = CONTAINER(n, struct lane, node);
	struct qmgr *q = ctx;
	const struct group *g = group_by_name(q->set.groups, view_str(lane->route.group->name));
	const struct conf_source *source = NULL;

	for (size_t i = 0; lane->route.source && i < q->d->conf->source_count; i++)
		if (!strcmp(q->d->conf->source[i].name, lane->source_name))
			source = &q->d->conf->source[i];
	lane->route.group = g ? g : &q->set.groups->general;
	lane->route.source = source;
	lane->shaper->group = lane->route.group;
}

/* Out of the lane, behind the list that ctx points to the end of. */
static void
empty_one(void *ctx, struct table_node *n)
{
	struct lane *lane = CONTAINER(n, struct lane, node);
	struct rcpt ***end = ctx;
	struct sched_item *s;

	while ((s = sched_any(&lane->sched)) != NULL) {
		struct rcpt *r = CONTAINER(s, struct item, sched)->head;
		lane_cut(r);
		**end = r;
		*end = &r->next;
	}
}

void
lanes_rebind(struct qmgr *q)
{
	struct rcpt *list = NULL, **end = &list, *r;

	table_each(&q->lanes, rebind_one, q);
	table_each(&q->lanes, empty_one, &end);
	*end = NULL;
	while ((r = list) != NULL) {
		list = r->next;
		r->next = NULL;
		lane_put(r, false);
	}
}
