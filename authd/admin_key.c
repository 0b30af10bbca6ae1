/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "authd/admin.h"
#include "authd/policy.h"
#include "authd/secret.h"
#include "lib/log.h"

/* Text for a terminal: UTF-8 may pass, control characters may not. */
static bool
note_ok(struct view v)
{
	if (v.n > NOTE_BYTES)
		return false;
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f)
			return false;
	return true;
}

/* A new secret, and the record that can check it. 0 or -1. */
static int
make_key(struct record_key *k, char secret[static SECRET_CHARS + 1], struct err *e)
{
	struct hasher h;
	int rc = hasher_open(&h, e);

	if (rc == 0)
		rc = secret_text(secret, SECRET_CHARS, e);
	if (rc == 0)
		rc = secret_derive(&h, view_str(secret), k, e);
	hasher_close(&h);
	return rc;
}

/* The one time that a secret is shown (A6). */
static void
show_secret(struct ctl_call *call, struct view user, const char *secret)
{
	ctl_text(call, "user", user);
	ctl_str(call, "secret", secret);
	ctl_row_end(call);
}

static enum ctl_result
issue(struct ctl_call *call, struct view tenant, struct view user)
{
	struct authd_store *s = admin_store(call);
	struct view note = ctl_arg(call, "note");
	char secret[SECRET_CHARS + 1];
	struct record_key k = { .created_us = clock_wall_us(), .created_by = call->uid,
		.rights = RIGHT_SEND };
	struct err e;

	memcpy(k.tenant, tenant.p, tenant.n);
	memcpy(k.note, note.p, note.n);
	if (make_key(&k, secret, &e) < 0 || store_begin(s, &e) < 0 ||
	    store_next_serial(s, &k.serial, &e) < 0 || store_put_key(s, user, &k, &e) < 0)
		admin_fail(call, &e);
	else if (admin_commit(call, "key " VIEW_FMT " issued to tenant " VIEW_FMT, VIEW_ARG(user),
		     VIEW_ARG(tenant)))
		show_secret(call, user, secret);
	explicit_bzero(secret, sizeof(secret));
	explicit_bzero(&k, sizeof(k));
	return CTL_DONE;
}

enum ctl_result
ctl_key_issue(struct ctl_call *call)
{
	struct view tenant, user = ctl_arg(call, "user");
	struct record_tenant t;
	struct record_key old;
	enum ctl_result result;
	struct err e;

	if (!policy_user_name_ok(user))
		return ctl_end(call, ADMIN_USAGE,
		    "a user name has 1 to 64 printable ASCII characters without blanks");
	if (!note_ok(ctl_arg(call, "note")))
		return ctl_end(
		    call, ADMIN_USAGE, "a note has up to %d bytes on one line", NOTE_BYTES);
	if (!admin_tenant(call, "tenant", &tenant, &t, &result))
		return result;
	int rc = store_get_key(admin_store(call), user, &old, &e);
	if (rc < 0)
		return admin_fail(call, &e);
	if (rc == 1)
		return ctl_end(call, ADMIN_FAILED,
		    "user name " VIEW_FMT " was issued before%s: names are never used again",
		    VIEW_ARG(user), old.revoked ? ", and revoked" : "");
	return issue(call, tenant, user);
}

static void
key_row(struct ctl_call *call, const char *name, const void *record)
{
	const struct record_key *k = record;

	ctl_str(call, "user", name);
	ctl_str(call, "tenant", k->tenant);
	ctl_str(call, "state", k->revoked ? "revoked" : "active");
	ctl_time(call, "created", k->created_us);
	ctl_str(call, "note", k->note);
	ctl_row_end(call);
}

enum ctl_result
ctl_key_list(struct ctl_call *call)
{
	struct record_key k;

	return admin_list(call, STORE_key, &k, key_row);
}

/* The key named in the arguments. 1; else the call is over: 0 and *result. */
static int
named_key(struct ctl_call *call, struct view *user, struct record_key *k, enum ctl_result *result)
{
	struct err e;

	*user = ctl_arg(call, "user");
	int rc = policy_user_name_ok(*user) ? store_get_key(admin_store(call), *user, k, &e) : 0;
	if (rc < 0)
		*result = admin_fail(call, &e);
	else if (rc == 0)
		*result = ctl_end(call, ADMIN_FAILED, "there is no key with this user name");
	return rc == 1;
}

enum ctl_result
ctl_key_show(struct ctl_call *call)
{
	enum ctl_result result;
	struct record_key k;
	struct view user;

	if (!named_key(call, &user, &k, &result))
		return result;
	ctl_text(call, "user", user);
	ctl_str(call, "tenant", k.tenant);
	ctl_str(call, "state", k.revoked ? "revoked" : "active");
	ctl_time(call, "created", k.created_us);
	ctl_number(call, "created_by", k.created_by);
	ctl_time(call, "revoked", k.revoked_us);
	ctl_str(call, "note", k.note);
	ctl_row_end(call);
	return CTL_DONE;
}

enum ctl_result
ctl_key_revoke(struct ctl_call *call)
{
	struct authd_store *s = admin_store(call);
	enum ctl_result result;
	struct record_key k;
	struct view user;
	struct err e;

	if (!named_key(call, &user, &k, &result))
		return result;
	if (k.revoked)
		return CTL_DONE;
	k.revoked = true;
	k.revoked_us = clock_wall_us();
	k.revoked_by = call->uid;
	secret_forget(&k);
	if (store_begin(s, &e) < 0 || store_put_key(s, user, &k, &e) < 0)
		return admin_fail(call, &e);
	admin_commit(call, "key " VIEW_FMT " of tenant %s revoked", VIEW_ARG(user), k.tenant);
	return CTL_DONE;
}
