/* SPDX-License-Identifier: ISC */
/*
 * OpenSSL's own socket BIO writes with write(2): a peer that closed early would raise SIGPIPE.
 * This one uses send(MSG_NOSIGNAL), keeps errno where the session can find it, and allocates
 * nothing per session.
 */
#include <errno.h>
#include <sys/socket.h>

#include "lib/tls_impl.h"

static int
failed(BIO *b, struct tls *t, int retry_flag)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		BIO_set_flags(b, retry_flag | BIO_FLAGS_SHOULD_RETRY);
	else
		t->io_errno = errno;
	return -1;
}

static int
bio_write(BIO *b, const char *p, int n)
{
	struct tls *t = BIO_get_data(b);
	ssize_t done;

	BIO_clear_retry_flags(b);
	do
		done = send(t->fd, p, (size_t)n, MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	return done < 0 ? failed(b, t, BIO_FLAGS_WRITE) : (int)done;
}

static int
bio_read(BIO *b, char *p, int n)
{
	struct tls *t = BIO_get_data(b);
	ssize_t got;

	BIO_clear_retry_flags(b);
	do
		got = recv(t->fd, p, (size_t)n, 0);
	while (got < 0 && errno == EINTR);
	if (got == 0)
		t->eof = true;
	return got < 0 ? failed(b, t, BIO_FLAGS_READ) : (int)got;
}

static long
bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	struct tls *t = BIO_get_data(b);

	(void)num;
	(void)ptr;
	switch (cmd) {
	case BIO_CTRL_FLUSH:
		return 1; /* nothing is held back */
	case BIO_CTRL_EOF:
		return t->eof;
	default:
		return 0;
	}
}

static int
bio_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

BIO_METHOD *
tls_bio_method(void)
{
	/* No type number of its own: there are few, and each context would use up one. */
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_NONE | BIO_TYPE_SOURCE_SINK, "socket");

	if (m == NULL || !BIO_meth_set_write(m, bio_write) || !BIO_meth_set_read(m, bio_read) ||
	    !BIO_meth_set_ctrl(m, bio_ctrl) || !BIO_meth_set_create(m, bio_create)) {
		BIO_meth_free(m);
		return NULL;
	}
	return m;
}
