/* SPDX-License-Identifier: ISC */
#include "lib/addr.h"
#include "smtpd/policy.h"

static const struct verdict go_on = { 0, { 0 }, NULL };

bool
policy_tls_first(const struct policy *p, const struct policy_facts *f)
{
	return p->tls == CONF_TLS_starttls && p->auth != AUTH_OPTIONAL && !f->tls;
}

bool
policy_offers_tls(const struct policy *p, const struct policy_facts *f)
{
	return p->tls == CONF_TLS_starttls && f->can_tls && !f->tls;
}

bool
policy_offers_auth(const struct policy *p, const struct policy_facts *f)
{
	if (p->auth == AUTH_NETWORKS || (p->auth == AUTH_NETWORKS_AND_KEY && !f->trusted))
		return false;
	return f->tls || p->tls == CONF_TLS_none;
}

struct verdict
policy_auth(const struct policy *p, const struct policy_facts *f)
{
	if (f->authenticated)
		return (struct verdict){ 503, ESC(5, 5, 1), "Error: already authenticated" };
	if (policy_offers_auth(p, f))
		return go_on;
	if (policy_offers_tls(p, f))
		return (struct verdict){ 538, ESC(5, 7, 11), "Encryption required" };
	return (struct verdict){ 503, ESC(5, 5, 1), "Error: authentication not enabled" };
}

struct verdict
policy_mail(const struct policy *p, const struct policy_facts *f, enum right *right)
{
	static const struct verdict
	    need_key = { 530, { 5, 7, 0 }, "Authentication required" },
	    foreign = { 554, { 5, 7, 1 }, "Client host rejected: Access denied" };

	*right = RIGHT_RELAY;
	switch (p->auth) {
	case AUTH_REQUIRED:
		return f->authenticated ? go_on : need_key;
	case AUTH_OPTIONAL:
		if (!f->authenticated)
			*right = RIGHT_LOCAL;
		return go_on;
	case AUTH_NETWORKS:
		return f->trusted ? go_on : foreign;
	case AUTH_NETWORKS_AND_KEY:
		if (!f->trusted)
			return foreign;
		return f->authenticated ? go_on : need_key;
	}
	return foreign;
}

struct verdict
policy_rcpt(enum right right, struct view *rcpt, struct view domain, const char *postmaster)
{
	if (domain.n == 0) {
		*rcpt = view_str(postmaster);
		return go_on;
	}
	bool name = view_index(domain, '.') >= 0 && !domain_is_literal(domain);
	if (right == RIGHT_LOCAL && !name)
		return (struct verdict){ 554, ESC(5, 7, 1), "Relay access denied" };
	if (!name && !domain_is_literal(domain))
		return (struct verdict){ 504, ESC(5, 5, 2),
			"Recipient address rejected: need fully-qualified address" };
	return go_on;
}

bool
policy_tenant(const struct policy *p, struct view tenant)
{
	return p->auth != AUTH_NETWORKS_AND_KEY || view_is(tenant, p->tenant);
}

bool
policy_strict_order(const struct policy *p)
{
	return p->auth == AUTH_OPTIONAL;
}
