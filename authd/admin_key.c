/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authd/admin.h"
#include "authd/policy.h"
#include "authd/secret.h"
#include "lib/conf.h"
#include "lib/log.h"

enum { OVERLAP_MAX_S = 90 * 86400 };

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
	else if (admin_commit(call, k.tenant, "key " VIEW_FMT " issued to tenant %s",
		     VIEW_ARG(user), k.tenant))
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
	if (!text_line_ok(ctl_arg(call, "note"), NOTE_BYTES))
		return ctl_end(
		    call, ADMIN_USAGE, "a note has up to %d bytes on one line", NOTE_BYTES);
	if (!admin_tenant(call, "tenant", &tenant, &t, &result))
		return result;
	int rc = store_get_key(admin_store(call), user, &old, &e);
	if (rc < 0)
		return admin_fail(call, &e);
	if (rc == 1)
		return ctl_end(call, ADMIN_USAGE,
		    "user name " VIEW_FMT " was issued before%s: names are never used again",
		    VIEW_ARG(user), old.revoked ? ", and revoked" : "");
	return issue(call, tenant, user);
}

static const char *
state_of(const struct record_key *k)
{
	if (k->revoked)
		return "revoked";
	if (k->frozen)
		return "frozen";
	return k->expires_us && k->expires_us <= clock_wall_us() ? "expired" : "active";
}

static void
key_row(struct ctl_call *call, const char *name, const void *record)
{
	const struct record_key *k = record;

	ctl_str(call, "user", name);
	ctl_str(call, "tenant", k->tenant);
	ctl_str(call, "state", state_of(k));
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

int
admin_key(struct ctl_call *call, struct view *user, struct record_key *k, enum ctl_result *result)
{
	struct err e;

	*user = ctl_arg(call, "user");
	int rc = policy_user_name_ok(*user) ? store_get_key(admin_store(call), *user, k, &e) : 0;
	if (rc < 0)
		*result = admin_fail(call, &e);
	else if (rc == 0)
		*result = ctl_end(call, ADMIN_USAGE, "there is no key " VIEW_FMT,
		    VIEW_ARG(view_first(*user, NAME_BYTES)));
	return rc == 1;
}

int
admin_active_key(struct ctl_call *call, struct view *user, struct record_key *k,
    enum ctl_result *result)
{
	if (!admin_key(call, user, k, result))
		return 0;
	if (!k->revoked)
		return 1;
	*result = ctl_end(call, ADMIN_FAILED, "key " VIEW_FMT " is revoked", VIEW_ARG(*user));
	return 0;
}

enum ctl_result
ctl_key_show(struct ctl_call *call)
{
	enum ctl_result result;
	struct record_key k;
	struct view user;

	if (!admin_key(call, &user, &k, &result))
		return result;
	ctl_text(call, "user", user);
	ctl_str(call, "tenant", k.tenant);
	ctl_str(call, "state", state_of(&k));
	ctl_number(call, "serial", k.serial);
	ctl_time(call, "created", k.created_us);
	ctl_number(call, "created_by", k.created_by);
	ctl_time(call, "changed", k.changed_us);
	ctl_time(call, "rotated", k.rotated_us);
	ctl_time(call, "former_secret_until", k.former_until_us);
	ctl_time(call, "revoked", k.revoked_us);
	admin_settings(call, STORE_key, &k);
	admin_frozen(call, k.frozen, k.frozen_reason, k.frozen_us);
	char *name = x_strndup(user);
	admin_quota_use(call, k.tenant, name);
	free(name);
	ctl_row_end(call);
	explicit_bzero(&k, sizeof(k));
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

	if (!admin_key(call, &user, &k, &result))
		return result;
	if (k.revoked)
		return CTL_DONE;
	k.revoked = true;
	k.revoked_us = clock_wall_us();
	k.revoked_by = call->uid;
	secret_forget(&k);
	if (store_begin(s, &e) < 0 || store_put_key(s, user, &k, &e) < 0)
		return admin_fail(call, &e);
	admin_commit(
	    call, k.tenant, "key " VIEW_FMT " of tenant %s revoked", VIEW_ARG(user), k.tenant);
	return CTL_DONE;
}

/* The verifier in force becomes the former one, good until then; 0: at once no longer. */
static void
retire_secret(const struct record_key *old, uint64_t until_us, struct record_key *k)
{
	if (until_us == 0)
		return;
	k->former_until_us = until_us;
	memcpy(k->former_salt, old->salt, sizeof(k->former_salt));
	memcpy(k->former_hash, old->hash, sizeof(k->former_hash));
	memcpy(k->former_scram_salt, old->scram_salt, sizeof(k->former_scram_salt));
	k->former_scram_iterations = old->scram_iterations;
	memcpy(k->former_scram_stored_key, old->scram_stored_key,
	    sizeof(k->former_scram_stored_key));
	memcpy(k->former_scram_server_key, old->scram_server_key,
	    sizeof(k->former_scram_server_key));
}

static void
rotate(struct ctl_call *call, struct view user, const struct record_key *old, uint64_t overlap_s)
{
	struct authd_store *s = admin_store(call);
	char secret[SECRET_CHARS + 1];
	struct record_key k = *old;
	struct err e;

	secret_forget(&k);
	k.rotated_us = clock_wall_us();
	retire_secret(old, overlap_s ? k.rotated_us + overlap_s * 1000000 : 0, &k);
	if (make_key(&k, secret, &e) < 0 || store_begin(s, &e) < 0 ||
	    store_put_key(s, user, &k, &e) < 0)
		admin_fail(call, &e);
	else if (admin_commit(call, k.tenant,
		     "key " VIEW_FMT " of tenant %s rotated, the former secret ends %s",
		     VIEW_ARG(user), k.tenant, overlap_s ? "after an overlap" : "at once"))
		show_secret(call, user, secret);
	explicit_bzero(secret, sizeof(secret));
	explicit_bzero(&k, sizeof(k));
}

/* A7: old and new may be good side by side for a time. */
enum ctl_result
ctl_key_rotate(struct ctl_call *call)
{
	struct view overlap = ctl_arg(call, "overlap"), user;
	enum ctl_result result = CTL_DONE;
	uint64_t overlap_s = 0;
	struct record_key k;

	if (overlap.n && (!conf_parse_duration(overlap, &overlap_s) || overlap_s > OVERLAP_MAX_S))
		return ctl_end(call, ADMIN_USAGE,
		    "--overlap: \"" VIEW_FMT "\" is not a duration of up to 90d",
		    VIEW_ARG(view_first(overlap, 100)));
	if (!admin_active_key(call, &user, &k, &result))
		return result;
	rotate(call, user, &k, overlap_s);
	explicit_bzero(&k, sizeof(k));
	return CTL_DONE;
}
