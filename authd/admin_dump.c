/* SPDX-License-Identifier: ISC */
/*
 * export and import. An import is one transaction in two passes over the lines: tenants, then what
 * belongs to them, so that their order does not matter. Errors are collected, and any of them
 * undoes it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authd/admin.h"
#include "authd/dump.h"
#include "authd/live.h"
#include "authd/policy.h"
#include "authd/secret.h"
#include "lib/addr.h"
#include "lib/log.h"

enum { ERRORS_MAX = 100, HOLDS_MAX = 64 << 20 };

union any_record {
	struct record_tenant tenant;
	struct record_key key;
	struct record_domain domain;
};

/* Where an export goes on: the tables one after the other. */
struct export_place {
	enum store_table table;
	uint64_t changes;
	char name[DOMAIN_BYTES + 1];
};

enum ctl_result
ctl_export(struct ctl_call *call)
{
	struct authd_store *s = admin_store(call);
	struct buf line = BUF_INIT(DUMP_LINE_MAX);
	struct export_place *at = call->cursor;
	union any_record r;
	struct err e;
	int rc = 1;

	if (at == NULL) {
		at = call->cursor = x_calloc(1, sizeof(*at));
		at->changes = store_changes(s);
	}
	/* Half of the one state and half of the other might not fit together. */
	if (at->changes != store_changes(s))
		return ctl_end(call, ADMIN_FAILED, "records changed meanwhile: export again");
	for (int i = 0; i < ADMIN_ROWS_PER_STEP && rc > 0 && at->table <= STORE_domain; i++) {
		rc = store_next(s, at->table, NULL, at->name, &r, &e);
		if (rc > 0) {
			buf_clear(&line);
			dump_put(at->table, at->name, &r, &line);
			ctl_text(call, "content", buf_view(&line));
			ctl_row_end(call);
		} else if (rc == 0) {
			rc = 1;
			at->table++;
			*at->name = '\0';
		}
	}
	buf_wipe(&line);
	buf_free(&line);
	explicit_bzero(&r, sizeof(r));
	if (rc < 0)
		return admin_fail(call, &e);
	return at->table <= STORE_domain ? CTL_MORE : CTL_DONE;
}

struct import {
	struct ctl_call *call;
	struct authd_store *store;
	uint32_t first_serial, last_serial; /* of keys that are new here */
	size_t line, errors, count[STORE_TABLES];
	char first[ERR_TEXT_MAX];
	struct buf serials; /* that lines brought, u32 each */
	struct buf holds;   /* whose containment changes: text, text, flag */
	struct buf tenants; /* whose weight changes: texts */
	bool failed;	    /* the store did */
};

static void
reject(struct import *in, const struct err *e)
{
	if (in->errors++ == 0)
		snprintf(in->first, sizeof(in->first), "line %zu: %.450s", in->line, e->text);
	if (in->errors > ERRORS_MAX)
		return;
	ctl_number(in->call, "line", in->line);
	ctl_str(in->call, "error", e->text);
	ctl_row_end(in->call);
}

static int
refuse(struct err *e, const char *why)
{
	return err_set(e, ERR_PERM, ESC(5, 5, 4), "%s", why);
}

/* The tenant that a key or a domain names is there. 0 or -1. */
static int
check_owner(struct import *in, const char *tenant, struct err *e)
{
	struct record_tenant t;
	int rc = policy_tenant_name_ok(view_str(tenant))
		     ? store_get_tenant(in->store, view_str(tenant), &t, e)
		     : 0;

	return rc == 0	? err_set(e, ERR_PERM, ESC(5, 5, 4), "there is no tenant %s", tenant)
	       : rc < 0 ? -1
			: 0;
}

static void
note_hold(struct import *in, const char *tenant, const char *user, bool was, bool is)
{
	if (was == is)
		return;
	buf_put_block(&in->holds, view_str(tenant));
	buf_put_block(&in->holds, view_str(user));
	buf_put_u8(&in->holds, is);
}

static int
take_tenant(struct import *in, const struct dump_line *line, struct record_tenant *t,
    const struct record_tenant *old, struct err *e)
{
	if (!policy_tenant_name_ok(view_str(line->name)))
		return refuse(e, "this is no tenant's name");
	if (dump_apply(line, t, e) < 0)
		return -1;
	note_hold(in, line->name, "", old && old->frozen, t->frozen);
	if (t->weight != (old ? old->weight : 0))
		buf_put_block(&in->tenants, view_str(line->name));
	return 0;
}

/* A serial of its own, if the line's is taken by another key of this database. */
static int
number_key(struct import *in, struct record_key *k, const struct record_key *old, struct err *e)
{
	if (old) {
		k->serial = old->serial;
		return 0;
	}
	if (k->serial > in->first_serial) {
		buf_put(&in->serials, &k->serial, sizeof(k->serial));
		if (k->serial > in->last_serial)
			in->last_serial = k->serial;
		return 0;
	}
	if (in->last_serial == UINT32_MAX)
		return refuse(e, "there are no more serials for keys");
	k->serial = ++in->last_serial;
	return 0;
}

static int
take_key(struct import *in, const struct dump_line *line, struct record_key *k,
    const struct record_key *old, struct err *e)
{
	if (!policy_user_name_ok(view_str(line->name)))
		return refuse(e, "this is no user name");
	if (old == NULL)
		k->rights = RIGHT_SEND;
	if (dump_apply(line, k, e) < 0)
		return -1;
	if (old && strcmp(old->tenant, k->tenant) != 0)
		return refuse(e, "the user name was issued to another tenant");
	if (old && old->revoked && !k->revoked)
		return refuse(e, "the key was revoked: names are never used again");
	if (k->revoked)
		secret_forget(k);
	if (k->orphan && !k->revoked)
		return refuse(e, "an orphan that is not revoked");
	if (!k->orphan && check_owner(in, k->tenant, e) < 0)
		return -1;
	note_hold(in, k->tenant, line->name, old && old->frozen, k->frozen);
	return number_key(in, k, old, e);
}

static int
take_domain(struct import *in, const struct dump_line *line, struct record_domain *d,
    const struct record_domain *old, struct err *e)
{
	struct buf name = BUF_INIT(DOMAIN_BYTES);
	bool good =
	    domain_canonical(view_str(line->name), &name) && view_is(buf_view(&name), line->name);

	buf_free(&name);
	if (!good)
		return refuse(e, "this is no domain in lower case and A-labels");
	if (dump_apply(line, d, e) < 0 || check_owner(in, d->tenant, e) < 0)
		return -1;
	if (old && strcmp(old->tenant, d->tenant) != 0)
		return refuse(e, "the domain is registered for another tenant");
	return *d->token ? 0 : secret_text(d->token, DOMAIN_TOKEN_CHARS, e);
}

/* Fields that a line need not have. */
static void
set_origin(const struct import *in, uint64_t *created_us, uint32_t *created_by)
{
	if (*created_us == 0) {
		*created_us = clock_wall_us();
		*created_by = in->call->uid;
	}
}

static int
take_record(struct import *in, const struct dump_line *line, union any_record *r,
    const union any_record *old, struct err *e)
{
	int rc;

	if (line->table == STORE_tenant) {
		rc = take_tenant(in, line, &r->tenant, old ? &old->tenant : NULL, e);
		set_origin(in, &r->tenant.created_us, &r->tenant.created_by);
	} else if (line->table == STORE_key) {
		rc = take_key(in, line, &r->key, old ? &old->key : NULL, e);
		set_origin(in, &r->key.created_us, &r->key.created_by);
	} else {
		rc = take_domain(in, line, &r->domain, old ? &old->domain : NULL, e);
		set_origin(in, &r->domain.created_us, &r->domain.created_by);
	}
	return rc;
}

static void
take_line(struct import *in, const struct dump_line *line)
{
	union any_record r = {.key = {.tenant = ""}}, old;
	struct view name = view_str(line->name);
	struct err e;

	int rc = store_get(in->store, line->table, name, &old, &e);
	if (rc == 1)
		r = old;
	if (rc >= 0 && take_record(in, line, &r, rc == 1 ? &old : NULL, &e) < 0)
		reject(in, &e);
	else if (rc < 0 || store_put(in->store, line->table, name, &r, &e) < 0)
		in->failed = true;
	else
		in->count[line->table]++;
	if (in->failed)
		snprintf(in->first, sizeof(in->first), "%s", e.text);
	explicit_bzero(&r, sizeof(r));
	explicit_bzero(&old, sizeof(old));
}

/* Malformed lines are told in the first pass only. */
static void
pass(struct import *in, bool tenants)
{
	struct dump_line line;
	struct view text;
	size_t place = 0;
	struct err e;

	in->line = 0;
	while (!in->failed && ctl_arg_next(in->call, "file", &place, &text)) {
		in->line++;
		if (view_trim(text).n == 0)
			continue;
		if (dump_parse(text, &line, &e) < 0) {
			if (tenants)
				reject(in, &e);
			continue;
		}
		if ((line.table == STORE_tenant) == tenants)
			take_line(in, &line);
		dump_free(&line);
	}
}

static int
by_value(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* A serial names one key: a file that says otherwise was not written by export. */
static void
check_serials(struct import *in)
{
	size_t n = buf_len(&in->serials) / sizeof(uint32_t);
	struct err e;

	if (n < 2)
		return;
	char *v = in->serials.p + in->serials.off;
	qsort(v, n, sizeof(uint32_t), by_value);
	for (size_t i = 1; i < n; i++)
		if (by_value(v + (i - 1) * sizeof(uint32_t), v + i * sizeof(uint32_t)) == 0) {
			refuse(&e, "two new keys have the same serial");
			reject(in, &e);
			return;
		}
}

static void
tell_holds(struct import *in)
{
	const struct live *live = store_live(in->store);
	struct view rest = buf_view(&in->holds);

	while (live && live->hold && rest.n) {
		char *tenant = x_strndup(view_get_block(&rest, NAME_BYTES)),
		     *user = x_strndup(view_get_block(&rest, NAME_BYTES));
		live->hold(live->ctx, tenant, user, view_get_u8(&rest));
		free(tenant);
		free(user);
	}
}

static void
tell_tenants(struct import *in)
{
	for (struct view rest = buf_view(&in->tenants); rest.n;)
		admin_tell_tenant(in->call, view_get_block(&rest, NAME_BYTES));
}

static void
conclude(struct import *in)
{
	struct ctl_call *call = in->call;
	const char *done = ctl_flag(call, "dry-run") ? "would be imported" : "imported";
	struct buf what = BUF_INIT(256);
	struct err e;

	buf_printf(&what, "%zu tenants, %zu keys, %zu domains %s", in->count[STORE_tenant],
	    in->count[STORE_key], in->count[STORE_domain], done);
	if (in->failed || in->errors) {
		store_abort(in->store);
		ctl_end(call, in->failed ? ADMIN_FAILED : ADMIN_USAGE, "%s%s", in->first,
		    in->failed ? "" : "; nothing was changed");
	} else if (ctl_flag(call, "dry-run")) {
		store_abort(in->store);
		ctl_end(call, ADMIN_DONE, "%s", buf_cstr(&what));
	} else if (store_put_serial(in->store, in->last_serial, &e) < 0) {
		admin_fail(call, &e);
	} else if (admin_commit(call, "", "%s", buf_cstr(&what))) {
		tell_holds(in);
		tell_tenants(in);
		ctl_end(call, ADMIN_DONE, "%s", buf_cstr(&what));
	}
	buf_free(&what);
}

enum ctl_result
ctl_import(struct ctl_call *call)
{
	struct import in = {.call = call,
	    .store = admin_store(call),
	    .serials = BUF_INIT(HOLDS_MAX),
	    .holds = BUF_INIT(HOLDS_MAX),
	    .tenants = BUF_INIT(HOLDS_MAX)};
	struct err e;

	if (store_last_serial(in.store, &in.first_serial, &e) < 0 || store_begin(in.store, &e) < 0)
		return admin_fail(call, &e);
	in.last_serial = in.first_serial;
	pass(&in, true);
	pass(&in, false);
	check_serials(&in);
	conclude(&in);
	buf_free(&in.serials);
	buf_free(&in.holds);
	buf_free(&in.tenants);
	return CTL_DONE;
}
