/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "authd/audit.h"
#include "lib/loop.h"

/* The name of an entry is its time in microseconds, 16 hex digits: names go by time. */
static void
name_of(uint64_t us, char name[static DOMAIN_BYTES + 1])
{
	snprintf(name, DOMAIN_BYTES + 1, "%016" PRIx64, us);
}

void
audit_place(uint64_t from_us, char name[static DOMAIN_BYTES + 1])
{
	*name = '\0';
	if (from_us)
		name_of(from_us - 1, name);
}

static void
put_cut(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
}

int
audit_put(struct authd_store *s, uint32_t uid, const char *command, const char *tenant,
    const char *what, struct err *e)
{
	struct record_audit entry = {.at_us = clock_wall_us(), .uid = uid}, other;
	char name[DOMAIN_BYTES + 1];
	uint64_t at = entry.at_us;
	int rc;

	put_cut(entry.command, sizeof(entry.command), command);
	put_cut(entry.tenant, sizeof(entry.tenant), tenant);
	put_cut(entry.what, sizeof(entry.what), what);
	/* Two of one microsecond: the later one goes behind. */
	do
		name_of(at++, name);
	while ((rc = store_get_audit(s, view_str(name), &other, e)) == 1);
	return rc < 0 ? -1 : store_put_audit(s, view_str(name), &entry, e);
}

int
audit_prune(struct authd_store *s, uint64_t before_us, struct err *e)
{
	char name[DOMAIN_BYTES + 1] = "";
	struct record_audit entry;
	int rc, n = 0;

	/* Mostly there is nothing to do, and then no transaction. */
	rc = store_next_audit(s, NULL, name, &entry, e);
	if (rc <= 0 || entry.at_us >= before_us)
		return rc < 0 ? -1 : 0;
	if (store_begin(s, e) < 0)
		return -1;
	while (rc == 1 && n < AUDIT_PRUNE_ROWS && entry.at_us < before_us) {
		if (store_del(s, STORE_audit, view_str(name), e) < 0) {
			rc = -1;
			break;
		}
		n++;
		rc = store_next_audit(s, NULL, name, &entry, e);
	}
	if (rc >= 0)
		return store_commit(s, e) < 0 ? -1 : n;
	store_abort(s);
	return -1;
}
