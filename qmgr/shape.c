/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <time.h>

#include "qmgr/list.h"
#include "qmgr/logline.h"
#include "qmgr/shape.h"

enum { MINUTE_US = 60000000 };

/* What one tenant has under way at a shaper; there while it has jobs or a pace. */
struct share {
	struct table_node node;
	const struct tenant *tenant;
	uint32_t jobs;
	struct pace pace;
};

static struct shaper *
find(struct qmgr *q, struct view name, uint64_t hash)
{
	for (struct table_node *n = table_first(&q->shapers, hash); n; n = table_next(n)) {
		struct shaper *s = CONTAINER(n, struct shaper, node);
		if (view_is(name, s->name))
			return s;
	}
	return NULL;
}

void
shape_join(struct lane *lane)
{
	struct qmgr *q = lane->q;
	const struct group *g = lane->route.group;
	struct view name = view_str(*g->name ? g->name : lane->name);
	uint64_t hash = hash_view(name, *g->name != '\0');
	struct shaper *s = find(q, name, hash);

	if (s == NULL) {
		s = x_calloc(1, sizeof(*s));
		s->name = x_strndup(name);
		table_put(&q->shapers, &s->node, hash);
	}
	s->group = g;
	s->lanes++;
	lane->shaper = s;
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
	bool holds = s->group && (pace_room(&s->rate, &s->group->rate, now) < s->group->rate.n ||
				     pace_room(&s->connect, &s->group->connect_rate, now) < s->group->connect_rate.n);
	if (holds)
		return;
	table_del(&q->shapers, n);
	table_each(&s->tenants, free_share, &s->tenants);
	table_free(&s->tenants);
	pace_free(&s->rate);
	pace_free(&s->connect);
	free(s->name);
	free(s);
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

static int32_t
host_offset_s(uint64_t wall_us)
{
	time_t now = (time_t)(wall_us / 1000000);
	struct tm tm;

	return localtime_r(&now, &tm) ? (int32_t)tm.tm_gmtoff : 0;
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

uint32_t
shape_room(struct lane *lane, uint64_t *until_us)
{
	struct shaper *s = lane->shaper;
	const struct group *g = s->group;
	uint64_t now = qmgr_now(lane->q);

	*until_us = hours_until(lane, now);
	if (*until_us == now && lane->backoff.paused_until_us > now)
		*until_us = lane->backoff.paused_until_us;
	if (*until_us == now && s->next_us > now)
		*until_us = s->next_us;
	if (*until_us > now)
		return 0;
	uint32_t room = pace_room(&s->rate, &g->rate, now);
	uint32_t slowed = pace_room(&lane->slow_pace, &lane->backoff.cap, now);
	if (room == 0)
		*until_us = pace_next_us(&s->rate, &g->rate, now);
	else if (slowed == 0)
		*until_us = pace_next_us(&lane->slow_pace, &lane->backoff.cap, now);
	return least(room, slowed);
}

bool
shape_tenant_full(struct lane *lane, const struct tenant *t)
{
	const struct group *g = lane->shaper->group;

	if (g->tenant_connections == 0 && g->tenant_rate.n == 0)
		return false;
	struct share *h = share_of(lane->shaper, t, false);
	return h && ((g->tenant_connections && h->jobs >= g->tenant_connections) ||
			pace_room(&h->pace, &g->tenant_rate, qmgr_now(lane->q)) == 0);
}

uint32_t
shape_window(const struct lane *lane)
{
	return backoff_connections(&lane->backoff, lane->shaper->group->connections);
}

uint32_t
shape_connections(struct lane *lane, uint64_t *until_us)
{
	struct shaper *s = lane->shaper;
	const struct group *g = s->group;
	uint64_t now = qmgr_now(lane->q);
	uint32_t room = pace_room(&s->connect, &g->connect_rate, now);

	*until_us = room ? 0 : pace_next_us(&s->connect, &g->connect_rate, now);
	return least(room, s->conns < g->connections ? g->connections - s->conns : 0);
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
	struct share *h = by_tenant(s->group) ? share_of(s, t, false) : NULL;

	pace_give_back(&s->rate, untried);
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
	pace_take(&lane->shaper->connect, &lane->shaper->group->connect_rate, qmgr_now(lane->q), 1);
}

void
shape_disconnect(struct lane *lane)
{
	lane->shaper->conns--;
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
tell(const struct lane *lane, enum event_type type, struct view rule, const struct outcome *why)
{
	struct buf text = BUF_INIT(128);
	struct event e = { .type = type, .lane = view_str(lane->name) };

	backoff_text(&lane->backoff, qmgr_now(lane->q), &text);
	if (why) {
		e.code = why->code;
		e.esc = why->esc;
		e.text = why->text;
		e.relay = why->relay;
	}
	log_info("lane %s: %s%s%s%.*s", lane->name, type == EVENT_throttled ? "slowed to " : "released",
	    buf_cstr(&text), rule.n ? ", throttle " : "", (int)rule.n, rule.p);
	event_write(&e);
	buf_free(&text);
}

void
shape_signal(struct lane *lane, struct view throttle, uint8_t event, const struct outcome *why)
{
	const struct backoff_order *o = order_for(lane, throttle, event);
	uint64_t now = qmgr_now(lane->q);
	uint32_t rate = lane->this_minute + (now - lane->minute_us < MINUTE_US ? lane->last_minute : 0);

	if (o == NULL || !backoff_signal(&lane->backoff, o, now, rate, lane->ready + lane->opening))
		return;
	pace_free(&lane->slow_pace);
	tell(lane, EVENT_throttled, throttle, why);
	lane_wake(lane);
}

uint64_t
shape_recover(struct lane *lane)
{
	if (!backoff_active(&lane->backoff))
		return 0;
	if (backoff_recover(&lane->backoff, qmgr_now(lane->q)) && !backoff_active(&lane->backoff)) {
		pace_free(&lane->slow_pace);
		tell(lane, EVENT_released, VIEW(""), NULL);
	}
	return backoff_next_us(&lane->backoff);
}
