/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

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

/* The names as they stand in the extension: each behind its length. */
static void
set_alpn(struct tls_ctx *ctx, const struct tls_server_conf *c)
{
	struct buf wire = BUF_INIT(8192);

	for (size_t i = 0; i < c->alpn_count; i++) {
		struct view name = view_first(view_str(c->alpn[i]), 255);
		buf_put_u8(&wire, (uint8_t)name.n);
		buf_putv(&wire, name);
	}
	ctx->alpn_len = (unsigned)buf_len(&wire);
	ctx->alpn = x_malloc(ctx->alpn_len + 1);
	memcpy(ctx->alpn, buf_view(&wire).p, ctx->alpn_len);
	buf_free(&wire);
}

/*
 * RFC 7301, 3.2: no protocol in common ends the handshake, so that a browser sent here by a third party
 * (ALPACA) gets nowhere.
 */
static int
select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offer,
    unsigned offer_len, void *arg)
{
	struct tls_ctx *ctx = arg;
	unsigned char *picked;

	(void)ssl;
	if (SSL_select_next_proto(&picked, out_len, ctx->alpn, ctx->alpn_len, offer, offer_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = picked;
	return SSL_TLSEXT_ERR_OK;
}

static int
set_ciphers(SSL_CTX *ssl, const struct tls_server_conf *c, struct err *e)
{
	const char *ours = c->legacy ? SERVER_CIPHERS_LEGACY : SERVER_CIPHERS;
	struct buf list = BUF_INIT(8192);
	int ok;

	if (c->ciphers && *c->ciphers)
		buf_printf(&list, "%s:!kRSA:!aNULL:!eNULL:!PSK:!SRP", c->ciphers);
	else
		buf_puts(&list, ours);
	ok = SSL_CTX_set_cipher_list(ssl, buf_cstr(&list));
	buf_free(&list);
	if (ok != 1)
		return tls_error(e, ERR_PERM, "ciphers");
	if (c->ciphersuites && *c->ciphersuites && SSL_CTX_set_ciphersuites(ssl, c->ciphersuites) != 1)
		return tls_error(e, ERR_PERM, "ciphersuites");
	return 0;
}

int
tls_ciphers_check(const char *ciphers, const char *ciphersuites, struct err *e)
{
	struct tls_server_conf c = { .ciphers = ciphers, .ciphersuites = ciphersuites };

	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ERR_clear_error();
	SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
	int rc = ssl ? set_ciphers(ssl, &c, e) : tls_error(e, ERR_BUG, "TLS context");
	SSL_CTX_free(ssl);
	return rc;
}

static int
load_certs(struct tls_ctx *ctx, const struct tls_cert_conf *c, size_t n, struct err *e)
{
	ctx->certs = x_calloc(n, sizeof(*ctx->certs));
	for (size_t i = 0; i < n; i++)
		if (tls_cert_load(&ctx->certs[ctx->cert_count++], &c[i], ctx->signer, e) < 0)
			return -1;
	return tls_certs_use(ctx, e);
}

struct tls_ctx *
tls_server_ctx(const struct tls_server_conf *c, struct err *e)
{
	struct tls_ctx *ctx = ctx_new(true, c->legacy, e);

	if (ctx == NULL)
		return NULL;
	ctx->signer = c->signer;
	SSL_CTX_set_mode(ctx->ssl, SSL_MODE_ASYNC);
	SSL_CTX_set_options(ctx->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_dh_auto(ctx->ssl, c->legacy);
	if (c->only_1_3)
		SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_3_VERSION);
	if (c->alpn_count) {
		set_alpn(ctx, c);
		SSL_CTX_set_alpn_select_cb(ctx->ssl, select_alpn, ctx);
	}
	if (set_ciphers(ctx->ssl, c, e) == 0 && tls_tickets_use(ctx, c, e) == 0 &&
	    load_certs(ctx, c->certs, c->cert_count, e) == 0)
		return ctx;
	tls_ctx_free(&ctx);
	return NULL;
}

static int
load_trust(SSL_CTX *ssl, struct view pem, struct err *e)
{
	BIO *in = tls_pem_open(pem, "trusted certificates", e);
	bool bad = false, ok = true;
	size_t count = 0;
	X509 *x;

	if (in == NULL)
		return -1;
	for (; ok && (x = tls_next_cert(in, &bad)) != NULL; count++) {
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
	if (c->cert.chain_pem.n) {
		ctx->signer = c->signer;
		SSL_CTX_set_mode(ctx->ssl, SSL_MODE_ASYNC);
	}
	SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_cert_verify_callback(ctx->ssl, judge_chain, NULL);
	if (c->legacy)
		SSL_CTX_set_options(ctx->ssl, SSL_OP_LEGACY_SERVER_CONNECT);
	if (SSL_CTX_set_cipher_list(ctx->ssl, CLIENT_CIPHERS) != 1)
		tls_error(e, ERR_BUG, "cipher list");
	else if ((c->ca_pem.n == 0 || load_trust(ctx->ssl, c->ca_pem, e) == 0) &&
	    (c->cert.chain_pem.n == 0 || load_certs(ctx, &c->cert, 1, e) == 0))
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
	for (size_t i = 0; i < c->cert_count; i++)
		tls_cert_clear(&c->certs[i]);
	free(c->certs);
	free(c->alpn);
	explicit_bzero(&c->ticket, sizeof(c->ticket));
	explicit_bzero(&c->former_ticket, sizeof(c->former_ticket));
	BIO_meth_free(c->bio);
	free(c);
}
