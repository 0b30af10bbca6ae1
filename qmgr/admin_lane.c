/* SPDX-License-Identifier: ISC */
/* mtactl lane list, lane show: where mail goes at the moment, and what holds it back. */
#include <stdlib.h>
#include <string.h>

#include "qmgr/answer.h"
#include "qmgr/conn.h"
#include "qmgr/list.h"
#include "qmgr/shape.h"
#include "qmgr/source.h"

CTL_QMGR(CTL_PROTOTYPE)

enum { LIMIT = 200 };

struct lanes {
	struct lane **v;
	size_t n;
	struct view name; /* n 0: all */
};

static void
collect(void *ctx, struct table_node *n)
{
	struct lanes *l = ctx;
	struct lane *lane = CONTAINER(n, struct lane, node);

	if (l->name.n == 0 || view_is(l->name, lane->name) || view_is(l->name, lane->shaper->name))
		l->v[l->n++] = lane;
}

static uint32_t
connections(const struct lane *l)
{
	return l->ready + l->opening;
}

static int
by_work(const void *a, const void *b)
{
	const struct lane *x = *(struct lane *const *)a, *y = *(struct lane *const *)b;

	if (x->sched.waiting != y->sched.waiting)
		return (x->sched.waiting < y->sched.waiting) - (x->sched.waiting > y->sched.waiting);
	if (connections(x) != connections(y))
		return (connections(x) < connections(y)) - (connections(x) > connections(y));
	return strcmp(x->name, y->name);
}

static struct lanes
find(struct qmgr *q, struct view name)
{
	struct lanes l = { .v = x_calloc(q->lanes.count + 1, sizeof(struct lane *)), .name = name };

	table_each(&q->lanes, collect, &l);
	qsort(l.v, l.n, sizeof(struct lane *), by_work);
	return l;
}

/* Recipients given to connections in about a minute. */
static uint32_t
minute_of(struct lane *lane)
{
	uint64_t age = qmgr_now(lane->q) - lane->minute_us, minute = 60000000;

	return age >= 2 * minute ? 0 : age >= minute ? lane->this_minute : lane->this_minute + lane->last_minute;
}

static void
put_backoff(struct ctl_call *call, const struct lane *lane)
{
	struct buf text = BUF_INIT(128);

	if (backoff_active(&lane->backoff))
		backoff_text(&lane->backoff, qmgr_now(lane->q), &text);
	ctl_text(call, "backoff", buf_view(&text));
	buf_free(&text);
}

static void
put_lane(struct ctl_call *call, struct lane *lane)
{
	const struct source *s = lane->route.source;
	struct stop why = { .cause = STOP_NONE };

	if (lane->sched.waiting)
		lane_stop(lane, &why);
	ctl_str(call, "lane", lane->name);
	ctl_str(call, "group", lane->route.group->name);
	ctl_str(call, "source", s ? s->name : "");
	ctl_str(call, "tls", tls_policy_word(lane->route.tls));
	ctl_number(call, "messages", lane->sched.waiting);
	ctl_number(call, "connections", lane->ready);
	ctl_number(call, "opening", lane->opening);
	ctl_number(call, "window", window_size(&lane->window, shape_window(lane)));
	ctl_number(call, "minute", minute_of(lane));
	put_backoff(call, lane);
	answer_stop(call, stop_words(why.cause), &why, 0);
	ctl_row_end(call);
}

enum ctl_result
ctl_lane_list(struct ctl_call *call)
{
	uint64_t limit;

	if (!limit_get(call, LIMIT, &limit))
		return CTL_DONE;
	struct lanes l = find(call->daemon, VIEW(""));
	for (size_t i = 0; i < l.n && i < limit; i++)
		put_lane(call, l.v[i]);
	free(l.v);
	return CTL_DONE;
}

/* One lane. */

static void
put_limits(struct ctl_call *call, const struct lane *lane)
{
	const struct group *g = lane->shaper->group;

	ctl_str(call, "limits_of", lane->shaper->name);
	ctl_number(call, "limit_connections", g->connections);
	ctl_number(call, "limit_rate", g->rate.n);
	ctl_number(call, "rate_seconds", g->rate.per_ms / 1000);
	ctl_number(call, "limit_messages_per_connection", g->messages_per_connection);
	ctl_number(call, "limit_recipients_per_message", g->recipients_per_message);
	ctl_bool(call, "proven", lane->proven);
	ctl_time(call, "backoff_since", lane->backoff.since_us ? qmgr_wall(lane->q, lane->backoff.since_us) : 0);
	ctl_number(call, "backoff_signals", lane->backoff.signals);
	ctl_str(call, "backoff_cause", lane->backoff_cause ? lane->backoff_cause : "");
	ctl_text(call, "resting_for", loop_now_ms(lane->q->loop) < lane->rest_until_ms ? lane->reason.text : VIEW(""));
	ctl_row_end(call);
}

struct waiting {
	struct table_node node;
	const struct tenant *tenant;
	uint64_t messages, recipients;
};

static bool
count_item(void *ctx, struct sched_item *i)
{
	const struct item *item = CONTAINER(i, struct item, sched);
	uint64_t hash = hash_u64((uint64_t)(uintptr_t)item->m->tenant);
	struct table *all = ctx;
	struct waiting *w = NULL;

	for (struct table_node *n = table_first(all, hash); n && w == NULL; n = table_next(n))
		if (CONTAINER(n, struct waiting, node)->tenant == item->m->tenant)
			w = CONTAINER(n, struct waiting, node);
	if (w == NULL) {
		w = x_calloc(1, sizeof(*w));
		w->tenant = item->m->tenant;
		table_put(all, &w->node, hash);
	}
	w->messages++;
	w->recipients += item->count;
	return true;
}

struct show {
	struct ctl_call *call;
	struct lane *lane;
};

static void
put_tenant(void *ctx, struct table_node *n)
{
	struct show *s = ctx;
	struct waiting *w = CONTAINER(n, struct waiting, node);
	struct stop why = { .cause = STOP_NONE };

	lane_tenant_stop(s->lane, w->tenant, &why);
	ctl_str(s->call, "tenant", w->tenant->name);
	ctl_number(s->call, "messages", w->messages);
	ctl_number(s->call, "recipients", w->recipients);
	ctl_number(s->call, "weight", w->tenant->weight);
	ctl_number(s->call, "pace_percent", w->tenant->factor);
	answer_stop(s->call, stop_words(why.cause), &why, 0);
	ctl_row_end(s->call);
	free(w);
}

static void
put_conns(struct ctl_call *call, const struct lane *lane)
{
	static const char *const states[] = { [LINK_OPENING] = "opening", [LINK_READY] = "ready",
		[LINK_CLOSING] = "closing" };

	LIST_EACH(&lane->conns, l, after) {
		const struct conn *c = CONTAINER(l, struct conn, lane_link);
		ctl_number(call, "connection", c->id);
		ctl_str(call, "state", states[c->state]);
		ctl_number(call, "jobs", c->jobs);
		ctl_number(call, "given", c->given);
		ctl_row_end(call);
	}
}

enum ctl_result
ctl_lane_show(struct ctl_call *call)
{
	struct lanes l = find(call->daemon, ctl_arg(call, "lane"));

	for (size_t i = 0; i < l.n; i++) {
		struct show s = { call, l.v[i] };
		struct table tenants = { .count = 0 };
		put_lane(call, s.lane);
		put_limits(call, s.lane);
		sched_each_item(&s.lane->sched, count_item, &tenants);
		table_each(&tenants, put_tenant, &s);
		table_free(&tenants);
		put_conns(call, s.lane);
	}
	bool none = l.n == 0;
	free(l.v);
	return none ? ctl_end(call, 1, "no mail goes there at the moment: see mtactl lane list") : CTL_DONE;
}
