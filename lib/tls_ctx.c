/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

#include "lib/tls_impl.h"

/*
 * No kRSA on the server: it needs decryption, which signd does not offer, and it has no forward
 * secrecy. The client takes what old servers have, because the alternative of an opportunistic
 * sender is no TLS.
 */
#define MODERN "ECDHE+AESGCM:ECDHE+CHACHA20"
#define SERVER_CIPHERS MODERN ":!kRSA:!aNULL:!PSK:!SRP"
#define SERVER_CIPHERS_LEGACY                                                                      \
	MODERN ":ECDHE+AES:DHE+AES:!AESCCM:!kRSA:!aNULL:!PSK:!SRP:!DSS:@SECLEVEL=0"
#define CLIENT_CIPHERS MODERN ":ECDHE+AES:DHE+AES:kRSA+AES:!AESCCM:!aNULL:!PSK:!SRP:!DSS"

enum { SESSION_LIFETIME_S = 7200 };

int
tls_error(struct err *e, enum err_class class, const char *prefix)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	err_set(e, class, class == ERR_PERM ? ESC(5, 7, 5) : ESC(4, 7, 5), "%s: %s", prefix,
	    reason ? reason : "unknown reason");
	ERR_clear_error();
	return -1;
}

/* The next certificate of a PEM text; NULL at its end, and also when damaged: then *bad. */
static X509 *
next_cert(BIO *in, bool *bad)
{
	X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);

	if (x == NULL) {
		unsigned long code = ERR_peek_last_error();
		*bad =
		    ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE;
		if (!*bad)
			ERR_clear_error();
	}
	return x;
}

static BIO *
pem_open(struct view pem, const char *what, struct err *e)
{
	BIO *in = NULL;

	/*
	 * A configuration file would be opened by the first use of any algorithm, behind the
	 * sandbox.
	 */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ERR_clear_error();
	if (pem.n <= INT32_MAX)
		in = BIO_new_mem_buf(pem.p ? pem.p : "", (int)pem.n);
	if (in == NULL)
		tls_error(e, ERR_PERM, what);
	return in;
}

int
tls_chain_public_key(struct view chain_pem, struct buf *spki_der, struct err *e)
{
	BIO *in = pem_open(chain_pem, "certificate", e);
	unsigned char *der = NULL;
	bool bad = false;

	if (in == NULL)
		return -1;
	X509 *x = next_cert(in, &bad);
	BIO_free(in);
	int n = x ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : -1;
	X509_free(x);
	if (x == NULL && !bad)
		return err_set(e, ERR_PERM, ESC(5, 7, 5), "certificate: no PEM certificate in it");
	if (n < 0)
		return tls_error(e, ERR_PERM, "certificate");
	buf_put(spki_der, der, (size_t)n);
	OPENSSL_free(der);
	return spki_der->bad ? err_set(e, ERR_PERM, ESC(5, 7, 5), "certificate: key too large") : 0;
}

static int
load_chain(SSL_CTX *ssl, struct view pem, struct err *e)
{
	BIO *in = pem_open(pem, "certificate chain", e);
	bool bad = false, leaf = true, ok = true;
	X509 *x;

	if (in == NULL)
		return -1;
	while (ok && (x = next_cert(in, &bad)) != NULL) {
		if (leaf)
			ok = SSL_CTX_use_certificate(ssl, x) == 1;
		else
			ok = SSL_CTX_add1_chain_cert(ssl, x) == 1;
		X509_free(x);
		leaf = false;
	}
	BIO_free(in);
	if (!ok || bad)
		return tls_error(e, ERR_PERM, "certificate chain");
	if (leaf)
		return err_set(
		    e, ERR_PERM, ESC(5, 7, 5), "certificate chain: no PEM certificate in it");
	return 0;
}

static int
load_key(struct tls_ctx *ctx, const struct tls_server_conf *c, struct err *e)
{
	struct buf der = BUF_INIT(16384);
	int rc = -1;

	if (tls_chain_public_key(c->chain_pem, &der, e) == 0) {
		ctx->key = (struct tls_key){ .signer = c->signer, .number = c->key,
			.pin = tls_key_pin(buf_view(&der)) };
		EVP_PKEY *pub = X509_get0_pubkey(SSL_CTX_get0_certificate(ctx->ssl));
		EVP_PKEY *key = pub ? tls_key_new(&ctx->key, pub, e) : NULL;
		if (pub == NULL)
			tls_error(e, ERR_PERM, "certificate");
		else if (key && SSL_CTX_use_PrivateKey(ctx->ssl, key) != 1)
			tls_error(e, ERR_PERM, "certificate key");
		else if (key)
			rc = 0;
		EVP_PKEY_free(key);
	}
	buf_free(&der);
	return rc;
}

/* Tickets only; no session is ever kept in this process. */
static int
set_resumption(SSL_CTX *ssl, struct view ticket_key, struct err *e)
{
	unsigned char id[SHA256_DIGEST_LENGTH];

	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	if (ticket_key.n == 0) {
		SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(ssl, 0);
		return 0;
	}
	if (ticket_key.n != TLS_TICKET_KEY)
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "ticket key of %zu bytes", ticket_key.n);
	SSL_CTX_set_timeout(ssl, SESSION_LIFETIME_S);
	SSL_CTX_set_num_tickets(ssl, 1);
	/*
	 * Different for each listener, so that no session crosses over even if a key would be
	 * shared.
	 */
	SHA256((const unsigned char *)ticket_key.p, ticket_key.n, id);
	if (SSL_CTX_set_tlsext_ticket_keys(ssl, (void *)(uintptr_t)ticket_key.p, TLS_TICKET_KEY) !=
		1 ||
	    SSL_CTX_set_session_id_context(ssl, id, sizeof(id)) != 1)
		return tls_error(e, ERR_BUG, "ticket key");
	return 0;
}

/* What both sides share. */
static struct tls_ctx *
ctx_new(bool server, bool legacy, struct err *e)
{
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ERR_clear_error();
	struct tls_ctx *ctx = x_calloc(1, sizeof(*ctx));
	ctx->refs = 1;
	ctx->server = server;
	ctx->legacy = legacy;
	ctx->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	ctx->bio = tls_bio_method();
	if (ctx->ssl == NULL || ctx->bio == NULL) {
		tls_error(e, ERR_BUG, "TLS context");
		tls_ctx_free(&ctx);
		return NULL;
	}
	/* Idle sessions hold no record buffers; one recv() takes a whole record, or several. */
	SSL_CTX_set_mode(ctx->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_read_ahead(ctx->ssl, 1);
	SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_min_proto_version(ctx->ssl, legacy ? TLS1_VERSION : TLS1_2_VERSION);
	return ctx;
}

struct tls_ctx *
tls_server_ctx(const struct tls_server_conf *c, struct err *e)
{
	struct tls_ctx *ctx = ctx_new(true, c->legacy, e);
	const char *ciphers = c->legacy ? SERVER_CIPHERS_LEGACY : SERVER_CIPHERS;

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_mode(ctx->ssl, SSL_MODE_ASYNC);
	SSL_CTX_set_options(ctx->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_dh_auto(ctx->ssl, c->legacy);
	if (SSL_CTX_set_cipher_list(ctx->ssl, ciphers) != 1)
		tls_error(e, ERR_BUG, "cipher list");
	else if (set_resumption(ctx->ssl, c->ticket_key, e) == 0 &&
	    load_chain(ctx->ssl, c->chain_pem, e) == 0 && load_key(ctx, c, e) == 0)
		return ctx;
	tls_ctx_free(&ctx);
	return NULL;
}

static int
load_trust(SSL_CTX *ssl, struct view pem, struct err *e)
{
	BIO *in = pem_open(pem, "trusted certificates", e);
	bool bad = false, ok = true;
	size_t count = 0;
	X509 *x;

	if (in == NULL)
		return -1;
	for (; ok && (x = next_cert(in, &bad)) != NULL; count++) {
		ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), x) == 1;
		X509_free(x);
	}
	BIO_free(in);
	if (!ok || bad)
		return tls_error(e, ERR_PERM, "trusted certificates");
	if (count == 0)
		return err_set(e, ERR_PERM, ESC(5, 7, 5), "trusted certificates: none in the file");
	return 0;
}

/* OpenSSL would build and check the chain even when nobody asks for the result. */
static int
judge_chain(X509_STORE_CTX *x, void *arg)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());

	(void)arg;
	if (SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
		return X509_verify_cert(x);
	X509_STORE_CTX_set_error(x, X509_V_ERR_CERT_UNTRUSTED);
	return 1;
}

struct tls_ctx *
tls_client_ctx(const struct tls_client_conf *c, struct err *e)
{
	struct tls_ctx *ctx = ctx_new(false, c->legacy, e);

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_cert_verify_callback(ctx->ssl, judge_chain, NULL);
	if (c->legacy)
		SSL_CTX_set_options(ctx->ssl, SSL_OP_LEGACY_SERVER_CONNECT);
	if (SSL_CTX_set_cipher_list(ctx->ssl, CLIENT_CIPHERS) != 1)
		tls_error(e, ERR_BUG, "cipher list");
	else if (c->ca_pem.n == 0 || load_trust(ctx->ssl, c->ca_pem, e) == 0)
		return ctx;
	tls_ctx_free(&ctx);
	return NULL;
}

void
tls_ctx_free(struct tls_ctx **ctx)
{
	struct tls_ctx *c = *ctx;

	*ctx = NULL;
	if (c == NULL || --c->refs > 0)
		return;
	SSL_CTX_free(c->ssl);
	tls_key_clear(&c->key);
	BIO_meth_free(c->bio);
	free(c);
}
