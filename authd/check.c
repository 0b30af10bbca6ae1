/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "authd/check.h"
#include "lib/addr.h"
#include "lib/loop.h"

/* The log shows what went wrong in the store instead of the policy's word for it. */
static void
explain(struct policy_reply *r, const struct err *e)
{
	snprintf(r->why, sizeof(r->why), "%.*s", POLICY_TEXT_MAX, e->text);
	for (char *p = r->why; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
}

static bool
proven(struct hasher *h, const struct record_key *k, struct check_login *l)
{
	if (l->scram)
		return secret_proves(h, k, l->message, l->secret, l->now_us, l->signature);
	return secret_matches(h, k, l->secret, l->now_us);
}

void
check_auth(struct authd_store *s, struct hasher *h, struct check_login *login,
    struct check_identity *id, struct policy_reply *r)
{
	struct record_key k = { .tenant = "" };
	struct record_tenant t = { .enabled = false };
	struct policy_auth f = { .store_failed = false };
	struct err e;

	/* A name that was never issued is not in the store: no need to look at its form. */
	int key = store_get_key(s, view_first(login->user, NAME_BYTES + 1), &k, &e);
	/* For an unknown user this looks up a tenant without a name, which takes as long. */
	int tenant = key < 0 ? -1 : store_get_tenant(s, view_str(k.tenant), &t, &e);
	f.secret_ok = proven(h, key == 1 ? &k : NULL, login);
	f.store_failed = key < 0 || tenant < 0;
	f.key_known = key == 1;
	f.key_revoked = k.revoked;
	f.tenant_known = tenant == 1;
	f.tenant_enabled = t.enabled;
	policy_auth(&f, r);
	if (f.store_failed)
		explain(r, &e);
	*id = (struct check_identity){ .tenant = "" };
	if (r->code == 235) {
		memcpy(id->tenant, k.tenant, sizeof(id->tenant));
		memcpy(id->user, login->user.p, login->user.n);
	}
	explicit_bzero(&k, sizeof(k));
}

void
check_salt(struct authd_store *s, struct hasher *h, struct view user,
    unsigned char salt[static SALT_BYTES], uint32_t *iterations)
{
	struct record_key k = { .tenant = "" };
	struct err e;

	int rc = store_get_key(s, view_first(user, NAME_BYTES + 1), &k, &e);
	bool real = rc == 1 && k.scram_iterations;
	secret_fake_salt(h, user, salt);
	if (real)
		memcpy(salt, k.scram_salt, SALT_BYTES);
	*iterations = real ? k.scram_iterations : SCRAM_ITERATIONS;
	explicit_bzero(&k, sizeof(k));
}

/* What stands behind the last '@'; the local part may hold others, in quotes. */
static struct view
domain_of(struct view sender)
{
	size_t n = sender.n;

	while (n && sender.p[n - 1] != '@')
		n--;
	return n ? view_skip(sender, n) : view_of(NULL, 0);
}

static int
domain_facts(struct authd_store *s, struct view tenant, struct policy_mail *f, struct err *e)
{
	struct buf name = BUF_INIT(DOMAIN_BYTES);
	struct record_domain d;
	int rc = 0;

	if (domain_canonical(domain_of(f->sender), &name))
		rc = store_get_domain(s, buf_view(&name), &d, e);
	if (rc == 1) {
		f->domain_known = true;
		f->domain_of_tenant = view_is(tenant, d.tenant);
		f->domain_verified = d.verified;
	}
	buf_free(&name);
	return rc;
}

int
check_domain(struct authd_store *s, struct view tenant, struct view domain)
{
	struct buf name = BUF_INIT(DOMAIN_BYTES);
	struct record_domain d;
	struct err e;
	int rc = 0;

	if (domain_canonical(domain, &name))
		rc = store_get_domain(s, buf_view(&name), &d, &e);
	buf_free(&name);
	return rc == 1 ? d.verified && view_is(tenant, d.tenant) : rc;
}

static int
key_facts(struct authd_store *s, struct view tenant, struct view user, struct policy_mail *f,
    struct err *e)
{
	struct record_key k;
	int rc = store_get_key(s, user, &k, e);

	if (rc == 1) {
		f->key_known = true;
		f->key_revoked = k.revoked;
		f->key_of_tenant = view_is(tenant, k.tenant);
	}
	return rc;
}

void
check_mail(struct authd_store *s, struct view tenant, struct view user, struct view sender,
    struct policy_reply *r)
{
	struct policy_mail f = { .sender = sender, .by_key = user.n > 0 };
	struct record_tenant t = { .enabled = false };
	struct err e;

	int rc = store_get_tenant(s, tenant, &t, &e);
	f.tenant_known = rc == 1;
	f.tenant_enabled = t.enabled;
	/* Asked at every MAIL, not only at log-in: a revoked key ends with the current message. */
	if (rc >= 0 && f.by_key)
		rc = key_facts(s, tenant, user, &f, &e);
	if (rc >= 0)
		rc = domain_facts(s, tenant, &f, &e);
	f.store_failed = rc < 0;
	policy_mail(&f, r);
	if (rc < 0 && r->code == 451)
		explain(r, &e);
}
