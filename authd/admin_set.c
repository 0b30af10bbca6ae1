/* SPDX-License-Identifier: ISC */
/* `set` of tenants, keys and domains, and the settings as rows show them. */
#include <stdlib.h>
#include <string.h>

#include "authd/admin.h"
#include "lib/log.h"

enum { CHANGES_MAX = 2048 };

int
admin_set(struct ctl_call *call, enum store_table t, void *record, struct buf *changes,
    enum ctl_result *result)
{
	size_t count;
	const struct setting *s = settings_of(t, &count);
	struct view v;
	int set = 0;

	for (; count--; s++) {
		if (!ctl_arg_nth(call, s->name, 0, &v))
			continue;
		const char *wanted = setting_put(s, v, record);
		if (wanted) {
			*result = ctl_end(call, ADMIN_USAGE, "--%s: \"" VIEW_FMT "\" is not %s",
			    s->name, VIEW_ARG(view_first(v, 100)), wanted);
			return -1;
		}
		buf_printf(changes, "%s%s=", set++ ? " " : "", s->name);
		setting_text(s, record, changes);
	}
	if (set == 0) {
		*result = ctl_end(call, ADMIN_USAGE, "nothing to set: see mtactl %s --help",
		    call->command->command);
		return -1;
	}
	return 0;
}

void
admin_settings(struct ctl_call *call, enum store_table t, const void *record)
{
	struct buf text = BUF_INIT(CHANGES_MAX);
	char name[SETTING_NAME_MAX];
	size_t count;
	const struct setting *s = settings_of(t, &count);

	for (; count--; s++) {
		setting_member(s, name);
		buf_clear(&text);
		setting_text(s, record, &text);
		ctl_text(call, name, buf_view(&text));
	}
	buf_free(&text);
}

/* The record after `set`: on disk, logged. */
static enum ctl_result
store_change(struct ctl_call *call, enum store_table t, struct view name, const void *record,
    const char *tenant, struct buf *changes)
{
	struct authd_store *s = admin_store(call);
	struct err e;

	if (store_begin(s, &e) < 0 || store_put(s, t, name, record, &e) < 0)
		return admin_fail(call, &e);
	admin_commit(call, tenant, "%s " VIEW_FMT ": %s", store_table_word(t), VIEW_ARG(name),
	    buf_cstr(changes));
	return CTL_DONE;
}

enum ctl_result
ctl_tenant_set(struct ctl_call *call)
{
	struct buf changes = BUF_INIT(CHANGES_MAX);
	struct record_tenant t;
	enum ctl_result result;
	struct view name;

	if (admin_tenant(call, "name", &name, &t, &result) &&
	    admin_set(call, STORE_tenant, &t, &changes, &result) == 0) {
		char *tenant = x_strndup(name);
		t.changed_us = clock_wall_us();
		t.changed_by = call->uid;
		result = store_change(call, STORE_tenant, name, &t, tenant, &changes);
		free(tenant);
	}
	buf_free(&changes);
	return result;
}

enum ctl_result
ctl_key_set(struct ctl_call *call)
{
	struct buf changes = BUF_INIT(CHANGES_MAX);
	enum ctl_result result;
	struct record_key k;
	struct view user;

	if (admin_active_key(call, &user, &k, &result) &&
	    admin_set(call, STORE_key, &k, &changes, &result) == 0) {
		k.changed_us = clock_wall_us();
		k.changed_by = call->uid;
		result = store_change(call, STORE_key, user, &k, k.tenant, &changes);
	}
	explicit_bzero(&k, sizeof(k));
	buf_free(&changes);
	return result;
}

enum ctl_result
ctl_domain_set(struct ctl_call *call)
{
	struct buf name = BUF_INIT(DOMAIN_BYTES), changes = BUF_INIT(CHANGES_MAX);
	enum ctl_result result;
	struct record_domain d;

	if (admin_domain(call, &name, &d, &result) &&
	    admin_set(call, STORE_domain, &d, &changes, &result) == 0) {
		d.changed_us = clock_wall_us();
		d.changed_by = call->uid;
		result = store_change(call, STORE_domain, buf_view(&name), &d, d.tenant, &changes);
	}
	buf_free(&name);
	buf_free(&changes);
	return result;
}
