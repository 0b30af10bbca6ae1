/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "qmgr/keep.h"
#include "qmgr/list.h"
#include "qmgr/shape.h"
#include "qmgr/source.h"

/* The members of a pool, and what each weighs at the moment. */
struct source_pool {
	const char *name;
	size_t n;
	struct source **v;
	uint32_t *weights, *now;
};

struct source *
source_by_name(const struct qmgr *q, struct view name)
{
	for (struct table_node *n = table_first(&q->sources.names, hash_view(name, 0)); n; n = table_next(n)) {
		struct source *s = CONTAINER(n, struct source, node);
		if (view_is(name, s->name))
			return s;
	}
	return NULL;
}

/* Configuration. */

static void
forget_conf(void *ctx, struct table_node *n)
{
	struct source *s = CONTAINER(n, struct source, node);

	(void)ctx;
	s->conf = NULL;
	free(s->plan.daily);
	s->plan = (struct warmup_plan){ 0 };
}

static void
set_plan(struct source *s, const struct conf *c)
{
	for (size_t i = 0; i < c->warm_up_count; i++) {
		const struct conf_list *daily = &c->warm_up[i].daily;
		uint64_t x;
		if (strcmp(c->warm_up[i].name, s->conf->warm_up) != 0 ||
		    !conf_parse_date(view_str(s->conf->warm_up_start), &s->plan.start))
			continue;
		s->plan.daily = x_calloc(daily->n, sizeof(*s->plan.daily));
		for (size_t k = 0; k < daily->n; k++)
			if (view_u64(view_str(daily->v[k]), UINT32_MAX - 1, &x))
				s->plan.daily[s->plan.n++] = (uint32_t)x;
	}
}

static void
set_source(struct qmgr *q, const struct conf_source *c)
{
	struct view name = view_str(c->name);
	struct source *s = source_by_name(q, name);

	if (s == NULL) {
		s = x_calloc(1, sizeof(*s) + name.n + 1);
		memcpy(s->name, name.p, name.n);
		list_init(&s->starved);
		table_put(&q->sources.names, &s->node, hash_view(name, 0));
	}
	s->conf = c;
	s->connections = (uint32_t)c->connections;
	s->limit = (struct pace_limit){ c->rate.n, c->rate.per_s * 1000 };
	s->unusable_until_us = 0; /* the admin may have seen to it */
	set_plan(s, q->d->conf);
}

static void
set_pool(struct qmgr *q, struct source_pool *p, const struct conf_pool *c)
{
	p->name = c->name;
	p->n = c->source.n;
	p->v = x_calloc(p->n, sizeof(struct source *));
	p->weights = x_calloc(p->n, sizeof(*p->weights));
	p->now = x_calloc(p->n, sizeof(*p->now));
	for (size_t i = 0; i < p->n; i++) {
		p->v[i] = source_by_name(q, view_str(c->source.v[i].name));
		p->weights[i] = c->source.v[i].weight;
	}
}

static void
free_pools(struct sources *all)
{
	for (size_t i = 0; i < all->npools; i++) {
		free(all->pools[i].v);
		free(all->pools[i].weights);
		free(all->pools[i].now);
	}
	free(all->pools);
}

void
sources_rebind(struct qmgr *q)
{
	const struct conf *c = q->d->conf;
	struct sources *all = &q->sources;

	table_each(&all->names, forget_conf, NULL);
	for (size_t i = 0; i < c->source_count; i++)
		set_source(q, &c->source[i]);
	free_pools(all);
	all->npools = c->pool_count;
	all->pools = x_calloc(all->npools, sizeof(*all->pools));
	for (size_t i = 0; i < all->npools; i++)
		set_pool(q, &all->pools[i], &c->pool[i]);
}

/* At one destination. */

struct source_use *
source_use_get(struct source *s, struct view key, bool make)
{
	uint64_t hash = hash_view(key, 0);

	for (struct table_node *n = table_first(&s->uses, hash); n; n = table_next(n)) {
		struct source_use *u = CONTAINER(n, struct source_use, node);
		if (view_is(key, u->key))
			return u;
	}
	if (!make)
		return NULL;
	struct source_use *u = x_calloc(1, sizeof(*u) + key.n + 1);
	u->source = s;
	memcpy(u->key, key.p, key.n);
	table_put(&s->uses, &u->node, hash);
	return u;
}

static uint32_t
today(struct qmgr *q)
{
	uint64_t wall = qmgr_wall(q, qmgr_now(q));

	return warmup_day(wall, host_offset_s(wall));
}

static uint64_t
tomorrow_us(struct qmgr *q)
{
	uint64_t wall = qmgr_wall(q, qmgr_now(q));
	int32_t offset = host_offset_s(wall);

	return qmgr_queue_time(q, warmup_next_us(warmup_day(wall, offset), offset));
}

static uint32_t
warm_room(struct qmgr *q, const struct source *s, const struct source_use *u, struct stop *why)
{
	uint32_t day = today(q), cap = warmup_cap(&s->plan, day);
	uint32_t sent = u && u->day == day ? u->sent : 0;

	if (sent < cap)
		return cap == WARMUP_ALL ? cap : cap - sent;
	*why = (struct stop){ STOP_WARM_UP, tomorrow_us(q), sent, cap, 0 };
	return 0;
}

/* Whether it can be used at all, and the room that its warm-up leaves. */
static uint32_t
room_at(struct qmgr *q, struct source *s, struct view key, struct stop *why)
{
	uint64_t now = qmgr_now(q);

	if (s->unusable_until_us > now) {
		*why = (struct stop){ STOP_SOURCE_UNUSABLE, s->unusable_until_us, 0, 0, 0 };
		return 0;
	}
	const struct source_use *u = s->uses.count ? source_use_get(s, key, false) : NULL;
	if (u && u->suspended_until_us > now) {
		*why = (struct stop){ STOP_SOURCE_SUSPENDED, u->suspended_until_us, 0, 0, 0 };
		return 0;
	}
	return s->plan.n ? warm_room(q, s, u, why) : WARMUP_ALL;
}

static struct source_pool *
find_pool(const struct sources *all, struct view name)
{
	for (size_t i = 0; i < all->npools; i++)
		if (view_is(name, all->pools[i].name))
			return &all->pools[i];
	return NULL;
}

bool
pool_known(const struct qmgr *q, struct view name)
{
	return find_pool(&q->sources, name) != NULL;
}

struct source *
source_of_pool(struct qmgr *q, struct view name, struct view key, uint64_t qid)
{
	struct source_pool *p = find_pool(&q->sources, name);
	uint64_t hash = hash_u64(qid);
	struct stop why;

	if (p == NULL || p->n == 0)
		return NULL;
	for (size_t i = 0; i < p->n; i++)
		p->now[i] = room_at(q, p->v[i], key, &why) ? p->weights[i] : 0;
	size_t which = choose_weighted(p->now, p->n, hash);
	return p->v[which < p->n ? which : choose_weighted(p->weights, p->n, hash)];
}

struct view
source_address(const struct source *s, bool v6)
{
	const struct conf_source *c = s ? s->conf : NULL;

	for (size_t i = 0; c && i < c->address.n; i++)
		if ((strchr(c->address.v[i], ':') != NULL) == v6)
			return view_str(c->address.v[i]);
	return VIEW("");
}

struct view
source_helo(const struct source *s, const struct qmgr *q)
{
	return view_str(s && s->conf && *s->conf->helo ? s->conf->helo : q->set.helo);
}

/* What a lane may. */

uint32_t
source_room(struct lane *lane, struct stop *why)
{
	struct source *s = lane->route.source;
	struct qmgr *q = lane->q;

	if (s == NULL)
		return PACE_ALL;
	uint32_t room = pace_room(&s->rate, &s->limit, qmgr_now(q));
	if (room == 0) {
		*why = (struct stop){ STOP_SOURCE_RATE, pace_next_us(&s->rate, &s->limit, qmgr_now(q)), s->rate.used,
			s->limit.n, s->limit.per_ms };
		return 0;
	}
	uint32_t here = room_at(q, s, view_str(lane->shaper->key), why);
	return room < here ? room : here;
}

uint32_t
source_connections(const struct lane *lane, struct stop *why)
{
	const struct source *s = lane->route.source;

	if (s == NULL || s->connections == 0)
		return UINT32_MAX;
	if (s->conns < s->connections)
		return s->connections - s->conns;
	*why = (struct stop){ STOP_SOURCE_CONNECTIONS, 0, s->conns, s->connections, 0 };
	return 0;
}

void
source_begin(struct lane *lane, uint32_t n)
{
	struct source *s = lane->route.source;
	struct qmgr *q = lane->q;

	if (s == NULL)
		return;
	pace_take(&s->rate, &s->limit, qmgr_now(q), n);
	uint32_t day = s->plan.n ? today(q) : 0, cap = warmup_cap(&s->plan, day);
	if (cap == WARMUP_ALL)
		return;
	struct source_use *u = source_use_get(s, view_str(lane->shaper->key), true);
	if (u->day != day)
		u->sent = 0;
	u->day = day;
	u->sent += n;
	keep_use(q, u);
	if (u->sent >= cap && lane->sched.waiting)
		lane_displace(lane);
}

void
source_give_back(struct lane *lane, uint32_t n)
{
	struct source *s = lane->route.source;

	if (s == NULL)
		return;
	pace_give_back(&s->rate, n);
	struct source_use *u = s->plan.n && n ? source_use_get(s, view_str(lane->shaper->key), false) : NULL;
	if (u == NULL || u->day != today(lane->q))
		return;
	u->sent = u->sent > n ? u->sent - n : 0;
	keep_use(lane->q, u);
}

/* Health. */

struct displacing {
	const struct source *source;
	const struct shaper *shaper; /* NULL: any */
};

static void
displace_one(void *ctx, struct table_node *n)
{
	const struct displacing *d = ctx;
	struct lane *lane = CONTAINER(n, struct lane, node);

	if (lane->route.source == d->source && (d->shaper == NULL || d->shaper == lane->shaper))
		lane_displace(lane);
}

static void
displace(struct qmgr *q, const struct source *s, const struct shaper *shaper)
{
	struct displacing d = { s, shaper };

	table_each(&q->lanes, displace_one, &d);
}

void
source_unusable(struct lane *lane, const struct outcome *why)
{
	struct source *s = lane->route.source;
	struct qmgr *q = lane->q;
	uint64_t now = qmgr_now(q);

	if (s->unusable_until_us > now)
		return;
	s->unusable_until_us = now + SOURCE_UNUSABLE_S * 1000000ull;
	log_warn("source %s is not used for %d s: %.*s", s->name, SOURCE_UNUSABLE_S, VIEW_ARG(why->text));
	displace(q, s, NULL);
}

void
source_suspend(struct lane *lane, uint32_t for_s)
{
	struct source_use *u = source_use_get(lane->route.source, view_str(lane->shaper->key), true);

	u->suspended_until_us = qmgr_now(lane->q) + for_s * 1000000ull;
	displace(lane->q, lane->route.source, lane->shaper);
}

static void
sweep_use(void *ctx, struct table_node *n)
{
	struct source_use *u = CONTAINER(n, struct source_use, node);
	struct qmgr *q = ctx;

	if (u->suspended_until_us > qmgr_now(q) || u->day == today(q) || link_in(&u->dirty))
		return;
	keep_drop_use(q, u);
	table_del(&u->source->uses, n);
	free(u);
}

static void
sweep_source(void *ctx, struct table_node *n)
{
	table_each(&CONTAINER(n, struct source, node)->uses, sweep_use, ctx);
}

void
sources_sweep(struct qmgr *q)
{
	table_each(&q->sources.names, sweep_source, q);
}
