/* SPDX-License-Identifier: ISC */
/*
 * Session tickets (RFC 5077; RFC 8446, 4.6.1) under our own keys, which the workers of one listener share:
 * the one that makes tickets, and the one before, which still opens them. No session is kept in this
 * process.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "lib/tls_impl.h"

enum { SESSION_LIFETIME_S = 7200, TICKET_IV = 16 };

static void
cut_up(struct tls_ticket *t, struct view key)
{
	_Static_assert((int)TICKET_NAME + 2 * (int)TICKET_SECRET == (int)TLS_TICKET_KEY, "ticket key");
	memcpy(t->name, key.p, TICKET_NAME);
	memcpy(t->cipher, key.p + TICKET_NAME, TICKET_SECRET);
	memcpy(t->mac, key.p + TICKET_NAME + TICKET_SECRET, TICKET_SECRET);
	t->set = true;
}

void
tls_ctx_ticket_key(struct tls_ctx *ctx, struct view key)
{
	if (key.n != TLS_TICKET_KEY || !ctx->ticket.set)
		return; /* this listener was opened without resumption */
	ctx->former_ticket = ctx->ticket;
	cut_up(&ctx->ticket, key);
}

static bool
keyed(const struct tls_ticket *t, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(
		    OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)t->mac, TICKET_SECRET),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, t->cipher, iv, enc) == 1 &&
	    EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* Results as SSL_CTX_set_tlsext_ticket_key_evp_cb() has them: 2 asks for a fresh ticket. */
static int
on_ticket(SSL *ssl, unsigned char name[TICKET_NAME], unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int enc)
{
	struct tls *session = SSL_get_app_data(ssl);
	const struct tls_ctx *ctx = session->ctx;
	const struct tls_ticket *t = &ctx->ticket;

	if (enc) {
		if (RAND_bytes(iv, TICKET_IV) != 1)
			return -1;
		memcpy(name, t->name, TICKET_NAME);
		return keyed(t, iv, cipher, mac, 1) ? 1 : -1;
	}
	if (memcmp(name, t->name, TICKET_NAME) == 0)
		return keyed(t, iv, cipher, mac, 0) ? 1 : -1;
	t = &ctx->former_ticket;
	if (t->set && memcmp(name, t->name, TICKET_NAME) == 0)
		return keyed(t, iv, cipher, mac, 0) ? 2 : -1;
	return 0;
}

int
tls_tickets_use(struct tls_ctx *ctx, const struct tls_server_conf *c, struct err *e)
{
	unsigned char id[SHA256_DIGEST_LENGTH];
	SSL_CTX *ssl = ctx->ssl;

	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	if (c->ticket_key.n == 0) {
		SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(ssl, 0);
		return 0;
	}
	if (c->ticket_key.n != TLS_TICKET_KEY ||
	    (c->former_ticket_key.n && c->former_ticket_key.n != TLS_TICKET_KEY))
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "ticket key of %zu bytes", c->ticket_key.n);
	cut_up(&ctx->ticket, c->ticket_key);
	if (c->former_ticket_key.n)
		cut_up(&ctx->former_ticket, c->former_ticket_key);
	SSL_CTX_set_timeout(ssl, SESSION_LIFETIME_S);
	SSL_CTX_set_num_tickets(ssl, 1);
	/* Different for each listener, so that no session crosses over even if a key would be shared. */
	const char *name = c->name ? c->name : "";
	SHA256((const unsigned char *)name, strlen(name), id);
	if (SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket) != 1 ||
	    SSL_CTX_set_session_id_context(ssl, id, sizeof(id)) != 1)
		return tls_error(e, ERR_BUG, "ticket key");
	return 0;
}
