/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "authd/admin.h"
#include "authd/audit.h"
#include "authd/live.h"
#include "authd/policy.h"
#include "authd/secret.h"
#include "lib/event.h"
#include "lib/log.h"

enum { WHAT_MAX = 4096 };

const struct ctl_command authd_commands[] = { CTL_AUTHD(CTL_ROW) { NULL, NULL } };

enum ctl_result
admin_fail(struct ctl_call *call, const struct err *e)
{
	store_abort(admin_store(call));
	log_error("admin uid=%u: %s: %s", call->uid, call->command->command, e->text);
	return ctl_end(call, ADMIN_FAILED, "%s", e->text);
}

int
admin_tenant(struct ctl_call *call, const char *arg, struct view *name, struct record_tenant *t,
    enum ctl_result *result)
{
	struct err e;

	*name = ctl_arg(call, arg);
	int rc =
	    policy_tenant_name_ok(*name) ? store_get_tenant(admin_store(call), *name, t, &e) : 0;
	if (rc < 0)
		*result = admin_fail(call, &e);
	else if (rc == 0)
		*result = ctl_end(call, ADMIN_USAGE, "there is no tenant " VIEW_FMT,
		    VIEW_ARG(view_first(*name, NAME_BYTES)));
	return rc == 1;
}

static void
tell(const struct ctl_call *call, const char *tenant, struct view what)
{
	const struct event e = { .type = EVENT_config, .tenant = view_str(tenant),
		.admin_uid = &call->uid, .command = call->command->command, .text = what };

	log_info("admin uid=%u: " VIEW_FMT, call->uid, VIEW_ARG(what));
	if (event_enabled())
		event_write(&e);
}

void
admin_tell_tenant(struct ctl_call *call, struct view tenant)
{
	const struct live *live = store_live(admin_store(call));

	if (tenant.n && live && live->tenant)
		live->tenant(live->ctx, tenant);
}

static bool commit(struct ctl_call *call, const char *tenant, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* The trail and the change are one transaction: neither is there without the other. */
static bool
commit(struct ctl_call *call, const char *tenant, const char *fmt, va_list ap)
{
	struct authd_store *s = admin_store(call);
	struct buf what = BUF_INIT(WHAT_MAX);
	struct err e;

	buf_vprintf(&what, fmt, ap);
	bool good = audit_put(s, call->uid, call->command->command, tenant, buf_cstr(&what), &e) ==
			0 &&
	    store_commit(s, &e) == 0;
	if (good) {
		tell(call, tenant, buf_view(&what));
		admin_tell_tenant(call, view_str(tenant));
	} else {
		admin_fail(call, &e);
	}
	buf_free(&what);
	return good;
}

bool
admin_commit(struct ctl_call *call, const char *tenant, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	bool good = commit(call, tenant, fmt, ap);
	va_end(ap);
	return good;
}

bool
admin_note(struct ctl_call *call, const char *tenant, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	if (store_begin(admin_store(call), &e) < 0) {
		admin_fail(call, &e);
		return false;
	}
	va_start(ap, fmt);
	bool good = commit(call, tenant, fmt, ap);
	va_end(ap);
	return good;
}

/* Where a list goes on. */
struct list_place {
	char name[DOMAIN_BYTES + 1];
};

enum ctl_result
admin_list(struct ctl_call *call, enum store_table t, void *record,
    void (*row)(struct ctl_call *call, const char *name, const void *record))
{
	struct view of = ctl_arg(call, "tenant");
	struct record_tenant tenant;
	enum ctl_result result;
	struct err e;
	int rc = 1;

	if (call->cursor == NULL) {
		if (of.n && !admin_tenant(call, "tenant", &of, &tenant, &result))
			return result;
		call->cursor = x_calloc(1, sizeof(struct list_place));
	}
	struct list_place *place = call->cursor;
	char *name = of.n ? x_strndup(of) : NULL;
	for (int i = 0; i < ADMIN_ROWS_PER_STEP && rc == 1; i++) {
		rc = store_next(admin_store(call), t, name, place->name, record, &e);
		if (rc == 1)
			row(call, place->name, record);
	}
	free(name);
	if (rc < 0)
		return admin_fail(call, &e);
	return rc == 1 ? CTL_MORE : CTL_DONE;
}

enum ctl_result
ctl_tenant_add(struct ctl_call *call)
{
	struct authd_store *s = admin_store(call);
	struct view name = ctl_arg(call, "name");
	struct record_tenant t = { .enabled = ctl_flag(call, "enabled"),
		.created_us = clock_wall_us(), .created_by = call->uid }, old;
	struct err e;

	if (!policy_tenant_name_ok(name))
		return ctl_end(call, ADMIN_USAGE,
		    "a tenant's name has 1 to 64 letters, digits, dots, underscores and hyphens");
	int rc = store_get_tenant(s, name, &old, &e);
	if (rc == 1)
		return ctl_end(call, ADMIN_USAGE, "tenant " VIEW_FMT " is there already",
		    VIEW_ARG(name));
	if (rc < 0 || store_begin(s, &e) < 0 || store_put_tenant(s, name, &t, &e) < 0)
		return admin_fail(call, &e);
	char *tenant = x_strndup(name);
	admin_commit(call, tenant, "tenant %s added, %s", tenant,
	    t.enabled ? "enabled" : "disabled");
	free(tenant);
	return CTL_DONE;
}

static void
tenant_row(struct ctl_call *call, const char *name, const void *record)
{
	const struct record_tenant *t = record;

	ctl_str(call, "tenant", name);
	ctl_bool(call, "enabled", t->enabled);
	ctl_time(call, "created", t->created_us);
	ctl_row_end(call);
}

enum ctl_result
ctl_tenant_list(struct ctl_call *call)
{
	struct record_tenant t;

	return admin_list(call, STORE_tenant, &t, tenant_row);
}

void
admin_frozen(struct ctl_call *call, bool frozen, const char *reason, uint64_t since_us)
{
	ctl_bool(call, "frozen", frozen);
	ctl_str(call, "frozen_reason", reason);
	ctl_time(call, "frozen_since", since_us);
}

/* A28: how the tenant's mail fares, and whether it is slowed for that. Nothing offline. */
static void
put_pace(struct ctl_call *call, const char *tenant)
{
	const struct live *live = store_live(admin_store(call));
	struct live_pace p = { .factor = 100 };

	if (live == NULL || live->pace == NULL)
		return;
	live->pace(live->ctx, tenant, &p);
	ctl_number(call, "bounced", p.failed);
	ctl_number(call, "bounced_of", p.total);
	ctl_number(call, "pace_percent", p.factor);
	ctl_time(call, "slowed_until", p.until_us);
}

enum ctl_result
ctl_tenant_show(struct ctl_call *call)
{
	struct authd_store *s = admin_store(call);
	uint64_t keys, domains;
	struct record_tenant t;
	enum ctl_result result;
	struct view name;
	struct err e;

	if (!admin_tenant(call, "name", &name, &t, &result))
		return result;
	char *tenant = x_strndup(name);
	int rc = store_count(s, STORE_key, tenant, &keys, &e);
	if (rc == 0)
		rc = store_count(s, STORE_domain, tenant, &domains, &e);
	if (rc == 0) {
		ctl_str(call, "tenant", tenant);
		ctl_bool(call, "enabled", t.enabled);
		ctl_number(call, "keys", keys);
		ctl_number(call, "domains", domains);
		ctl_time(call, "created", t.created_us);
		ctl_number(call, "created_by", t.created_by);
		ctl_time(call, "changed", t.changed_us);
		admin_settings(call, STORE_tenant, &t);
		admin_frozen(call, t.frozen, t.frozen_reason, t.frozen_us);
		admin_quota_use(call, tenant, "");
		put_pace(call, tenant);
		ctl_row_end(call);
	} else {
		admin_fail(call, &e);
	}
	free(tenant);
	return CTL_DONE;
}

static enum ctl_result
switch_tenant(struct ctl_call *call, bool on)
{
	struct authd_store *s = admin_store(call);
	struct record_tenant t;
	enum ctl_result result;
	struct view name;
	struct err e;

	if (!admin_tenant(call, "name", &name, &t, &result))
		return result;
	if (t.enabled == on)
		return CTL_DONE;
	t.enabled = on;
	t.changed_us = clock_wall_us();
	t.changed_by = call->uid;
	if (store_begin(s, &e) < 0 || store_put_tenant(s, name, &t, &e) < 0)
		return admin_fail(call, &e);
	char *tenant = x_strndup(name);
	admin_commit(call, tenant, "tenant %s %s", tenant, on ? "enabled" : "disabled");
	free(tenant);
	return CTL_DONE;
}

enum ctl_result
ctl_tenant_enable(struct ctl_call *call)
{
	return switch_tenant(call, true);
}

enum ctl_result
ctl_tenant_disable(struct ctl_call *call)
{
	return switch_tenant(call, false);
}

/* The keys of a tenant that goes away: their names stay taken, so they become tombstones. */
static int
orphan_keys(struct ctl_call *call, const char *tenant, struct err *e)
{
	struct authd_store *s = admin_store(call);
	char user[DOMAIN_BYTES + 1] = "";
	struct record_key k;
	int rc;

	while ((rc = store_next_key(s, tenant, user, &k, e)) == 1) {
		if (!k.revoked) {
			k.revoked_us = clock_wall_us();
			k.revoked_by = call->uid;
		}
		k.revoked = k.orphan = true;
		secret_forget(&k);
		if (store_put_key(s, view_str(user), &k, e) < 0)
			return -1;
	}
	return rc;
}

static int
delete_domains(struct authd_store *s, const char *tenant, struct err *e)
{
	char name[DOMAIN_BYTES + 1] = "";
	struct record_domain d;
	int rc;

	while ((rc = store_next_domain(s, tenant, name, &d, e)) == 1)
		if (store_del(s, STORE_domain, view_str(name), e) < 0)
			return -1;
	return rc;
}

/* 1: nothing of the tenant's is in use; 0: something is. Revoked keys do not count. */
static int
tenant_unused(struct authd_store *s, const char *tenant, struct err *e)
{
	char name[DOMAIN_BYTES + 1] = "";
	struct record_domain d;
	struct record_key k;
	int rc = store_next_domain(s, tenant, name, &d, e);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	while ((rc = store_next_key(s, tenant, name, &k, e)) == 1)
		if (!k.revoked)
			return 0;
	return rc < 0 ? -1 : 1;
}

enum ctl_result
ctl_tenant_delete(struct ctl_call *call)
{
	struct authd_store *s = admin_store(call);
	struct record_tenant t;
	enum ctl_result result;
	struct view name;
	struct err e;

	if (!admin_tenant(call, "name", &name, &t, &result))
		return result;
	char *tenant = x_strndup(name);
	int rc = ctl_flag(call, "force") ? 1 : tenant_unused(s, tenant, &e);
	if (rc == 1 && (store_begin(s, &e) < 0 || orphan_keys(call, tenant, &e) < 0 ||
		delete_domains(s, tenant, &e) < 0 || store_del(s, STORE_tenant, name, &e) < 0))
		rc = -1;
	if (rc < 0)
		admin_fail(call, &e);
	else if (rc == 0)
		ctl_end(call, ADMIN_FAILED,
		    "tenant %s has keys or domains: delete them first, or use --force", tenant);
	else
		admin_commit(call, tenant, "tenant %s deleted", tenant);
	free(tenant);
	return CTL_DONE;
}
