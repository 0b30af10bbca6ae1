/* SPDX-License-Identifier: ISC */
/*
 * Non-blocking connection, plain or TLS, for the two measuring programs.
 * Stands alone on purpose: nothing of the measured product is linked here.
 *
 * Input is one flat buffer; output is a short list of borrowed pieces, which must stay
 * unchanged until conn_flush() has returned 1.  All functions are for one thread.
 */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <sys/socket.h>
#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

enum {
	CONN_PIECES = 8,
	CONN_RECORD = 16384, /* largest TLS record that is written */
};

struct net_addr {
	struct sockaddr_storage ss;
	socklen_t len;
};

struct conn {
	int fd; /* -1: closed */
	SSL *ssl;
	bool handshaking;
	bool want_write; /* TLS asked for a writable socket */
	bool filled;	 /* the last read took all the room there was */
	uint32_t armed;	 /* events now registered, 0: not registered */
	char *in;
	size_t in_cap, in_pos, in_len;
	struct iovec out[CONN_PIECES];
	int out_first, out_count;
};

/* Header field with the monotonic time of MAIL, twenty digits: the sink reads end-to-end times off
 * it. */
#define NET_SENT_FIELD "X-Bench-Sent: "

/* Monotonic clock in nanoseconds; comparable between processes of one host. */
uint64_t net_now_ns(void);

/* "1.2.3.4:25" or "[::1]:25"; numeric only, so it never waits for DNS.  0/-1. */
int net_addr_parse(struct net_addr *a, const char *text);
/* Listening, non-blocking, SO_REUSEPORT; a port of 0 in *a is replaced by the one bound.  fd/-1. */
int net_listen(struct net_addr *a);
unsigned net_addr_port(const struct net_addr *a);
/* Raises the soft limit of open files to the hard limit. */
void net_raise_nofile(void);

/* Contexts; NULL after an error, which has been printed. */
SSL_CTX *net_tls_client(void);
SSL_CTX *net_tls_server(const char *cert, const char *key);

/* Allocates the input buffer; aborts when memory is out. */
void conn_init(struct conn *c, size_t in_cap);
void conn_free(struct conn *c);
/* Takes over fd; input and output start empty. */
void conn_open(struct conn *c, int fd);
/* Closes at once and forgets what was not written. */
void conn_close(struct conn *c);

/* Starts a handshake; what was read in the clear before is thrown away.  0/-1. */
int conn_tls_start(struct conn *c, SSL_CTX *ctx, bool server, SSL_SESSION *resume);
/* 1: done, 0: wait for the events of conn_arm(), -1: failed. */
int conn_handshake(struct conn *c);

/* Bytes added to the buffer; 0: nothing now; -1: end or error.  Needs room in the buffer. */
ssize_t conn_read(struct conn *c);
/* True when another conn_read() may succeed without waiting for an event. */
bool conn_more(const struct conn *c);
/* Next line without its line end (NUL put in place); NULL: none complete. */
char *conn_line(struct conn *c, size_t *len);
/* The buffer is full and holds no complete line. */
bool conn_line_too_long(const struct conn *c);

void conn_put(struct conn *c, const void *data, size_t len);
/* 1: all written, 0: would block, -1: error. */
int conn_flush(struct conn *c);
bool conn_unsent(const struct conn *c);

/* Registers with epoll fd ep: output while a write is blocked, input otherwise. */
void conn_arm(struct conn *c, int ep, void *ptr);
/* No events until the next conn_arm(). */
void conn_disarm(struct conn *c, int ep);

#endif
