/* SPDX-License-Identifier: ISC */
#include "lib/addr.h"
#include "qmgr/shape.h"
#include "qmgr/source.h"
#include "qmgr/special.h"
#include "qmgr/store.h"
#include "qmgr/way.h"

/* The same message has the same source each time, as long as it can be used. */
static struct source *
source_for(const struct message *m, const struct conf_route *rule, const struct way *w)
{
	struct qmgr *q = m->q;
	struct view pool = m->pool.n ? m->pool : view_str(rule && *rule->pool ? rule->pool : w->route.group->pool);
	struct buf key = BUF_INIT(2 * SITE_BYTES_MAX);

	if (m->pool.n == 0 && rule && *rule->source)
		return source_by_name(q, view_str(rule->source));
	if (pool.n == 0)
		return NULL;
	shape_key(&w->route, &key);
	struct source *s = source_of_pool(q, pool, buf_view(&key), m->qid);
	buf_free(&key);
	return s;
}

/* The hosts of the domain that the route leads to, unless it leads to a host. */
static void
find_hosts(struct qmgr *q, struct way *w)
{
	if (!w->route.mx || w->dest)
		return;
	w->dest = dest_get(q, view_str(w->route.host));
	w->route.site = w->dest->site;
}

static int
way_to_relay(struct qmgr *q, const struct relay *relay, struct way *out, struct err *e)
{
	*out = (struct way){ .route.port = q->set.route.port };
	return route_to_relay(&q->set.route, relay, &out->route, e);
}

static const struct conf_route *
rule_for(const struct rcpt *r, struct view domain, const struct group *g)
{
	const struct message *m = r->m;
	const struct route_facts f = { .domain = domain, .group = g, .sender = m->sender,
		.header_from = m->header_from, .tenant = view_str(m->tenant->name), .key = m->user, .tag = m->tag };

	return route_choose(m->q->set.groups, &f);
}

/* By its domain, else by the hosts that it goes to. NULL: DNS has to say first. */
static const struct group *
group_for(struct qmgr *q, struct view domain, struct way *normal)
{
	const struct groups *all = q->set.groups;
	const struct group *g = group_of_domain(all, domain);

	if (g != &all->general || !all->by_mx)
		return g;
	find_hosts(q, normal);
	if (normal->dest == NULL)
		return g;
	if (normal->dest->site->state == SITE_RESOLVING)
		return NULL;
	return normal->dest->site->group ? normal->dest->site->group : g;
}

/* What the configuration says of `domain`; normal_rc: of the way that *out is without. */
static int
by_rules(const struct rcpt *r, struct view domain, struct way *out, int normal_rc, struct err *e)
{
	struct qmgr *q = r->m->q;
	const struct group *g = group_for(q, domain, out);

	if (g == NULL) {
		out->route.group = &q->set.groups->general;
		return 0; /* waits; then it is asked again */
	}
	const struct conf_route *rule = rule_for(r, domain, g);
	if (rule && *rule->group)
		g = group_by_name(q->set.groups, view_str(rule->group));
	const struct relay *relay = rule && rule->relay.host ? &rule->relay : g->relay;
	if (relay->host)
		normal_rc = way_to_relay(q, relay, out, e);
	if (normal_rc < 0)
		return -1;
	out->route.tls = g->tls;
	out->route.group = g;
	find_hosts(q, out);
	out->route.source = source_for(r->m, rule, out);
	return 0;
}

static int
way_of_copy(struct qmgr *q, struct way *out, struct err *e)
{
	*out = (struct way){ .dest = NULL };
	if (special_copy_route(q, &out->route, e) < 0)
		return -1;
	find_hosts(q, out);
	return 0;
}

int
way_find(const struct rcpt *r, struct way *out, struct err *e)
{
	struct qmgr *q = r->m->q;
	const struct groups *g = q->set.groups;
	struct view given = addr_domain(r->addr);
	struct buf room = BUF_INIT(ADDR_DOMAIN_MAX + 1);

	if (r->kind == RCPT_COPY)
		return way_of_copy(q, out, e);
	*out = (struct way){ .dest = NULL };
	int rc = route_resolve(&q->set.route, given, &out->route, e);
	bool asks = g->domains.n || g->conf->route_count;
	struct view domain = asks && domain_canonical(given, &room) ? buf_view(&room) : given;
	rc = by_rules(r, domain, out, rc, e);
	buf_free(&room);
	return rc;
}
