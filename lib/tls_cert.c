/* SPDX-License-Identifier: ISC */
/* Certificates with remote keys, and which of them a client is shown. */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "lib/tls_impl.h"

X509 *
tls_next_cert(BIO *in, bool *bad)
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

BIO *
tls_pem_open(struct view pem, const char *what, struct err *e)
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
	BIO *in = tls_pem_open(chain_pem, "certificate", e);
	unsigned char *der = NULL;
	bool bad = false;

	if (in == NULL)
		return -1;
	X509 *x = tls_next_cert(in, &bad);
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
load_chain(struct tls_cert *cert, struct view pem, struct err *e)
{
	BIO *in = tls_pem_open(pem, "certificate chain", e);
	bool bad = false;
	X509 *x;

	if (in == NULL)
		return -1;
	cert->chain = sk_X509_new_null();
	cert->leaf = tls_next_cert(in, &bad);
	while (cert->leaf && cert->chain && !bad && (x = tls_next_cert(in, &bad)) != NULL)
		if (!sk_X509_push(cert->chain, x))
			abort(); /* memory */
	BIO_free(in);
	if (bad || cert->chain == NULL)
		return tls_error(e, ERR_PERM, "certificate chain");
	if (cert->leaf == NULL)
		return err_set(
		    e, ERR_PERM, ESC(5, 7, 5), "certificate chain: no PEM certificate in it");
	return 0;
}

int
tls_cert_load(struct tls_cert *cert, const struct tls_cert_conf *c, struct tls_signer *signer,
    struct err *e)
{
	struct buf der = BUF_INIT(16384);
	int rc = tls_chain_public_key(c->chain_pem, &der, e);

	cert->key = (struct tls_key){ .signer = signer, .number = c->key,
		.pin = tls_key_pin(buf_view(&der)) };
	buf_free(&der);
	if (rc < 0 || load_chain(cert, c->chain_pem, e) < 0)
		return -1;
	EVP_PKEY *pub = X509_get0_pubkey(cert->leaf);
	if (pub == NULL)
		return tls_error(e, ERR_PERM, "certificate");
	cert->pkey = tls_key_new(&cert->key, pub, e);
	return cert->pkey ? 0 : -1;
}

void
tls_cert_clear(struct tls_cert *cert)
{
	X509_free(cert->leaf);
	sk_X509_pop_free(cert->chain, X509_free);
	EVP_PKEY_free(cert->pkey);
	tls_key_clear(&cert->key);
}

static bool
is_rsa(const struct tls_cert *cert)
{
	return cert->key.rsa != NULL;
}

/* RFC 6066, 3: a host name in ASCII without a trailing dot; nothing else finds a certificate. */
static bool
is_for(const struct tls_cert *cert, const char *name)
{
	if (*name == '\0' || *name == '.')
		return false; /* to OpenSSL: any name, and every name below */
	return X509_check_host(cert->leaf, name, strlen(name), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
		   NULL) == 1;
}

/* One of its names, for which there may be another certificate. */
static bool
shares_name(const struct tls_cert *a, const struct tls_cert *b)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(a->leaf, NID_subject_alt_name, NULL, NULL);
	bool shares = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !shares; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		if (g->type != GEN_DNS)
			continue;
		char *name = x_strndup(view_of(ASN1_STRING_get0_data(g->d.dNSName),
		    (size_t)ASN1_STRING_length(g->d.dNSName)));
		shares = is_for(b, name);
		free(name);
	}
	GENERAL_NAMES_free(names);
	return shares;
}

/* The first certificate of this kind for the name, or NULL. */
static const struct tls_cert *
find(const struct tls_ctx *ctx, bool rsa, const char *name)
{
	for (size_t i = 0; i < ctx->cert_count; i++)
		if (is_rsa(&ctx->certs[i]) == rsa && is_for(&ctx->certs[i], name))
			return &ctx->certs[i];
	return NULL;
}

static bool
show(SSL *ssl, const struct tls_cert *cert)
{
	return cert == NULL ||
	    SSL_use_cert_and_key(ssl, cert->leaf, cert->pkey, cert->chain, 1) == 1;
}

/* An unknown name is no error: the client may still like what it gets (atk-B14). */
static int
on_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls_ctx *ctx = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	if (name == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	const struct tls_cert *rsa = find(ctx, true, name), *ec = find(ctx, false, name);
	if (rsa == NULL && ec == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	((struct tls *)SSL_get_app_data(ssl))->by_name = true;
	SSL_certs_clear(ssl);
	return show(ssl, rsa) && show(ssl, ec) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int
tls_certs_use(struct tls_ctx *ctx, struct err *e)
{
	const struct tls_cert *first = &ctx->certs[0], *other = NULL;

	for (size_t i = 1; i < ctx->cert_count && other == NULL; i++)
		if (is_rsa(&ctx->certs[i]) != is_rsa(first) && shares_name(first, &ctx->certs[i]))
			other = &ctx->certs[i];
	for (int i = 0; i < 2; i++) {
		const struct tls_cert *c = i == 0 ? other : first;
		if (c && SSL_CTX_use_cert_and_key(ctx->ssl, c->leaf, c->pkey, c->chain, 1) != 1)
			return tls_error(e, ERR_PERM, "certificate key");
	}
	if (ctx->server && ctx->cert_count > 1) {
		SSL_CTX_set_tlsext_servername_callback(ctx->ssl, on_name);
		SSL_CTX_set_tlsext_servername_arg(ctx->ssl, ctx);
	}
	return 0;
}
