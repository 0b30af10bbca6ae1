/* SPDX-License-Identifier: ISC */
/* Quotas as they stand now: limit, use, and when the next message is taken (A29, G18, G19, P20). */
#include <stdlib.h>
#include <string.h>

#include "authd/admin.h"
#include "authd/live.h"
#include "authd/policy.h"
#include "lib/log.h"

/* In the order of enum live_window. */
static const char *const window_names[LIVE_WINDOWS] = {
    "quota-minute", "quota-hour", "quota-day", "rcpt-minute", "rcpt-hour", "rcpt-day"};

static bool
quotas_of(struct ctl_call *call, const char *tenant, const char *user,
    struct live_quota q[static LIVE_WINDOWS])
{
	const struct live *live = store_live(admin_store(call));

	memset(q, 0, LIVE_WINDOWS * sizeof(*q));
	if (live == NULL || live->quotas == NULL)
		return false;
	live->quotas(live->ctx, tenant, user, q);
	return true;
}

/* Rows for those that limit, count or were asked for by name. */
static void
quota_rows(struct ctl_call *call, const char *tenant, const char *user, bool all)
{
	struct live_quota q[LIVE_WINDOWS];

	if (!quotas_of(call, tenant, user, q))
		return;
	for (int i = 0; i < LIVE_WINDOWS; i++) {
		if (!all && q[i].limit == 0 && q[i].used == 0)
			continue;
		ctl_str(call, "tenant", tenant);
		ctl_str(call, "user", user);
		ctl_str(call, "quota", window_names[i]);
		ctl_number(call, "limit", q[i].limit);
		ctl_number(call, "used", q[i].used);
		ctl_time(call, "frees", q[i].frees_us);
		ctl_row_end(call);
	}
}

void
admin_quota_use(struct ctl_call *call, const char *tenant, const char *user)
{
	struct live_quota q[LIVE_WINDOWS];
	struct buf text = BUF_INIT(1024);
	struct view parts[LIVE_WINDOWS];
	size_t ends[LIVE_WINDOWS], n = 0;

	bool known = quotas_of(call, tenant, user, q);
	for (int i = 0; known && i < LIVE_WINDOWS; i++) {
		if (q[i].limit == 0 && q[i].used == 0)
			continue;
		buf_printf(&text, "%s %llu", window_names[i], (unsigned long long)q[i].used);
		if (q[i].limit)
			buf_printf(&text, "/%llu", (unsigned long long)q[i].limit);
		ends[n++] = buf_len(&text);
	}
	for (size_t i = 0, from = 0; i < n; from = ends[i++])
		parts[i] = view_skip(view_first(buf_view(&text), ends[i]), from);
	ctl_list(call, "quota_use", parts, n);
	buf_free(&text);
}

/* One step of all tenants. */
static void
tenant_quotas(struct ctl_call *call, const char *name, const void *record)
{
	(void)record;
	quota_rows(call, name, "", false);
}

enum ctl_result
ctl_quota_show(struct ctl_call *call)
{
	struct authd_store *s = admin_store(call);
	struct view of = ctl_arg(call, "name");
	struct record_tenant t;
	struct record_key k;
	struct err e;

	if (store_live(s) == NULL)
		return ctl_end(
		    call, ADMIN_FAILED, "the use of quotas is known to the running suite only");
	if (of.n == 0)
		return admin_list(call, STORE_tenant, &t, tenant_quotas);
	char *name = x_strndup(view_first(of, NAME_BYTES + 1));
	int rc = policy_tenant_name_ok(of) ? store_get_tenant(s, of, &t, &e) : 0;
	if (rc == 1)
		quota_rows(call, name, "", true);
	if (rc == 0 && policy_user_name_ok(of) && (rc = store_get_key(s, of, &k, &e)) == 1) {
		quota_rows(call, k.tenant, name, true);
		explicit_bzero(&k, sizeof(k));
	}
	if (rc < 0)
		admin_fail(call, &e);
	else if (rc == 0)
		ctl_end(call, ADMIN_USAGE, "there is no tenant and no key %s", name);
	free(name);
	return CTL_DONE;
}
