/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "lib/ipc.h"
#include "lib/throttle.h"
#include "qmgr/group_private.h"

static const uint8_t policies[] = {
	[CONF_HOP_TLS_none] = TLS_POLICY_NONE,
	[CONF_HOP_TLS_may] = TLS_POLICY_MAY,
	[CONF_HOP_TLS_encrypt] = TLS_POLICY_ENCRYPT,
	[CONF_HOP_TLS_verify] = TLS_POLICY_VERIFY,
};

enum retry_method
retry_method_of(enum conf_method method)
{
	static const enum retry_method methods[] = { [CONF_METHOD_exponential] = RETRY_EXPONENTIAL,
		[CONF_METHOD_linear] = RETRY_LINEAR, [CONF_METHOD_steps] = RETRY_STEPS };

	return methods[method];
}

uint8_t
tls_policy_of(enum conf_policy policy)
{
	static const uint8_t of[] = { [CONF_POLICY_none] = TLS_POLICY_NONE, [CONF_POLICY_may] = TLS_POLICY_MAY,
		[CONF_POLICY_encrypt] = TLS_POLICY_ENCRYPT, [CONF_POLICY_verify] = TLS_POLICY_VERIFY };

	return of[policy];
}

static struct pace_limit
limit_of(const struct conf_rate *r)
{
	return (struct pace_limit){ r->n, r->per_s * 1000 };
}

static void
general(struct groups *g, const struct retry_rule *retry)
{
	static const struct relay none;
	const struct conf_delivery *d = &g->conf->delivery;

	g->general = (struct group){ .name = "", .connections = (uint32_t)d->connections,
		.messages_per_connection = (uint32_t)d->messages_per_connection,
		.recipients_per_message = (uint32_t)d->recipients_per_message,
		.interval_ms = (uint32_t)d->interval_ms, .idle_s = (uint32_t)d->idle,
		.pool_size = (uint32_t)d->pool_size, .tenant_connections = (uint32_t)d->tenant_connections,
		.rate = limit_of(&d->rate), .connect_rate = limit_of(&d->connect_rate),
		.tenant_rate = limit_of(&d->tenant_rate), .fixed = d->fixed,
		.on_reset = d->on_reset == CONF_RESET_default ? CONF_RESET_slow : d->on_reset,
		.relay = &none, .pool = d->pool, .tls = tls_policy_of(d->tls), .retry = retry };
}

static void
number(uint32_t *to, uint64_t given)
{
	if (given)
		*to = (uint32_t)given;
}

static void
rate(struct pace_limit *to, const struct conf_rate *given)
{
	if (given->set)
		*to = limit_of(given);
}

/* What the block says over what is said for all. */
static void
fill(struct groups *g, struct group *out, const struct conf_group *c)
{
	*out = g->general;
	out->name = c->name;
	number(&out->connections, c->connections);
	number(&out->messages_per_connection, c->messages_per_connection);
	number(&out->recipients_per_message, c->recipients_per_message);
	number(&out->interval_ms, c->interval_ms);
	number(&out->idle_s, c->idle);
	number(&out->pool_size, c->pool_size);
	number(&out->tenant_connections, c->tenant_connections);
	rate(&out->rate, &c->rate);
	rate(&out->connect_rate, &c->connect_rate);
	rate(&out->tenant_rate, &c->tenant_rate);
	out->hours = (struct hours){ c->quiet.v, c->quiet.n, (uint32_t)c->full_hour, c->time_zone.offset_s };
	out->local_hours = c->time_zone.local;
	if (c->fixed != CONF_OPT_FLAG_default)
		out->fixed = c->fixed == CONF_OPT_FLAG_yes;
	out->relay = &c->relay;
	if (c->on_reset != CONF_RESET_default)
		out->on_reset = c->on_reset;
	if (*c->pool)
		out->pool = c->pool;
	if (c->tls != CONF_HOP_TLS_default)
		out->tls = policies[c->tls];
	if (*c->retry)
		out->retry = retry_by_name(g, view_str(c->retry));
}

static void
add_throttles(struct groups *g)
{
	static const enum backoff_action actions[] = { [CONF_ACTION_slow] = BACKOFF_SLOW,
		[CONF_ACTION_pause] = BACKOFF_PAUSE, [CONF_ACTION_one] = BACKOFF_ONE,
		[CONF_ACTION_suspend] = BACKOFF_SUSPEND,
		[CONF_ACTION_none] = BACKOFF_SLOW /* smtp tells of none of these */ };

	g->throttles = x_calloc(g->conf->throttle_count, sizeof(*g->throttles));
	for (size_t i = 0; i < g->conf->throttle_count; i++) {
		const struct conf_throttle *t = &g->conf->throttle[i];
		g->throttles[i] = (struct throttle_rule){ t->name,
			{ actions[t->action], (uint32_t)t->factor, (uint32_t)t->for_s } };
	}
}

int
retry_steps(const struct conf_list *list, uint32_t **out, struct err *e)
{
	uint32_t *steps = x_calloc(list->n, sizeof(*steps));

	for (size_t i = 0; i < list->n; i++) {
		uint64_t seconds;
		if (!conf_parse_duration(view_str(list->v[i]), &seconds) || seconds > UINT32_MAX) {
			free(steps);
			return err_set(e, ERR_PERM, ESC(5, 3, 5), "retry: steps: \"%s\" is no duration", list->v[i]);
		}
		steps[i] = (uint32_t)seconds;
	}
	*out = steps;
	return 0;
}

static void
add_retries(struct groups *g)
{
	const struct conf *c = g->conf;
	struct err e;

	g->retries = x_calloc(c->retry_schedule_count, sizeof(*g->retries));
	g->steps = x_calloc(c->retry_schedule_count, sizeof(*g->steps));
	for (size_t i = 0; i < c->retry_schedule_count; i++) {
		const struct conf_retry_schedule *s = &c->retry_schedule[i];
		bool good = retry_steps(&s->steps, &g->steps[i], &e) == 0;
		g->retries[i] = RETRY_RULE(s, g->steps[i]);
		if (!good)
			g->retries[i].nsteps = 0; /* cannot be: it was checked */
	}
}

struct groups *
groups_new(const struct conf *c, const struct retry_rule *retry)
{
	struct groups *g = x_calloc(1, sizeof(*g));

	g->conf = c;
	g->n = c->group_count;
	g->v = x_calloc(g->n, sizeof(*g->v));
	add_retries(g);
	general(g, retry);
	for (size_t i = 0; i < g->n; i++) {
		fill(g, &g->v[i], &c->group[i]);
		domain_map_add(&g->domains, &c->group[i].domains, &g->v[i]);
		g->by_mx |= c->group[i].mx.n > 0;
	}
	domain_map_sort(&g->domains);
	add_throttles(g);
	group_routes_init(g);
	return g;
}

void
groups_free(struct groups **at)
{
	struct groups *g = *at;

	if (g == NULL)
		return;
	group_routes_free(g);
	domain_map_free(&g->domains);
	for (size_t i = 0; i < g->conf->retry_schedule_count; i++)
		free(g->steps[i]);
	free(g->steps);
	free(g->retries);
	free(g->throttles);
	free(g->v);
	free(g);
	*at = NULL;
}

const struct group *
group_of_domain(const struct groups *g, struct view domain)
{
	const struct group *found = domain_map_find(&g->domains, domain);

	return found ? found : &g->general;
}

static const struct group *
group_of_host(const struct groups *g, struct view name)
{
	for (size_t i = 0; i < g->n; i++)
		for (size_t k = 0; k < g->conf->group[i].mx.n; k++)
			if (glob_match(view_str(g->conf->group[i].mx.v[k]), name))
				return &g->v[i];
	return NULL;
}

const struct group *
group_of_mx(const struct groups *g, struct view hosts)
{
	const struct group *found = NULL;
	struct ipc_mx_host h;
	uint16_t best = UINT16_MAX;

	while (g->by_mx && found == NULL && ipc_next(&ipc_desc_mx_host, &hosts, &h)) {
		if (h.pref > best)
			break;
		best = h.pref;
		found = group_of_host(g, h.name);
	}
	return found;
}

const struct group *
group_by_name(const struct groups *g, struct view name)
{
	for (size_t i = 0; i < g->n; i++)
		if (view_is(name, g->v[i].name))
			return &g->v[i];
	return name.n ? NULL : &g->general;
}

const struct throttle_rule *
throttle_by_name(const struct groups *g, struct view name)
{
	for (size_t i = 0; i < g->conf->throttle_count; i++)
		if (view_is(name, g->throttles[i].name))
			return &g->throttles[i];
	return NULL;
}

const struct retry_rule *
retry_by_name(const struct groups *g, struct view name)
{
	for (size_t i = 0; i < g->conf->retry_schedule_count; i++)
		if (view_is(name, g->conf->retry_schedule[i].name))
			return &g->retries[i];
	return NULL;
}