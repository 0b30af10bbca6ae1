/* SPDX-License-Identifier: ISC */
/*
 * The client side of lib/tls, whose certificates it believes; and material that no context takes.
 */
#include "t/unit/tls_fixture.h"

struct name_case {
	const char *name, *cn, *san;
	size_t san_len;
	int type;
	bool trusted, good;
	const char *what;
};

static const struct name_case name_cases[] = {
	{ "mx.example.jp", "x", "mx.example.jp", 13, GEN_DNS, true, true, "the name itself" },
	{ "MX.example.JP", "x", "mx.example.jp", 13, GEN_DNS, true, true, "in another case" },
	{ "mx.example.jp", "x", "*.example.jp", 12, GEN_DNS, true, true, "a wildcard label" },
	{ "mx.example.jp", "x", "m*.example.jp", 13, GEN_DNS, true, false, "a partial wildcard" },
	{ "a.mx.example.jp", "x", "*.example.jp", 12, GEN_DNS, true, false, "a wildcard is one label" },
	{ "mx.example.jp", "x", "mx.example.net", 14, GEN_DNS, true, false, "another name" },
	{ "mx.example.jp", "mx.example.jp", "", 0, GEN_DNS, true, false, "common name only" },
	{ "mx.example.jp", "x", "mx.example.jp\0.evil.example", 27, GEN_DNS, true, false,
	    "atk-B8 NUL inside the name" },
	{ "mx.example.jp", "x", "mx.example.jp", 13, GEN_DNS, false, false, "unknown issuer" },
	{ "127.0.0.1", "x", "\x7f\0\0\1", 4, GEN_IPADD, true, true, "an address" },
	{ "127.0.0.2", "x", "\x7f\0\0\1", 4, GEN_IPADD, true, false, "another address" },
	{ "", "x", "mx.example.jp", 13, GEN_DNS, true, false, "no name matches nothing" },
	{ ".example.jp", "x", "mx.example.jp", 13, GEN_DNS, true, false, "a name that is a suffix" },
};

static void
test_name(const struct name_case *c, EVP_PKEY *ca_key, X509 *ca, struct view ca_pem,
    enum tls_verify verify)
{
	struct buf chain = BUF_INIT(65536);
	EVP_PKEY *key = fixture_key("P-256");
	struct slow_signer signer = { .base = { .start = slow_start, .cancel = slow_cancel }, .key = key };
	struct pair p = { .server.result = TLS_WANT_READ, .client.result = TLS_WANT_READ };
	struct err e;
	struct tls_info info = { 0 };

	X509_free(fixture_cert(key, c->cn, c->type, c->san, c->san_len, c->trusted ? ca : NULL,
	    c->trusted ? ca_key : NULL, &chain));
	struct tls_cert_conf cert = { buf_view(&chain), 0 };
	struct tls_ctx *server = tls_server_ctx(&(struct tls_server_conf){ .certs = &cert, .cert_count = 1,
		.signer = &signer.base }, &e);
	struct tls_ctx *client = tls_client_ctx(&(struct tls_client_conf){ .ca_pem = ca_pem }, &e);
	sockets(&p);
	p.server.tls = tls_server(server, p.server.fd, on_wake, &p.server);
	p.client.tls = tls_client(client, p.client.fd, c->name, verify, NULL, NULL);
	pump(&p, &signer);
	if (p.client.result == TLS_DONE)
		tls_info(p.client.tls, &info);
	bool good = verify == TLS_VERIFY_NONE || c->good;
	ok(p.client.result == (good ? TLS_DONE : TLS_FAILED) &&
	    info.verified == (good && verify == TLS_VERIFY_NAME),
	    "client, %s: %s%s%s", verify == TLS_VERIFY_NAME ? "verify" : "opportunistic", c->what,
	    p.client.result == TLS_FAILED ? ": " : "",
	    p.client.result == TLS_FAILED ? p.client.e.text : "");
	close_pair(&p);
	tls_ctx_free(&server);
	tls_ctx_free(&client);
	EVP_PKEY_free(key);
	buf_free(&chain);
}

static void
test_client(void)
{
	struct buf ca_pem = BUF_INIT(65536);
	EVP_PKEY *ca_key = fixture_key("P-256");
	X509 *ca = fixture_cert(ca_key, "test CA", GEN_DNS, "", 0, NULL, NULL, &ca_pem);

	for (size_t i = 0; i < sizeof(name_cases) / sizeof(name_cases[0]); i++)
		test_name(&name_cases[i], ca_key, ca, buf_view(&ca_pem), TLS_VERIFY_NAME);
	test_name(&name_cases[5], ca_key, ca, buf_view(&ca_pem), TLS_VERIFY_NONE);
	test_name(&name_cases[8], ca_key, ca, VIEW(""), TLS_VERIFY_NONE);
	struct name_case none = name_cases[0];
	none.good = false;
	none.what = "no trust anchors at all";
	test_name(&none, ca_key, ca, VIEW(""), TLS_VERIFY_NAME);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	buf_free(&ca_pem);
}

static void
test_bad_material(void)
{
	struct identity id;
	struct err e;
	struct buf spki = BUF_INIT(4096);

	identity_init(&id, "ED25519");
	struct tls_cert_conf cert = { buf_view(&id.chain), 0 };
	struct tls_server_conf c = { .certs = &cert, .cert_count = 1, .signer = &id.signer.base };
	ok(tls_server_ctx(&c, &e) == NULL && strstr(e.text, "neither RSA nor ECDSA"),
	    "an Ed25519 certificate is refused: %s", e.text);
	identity_clear(&id);
	identity_init(&id, "RSA-512");
	cert.chain_pem = buf_view(&id.chain);
	ok(tls_server_ctx(&c, &e) == NULL, "a weak RSA certificate is refused: %s", e.text);
	identity_clear(&id);
	cert.chain_pem = VIEW("nothing\n");
	ok(tls_server_ctx(&c, &e) == NULL && strstr(e.text, "no PEM certificate"), "%s", e.text);
	cert.chain_pem = VIEW("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	ok(tls_server_ctx(&c, &e) == NULL, "damaged PEM: %s", e.text);
	ok(tls_chain_public_key(cert.chain_pem, &spki, &e) < 0, "... also for its key: %s", e.text);
	ok(tls_client_ctx(&(struct tls_client_conf){ .ca_pem = VIEW("junk") }, &e) == NULL, "%s", e.text);
	identity_init(&id, "P-256");
	cert.chain_pem = buf_view(&id.chain);
	c.ticket_key = VIEW("short");
	ok(tls_server_ctx(&c, &e) == NULL, "%s", e.text);
	identity_clear(&id);
	buf_free(&spki);
}

int
main(void)
{
	test_client();
	test_bad_material();
	return done_testing();
}
