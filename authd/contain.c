/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "authd/audit.h"
#include "authd/contain.h"
#include "lib/event.h"
#include "lib/log.h"

static uint64_t
wall_s(const struct authd *d)
{
	return loop_wall_us(d->daemon->loop) / 1000000;
}

static void
tell_hold(struct authd *d, struct view tenant, struct view user, enum key_hold_act act)
{
	IPC_SEND(&d->qmgr, key_hold, .tenant = tenant, .user = user, .act = (uint8_t)act);
}

static int
store_frozen(struct authd_store *s, struct view user, struct record_key *k, const char *what,
    struct err *e)
{
	if (store_begin(s, e) < 0)
		return -1;
	if (store_put_key(s, user, k, e) == 0 && audit_put(s, 0, "automatic", k->tenant, what, e) == 0)
		return store_commit(s, e);
	store_abort(s);
	return -1;
}

/* For good until an admin thaws it. A store that fails leaves the key as it is: it is tried again. */
static bool
freeze(struct authd *d, struct view user, const char *reason)
{
	struct buf what = BUF_INIT(1024);
	struct record_key k;
	struct err e;

	int rc = store_get_key(d->store, user, &k, &e);
	if (rc == 1 && !k.frozen && !k.revoked) {
		k.frozen = true;
		k.frozen_us = clock_wall_us();
		snprintf(k.frozen_reason, sizeof(k.frozen_reason), "%s", reason);
		buf_printf(&what, "key " VIEW_FMT " of tenant %s frozen: %s", VIEW_ARG(user),
		    k.tenant, reason);
		rc = store_frozen(d->store, user, &k, buf_cstr(&what), &e) < 0 ? -1 : 2;
	}
	if (rc == 2) {
		log_warn("%s", buf_cstr(&what));
		event_write(&(struct event){ .type = EVENT_config, .tenant = view_str(k.tenant),
		    .key = user, .text = buf_view(&what), .command = "key freeze" });
		tell_hold(d, view_str(k.tenant), user, KEY_HOLD);
	} else if (rc < 0) {
		log_error("key " VIEW_FMT " cannot be frozen: %s", VIEW_ARG(user), e.text);
	}
	explicit_bzero(&k, sizeof(k));
	buf_free(&what);
	return rc == 2;
}

bool
contain_near(struct authd *d, struct usage *u, uint32_t n, uint64_t now)
{
	uint32_t used = quota_used(&u->quota, QUOTA_MESSAGES, QUOTA_DAY, now);

	return volume_unusual(&u->volume, used > UINT32_MAX - n ? UINT32_MAX : used + n,
	    d->set.freeze_volume, d->set.freeze_floor, now);
}

bool
contain_volume(struct authd *d, struct view user, struct usage *u, uint64_t now)
{
	uint32_t used = quota_used(&u->quota, QUOTA_MESSAGES, QUOTA_DAY, now);
	char reason[REASON_BYTES];

	if (!contain_near(d, u, 0, now))
		return false;
	snprintf(reason, sizeof(reason), "%u messages in 24 hours, usually %u a day", used,
	    volume_usual(&u->volume, now));
	return freeze(d, user, reason);
}

/* What qmgr needs of a tenant: its pace, and the weight of its turns. */
static void
tell_tenant(struct authd *d, struct view name, uint32_t factor)
{
	struct record_tenant t;
	struct err e;

	int rc = store_get_tenant(d->store, name, &t, &e);
	IPC_SEND(&d->qmgr, tenant_factor, .tenant = name, .factor = factor,
	    .weight = rc == 1 ? t.weight : 0);
}

static void
set_factor(struct authd *d, struct usage *u, const struct ratio_state *s)
{
	uint32_t factor = s->bad ? d->set.slow_to : 100;

	if (u->factor == factor)
		return;
	u->factor = factor;
	if (s->bad)
		log_warn("tenant %s: %llu of %llu recipients failed: delivery slowed to %u%%",
		    u->name, (unsigned long long)s->failed, (unsigned long long)s->total, factor);
	else
		log_info("tenant %s: delivery at its normal pace again", u->name);
	tell_tenant(d, view_str(u->name), factor);
}

void
contain_outcome(struct authd *d, const struct ipc_outcome *o)
{
	struct usage *tenant = usages_get(&d->usages, USAGE_TENANT, o->tenant);
	uint64_t now = wall_s(d);
	char reason[REASON_BYTES];

	ratio_add(&tenant->ratio, &d->set.slow, o->sent, o->failed, now);
	struct ratio_state s = ratio_look(&tenant->ratio, &d->set.slow, now);
	set_factor(d, tenant, &s);
	if (o->user.n == 0)
		return;
	struct usage *key = usages_get(&d->usages, USAGE_KEY, o->user);
	ratio_add(&key->ratio, &d->set.freeze, o->sent, o->failed, now);
	s = ratio_look(&key->ratio, &d->set.freeze, now);
	if (!s.bad)
		return;
	snprintf(reason, sizeof(reason), "%llu of %llu recipients failed",
	    (unsigned long long)s.failed, (unsigned long long)s.total);
	if (freeze(d, o->user, reason))
		key->ratio = (struct ratio){ 0 }; /* thawed, it begins anew */
}

static void
look(void *ctx, struct usage *u)
{
	struct authd *d = ctx;

	if (u->kind != USAGE_TENANT || u->factor == 100)
		return;
	struct ratio_state s = ratio_look(&u->ratio, &d->set.slow, wall_s(d));
	set_factor(d, u, &s);
}

void
contain_look(struct authd *d)
{
	usages_each(&d->usages, look, d);
}

static void
live_tenant(void *ctx, struct view name)
{
	struct authd *d = ctx;

	tell_tenant(d, name, usages_get(&d->usages, USAGE_TENANT, name)->factor);
}

static void
tell_factor(void *ctx, struct usage *u)
{
	struct authd *d = ctx;

	if (u->kind == USAGE_TENANT && u->factor != 100)
		tell_tenant(d, view_str(u->name), u->factor);
}

void
contain_tell_all(struct authd *d)
{
	char name[DOMAIN_BYTES + 1] = "";
	struct record_tenant t;
	struct record_key k;
	struct err e;

	usages_each(&d->usages, tell_factor, d);
	while (store_next_tenant(d->store, NULL, name, &t, &e) == 1) {
		if (t.frozen)
			tell_hold(d, view_str(name), VIEW(""), KEY_HOLD);
		if (t.weight > 1)
			live_tenant(d, view_str(name));
	}
	*name = '\0';
	while (store_next_key(d->store, NULL, name, &k, &e) == 1)
		if (k.frozen && !k.revoked)
			tell_hold(d, view_str(k.tenant), view_str(name), KEY_HOLD);
	explicit_bzero(&k, sizeof(k));
}

/* Live. */

static void
limits_of(struct authd *d, const char *tenant, const char *user, struct quota_limits *out)
{
	struct record_tenant t = { .enabled = false };
	struct record_key k = { .tenant = "" };
	struct err e;

	if (*user) {
		store_get_key(d->store, view_str(user), &k, &e);
		settings_key_limits(&k, out);
		explicit_bzero(&k, sizeof(k));
	} else {
		store_get_tenant(d->store, view_str(tenant), &t, &e);
		settings_tenant_limits(&d->set, &t, out);
	}
}

static void
live_quotas(void *ctx, const char *tenant, const char *user,
    struct live_quota out[static LIVE_WINDOWS])
{
	struct authd *d = ctx;
	struct usage *u = *user ? usages_get(&d->usages, USAGE_KEY, view_str(user)) :
				  usages_get(&d->usages, USAGE_TENANT, view_str(tenant));
	uint64_t now = wall_s(d);
	struct quota_limits max;

	limits_of(d, tenant, user, &max);
	for (int i = 0; i < LIVE_WINDOWS; i++) {
		enum quota_unit unit = i < LIVE_RCPT_MINUTE ? QUOTA_MESSAGES : QUOTA_RCPTS;
		enum quota_window w = (enum quota_window)(i % QUOTA_WINDOWS);
		uint64_t wait = max.max[unit][w] ?
		    quota_wait_s(&u->quota, unit, w, max.max[unit][w], 1, now) : 0;
		out[i] = (struct live_quota){ .limit = max.max[unit][w],
			.used = quota_used(&u->quota, unit, w, now),
			.frees_us = wait ? (now + wait) * 1000000 : 0 };
	}
}

static void
live_pace(void *ctx, const char *tenant, struct live_pace *out)
{
	struct authd *d = ctx;
	struct usage *u = usages_get(&d->usages, USAGE_TENANT, view_str(tenant));
	struct ratio_state s = ratio_look(&u->ratio, &d->set.slow, wall_s(d));

	*out = (struct live_pace){ .factor = u->factor, .failed = s.failed, .total = s.total,
		.until_us = u->factor != 100 ? s.until_s * 1000000 : 0 };
}

static void
live_hold(void *ctx, const char *tenant, const char *user, bool on)
{
	struct authd *d = ctx;

	tell_hold(d, view_str(tenant), view_str(user), on ? KEY_HOLD : KEY_RELEASE);
}

static bool
live_purge(void *ctx, const char *tenant, const char *user)
{
	struct authd *d = ctx;

	if (!channel_is_open(&d->qmgr))
		return false;
	tell_hold(d, view_str(tenant), view_str(user), KEY_PURGE);
	return true;
}

void
contain_live(struct authd *d, struct live *live)
{
	*live = (struct live){ .ctx = d, .quotas = live_quotas, .pace = live_pace,
		.hold = live_hold, .purge = live_purge, .tenant = live_tenant };
}
