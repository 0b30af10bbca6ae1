/* SPDX-License-Identifier: ISC */
/*
 * Containment by command: a frozen tenant or key sends nothing new, and what it has in the queue
 * waits until it is thawed or purged.
 */
#include <stdlib.h>
#include <string.h>

#include "authd/admin.h"
#include "authd/live.h"
#include "lib/log.h"

#define BY_COMMAND "by command"

/* Whose: the record that is frozen or thawed. */
struct subject {
	enum store_table table;
	struct view name;
	char tenant[NAME_BYTES + 1], user[NAME_BYTES + 1]; /* user empty: the whole tenant */
	union {
		struct record_tenant tenant;
		struct record_key key;
	} r;
	bool *frozen; /* in r, as the two below */
	char *reason;
	uint64_t *since_us;
};

#define POINT(s, record)                                                                           \
	((s)->frozen = &(record)->frozen, (s)->reason = (record)->frozen_reason,                   \
	    (s)->since_us = &(record)->frozen_us)

static int
named(struct ctl_call *call, enum store_table t, struct subject *s, enum ctl_result *result)
{
	*s = (struct subject){.table = t};
	int rc = t == STORE_tenant ? admin_tenant(call, "name", &s->name, &s->r.tenant, result)
				   : admin_active_key(call, &s->name, &s->r.key, result);
	if (rc != 1)
		return rc;
	if (t == STORE_key) {
		memcpy(s->tenant, s->r.key.tenant, sizeof(s->tenant));
		memcpy(s->user, s->name.p, s->name.n);
		POINT(s, &s->r.key);
	} else {
		memcpy(s->tenant, s->name.p, s->name.n);
		POINT(s, &s->r.tenant);
	}
	return 1;
}

static enum ctl_result
freeze(struct ctl_call *call, enum store_table t, bool on)
{
	struct authd_store *store = admin_store(call);
	const struct live *live = store_live(store);
	struct view reason = ctl_arg(call, "reason");
	enum ctl_result result;
	struct subject s;
	struct err e;

	if (!text_line_ok(reason, REASON_BYTES))
		return ctl_end(
		    call, ADMIN_USAGE, "--reason: one line of up to %d bytes", REASON_BYTES);
	if (on && reason.n == 0)
		reason = VIEW(BY_COMMAND);
	if (named(call, t, &s, &result) != 1)
		return result;
	if (*s.frozen == on)
		return CTL_DONE;
	*s.frozen = on;
	*s.since_us = on ? clock_wall_us() : 0;
	memcpy(s.reason, reason.p, on ? reason.n : 0);
	s.reason[on ? reason.n : 0] = '\0';
	if (store_begin(store, &e) < 0 || store_put(store, t, s.name, &s.r, &e) < 0) {
		result = admin_fail(call, &e);
	} else if (admin_commit(call, s.tenant, "%s " VIEW_FMT " %s%s" VIEW_FMT,
		       store_table_word(t), VIEW_ARG(s.name), on ? "frozen" : "thawed",
		       on ? ": " : "", VIEW_ARG(reason))) {
		if (live && live->hold)
			live->hold(live->ctx, s.tenant, s.user, on);
		result = CTL_DONE;
	}
	explicit_bzero(&s, sizeof(s));
	return result;
}

enum ctl_result
ctl_tenant_freeze(struct ctl_call *call)
{
	return freeze(call, STORE_tenant, true);
}

enum ctl_result
ctl_tenant_thaw(struct ctl_call *call)
{
	return freeze(call, STORE_tenant, false);
}

enum ctl_result
ctl_key_freeze(struct ctl_call *call)
{
	return freeze(call, STORE_key, true);
}

enum ctl_result
ctl_key_thaw(struct ctl_call *call)
{
	return freeze(call, STORE_key, false);
}

/* Only of a key that sends nothing new: otherwise more would come behind the purge. */
enum ctl_result
ctl_key_purge(struct ctl_call *call)
{
	const struct live *live = store_live(admin_store(call));
	struct record_key k;
	enum ctl_result result = CTL_DONE;
	struct view user;

	if (admin_key(call, &user, &k, &result) != 1)
		return result;
	bool stopped = k.frozen || k.revoked;
	char *name = x_strndup(user);
	if (!stopped)
		result = ctl_end(call, ADMIN_FAILED,
		    "key %s is not frozen: freeze it first, so that nothing comes behind the purge",
		    name);
	else if (live == NULL || live->purge == NULL || !live->purge(live->ctx, k.tenant, name))
		result = ctl_end(call, ADMIN_FAILED, "the queue is not there to be purged");
	else
		admin_note(call, k.tenant, "queued mail of key %s purged", name);
	free(name);
	explicit_bzero(&k, sizeof(k));
	return result;
}
