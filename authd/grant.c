/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "authd/contain.h"
#include "authd/grant.h"
#include "authd/usage.h"
#include "lib/log.h"

enum { OF_BYTES = 2 * NAME_BYTES };

static uint64_t
now_s(const struct authd *d)
{
	return loop_wall_us(d->daemon->loop) / 1000000;
}

/* The two that a message counts for. */
struct accounts {
	struct usage *tenant, *key; /* key NULL: identified by network */
	struct quota_limits tenant_max, key_max;
	uint32_t over;
};

static void
open_accounts(struct authd *d, const struct check_records *found, struct view tenant,
    struct view user, struct accounts *a)
{
	*a = (struct accounts){ .tenant = usages_get(&d->usages, USAGE_TENANT, tenant) };
	settings_tenant_limits(&d->set, &found->tenant, &a->tenant_max);
	if (user.n == 0)
		return;
	a->key = usages_get(&d->usages, USAGE_KEY, user);
	a->over = found->key.over_quota;
	settings_key_limits(&found->key, &a->key_max);
}

static void
say_lack(const struct quota_lack *lack, const struct usage *of, uint32_t over,
    struct policy_reply *r)
{
	struct buf name = BUF_INIT(64), whose = BUF_INIT(OF_BYTES);

	quota_name(lack->unit, lack->window, &name);
	buf_printf(&whose, "%s %s", of->kind == USAGE_TENANT ? "tenant" : "key", of->name);
	policy_over_quota(&(struct policy_quota){ .of = buf_view(&whose), .quota = buf_view(&name),
	    .max = lack->max, .wait_s = lack->wait_s, .over = over }, r);
	buf_free(&name);
	buf_free(&whose);
}

/* Both have room; else *r says whose quota is used up. The tenant's comes first: it binds all keys. */
static bool
room(struct accounts *a, enum quota_unit unit, uint64_t now, struct policy_reply *r)
{
	struct quota_lack lack;

	if (!quota_fits(&a->tenant->quota, &a->tenant_max, unit, 1, now, &lack))
		say_lack(&lack, a->tenant, a->over, r);
	else if (a->key && !quota_fits(&a->key->quota, &a->key_max, unit, 1, now, &lack))
		say_lack(&lack, a->key, a->over, r);
	else
		return true;
	return false;
}

static void
take(struct authd *d, struct accounts *a, enum quota_unit unit, uint32_t n, uint64_t now)
{
	quota_add(&a->tenant->quota, unit, n, now);
	usages_changed(&d->usages, a->tenant);
	if (a->key == NULL)
		return;
	quota_add(&a->key->quota, unit, n, now);
	if (unit == QUOTA_MESSAGES)
		volume_add(&a->key->volume, n, now);
	usages_changed(&d->usages, a->key);
}

static bool
contains(struct view v, const char *pattern)
{
	size_t n = strlen(pattern);

	for (size_t i = 0; n && i + n <= v.n; i++)
		if (view_istarts(view_skip(v, i), pattern))
			return true;
	return false;
}

void
grant_rewrite(const struct settings *set, const struct check_records *found, struct view sender,
    struct grant *g)
{
	const struct record_domain *d = &found->domain;
	uint32_t mode = d->rewrite ? d->rewrite : set->rewrite.mode;
	const char *to = d->rewrite ? d->rewrite_to : set->rewrite.to;
	struct buf out = { .p = g->sender, .cap = ADDR_MAX, .max = ADDR_MAX };

	g->rewrite = SENDER_KEEP;
	memset(g->sender, 0, sizeof(g->sender));
	if (*set->bounce_domain && contains(sender, found->key.pattern)) {
		g->rewrite = SENDER_TOKEN;
		buf_printf(&out, "@%s", set->bounce_domain);
	} else if (rewrite_apply(mode, to, sender, &out) && !out.bad) {
		g->rewrite = SENDER_REPLACE;
	}
	g->sender[g->rewrite == SENDER_KEEP ? 0 : buf_len(&out)] = '\0';
}

static bool
wants_tenant_from(const struct settings *set, const struct record_tenant *t)
{
	if (t->header_from == HEADER_FROM_DEFAULT)
		return set->header_from_tenant;
	return t->header_from == HEADER_FROM_TENANT;
}

/* A name that the configuration does not have (any more) is no reason to refuse mail. */
static void
grant_retry(struct authd *d, const struct record_key *k, struct grant *g)
{
	const struct conf *c = d->daemon->conf;

	if (*k->retry == '\0')
		return;
	for (size_t i = 0; i < c->retry_schedule_count; i++)
		if (!strcmp(c->retry_schedule[i].name, k->retry)) {
			snprintf(g->retry, sizeof(g->retry), "%s", k->retry);
			return;
		}
	if (counts_add(&d->unknown_schedules, view_str(k->retry), 1) == 1)
		log_warn("there is no retry-schedule %s, which a key is set to: the usual one is used", k->retry);
}

static bool
fits(struct usage *u, const struct quota_limits *max, uint32_t n, uint64_t now)
{
	struct quota_lack lack;

	return quota_fits(&u->quota, max, QUOTA_MESSAGES, n, now, &lack);
}

/* Too near a limit: what is out is called back, once, before others use up the room that it counts on. */
static bool
far(struct usage *u, bool room, struct grant *g)
{
	if (!room && u->leased) {
		u->leased = false;
		g->end_leases = true;
	}
	return room;
}

/*
 * Never more than may be used without a further look: there is room for what all sessions could have
 * out at once, each with one lease and one message under way, and the key does not expire meanwhile.
 */
static void
grant_lease(struct authd *d, const struct check_records *found, struct accounts *a, uint64_t now,
    struct grant *g)
{
	uint64_t all = ((uint64_t)d->sessions + 1) * (LEASE_MESSAGES + 1), end_us = (now + 2) * 1000000;
	uint32_t most = all < UINT32_MAX / 2 ? (uint32_t)all : UINT32_MAX / 2;
	bool room = far(a->tenant, fits(a->tenant, &a->tenant_max, most, now), g);

	if (a->key && !far(a->key, fits(a->key, &a->key_max, most, now) &&
	    !contain_near(d, a->key, most, now), g))
		room = false;
	if (!room || (found->key.expires_us && found->key.expires_us < end_us))
		return;
	g->lease = LEASE_MESSAGES;
	a->tenant->leased = true;
	if (a->key)
		a->key->leased = true;
}

void
grant_mail(struct authd *d, const struct check_sender *q, const struct check_records *found,
    struct grant *g, struct policy_reply *r)
{
	struct accounts a;
	uint64_t now = now_s(d);

	*g = (struct grant){ .key_serial = found->key.serial };
	open_accounts(d, found, q->tenant, q->user, &a);
	if (!room(&a, QUOTA_MESSAGES, now, r)) {
		g->hold = r->code == 250;
		if (!g->hold)
			return;
	}
	if (a.key && contain_volume(d, q->user, a.key, now)) {
		check_mail(d->store, q, &(struct check_records){ 0 }, r);
		return;
	}
	/* What is held was not sent: it does not push the moment away at which the quota frees. */
	if (!g->hold) {
		take(d, &a, QUOTA_MESSAGES, 1, now);
		g->reserved_s = now;
	}
	g->check_rcpts = !g->hold && (quota_limited(&a.tenant_max, QUOTA_RCPTS) ||
	    quota_limited(&a.key_max, QUOTA_RCPTS));
	if (!g->hold && !g->check_rcpts)
		grant_lease(d, found, &a, now, g);
	g->header_from_tenant = wants_tenant_from(&d->set, &found->tenant);
	g->may_future = found->key.rights & RIGHT_FUTURE;
	g->may_priority = found->key.rights & RIGHT_PRIORITY;
	if (g->may_priority)
		g->priority = (uint8_t)(found->key.priority < UINT8_MAX ? found->key.priority :
									  UINT8_MAX);
	grant_retry(d, &found->key, g);
	grant_rewrite(&d->set, found, q->sender, g);
}

void
grant_rcpt(struct authd *d, const struct check_records *found, struct view tenant, struct view user,
    bool *hold, struct policy_reply *r)
{
	struct accounts a;
	uint64_t now = now_s(d);

	*r = (struct policy_reply){ .code = 250, .esc = ESC(2, 1, 5), .text = "Ok" };
	open_accounts(d, found, tenant, user, &a);
	if (!room(&a, QUOTA_RCPTS, now, r)) {
		*hold = *hold || r->code == 250;
		return;
	}
	take(d, &a, QUOTA_RCPTS, 1, now);
}

static void
settle(struct authd *d, struct usage *u, const struct ipc_txn_end *m, uint64_t now)
{
	if (!m->stored) {
		quota_give_back(&u->quota, QUOTA_MESSAGES, 1, m->reserved_s, now);
		quota_give_back(&u->quota, QUOTA_RCPTS, m->reserved, m->reserved_s, now);
	} else {
		quota_add(&u->quota, QUOTA_MESSAGES, m->leased, now);
		if (m->rcpts > m->reserved)
			quota_add(&u->quota, QUOTA_RCPTS, m->rcpts - m->reserved, now);
		if (u->kind == USAGE_KEY && m->leased)
			volume_add(&u->volume, m->leased, now);
	}
	usages_changed(&d->usages, u);
}

void
grant_end(struct authd *d, const struct ipc_txn_end *m)
{
	uint64_t now = now_s(d);

	settle(d, usages_get(&d->usages, USAGE_TENANT, m->tenant), m, now);
	if (m->user.n)
		settle(d, usages_get(&d->usages, USAGE_KEY, m->user), m, now);
}
