/* SPDX-License-Identifier: ISC */
#include "smtpd/policy.h"
#include "t/tap.h"

enum { T = 1, TRUST = 2, AUTHED = 4 }; /* TLS is on; client in the networks; authenticated */

static struct policy_facts
facts(unsigned bits)
{
	return (struct policy_facts){ .can_tls = true, .tls = bits & T, .trusted = bits & TRUST,
		.authenticated = bits & AUTHED };
}

/* Codes for MAIL by auth mode, for every combination of trust and authentication. */
static void
test_mail(void)
{
	static const struct {
		const char *name;
		enum conf_auth_mode auth;
		uint16_t code[4]; /* neither, trusted, authenticated, both */
		enum right right[4];
	} rows[] = {
		{ "A2 required", AUTH_REQUIRED, { 530, 530, 0, 0 },
		    { RIGHT_RELAY, RIGHT_RELAY, RIGHT_RELAY, RIGHT_RELAY } },
		{ "G11 optional", AUTH_OPTIONAL, { 0, 0, 0, 0 },
		    { RIGHT_LOCAL, RIGHT_LOCAL, RIGHT_RELAY, RIGHT_RELAY } },
		{ "networks", AUTH_NETWORKS, { 554, 0, 554, 0 },
		    { RIGHT_RELAY, RIGHT_RELAY, RIGHT_RELAY, RIGHT_RELAY } },
		{ "networks and key", AUTH_NETWORKS_AND_KEY, { 554, 530, 554, 0 },
		    { RIGHT_RELAY, RIGHT_RELAY, RIGHT_RELAY, RIGHT_RELAY } },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct policy p = { .tls = CONF_TLS_starttls, .auth = rows[i].auth };
		for (unsigned k = 0; k < 4; k++) {
			struct policy_facts f = facts(T | k << 1);
			enum right right;
			is_int(policy_mail(&p, &f, &right).code, rows[i].code[k], "%s: MAIL %u", rows[i].name, k);
			is_int(right, rows[i].right[k], "%s: right %u", rows[i].name, k);
		}
	}
}

static void
test_tls(void)
{
	for (enum conf_tls tls = CONF_TLS_none; tls <= CONF_TLS_implicit; tls++) {
		for (enum conf_auth_mode auth = AUTH_REQUIRED; auth <= AUTH_NETWORKS_AND_KEY; auth++) {
			struct policy p = { .tls = tls, .auth = auth };
			struct policy_facts off = facts(TRUST), on = facts(TRUST | T);
			bool starttls = tls == CONF_TLS_starttls;
			is_int(policy_tls_first(&p, &off), starttls && auth != AUTH_OPTIONAL, "A3 T03 TLS first %u %u",
			    tls, auth);
			ok(!policy_tls_first(&p, &on), "A3 not behind TLS %u %u", tls, auth);
			is_int(policy_offers_tls(&p, &off), starttls, "T01 offered %u %u", tls, auth);
			ok(!policy_offers_tls(&p, &on), "T01 not twice %u %u", tls, auth);
			is_int(policy_offers_auth(&p, &off), tls == CONF_TLS_none && auth != AUTH_NETWORKS,
			    "A01 AUTH in plain %u %u", tls, auth);
			is_int(policy_offers_auth(&p, &on), auth != AUTH_NETWORKS, "A01 AUTH behind TLS %u %u", tls,
			    auth);
		}
	}
	struct policy p = { .tls = CONF_TLS_starttls, .auth = AUTH_NETWORKS_AND_KEY };
	struct policy_facts f = facts(T);
	ok(!policy_offers_auth(&p, &f), "no AUTH for a foreign client of a network listener");
	f = facts(T | TRUST | AUTHED);
	is_int(policy_auth(&p, &f).code, 503, "A02 once only");
	f = facts(TRUST);
	is_int(policy_auth(&p, &f).code, 538, "A05 TLS needed");
	f.can_tls = false;
	ok(!policy_offers_tls(&p, &f), "no certificate, no STARTTLS");
}

static void
test_rcpt(void)
{
	struct view rcpt = VIEW("a@b.example");

	is_int(policy_rcpt(RIGHT_LOCAL, &rcpt, VIEW("[192.0.2.1]"), "p@m.example").code, 554, "G11 A1 no relay");
	is_int(policy_rcpt(RIGHT_RELAY, &rcpt, VIEW("b.example"), "p@m.example").code, 0, "relay");
	is_int(policy_rcpt(RIGHT_RELAY, &rcpt, VIEW("b"), "p@m.example").code, 504, "U03 unqualified");
	is_int(policy_rcpt(RIGHT_RELAY, &rcpt, VIEW("[192.0.2.1]"), "p@m.example").code, 0, "S12 literal");
	is_view(rcpt, "a@b.example", "recipient as it came");
	is_int(policy_rcpt(RIGHT_RELAY, &rcpt, VIEW(""), "p@localhost").code, 0, "S11 postmaster");
	is_view(rcpt, "p@localhost", "S11 ours");
}

static void
test_tenant(void)
{
	char tenant[] = "acme";
	struct policy p = { .auth = AUTH_NETWORKS_AND_KEY, .tenant = tenant };

	ok(policy_tenant(&p, VIEW("acme")) && !policy_tenant(&p, VIEW("other")), "key of the network's tenant");
	p.auth = AUTH_REQUIRED;
	ok(policy_tenant(&p, VIEW("other")), "any tenant elsewhere");
	ok(!policy_strict_order(&p), "atk-D3 submission may pipeline");
	p.auth = AUTH_OPTIONAL;
	ok(policy_strict_order(&p), "atk-D3 mx may not");
}

int
main(void)
{
	test_mail();
	test_tls();
	test_rcpt();
	test_tenant();
	return done_testing();
}
