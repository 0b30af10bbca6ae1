/* SPDX-License-Identifier: ISC */
/* Conditional routes (J9): which one a recipient's facts meet. */
#include <stdlib.h>
#include <string.h>

#include "lib/throttle.h"
#include "qmgr/group_private.h"

struct route_rule {
	const struct conf_route *conf;
	struct domain_map to; /* domains */
	bool groups;	      /* `to` names groups instead */
};

void
group_routes_init(struct groups *g)
{
	const struct conf *c = g->conf;

	g->routes = x_calloc(c->route_count, sizeof(*g->routes));
	for (size_t i = 0; i < c->route_count; i++) {
		struct route_rule *r = &g->routes[i];
		r->conf = &c->route[i];
		r->groups = r->conf->to.n && !strcmp(r->conf->to.v[0], "group");
		if (!r->groups)
			domain_map_add(&r->to, &r->conf->to, r);
		domain_map_sort(&r->to);
	}
}

void
group_routes_free(struct groups *g)
{
	for (size_t i = 0; i < g->conf->route_count; i++)
		domain_map_free(&g->routes[i].to);
	free(g->routes);
}

static bool
to_fits(const struct route_rule *r, const struct route_facts *f)
{
	const struct conf_list *to = &r->conf->to;

	if (!r->groups)
		return to->n == 0 || domain_map_find(&r->to, f->domain) != NULL;
	for (size_t i = 1; i < to->n; i++)
		if (!strcmp(to->v[i], f->group->name))
			return true;
	return false;
}

/* "user@example.jp", "@example.jp". */
static bool
address_fits(const struct conf_list *list, struct view address)
{
	for (size_t i = 0; i < list->n; i++) {
		struct view word = view_str(list->v[i]), part = address;
		if (view_starts(word, "@") && part.n > word.n)
			part = view_skip(part, part.n - word.n);
		if (view_ieq(word, part))
			return true;
	}
	return list->n == 0;
}

const struct conf_route *
route_choose(const struct groups *g, const struct route_facts *f)
{
	for (size_t i = 0; i < g->conf->route_count; i++) {
		const struct conf_route *r = g->routes[i].conf;
		if (to_fits(&g->routes[i], f) && address_fits(&r->from, f->sender) &&
		    address_fits(&r->header_from, f->header_from) && glob_list_match(&r->tenant, f->tenant) &&
		    glob_list_match(&r->key, f->key) && glob_list_match(&r->tag, f->tag))
			return r;
	}
	return NULL;
}
