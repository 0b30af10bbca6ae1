/* SPDX-License-Identifier: ISC */
/*
 * A buffered, non-blocking stream socket on the loop, plain or TLS.
 *
 * Input: bytes are appended to io->in and ops->input is called; the owner consumes what it can and
 * leaves the rest. Nothing is read while paused or while `in` is at its limit. At end of stream
 * io->eof is set and input is called once more, then ops->closed(NULL).
 * Output: append to io_out(); everything is written once, in the FLUSH phase of the turn.
 * Buffers take no memory while they are empty.
 *
 * The owner calls io_close() exactly once, from anywhere (also from a callback), and frees the object
 * that contains the io through loop_reap() only.
 */
#ifndef EKIDEN_IO_H
#define EKIDEN_IO_H

#include <sys/socket.h>

#include "lib/err.h"
#include "lib/loop.h"
#include "lib/tls.h"

struct io;

enum { IO_LINGER_MAX = 8 << 20, IO_UNBOUND = -2 };

struct io_ops {
	/* New bytes in io->in, or io->eof became true. */
	void (*input)(struct io *io);
	/* Output that had to wait for the peer is all written. May be NULL. */
	void (*drained)(struct io *io);
	/* connect() is decided; e == NULL: connected. Only after io_connect(). */
	void (*connected)(struct io *io, const struct err *e);
	/* The TLS handshake is decided; e == NULL: secured. Only after io_tls_*(). */
	void (*secured)(struct io *io, const struct err *e);
	/* End of stream (e == NULL), the end after io_finish() (e == NULL), or failure. */
	void (*closed)(struct io *io, const struct err *e);
};

struct io {
	const struct io_ops *ops;
	struct loop *loop;
	struct loop_fd lf;
	struct tls *tls;
	struct buf in, out;
	uint64_t written; /* bytes of output that left `out` */
	struct loop_task read_task, flush_task;
	bool eof;	  /* the peer will send no more */
	bool paused;	  /* see io_pause() */
	bool readable, writable; /* edge-triggered state */
	bool hup;	  /* the peer's end was signalled: read until it is seen */
	bool connecting, handshaking, finishing, dead;
	bool lingering;	  /* all is written; what the peer still sends is thrown away */
	size_t lingered;  /* bytes of that */
	int error;	  /* errno of what failed; 0: nothing, or no system call */
	bool blocked;	  /* output waits for the peer */
	bool want_write;  /* the handshake waits to write */
};

/* Takes over a connected non-blocking fd. Limits are for bytes held in memory. */
int io_open(struct io *io, struct loop *l, int fd, const struct io_ops *ops, size_t in_max,
    size_t out_max);
/*
 * Starts a connect from `local` (NULL: any); takes over nothing, makes its own socket. 0; -1; IO_UNBOUND: `local`
 * cannot be used on this host. A failure leaves io->error.
 */
int io_connect(struct io *io, struct loop *l, const struct io_ops *ops, const struct sockaddr *to,
    socklen_t to_len, const struct sockaddr *local, socklen_t local_len, size_t in_max,
    size_t out_max, struct err *e);
/* The buffer to append output to; what is in it is written at the end of the turn. */
struct buf *io_out(struct io *io);
/* How much output there has been, written or not: what is in `out` now is written when io->written is this. */
static inline uint64_t
io_queued(const struct io *io)
{
	return io->written + buf_len(&io->out);
}
/* Stops (starts) reading and input calls: the owner waits for an answer from elsewhere. */
void io_pause(struct io *io);
/* After this, input is called again in this turn if bytes wait in `in` or can be read. */
void io_resume(struct io *io);
/*
 * Starts TLS now; t becomes owned. Plain bytes that are already in `in` are the caller's to judge
 * before the call (ATTACKS B1: they end the session). Output already queued is flushed in plain first.
 */
void io_tls(struct io *io, struct tls *t);
/* For the `wake` of tls_server(): arg is the io. */
void io_tls_wake(void *arg);
/*
 * Closes when the output is written: ops->closed(NULL) follows. Input is no longer delivered; a peer
 * that has sent more is read until its end or IO_LINGER_MAX bytes, or the reset that unread bytes
 * cause would destroy our last words. The owner sets a deadline.
 */
void io_finish(struct io *io);
/* Closes at once; no callback follows. Idempotent. */
void io_close(struct io *io);
static inline int
io_fd(const struct io *io)
{
	return io->lf.fd;
}

#endif
