/* SPDX-License-Identifier: ISC */
/*
 * For the tests of TLS: keys and certificates made on the spot, a signer in the test's process that
 * answers when the test says so, and a pair of connected sessions.
 */
#ifndef EKIDEN_TLS_FIXTURE_H
#define EKIDEN_TLS_FIXTURE_H

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "lib/ipc_schema.h"
#include "lib/tls.h"
#include "t/tap.h"

#define UNUSED __attribute__((unused))

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifndef WITH_ASAN
#define WITH_ASAN 0
#endif

UNUSED static EVP_PKEY *
fixture_key(const char *kind)
{
	if (!strcmp(kind, "RSA"))
		return EVP_RSA_gen(2048);
	if (!strcmp(kind, "RSA-512"))
		return EVP_RSA_gen(512);
	if (!strcmp(kind, "ED25519"))
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return EVP_EC_gen(kind);
}

UNUSED static void
fixture_pem(struct buf *out, BIO *b)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	buf_put(out, p, (size_t)n);
	BIO_free(b);
}

UNUSED static void
fixture_key_pem(EVP_PKEY *key, struct buf *out)
{
	BIO *b = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL);
	fixture_pem(out, b);
}

/* A subjectAltName with one entry, given as bytes: also what no CA would sign. */
UNUSED static void
fixture_san(X509 *x, int type, const void *p, size_t n)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_STRING *s = ASN1_STRING_type_new(type == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING);

	ASN1_STRING_set(s, p, (int)n);
	GENERAL_NAME_set0_value(g, type, s);
	sk_GENERAL_NAME_push(names, g);
	X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0);
	GENERAL_NAMES_free(names);
}

/* A certificate of `key`, signed by issuer_key (self-signed when NULL), appended as PEM. */
UNUSED static X509 *
fixture_cert(EVP_PKEY *key, const char *cn, int san_type, const void *san, size_t san_len, X509 *issuer,
    EVP_PKEY *issuer_key, struct buf *out)
{
	static long serial = 1;
	X509 *x = X509_new();
	X509_NAME *name = X509_NAME_new();

	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_set_subject_name(x, name);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name);
	X509_set_pubkey(x, key);
	if (san_len)
		fixture_san(x, san_type, san, san_len);
	if (issuer == NULL) {
		BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();
		bc->ca = 0xff;
		X509_add1_ext_i2d(x, NID_basic_constraints, bc, 1, 0);
		BASIC_CONSTRAINTS_free(bc);
	}
	EVP_PKEY *signer = issuer_key ? issuer_key : key;
	X509_sign(x, signer, EVP_PKEY_is_a(signer, "ED25519") ? NULL : EVP_sha256());
	X509_NAME_free(name);
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(b, x);
	fixture_pem(out, b);
	return x;
}

enum { OPS_MAX = 1024 };

/* Holds operations until answer(). */
struct slow_signer {
	struct tls_signer base;
	EVP_PKEY *key;
	struct tls_sign_op *ops[OPS_MAX];
	size_t count, cancelled, started, most;
	bool refuse, fail;
};

UNUSED static int
slow_start(struct tls_signer *ts, struct tls_sign_op *op)
{
	struct slow_signer *s = (struct slow_signer *)(void *)ts;

	if (s->refuse || s->count == OPS_MAX)
		return -1;
	s->ops[s->count++] = op;
	s->started++;
	if (s->count > s->most)
		s->most = s->count;
	return 0;
}

UNUSED static void
slow_cancel(struct tls_signer *ts, struct tls_sign_op *op)
{
	struct slow_signer *s = (struct slow_signer *)(void *)ts;

	for (size_t i = 0; i < s->count; i++) {
		if (s->ops[i] == op) {
			s->ops[i] = s->ops[--s->count];
			s->cancelled++;
			return;
		}
	}
}

/* Answers the oldest operation. */
UNUSED static bool
answer(struct slow_signer *s)
{
	unsigned char out[1024];
	size_t len = sizeof(out);

	if (s->count == 0)
		return false;
	struct tls_sign_op *op = s->ops[0];
	memmove(s->ops, s->ops + 1, --s->count * sizeof(s->ops[0]));
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(s->key, NULL);
	EVP_PKEY_sign_init(ctx);
	if (op->scheme == SIGN_RSA_RAW)
		EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING);
	bool good = !s->fail &&
	    EVP_PKEY_sign(ctx, out, &len, (const unsigned char *)op->in.p, op->in.n) == 1;
	EVP_PKEY_CTX_free(ctx);
	op->done(op, good, good ? view_of(out, len) : VIEW(""));
	return true;
}

struct side {
	struct tls *tls;   /* ours */
	SSL *ssl;	   /* or OpenSSL's */
	int fd;
	enum tls_result result;
	unsigned woken;
	struct err e;
};

struct pair {
	struct side server, client;
};

UNUSED static void
on_wake(void *arg)
{
	struct side *s = arg;

	s->woken++;
	if (s->tls)
		s->result = tls_handshake(s->tls, &s->e);
}

UNUSED static void
sockets(struct pair *p)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		exit(1);
	p->server.fd = fds[0];
	p->client.fd = fds[1];
}

UNUSED static void
side_step(struct side *s)
{
	if (s->result == TLS_DONE || s->result == TLS_FAILED || s->result == TLS_CLOSED)
		return;
	if (s->tls == NULL && s->ssl == NULL)
		return;
	if (s->tls) {
		s->result = tls_handshake(s->tls, &s->e);
		return;
	}
	ERR_clear_error();
	int rc = SSL_do_handshake(s->ssl);
	if (rc == 1)
		s->result = TLS_DONE;
	else if (SSL_get_error(s->ssl, rc) != SSL_ERROR_WANT_READ)
		s->result = TLS_FAILED;
}

/* Steps both until nothing moves any more; with a signer it answers at once. */
UNUSED static void
pump(struct pair *p, struct slow_signer *s)
{
	for (int i = 0; i < 20; i++) {
		side_step(&p->client);
		side_step(&p->server);
		while (s && answer(s))
			;
	}
}

UNUSED static SSL_CTX *
peer_ctx(int version, const char *ciphers)
{
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_security_level(c, 0);
	SSL_CTX_set_min_proto_version(c, version);
	SSL_CTX_set_max_proto_version(c, version);
	if (ciphers)
		SSL_CTX_set_cipher_list(c, ciphers);
	return c;
}

UNUSED static void
open_pair(struct pair *p, struct tls_ctx *server, SSL_CTX *peer)
{
	*p = (struct pair){ .server.result = TLS_WANT_READ, .client.result = TLS_WANT_READ };
	sockets(p);
	p->server.tls = tls_server(server, p->server.fd, on_wake, &p->server);
	p->client.ssl = SSL_new(peer);
	SSL_set_fd(p->client.ssl, p->client.fd);
	SSL_set_connect_state(p->client.ssl);
}

UNUSED static void
close_pair(struct pair *p)
{
	tls_free(&p->server.tls);
	tls_free(&p->client.tls);
	SSL_free(p->client.ssl);
	close(p->server.fd);
	if (p->client.fd >= 0)
		close(p->client.fd);
}

struct identity {
	EVP_PKEY *key;
	struct buf chain;
	struct slow_signer signer;
};

UNUSED static void
identity_init(struct identity *id, const char *kind)
{
	*id = (struct identity){ .chain = BUF_INIT(1 << 20) };
	id->key = fixture_key(kind);
	X509_free(fixture_cert(id->key, "mx.example.jp", GEN_DNS, "mx.example.jp", 13, NULL, NULL,
	    &id->chain));
	id->signer = (struct slow_signer){ .base = { .start = slow_start, .cancel = slow_cancel },
		.key = id->key };
}

UNUSED static void
identity_clear(struct identity *id)
{
	EVP_PKEY_free(id->key);
	buf_free(&id->chain);
}

UNUSED static struct tls_ctx *
identity_ctx_of(struct identity *id, const char *listener, bool legacy, struct view ticket_key)
{
	struct tls_cert_conf cert = { buf_view(&id->chain), 7 };
	struct tls_server_conf c = { .certs = &cert, .cert_count = 1, .signer = &id->signer.base,
		.legacy = legacy, .ticket_key = ticket_key, .name = listener };
	struct err e;
	struct tls_ctx *ctx = tls_server_ctx(&c, &e);

	if (ctx == NULL)
		printf("# %s\n", e.text);
	return ctx;
}

UNUSED static struct tls_ctx *
identity_ctx(struct identity *id, bool legacy, struct view ticket_key)
{
	return identity_ctx_of(id, "listener", legacy, ticket_key);
}

#endif
