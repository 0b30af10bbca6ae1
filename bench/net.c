/* SPDX-License-Identifier: ISC */
#include "bench/net.h"

#include <sys/epoll.h>
#include <sys/resource.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

uint64_t
net_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int
net_addr_parse(struct net_addr *a, const char *text)
{
	struct addrinfo hints = {
	    .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *res;
	const char *colon = strrchr(text, ':'), *host = text;
	char name[64];
	size_t len;

	if (colon == NULL || colon == text)
		return -1;
	len = (size_t)(colon - text);
	if (text[0] == '[' && len > 2 && text[len - 1] == ']') {
		host++;
		len -= 2;
	}
	if (len >= sizeof(name))
		return -1;
	memcpy(name, host, len);
	name[len] = '\0';
	if (getaddrinfo(name, colon + 1, &hints, &res) != 0)
		return -1;
	memcpy(&a->ss, res->ai_addr, res->ai_addrlen);
	a->len = res->ai_addrlen;
	freeaddrinfo(res);
	return 0;
}

unsigned
net_addr_port(const struct net_addr *a)
{
	if (a->ss.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&a->ss)->sin6_port);
	return ntohs(((const struct sockaddr_in *)&a->ss)->sin_port);
}

int
net_listen(struct net_addr *a)
{
	int on = 1, fd;

	fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a->ss, a->len) == -1 || listen(fd, 4096) == -1 ||
	    getsockname(fd, (struct sockaddr *)&a->ss, &a->len) == -1) {
		close(fd);
		return -1;
	}
	return fd;
}

void
net_raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

static void
tls_modes(SSL_CTX *ctx)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
}

SSL_CTX *
net_tls_client(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL) {
		ERR_print_errors_fp(stderr);
		return NULL;
	}
	tls_modes(ctx);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	return ctx;
}

SSL_CTX *
net_tls_server(const char *cert, const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
		ERR_print_errors_fp(stderr);
		SSL_CTX_free(ctx);
		return NULL;
	}
	tls_modes(ctx);
	return ctx;
}

void
conn_init(struct conn *c, size_t in_cap)
{
	*c = (struct conn){.fd = -1, .in_cap = in_cap};
	c->in = malloc(in_cap);
	if (c->in == NULL)
		abort();
}

void
conn_free(struct conn *c)
{
	conn_close(c);
	free(c->in);
	c->in = NULL;
}

void
conn_open(struct conn *c, int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->fd = fd;
	c->armed = 0;
	c->in_pos = c->in_len = 0;
	c->out_first = c->out_count = 0;
	c->filled = c->handshaking = c->want_write = false;
}

void
conn_close(struct conn *c)
{
	SSL_free(c->ssl);
	c->ssl = NULL;
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	c->armed = 0;
	c->out_first = c->out_count = 0;
}

int
conn_tls_start(struct conn *c, SSL_CTX *ctx, bool server, SSL_SESSION *resume)
{
	c->in_pos = c->in_len = 0;
	c->ssl = SSL_new(ctx);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
		return -1;
	if (resume != NULL)
		SSL_set_session(c->ssl, resume);
	if (server)
		SSL_set_accept_state(c->ssl);
	else
		SSL_set_connect_state(c->ssl);
	c->handshaking = true;
	return 0;
}

/* 0: wait, -1: end of the connection; notes what to wait for. */
static int
tls_result(struct conn *c, int rc)
{
	int e = SSL_get_error(c->ssl, rc);

	c->want_write = e == SSL_ERROR_WANT_WRITE;
	return e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ ? 0 : -1;
}

int
conn_handshake(struct conn *c)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(c->ssl);
	if (rc != 1)
		return tls_result(c, rc);
	c->handshaking = c->want_write = false;
	return 1;
}

static void
in_compact(struct conn *c)
{
	if (c->in_pos == 0)
		return;
	memmove(c->in, c->in + c->in_pos, c->in_len - c->in_pos);
	c->in_len -= c->in_pos;
	c->in_pos = 0;
}

ssize_t
conn_read(struct conn *c)
{
	size_t room;
	ssize_t n;

	in_compact(c);
	room = c->in_cap - c->in_len;
	if (room == 0)
		return -1;
	if (c->ssl != NULL) {
		ERR_clear_error();
		n = SSL_read(c->ssl, c->in + c->in_len, (int)room);
		if (n <= 0)
			n = tls_result(c, (int)n);
	} else {
		n = read(c->fd, c->in + c->in_len, room);
		if (n == 0)
			n = -1;
		else if (n == -1 && (errno == EAGAIN || errno == EINTR))
			n = 0;
	}
	c->filled = n > 0 && (size_t)n == room;
	if (n > 0)
		c->in_len += (size_t)n;
	return n;
}

bool
conn_more(const struct conn *c)
{
	if (c->ssl != NULL)
		return SSL_pending(c->ssl) > 0;
	return c->filled;
}

char *
conn_line(struct conn *c, size_t *len)
{
	char *start = c->in + c->in_pos, *nl;

	nl = memchr(start, '\n', c->in_len - c->in_pos);
	if (nl == NULL)
		return NULL;
	c->in_pos += (size_t)(nl - start) + 1;
	if (nl > start && nl[-1] == '\r')
		nl--;
	*nl = '\0';
	*len = (size_t)(nl - start);
	return start;
}

bool
conn_line_too_long(const struct conn *c)
{
	return c->in_pos == 0 && c->in_len == c->in_cap;
}

void
conn_put(struct conn *c, const void *data, size_t len)
{
	int at = c->out_first + c->out_count;

	if (at >= CONN_PIECES)
		abort(); /* a caller's bug: more pieces than any step queues */
	c->out[at] = (struct iovec){(void *)(uintptr_t)data, len};
	c->out_count++;
}

bool
conn_unsent(const struct conn *c)
{
	return c->out_count > 0;
}

static void
out_advance(struct conn *c, size_t n)
{
	while (c->out_count > 0 && n >= c->out[c->out_first].iov_len) {
		n -= c->out[c->out_first].iov_len;
		c->out_first++;
		c->out_count--;
	}
	if (c->out_count == 0) {
		c->out_first = 0;
		return;
	}
	c->out[c->out_first].iov_base = (char *)c->out[c->out_first].iov_base + n;
	c->out[c->out_first].iov_len -= n;
}

/* One record from as many pieces as fit; a repeated call after a block gathers the same bytes. */
static ssize_t
tls_write(struct conn *c)
{
	char rec[CONN_RECORD];
	size_t len = 0, n;
	int rc, i;

	for (i = c->out_first; i < c->out_first + c->out_count && len < sizeof(rec); i++) {
		n = c->out[i].iov_len;
		if (n > sizeof(rec) - len)
			n = sizeof(rec) - len;
		memcpy(rec + len, c->out[i].iov_base, n);
		len += n;
	}
	ERR_clear_error();
	rc = SSL_write(c->ssl, rec, (int)len);
	if (rc <= 0)
		return tls_result(c, rc);
	c->want_write = false;
	return rc;
}

static ssize_t
plain_write(struct conn *c)
{
	ssize_t n = writev(c->fd, c->out + c->out_first, c->out_count);

	c->want_write = n == -1 && errno == EAGAIN;
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n;
}

int
conn_flush(struct conn *c)
{
	ssize_t n;

	while (c->out_count > 0) {
		n = c->ssl != NULL ? tls_write(c) : plain_write(c);
		if (n <= 0)
			return (int)n;
		out_advance(c, (size_t)n);
	}
	return 1;
}

void
conn_arm(struct conn *c, int ep, void *ptr)
{
	struct epoll_event ev = {.data.ptr = ptr};

	if (c->fd == -1)
		return;
	ev.events = c->want_write ? EPOLLOUT : EPOLLIN;
	if (ev.events == c->armed)
		return;
	epoll_ctl(ep, c->armed == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &ev);
	c->armed = ev.events;
}

void
conn_disarm(struct conn *c, int ep)
{
	if (c->fd != -1 && c->armed != 0)
		epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
	c->armed = 0;
}
