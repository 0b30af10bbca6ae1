/* SPDX-License-Identifier: ISC */
/* mtactl route, plan: the way of mail that is not there (yet). Recipients are made up; lanes are not touched. */
#include <stdlib.h>
#include <string.h>

#include "qmgr/answer.h"
#include "qmgr/conn.h"
#include "qmgr/pause.h"
#include "qmgr/shape.h"
#include "qmgr/source.h"

CTL_QMGR(CTL_PROTOTYPE)
CTL_QMGR_OWN(CTL_PROTOTYPE)

enum { PATIENCE_MS = 30000, ADDRESSES_A_STEP = 2000 };

struct made_up {
	struct message m;
	struct rcpt r;
};

static void
make_up(struct made_up *u, struct ctl_call *call, struct view addr)
{
	struct qmgr *q = call->daemon;

	*u = (struct made_up){ .m = { .q = q, .tenant = tenant_get(q, ctl_arg(call, "tenant")),
	    .sender = ctl_arg(call, "sender"), .header_from = ctl_arg(call, "sender"),
	    .user = ctl_arg(call, "key"), .tag = ctl_arg(call, "tag") } };
	u->r.m = &u->m;
	u->r.addr = addr;
}

static bool
resolving(const struct way *w)
{
	return w->route.site && w->route.site->state == SITE_RESOLVING;
}

static bool
address_ok(struct view addr)
{
	struct view domain = addr_domain(addr);

	return addr.n <= IPC_ADDR_MAX && view_is_text(addr) && domain.n > 0 && domain.n + 1 < addr.n;
}

static void
put_limits(struct ctl_call *call, const struct group *g)
{
	ctl_number(call, "connections", g->connections);
	ctl_number(call, "rate", g->rate.n);
	ctl_number(call, "rate_seconds", g->rate.per_ms / 1000);
	ctl_number(call, "messages_per_connection", g->messages_per_connection);
	ctl_number(call, "recipients_per_message", g->recipients_per_message);
}

static void
put_names(struct ctl_call *call, const struct way *w)
{
	const struct route *r = &w->route;

	ctl_str(call, "site", r->site ? r->site->name : r->host);
	ctl_str(call, "group", r->group->name);
	ctl_str(call, "source", r->source ? r->source->name : "");
	ctl_str(call, "tls", tls_policy_word(r->tls));
}

/* One address. */

static void
put_hosts(struct ctl_call *call, const struct site *site)
{
	struct view rest = site ? view_of(site->hosts, site->hosts_bytes) : VIEW("");
	struct view names[SITE_HOSTS_MAX];
	struct ipc_mx_host h;
	size_t n = 0;

	while (n < SITE_HOSTS_MAX && ipc_next(&ipc_desc_mx_host, &rest, &h))
		names[n++] = h.name;
	ctl_list(call, "hosts", names, n);
}

static void
put_pause(struct ctl_call *call, const struct rcpt *r, const struct way *w)
{
	const struct pause *p = pause_find(r, w);
	struct buf text = BUF_INIT(1024);

	if (p)
		pause_text(p, &text);
	ctl_text(call, "paused", buf_view(&text));
	buf_free(&text);
}

/* The last fields are what a connection is opened with. */
static void
put_route(struct ctl_call *call, const struct rcpt *r, const struct way *w)
{
	const struct route *to = &w->route;

	ctl_text(call, "address", r->addr);
	put_names(call, w);
	put_hosts(call, to->site);
	put_limits(call, to->group);
	put_pause(call, r, w);
	ctl_str(call, "nexthop", to->host);
	ctl_bool(call, "mx", to->mx);
	ctl_number(call, "port", to->port);
	ctl_number(call, "tls_policy", to->tls);
	ctl_text(call, "address4", source_address(to->source, false));
	ctl_text(call, "address6", source_address(to->source, true));
	ctl_text(call, "helo", source_helo(to->source, call->daemon));
	ctl_str(call, "auth", to->auth ? "relayhost" : "");
	ctl_row_end(call);
}

struct waiting {
	uint64_t until_ms;
};

/* true: DNS has not answered, and may yet. */
static bool
wait_on(struct ctl_call *call, bool open)
{
	struct qmgr *q = call->daemon;
	struct waiting *w = call->cursor;

	if (w == NULL) {
		w = call->cursor = x_calloc(1, sizeof(*w));
		w->until_ms = loop_now_ms(q->loop) + PATIENCE_MS;
	}
	return open && loop_now_ms(q->loop) < w->until_ms;
}

enum ctl_result
ctl_route_find(struct ctl_call *call)
{
	struct view addr = ctl_arg(call, "address");
	struct made_up u;
	struct way w;
	struct err e;

	if (!address_ok(addr))
		return ctl_end(call, 2, "an address is needed");
	make_up(&u, call, addr);
	if (way_find(&u.r, &w, &e) < 0)
		return ctl_end(call, 1, "%s", e.text);
	if (wait_on(call, resolving(&w)))
		return CTL_AGAIN;
	put_route(call, &u.r, &w);
	return CTL_DONE;
}

/* Many. */

struct stop_over {
	struct table_node node;
	struct route route;
	uint64_t rcpts, domains;
	char last[256]; /* domain, to count them where they come in order */
};

struct plan {
	struct table places;
	struct ctl_call *call;
	const struct groups *groups; /* a reload makes others */
	uint64_t bad, failed;
	size_t place; /* of the next address */
	bool asked;   /* all of them, once: now they are counted */
	bool open;    /* DNS has still to answer for one of them */
	uint64_t until_ms;
};

static void
free_stop(void *ctx, struct table_node *n)
{
	struct stop_over *s = CONTAINER(n, struct stop_over, node);

	if (s->route.site)
		site_unref(ctx, s->route.site);
	free(s);
}

static void
free_plan(void *cursor)
{
	struct plan *p = cursor;

	table_each(&p->places, free_stop, p->call->daemon);
	table_free(&p->places);
	free(p);
}

static struct stop_over *
stop_of(struct plan *p, const struct route *r)
{
	uint64_t hash = r->site ? hash_u64((uint64_t)(uintptr_t)r->site) : hash_view(view_str(r->host), 0);

	for (struct table_node *n = table_first(&p->places, hash); n; n = table_next(n)) {
		struct stop_over *s = CONTAINER(n, struct stop_over, node);
		if (s->route.site == r->site && s->route.source == r->source && s->route.group == r->group &&
		    s->route.tls == r->tls && (r->site || !strcmp(s->route.host, r->host)))
			return s;
	}
	struct stop_over *s = x_calloc(1, sizeof(*s));
	s->route = *r;
	if (r->site)
		site_ref(r->site);
	table_put(&p->places, &s->node, hash);
	return s;
}

static void
plan_one(struct plan *p, struct view addr, uint64_t number)
{
	struct made_up u;
	struct way w;
	struct err e;

	if (!address_ok(addr)) {
		p->bad += p->asked;
		return;
	}
	make_up(&u, p->call, addr);
	u.m.qid = number; /* pools share by it */
	if (way_find(&u.r, &w, &e) < 0) {
		p->failed += p->asked;
		return;
	}
	p->open |= resolving(&w);
	if (!p->asked)
		return;
	struct stop_over *s = stop_of(p, &w.route);
	struct view domain = view_first(addr_domain(addr), sizeof(s->last) - 1);
	s->rcpts++;
	if (!view_ieq(domain, view_str(s->last))) {
		s->domains++;
		memcpy(s->last, domain.p, domain.n);
		s->last[domain.n] = '\0';
	}
}

/* As fast as the rate lets it: what is below it takes no time worth a plan. */
static uint64_t
seconds_of(const struct stop_over *s)
{
	const struct pace_limit *l = &s->route.group->rate;

	return l->n ? (s->rcpts - 1) / l->n * (l->per_ms / 1000) : 0;
}

static void
put_stop(void *ctx, struct table_node *n)
{
	struct ctl_call *call = ctx;
	const struct stop_over *s = CONTAINER(n, struct stop_over, node);
	const struct way w = { .route = s->route };
	uint64_t t = seconds_of(s);

	put_names(call, &w);
	ctl_number(call, "recipients", s->rcpts);
	ctl_number(call, "domains", s->domains);
	put_limits(call, s->route.group);
	ctl_number(call, "seconds", t);
	ctl_time(call, "finish", loop_wall_us(((struct qmgr *)call->daemon)->loop) + t * 1000000);
	ctl_row_end(call);
}

/* Some of the file's lines; false: all are done. */
static bool
step(struct plan *p)
{
	struct view addr;

	for (int i = 0; i < ADDRESSES_A_STEP; i++) {
		size_t before = p->place;
		if (!ctl_arg_next(p->call, "file", &p->place, &addr))
			return false;
		if (addr.n)
			plan_one(p, view_trim(addr), before);
	}
	return true;
}

enum ctl_result
ctl_plan(struct ctl_call *call)
{
	struct plan *p = call->cursor;
	struct qmgr *q = call->daemon;

	if (p == NULL) {
		p = call->cursor = x_calloc(1, sizeof(*p));
		call->free_cursor = free_plan;
		p->call = call;
		p->groups = q->set.groups;
		p->until_ms = loop_now_ms(q->loop) + PATIENCE_MS;
	}
	if (p->groups != q->set.groups)
		return ctl_end(call, 1, "the configuration was read again meanwhile: ask again");
	if (step(p))
		return CTL_MORE;
	p->place = 0;
	if (!p->asked) {
		p->asked = !p->open || loop_now_ms(q->loop) >= p->until_ms;
		p->open = false;
		return p->asked ? CTL_MORE : CTL_AGAIN;
	}
	table_each(&p->places, put_stop, call);
	if (p->bad || p->failed)
		return ctl_end(call, 1, "%llu lines are no addresses, %llu have no way",
		    (unsigned long long)p->bad, (unsigned long long)p->failed);
	return CTL_DONE;
}
