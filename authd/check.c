/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "authd/check.h"
#include "lib/addr.h"
#include "lib/conf.h"
#include "lib/loop.h"

static bool
address_parse(struct view v, struct sockaddr_storage *sa)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	char text[INET6_ADDRSTRLEN];

	if (v.n >= sizeof(text))
		return false;
	memcpy(text, v.p, v.n);
	text[v.n] = '\0';
	*sa = (struct sockaddr_storage){ 0 };
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		memcpy(sa, &in, sizeof(in));
	else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
		memcpy(sa, &in6, sizeof(in6));
	else
		return false;
	return true;
}

/* The log shows what went wrong in the store instead of the policy's word for it. */
static void
explain(struct policy_reply *r, const struct err *e)
{
	snprintf(r->why, sizeof(r->why), "%.*s", POLICY_TEXT_MAX, e->text);
	for (char *p = r->why; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
}

/* "192.0.2.0/24,2001:db8::/32": all of it was checked when it was set. */
bool
check_network(const char *networks, struct view client)
{
	struct sockaddr_storage sa;
	struct view list = view_str(networks);
	struct cidr c;

	if (list.n == 0)
		return true;
	if (!address_parse(client, &sa))
		return false;
	while (list.n) {
		struct view one = view_trim(view_cut(&list, ','));
		if (one.n && conf_parse_cidr(one, &c) && cidr_match(&c, (struct sockaddr *)&sa))
			return true;
	}
	return false;
}

static bool
expired(const struct record_key *k, uint64_t now_us)
{
	return k->expires_us && now_us >= k->expires_us;
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
	int key = store_get_evenly(s, STORE_key, view_first(login->user, NAME_BYTES + 1), &k, &e);
	int tenant = key < 0 ? -1 : store_get_evenly(s, STORE_tenant, view_str(k.tenant), &t, &e);
	f.secret_ok = proven(h, key == 1 ? &k : NULL, login);
	login->guessed = !f.secret_ok;
	f.store_failed = key < 0 || tenant < 0;
	f.key_known = key == 1;
	f.key_revoked = k.revoked;
	f.tenant_known = tenant == 1;
	f.tenant_enabled = t.enabled;
	f.tenant_frozen = t.frozen;
	f.key_expired = expired(&k, login->now_us);
	f.key_frozen = k.frozen;
	f.no_right = !(k.rights & RIGHT_SEND);
	/* Only of a good secret, so that a wrong one takes as long whoever the user is. */
	f.outside = f.secret_ok && (!check_network(k.networks, login->client) ||
	    !check_network(t.networks, login->client));
	policy_auth(&f, r);
	if (f.store_failed)
		explain(r, &e);
	*id = (struct check_identity){ .tenant = "" };
	if (r->code == 235) {
		memcpy(id->tenant, k.tenant, sizeof(id->tenant));
		memcpy(id->user, login->user.p, login->user.n);
		id->rights = k.rights;
	}
	explicit_bzero(&k, sizeof(k));
}

void
check_salt(struct authd_store *s, struct hasher *h, struct view user,
    unsigned char salt[static SALT_BYTES], uint32_t *iterations)
{
	struct record_key k = { .tenant = "" };
	struct err e;

	int rc = store_get_evenly(s, STORE_key, view_first(user, NAME_BYTES + 1), &k, &e);
	bool real = rc == 1 && k.scram_iterations;
	secret_fake_salt(h, user, salt);
	if (real)
		memcpy(salt, k.scram_salt, SALT_BYTES);
	*iterations = real ? k.scram_iterations : SCRAM_ITERATIONS;
	explicit_bzero(&k, sizeof(k));
}

/* What stands behind the last '@'; the local part may hold others, in quotes. */
struct view
check_domain_of(struct view sender)
{
	size_t n = sender.n;

	while (n && sender.p[n - 1] != '@')
		n--;
	return n ? view_skip(sender, n) : view_of(NULL, 0);
}

static int
domain_facts(struct authd_store *s, struct view tenant, struct policy_mail *f,
    struct record_domain *d, struct err *e)
{
	struct buf name = BUF_INIT(DOMAIN_BYTES);
	int rc = 0;

	if (domain_canonical(check_domain_of(f->sender), &name))
		rc = store_get_domain(s, buf_view(&name), d, e);
	if (rc == 1) {
		f->domain_known = true;
		f->domain_of_tenant = view_is(tenant, d->tenant);
		f->domain_verified = d->verified;
	}
	buf_free(&name);
	return rc;
}

/* 1 found in any form of its name, 0, -1. */
static int
find_domain(struct authd_store *s, struct view domain, struct record_domain *d)
{
	struct buf name = BUF_INIT(DOMAIN_BYTES);
	struct err e;
	int rc = domain_canonical(domain, &name) ? store_get_domain(s, buf_view(&name), d, &e) : 0;

	buf_free(&name);
	return rc;
}

int
check_domain(struct authd_store *s, struct view tenant, struct view domain)
{
	struct record_domain d;
	int rc = find_domain(s, domain, &d);

	return rc == 1 ? d.verified && view_is(tenant, d.tenant) : rc;
}

int
check_hosted(struct authd_store *s, struct view domain)
{
	struct record_domain d;
	int rc = find_domain(s, domain, &d);

	return rc == 1 ? d.verified && d.hosted : rc;
}

static void
key_facts(const struct record_key *k, const struct check_sender *q, struct policy_mail *f)
{
	f->key_known = true;
	f->key_revoked = k->revoked;
	f->key_of_tenant = view_is(q->tenant, k->tenant);
	f->key_expired = expired(k, q->now_us);
	f->key_frozen = k->frozen;
	f->no_right = !(k->rights & RIGHT_SEND);
	f->outside = f->outside || !check_network(k->networks, q->client);
}

void
check_mail(struct authd_store *s, const struct check_sender *q, struct check_records *found,
    struct policy_reply *r)
{
	struct policy_mail f = { .sender = q->sender, .by_key = q->user.n > 0 };
	struct err e;

	*found = (struct check_records){ .tenant = { .enabled = false } };
	int rc = store_get_tenant(s, q->tenant, &found->tenant, &e);
	f.tenant_known = rc == 1;
	f.tenant_enabled = found->tenant.enabled;
	f.tenant_frozen = found->tenant.frozen;
	f.outside = !check_network(found->tenant.networks, q->client);
	/* Asked at every MAIL, not only at log-in: a revoked key ends with the current message. */
	if (rc >= 0 && f.by_key && (rc = store_get_key(s, q->user, &found->key, &e)) == 1)
		key_facts(&found->key, q, &f);
	if (rc >= 0)
		rc = domain_facts(s, q->tenant, &f, &found->domain, &e);
	f.store_failed = rc < 0;
	policy_mail(&f, r);
	if (rc < 0 && r->code == 451)
		explain(r, &e);
}
