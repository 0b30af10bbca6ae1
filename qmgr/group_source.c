/* SPDX-License-Identifier: ISC */
/* Source addresses, their pools and their warm-up. */
#include <stdlib.h>

#include "qmgr/group_private.h"

static struct warmup_plan
plan_of(const struct conf *c, const char *name, uint32_t **daily)
{
	for (size_t i = 0; i < c->warm_up_count; i++) {
		const struct conf_list *list = &c->warm_up[i].daily;
		if (!view_is(view_str(name), c->warm_up[i].name))
			continue;
		*daily = x_calloc(list->n, sizeof(**daily));
		for (size_t k = 0; k < list->n; k++) {
			uint64_t n = 0;
			view_u64(view_str(list->v[k]), UINT32_MAX - 1, &n);
			(*daily)[k] = (uint32_t)n;
		}
		return (struct warmup_plan){ *daily, list->n };
	}
	return (struct warmup_plan){ 0 };
}

static void
fill_pool(const struct groups *g, struct pool_rule *out, const struct conf_pool *c)
{
	out->name = c->name;
	out->v = x_calloc(c->source.n, sizeof(*out->v));
	for (size_t i = 0; i < c->source.n; i++) {
		const struct conf_member *m = &c->source.v[i];
		out->v[out->n++] = (struct pool_member){ source_by_name(g, view_str(m->name)), m->weight };
		out->weight += m->weight;
	}
}

void
group_sources_init(struct groups *g)
{
	const struct conf *c = g->conf;

	g->sources = x_calloc(c->source_count, sizeof(*g->sources));
	g->daily = x_calloc(c->source_count, sizeof(*g->daily));
	for (size_t i = 0; i < c->source_count; i++) {
		const struct conf_source *s = &c->source[i];
		g->sources[i] = (struct source_rule){ .conf = s, .connections = (uint32_t)s->connections,
			.rate = group_limit(&s->rate), .plan = plan_of(c, s->warm_up, &g->daily[i]),
			.start_day = s->warm_up_start.day };
	}
	g->pools = x_calloc(c->pool_count, sizeof(*g->pools));
	for (size_t i = 0; i < c->pool_count; i++)
		fill_pool(g, &g->pools[i], &c->pool[i]);
}

void
group_sources_free(struct groups *g)
{
	for (size_t i = 0; i < g->conf->pool_count; i++)
		free(g->pools[i].v);
	for (size_t i = 0; i < g->conf->source_count; i++)
		free(g->daily[i]);
	free(g->pools);
	free(g->daily);
	free(g->sources);
}

const struct source_rule *
source_by_name(const struct groups *g, struct view name)
{
	for (size_t i = 0; i < g->conf->source_count; i++)
		if (view_is(name, g->conf->source[i].name))
			return &g->sources[i];
	return NULL;
}

const struct pool_rule *
pool_by_name(const struct groups *g, struct view name)
{
	for (size_t i = 0; i < g->conf->pool_count; i++)
		if (view_is(name, g->pools[i].name))
			return &g->pools[i];
	return NULL;
}
