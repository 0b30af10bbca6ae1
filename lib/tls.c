/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "lib/tls_impl.h"

/* Only its argument, the SSL, is used: tls_key.c finds the session by it. */
static int
async_callback(SSL *ssl, void *arg)
{
	(void)ssl;
	(void)arg;
	return 1;
}

static struct tls *
session_new(struct tls_ctx *ctx, int fd)
{
	struct tls *t = x_calloc(1, sizeof(*t));

	ERR_clear_error();
	t->ctx = ctx;
	ctx->refs++;
	t->fd = fd;
	t->ssl = SSL_new(ctx->ssl);
	BIO *bio = BIO_new(ctx->bio);
	if (t->ssl == NULL || bio == NULL)
		abort(); /* memory */
	BIO_set_data(bio, t);
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_app_data(t->ssl, t);
	if (ctx->signer)
		SSL_set_async_callback(t->ssl, async_callback);
	return t;
}

struct tls *
tls_server(struct tls_ctx *ctx, int fd, void (*wake)(void *arg), void *arg)
{
	struct tls *t = session_new(ctx, fd);

	t->wake = wake;
	t->arg = arg;
	SSL_set_accept_state(t->ssl);
	return t;
}

/* RFC 6125 and RFC 8461, 4.1: subjectAltName only, whole-label wildcards only. */
static void
expect_name(struct tls *t, const char *name, bool address)
{
	X509_VERIFY_PARAM *p = SSL_get0_param(t->ssl);

	/* To OpenSSL "" means any name, and ".x" every name below x: here they match nothing. */
	if (name[0] == '\0' || name[0] == '.')
		name = "?";
	X509_VERIFY_PARAM_set_hostflags(p,
	    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (!(address ? X509_VERIFY_PARAM_set1_ip_asc(p, name) :
			X509_VERIFY_PARAM_set1_host(p, name, strlen(name))))
		abort(); /* memory; the name has no NUL */
	SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL);
}

struct tls *
tls_client(struct tls_ctx *ctx, int fd, const char *name, enum tls_verify verify,
    void (*wake)(void *arg), void *arg)
{
	struct tls *t = session_new(ctx, fd);
	unsigned char ip[sizeof(struct in6_addr)];
	bool address = inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;

	t->wake = wake;
	t->arg = arg;
	SSL_set_connect_state(t->ssl);
	SSL_set_security_level(t->ssl, ctx->legacy ? 0 : verify == TLS_VERIFY_NAME ? 2 : 1);
	if (!address && name[0] != '\0' && strlen(name) <= TLSEXT_MAXLEN_host_name)
		SSL_set_tlsext_host_name(t->ssl, name);
	if (verify == TLS_VERIFY_NAME)
		expect_name(t, name, address);
	ERR_clear_error();
	return t;
}

static void
wait_in_line(struct tls_signer *s, struct tls *t)
{
	t->waiting = true;
	t->next = NULL;
	t->prev = s->last_waiting;
	if (t->prev)
		t->prev->next = t;
	else
		s->first_waiting = t;
	s->last_waiting = t;
}

static void
leave_line(struct tls_signer *s, struct tls *t)
{
	if (!t->waiting)
		return;
	t->waiting = false;
	*(t->prev ? &t->prev->next : &s->first_waiting) = t->next;
	*(t->next ? &t->next->prev : &s->last_waiting) = t->prev;
}

/*
 * Places became free: the first in line go on. Never from inside a job, and not nested: a woken
 * handshake comes back here itself when it is done.
 */
static void
serve_line(struct tls_signer *s)
{
	if (s->waking)
		return;
	s->waking = true;
	while (s->first_waiting && s->parked < TLS_PARKED_MAX) {
		struct tls *t = s->first_waiting;
		leave_line(s, t);
		t->wake(t->arg);
	}
	s->waking = false;
}

/* Cut connections are no failure of TLS, and common: they are told apart from protocol errors. */
static bool
was_cut(const struct tls *t, int ssl_error)
{
	unsigned long code = ERR_peek_error();

	if (ssl_error == SSL_ERROR_SSL)
		return ERR_GET_LIB(code) == ERR_LIB_SSL &&
		    ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
	return ssl_error == SSL_ERROR_SYSCALL && code == 0 &&
	    (t->io_errno == 0 || t->io_errno == ECONNRESET || t->io_errno == EPIPE);
}

static enum tls_result
failed(struct tls *t, int ssl_error, const char *what, struct err *e)
{
	long verdict = SSL_get_verify_result(t->ssl);

	t->broken = true;
	if (t->unsigned_)
		err_set(e, ERR_TEMP, ESC(4, 7, 5), "%s: no signature from the key process", what);
	else if (ssl_error == SSL_ERROR_SYSCALL && t->io_errno)
		err_set(e, ERR_TEMP, ESC(4, 4, 2), "%s: %s", what, strerror(t->io_errno));
	else if (SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE && verdict != X509_V_OK)
		err_set(e, ERR_PEER, ESC(4, 7, 5), "%s: server certificate: %s", what,
		    X509_verify_cert_error_string(verdict));
	else
		tls_error(e, ERR_PEER, what);
	ERR_clear_error();
	return TLS_FAILED;
}

static enum tls_result
outcome(struct tls *t, int rc, const char *what, struct err *e)
{
	int ssl_error = SSL_get_error(t->ssl, rc);

	switch (ssl_error) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_WANT_ASYNC:
		return TLS_WANT_ASYNC;
	case SSL_ERROR_ZERO_RETURN:
		t->clean = true;
		return TLS_CLOSED;
	default:
		if (was_cut(t, ssl_error)) {
			ERR_clear_error();
			return TLS_CLOSED;
		}
		return failed(t, ssl_error, what, e);
	}
}

enum tls_result
tls_handshake(struct tls *t, struct err *e)
{
	struct tls_signer *s = t->ctx->signer;

	if (t->done)
		return TLS_DONE;
	/* Socket events do not end the wait for signd: only its answer may resume the job. */
	if (t->waiting || (t->park && !t->park->decided))
		return TLS_WANT_ASYNC;
	if (s && t->park == NULL && s->parked >= TLS_PARKED_MAX) {
		wait_in_line(s, t);
		return TLS_WANT_ASYNC;
	}
	ERR_clear_error();
	t->io_errno = 0;
	int rc = SSL_do_handshake(t->ssl);
	enum tls_result result;
	if (rc == 1) {
		t->done = true;
		SSL_clear_mode(t->ssl, SSL_MODE_ASYNC); /* reads and writes need no job */
		result = TLS_DONE;
	} else {
		result = outcome(t, rc, "TLS handshake", e);
	}
	if (s)
		serve_line(s);
	return result;
}

ptrdiff_t
tls_read(struct tls *t, void *p, size_t n, struct err *e)
{
	size_t got;

	ERR_clear_error();
	t->io_errno = 0;
	int rc = SSL_read_ex(t->ssl, p, n, &got);
	return rc == 1 ? (ptrdiff_t)got : (ptrdiff_t)outcome(t, rc, "TLS read", e);
}

ptrdiff_t
tls_write(struct tls *t, const void *p, size_t n, struct err *e)
{
	size_t put;

	ERR_clear_error();
	t->io_errno = 0;
	int rc = SSL_write_ex(t->ssl, p, n, &put);
	return rc == 1 ? (ptrdiff_t)put : (ptrdiff_t)outcome(t, rc, "TLS write", e);
}

void
tls_bye(struct tls *t)
{
	if (!t->done || t->broken || (SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN))
		return;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}

/*
 * OpenSSL leaks the stack of a job that is never resumed: the parked handshake is run to its end,
 * which is a failure, with its alert going nowhere.
 */
static void
unpark(struct tls *t)
{
	struct tls_signer *s = t->ctx->signer;

	if (!t->park->decided)
		s->cancel(s, &t->park->op);
	t->park->decided = true;
	t->park->ok = false;
	BIO *nowhere = BIO_new(BIO_s_null());
	if (nowhere == NULL)
		abort(); /* memory */
	SSL_set0_wbio(t->ssl, nowhere);
	SSL_do_handshake(t->ssl);
	ERR_clear_error();
}

void
tls_free(struct tls **tp)
{
	struct tls *t = *tp;

	if (t == NULL)
		return;
	*tp = NULL;
	struct tls_signer *s = t->ctx->signer;
	bool parked = t->park != NULL;
	if (parked)
		unpark(t);
	if (s)
		leave_line(s, t);
	SSL_free(t->ssl);
	tls_ctx_free(&t->ctx);
	free(t);
	if (parked)
		serve_line(s);
}

bool
tls_clean(const struct tls *t)
{
	return t->clean;
}

int
tls_errno(const struct tls *t)
{
	return t->io_errno;
}

size_t
tls_pending(const struct tls *t)
{
	int n = SSL_pending(t->ssl);

	return n > 0 ? (size_t)n : (size_t)SSL_has_pending(t->ssl);
}

void
tls_info(const struct tls *t, struct tls_info *out)
{
	const SSL_CIPHER *c = SSL_get_current_cipher(t->ssl);

	*out = (struct tls_info){ .version = SSL_get_version(t->ssl) };
	out->sni = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
	out->by_name = t->by_name;
	out->cipher = SSL_CIPHER_get_name(c);
	if (c)
		out->bits = SSL_CIPHER_get_bits(c, &out->alg_bits);
	out->verified = SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE &&
	    SSL_get_verify_result(t->ssl) == X509_V_OK;
	out->resumed = SSL_session_reused(t->ssl);
}
