/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "authd/admin.h"
#include "authd/audit.h"
#include "authd/policy.h"
#include "lib/conf.h"
#include "lib/log.h"

/* A time, or a duration before now. */
static bool
since_parse(struct view v, uint64_t *from_us)
{
	uint64_t seconds, now = clock_wall_us();

	if (time_parse(v, from_us))
		return true;
	if (!conf_parse_duration(v, &seconds) || seconds > now / 1000000)
		return false;
	*from_us = now - seconds * 1000000;
	return true;
}

static void
audit_row(struct ctl_call *call, const struct record_audit *entry)
{
	ctl_time(call, "time", entry->at_us);
	ctl_number(call, "uid", entry->uid);
	ctl_str(call, "command", entry->command);
	ctl_str(call, "tenant", entry->tenant);
	ctl_str(call, "change", entry->what);
	ctl_row_end(call);
}

/* A tenant that is gone has a history still: the name is only looked for. */
enum ctl_result
ctl_audit(struct ctl_call *call)
{
	struct view of = ctl_arg(call, "tenant"), since = ctl_arg(call, "since");
	uint64_t from_us = 0;
	struct record_audit entry;
	struct err e;
	int rc = 1;

	if (call->cursor == NULL) {
		if (of.n && !policy_tenant_name_ok(of))
			return ctl_end(call, ADMIN_USAGE, "--tenant: this is no tenant's name");
		if (since.n && !since_parse(since, &from_us))
			return ctl_end(call, ADMIN_USAGE,
			    "--since: \"" VIEW_FMT "\" is not a time such as 2026-12-31T00:00:00Z, "
			    "nor a duration such as 7d",
			    VIEW_ARG(view_first(since, 100)));
		call->cursor = x_calloc(1, DOMAIN_BYTES + 1);
		audit_place(from_us, call->cursor);
	}
	for (int i = 0; i < ADMIN_ROWS_PER_STEP && rc == 1; i++) {
		rc = store_next_audit(admin_store(call), NULL, call->cursor, &entry, &e);
		if (rc == 1 && (of.n == 0 || view_is(of, entry.tenant)))
			audit_row(call, &entry);
	}
	if (rc < 0)
		return admin_fail(call, &e);
	return rc == 1 ? CTL_MORE : CTL_DONE;
}
