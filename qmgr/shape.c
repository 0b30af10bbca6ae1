/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "qmgr/keep.h"
#include "qmgr/list.h"
#include "qmgr/logline.h"
#include "qmgr/shape.h"
#include "qmgr/site.h"

enum { MINUTE_US = 60000000 };

/* What one tenant has under way at a shaper; there while it has jobs or a pace. */
struct share {
	struct table_node node;
	const struct tenant *tenant;
	uint32_t jobs;
	struct pace pace;
};

static struct shaper *
find(struct qmgr *q, struct view key, uint64_t hash)
{
	for (struct table_node *n = table_first(&q->shapers, hash); n; n = table_next(n)) {
		struct shaper *s = CONTAINER(n, struct shaper, node);
		if (view_is(key, s->key))
			return s;
	}
	return NULL;
}

/* Whatever source and TLS policy lead to it: a site is one destination. Copies are counted for themselves. */
void
shape_key(const struct route *r, struct buf *key)
{
	if (*r->group->name)
		buf_printf(key, "group %s", r->group->name);
	else
		buf_printf(key, "%s %s:%u", r->copy ? "copy" : "site", r->site ? r->site->key : r->host, r->port);
}

static struct shaper *
get(struct qmgr *q, struct view key, const char *name)
{
	uint64_t hash = hash_view(key, 0);
	struct shaper *s = find(q, key, hash);

	if (s)
		return s;
	s = x_calloc(1, sizeof(*s));
	s->key = x_strndup(key);
	s->name = x_strdup(name);
	list_init(&s->starved);
	table_put(&q->shapers, &s->node, hash);
	return s;
}

struct shaper *
shaper_of_group(struct qmgr *q, const struct group *g)
{
	const struct route r = { .group = g };
	struct buf key = BUF_INIT(SITE_BYTES_MAX);

	shape_key(&r, &key);
	struct shaper *s = get(q, buf_view(&key), g->name);
	s->group = g;
	buf_free(&key);
	return s;
}

void
shape_join(struct lane *lane)
{
	struct qmgr *q = lane->q;
	const struct group *g = lane->route.group;
	struct buf key = BUF_INIT(2 * SITE_BYTES_MAX);

	shape_key(&lane->route, &key);
	struct shaper *s = get(q, buf_view(&key), *g->name ? g->name : lane->name);
	s->group = g;
	s->lanes++;
	lane->shaper = s;
	buf_free(&key);
}

static void
free_share(void *ctx, struct table_node *n)
{
	struct share *h = CONTAINER(n, struct share, node);

	table_del(ctx, n);
	pace_free(&h->pace);
	free(h);
}

/* A pace outlives its lanes: it goes when it holds nothing back any more (shapers_sweep). */
void
shape_leave(struct lane *lane)
{
	lane->shaper->lanes--;
	lane->shaper = NULL;
}

static void
sweep_one(void *ctx, struct table_node *n)
{
	struct qmgr *q = ctx;
	struct shaper *s = CONTAINER(n, struct shaper, node);
	uint64_t now = qmgr_now(q);

	if (s->lanes)
		return;
	bool holds = pace_room(&s->rate, &s->group->rate, now) < s->group->rate.n ||
	    pace_room(&s->connect, &s->group->connect_rate, now) < s->group->connect_rate.n;
	if (holds)
		return;
	keep_drop_pace(q, s);
	table_del(&q->shapers, n);
	table_each(&s->tenants, free_share, &s->tenants);
	table_free(&s->tenants);
	pace_free(&s->rate);
	pace_free(&s->connect);
	free(s->key);
	free(s->name);
	free(s);
}

static void
rebind_one(void *ctx, struct table_node *n)
{
	struct qmgr *q = ctx;
	struct shaper *s = CONTAINER(n, struct shaper, node);
	const struct group *g = group_by_name(q->set.groups, view_str(s->group->name));

	s->group = g ? g : &q->set.groups->general;
}

void
shapers_rebind(struct qmgr *q)
{
	table_each(&q->shapers, rebind_one, q);
}

void
shapers_sweep(struct qmgr *q)
{
	table_each(&q->shapers, sweep_one, q);
}

static struct share *
share_of(struct shaper *s, const struct tenant *t, bool make)
{
	uint64_t hash = hash_u64((uint64_t)(uintptr_t)t);

	for (struct table_node *n = table_first(&s->tenants, hash); n; n = table_next(n)) {
		struct share *h = CONTAINER(n, struct share, node);
		if (h->tenant == t)
			return h;
	}
	if (!make)
		return NULL;
	struct share *h = x_calloc(1, sizeof(*h));
	h->tenant = t;
	table_put(&s->tenants, &h->node, hash);
	return h;
}

/* When the group's hours let mail go, in queue time; now: they do. */
static uint64_t
hours_until(const struct lane *lane, uint64_t now_us)
{
	const struct group *g = lane->shaper->group;
	struct hours h = g->hours;

	if (h.nquiet == 0 && h.full_hour_s == 0)
		return now_us;
	uint64_t wall = qmgr_wall(lane->q, now_us);
	if (g->local_hours)
		h.offset_s = host_offset_s(wall);
	uint64_t open = hours_open_at(&h, wall);
	return open == wall ? now_us : now_us + (open - wall);
}

static uint32_t
least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void
stop_at(struct stop *why, enum stop_cause cause, uint64_t until_us)
{
	*why = (struct stop){ .cause = cause, .until_us = until_us };
}

static void
stop_count(struct stop *why, enum stop_cause cause, uint32_t used, uint32_t limit)
{
	*why = (struct stop){ .cause = cause, .used = used, .limit = limit };
}

/* What may go by a rate; 0 with *why. */
static uint32_t
rate_room(struct pace *p, const struct pace_limit *l, uint64_t now, enum stop_cause cause, struct stop *why)
{
	uint32_t room = pace_room(p, l, now);

	if (room == 0)
		*why = (struct stop){ cause, pace_next_us(p, l, now), p->used, l->n, l->per_ms };
	return room;
}

/* What holds back all of a lane until a time. */
static bool
closed(const struct lane *lane, uint64_t now, struct stop *why)
{
	const struct shaper *s = lane->shaper;
	uint64_t open = hours_until(lane, now);

	if (lane->route.site && lane->route.site->state == SITE_RESOLVING)
		stop_at(why, STOP_RESOLVING, 0);
	else if (open > now)
		stop_at(why, STOP_HOURS, open);
	else if (lane->backoff.paused_until_us > now)
		stop_at(why, STOP_PAUSED_BACKOFF, lane->backoff.paused_until_us);
	else if (s->next_us > now)
		stop_at(why, STOP_INTERVAL, s->next_us);
	else
		return false;
	return true;
}

uint32_t
shape_room(struct lane *lane, struct stop *why)
{
	struct shaper *s = lane->shaper;
	uint64_t now = qmgr_now(lane->q);

	if (closed(lane, now, why))
		return 0;
	uint32_t room = rate_room(&s->rate, &s->group->rate, now, STOP_RATE, why);
	if (room)
		room = least(room, rate_room(&lane->slow_pace, &lane->backoff.cap, now, STOP_RATE_BACKOFF, why));
	return room ? least(room, source_room(lane, why)) : 0;
}

bool
lane_tenant_stop(struct lane *lane, const struct tenant *t, struct stop *why)
{
	const struct group *g = lane->shaper->group;
	uint64_t now_ms = loop_now_ms(lane->q->loop), now = qmgr_now(lane->q);

	if (!sched_share_now(t->factor, now_ms)) {
		stop_at(why, STOP_TENANT_PACE, now + sched_period_left_ms(now_ms) * 1000);
		return true;
	}
	if (g->tenant_connections == 0 && g->tenant_rate.n == 0)
		return false;
	struct share *h = share_of(lane->shaper, t, false);
	if (h && g->tenant_connections && h->jobs >= g->tenant_connections) {
		stop_count(why, STOP_TENANT_CONNECTIONS, h->jobs, g->tenant_connections);
		return true;
	}
	return h && rate_room(&h->pace, &g->tenant_rate, now, STOP_TENANT_RATE, why) == 0;
}

struct first {
	uint64_t now, until;
	const struct pace_limit *limit;
};

static void
first_of(void *ctx, struct table_node *n)
{
	struct first *f = ctx;
	uint64_t next = pace_next_us(&CONTAINER(n, struct share, node)->pace, f->limit, f->now);

	if (next > f->now && (f->until == 0 || next < f->until))
		f->until = next;
}

uint64_t
shape_tenant_until(struct lane *lane)
{
	struct first f = { .now = qmgr_now(lane->q), .limit = &lane->shaper->group->tenant_rate };

	if (f.limit->n)
		table_each(&lane->shaper->tenants, first_of, &f);
	return f.until;
}

uint32_t
shape_window(const struct lane *lane)
{
	return backoff_connections(&lane->backoff, lane->shaper->group->connections);
}

uint32_t
shape_connections(struct lane *lane, struct stop *why)
{
	struct qmgr *q = lane->q;
	struct shaper *s = lane->shaper;
	const struct group *g = s->group;
	uint64_t now = qmgr_now(q), now_ms = loop_now_ms(q->loop);
	uint32_t total = q->set.connections_total;

	if (now_ms < lane->open_after_ms) {
		stop_at(why, STOP_CONNECT_PAUSE, now + (lane->open_after_ms - now_ms) * 1000);
		return 0;
	}
	uint32_t room = rate_room(&s->connect, &g->connect_rate, now, STOP_CONNECT_RATE, why);
	if (room == 0)
		return 0;
	if (s->conns >= g->connections) {
		stop_count(why, STOP_CONNECTIONS, s->conns, g->connections);
		return 0;
	}
	if (q->conns_open >= total) {
		stop_count(why, STOP_CONNECTIONS_TOTAL, q->conns_open, total);
		return 0;
	}
	return least(least(room, g->connections - s->conns), least(total - q->conns_open, source_connections(lane, why)));
}

void
lane_stop(struct lane *lane, struct stop *why)
{
	const struct qmgr *q = lane->q;
	uint32_t have = lane->ready + lane->opening, total = q->set.connections_total;
	uint32_t window = window_size(&lane->window, shape_window(lane));

	stop_at(why, STOP_NONE, 0);
	if (shape_room(lane, why) == 0 || shape_connections(lane, why) == 0)
		return;
	if (have >= window)
		stop_count(why, STOP_WINDOW, have, window);
	else if (!lane->proven && sched_reserved(total, q->conns_open))
		stop_count(why, STOP_RESERVED, q->conns_open, total);
}

/* Whether anything is to be counted for single tenants. */
static bool
by_tenant(const struct group *g)
{
	return g->tenant_connections || g->tenant_rate.n;
}

void
shape_begin(struct lane *lane, struct tenant *t, uint32_t n)
{
	struct shaper *s = lane->shaper;
	const struct group *g = s->group;
	uint64_t now = qmgr_now(lane->q);

	pace_take(&s->rate, &g->rate, now, n);
	keep_pace(lane->q, s);
	source_begin(lane, n);
	pace_take(&lane->slow_pace, &lane->backoff.cap, now, n);
	if (now - lane->minute_us >= MINUTE_US) {
		lane->last_minute = now - lane->minute_us < 2 * MINUTE_US ? lane->this_minute : 0;
		lane->this_minute = 0;
		lane->minute_us = now;
	}
	lane->this_minute += n;
	if (g->interval_ms)
		s->next_us = now + (uint64_t)g->interval_ms * 1000;
	if (!by_tenant(g))
		return;
	struct share *h = share_of(s, t, true);
	h->jobs++;
	pace_take(&h->pace, &g->tenant_rate, now, n);
}

void
shape_end(struct lane *lane, struct tenant *t, uint32_t untried)
{
	struct shaper *s = lane->shaper;
	/* Also where the limit went away meanwhile: its counts must not stay. */
	struct share *h = s->tenants.count ? share_of(s, t, false) : NULL;

	pace_give_back(&s->rate, untried);
	source_give_back(lane, untried);
	if (h == NULL || h->jobs == 0)
		return;
	h->jobs--;
	pace_give_back(&h->pace, untried);
	if (h->jobs == 0 && pace_room(&h->pace, &s->group->tenant_rate, qmgr_now(lane->q)) >= s->group->tenant_rate.n)
		free_share(&s->tenants, &h->node);
}

void
shape_connect(struct lane *lane)
{
	lane->shaper->conns++;
	if (lane->route.source)
		lane->route.source->conns++;
	pace_take(&lane->shaper->connect, &lane->shaper->group->connect_rate, qmgr_now(lane->q), 1);
}

void
shape_disconnect(struct lane *lane)
{
	lane->shaper->conns--;
	if (lane->route.source)
		lane->route.source->conns--;
}

/* Back-off. */

static const struct backoff_order *
order_for(const struct lane *lane, struct view throttle, uint8_t event)
{
	static const struct backoff_order slow = { BACKOFF_SLOW, 0, 0 }, pause = { BACKOFF_PAUSE, 0, 0 };
	const struct group *g = lane->shaper->group;

	if (g->fixed)
		return NULL;
	if (throttle.n) {
		const struct throttle_rule *r = throttle_by_name(lane->q->set.groups, throttle);
		return r ? &r->order : NULL;
	}
	if (event != CONN_EVENT_RESET && event != CONN_EVENT_REFUSED)
		return NULL;
	return g->on_reset == CONF_RESET_slow ? &slow : g->on_reset == CONF_RESET_pause ? &pause : NULL;
}

static void
tell(const struct lane *lane, enum event_type type, struct view rule, const struct outcome *why, struct view what)
{
	const struct source *source = lane->route.source;
	struct event e = { .type = type, .lane = view_str(lane->name), .site = view_str(lane->shaper->name),
		.source.name = view_str(source ? source->name : "") };

	if (why) {
		e.code = why->code;
		e.esc = why->esc;
		e.text = why->text;
		e.relay = why->relay;
	}
	log_info("lane %s%s%s: %.*s%s%.*s", lane->name, source ? " from " : "", source ? source->name : "",
	    VIEW_ARG(what), rule.n ? ", throttle " : "", VIEW_ARG(rule));
	event_write(&e);
}

/* false: there is no source to suspend. */
static bool
suspend(struct lane *lane, const struct backoff_order *o, struct view throttle, const struct outcome *why)
{
	if (o->action != BACKOFF_SUSPEND || lane->route.source == NULL)
		return false;
	source_suspend(lane, o->for_s ? o->for_s : BACKOFF_STEP_S);
	tell(lane, EVENT_throttled, throttle, why, VIEW("its source is suspended"));
	return true;
}

void
shape_signal(struct lane *lane, struct view throttle, uint8_t event, const struct outcome *why)
{
	const struct backoff_order *o = order_for(lane, throttle, event);
	uint64_t now = qmgr_now(lane->q);
	uint32_t rate = lane->this_minute + (now - lane->minute_us < MINUTE_US ? lane->last_minute : 0);
	struct buf text = BUF_INIT(128);

	if (o == NULL || suspend(lane, o, throttle, why))
		return;
	struct backoff_order order = *o;
	if (order.action == BACKOFF_SUSPEND) /* the system's choice of address is the only one */
		order.action = BACKOFF_PAUSE;
	if (!backoff_signal(&lane->backoff, &order, now, rate, lane->ready + lane->opening))
		return;
	pace_free(&lane->slow_pace);
	free(lane->backoff_cause);
	lane->backoff_cause = why ? x_strndup(why->text) : NULL;
	buf_puts(&text, "slowed to ");
	backoff_text(&lane->backoff, now, &text);
	tell(lane, EVENT_throttled, throttle, why, buf_view(&text));
	buf_free(&text);
	lane_wake(lane);
}

uint64_t
shape_recover(struct lane *lane)
{
	if (!backoff_active(&lane->backoff))
		return 0;
	if (backoff_recover(&lane->backoff, qmgr_now(lane->q)) && !backoff_active(&lane->backoff)) {
		pace_free(&lane->slow_pace);
		tell(lane, EVENT_released, VIEW(""), NULL, VIEW("released"));
	}
	return backoff_next_us(&lane->backoff);
}
