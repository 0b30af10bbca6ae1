/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "lib/io.h"

enum { READ_CHUNK = 16384 };

static void on_ready(struct loop_fd *lf, unsigned events);
static void read_run(struct loop_task *t);
static void flush_run(struct loop_task *t);

static void
io_setup(struct io *io, struct loop *l, int fd, const struct io_ops *ops, size_t in_max,
    size_t out_max)
{
	*io = (struct io){ .ops = ops, .loop = l, .lf = { .fd = fd, .ready = on_ready } };
	buf_init(&io->in, in_max);
	buf_init(&io->out, out_max);
	io->read_task.run = read_run;
	io->flush_task.run = flush_run;
	io->writable = true;
}

int
io_open(struct io *io, struct loop *l, int fd, const struct io_ops *ops, size_t in_max,
    size_t out_max)
{
	io_setup(io, l, fd, ops, in_max, out_max);
	return loop_add(l, &io->lf);
}

/* A socket from `local`. Which port it takes is left to connect(), so that each peer has all of them. */
static int
bind_to(int fd, const struct sockaddr *local, socklen_t len)
{
	int on = 1;

	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, local, len);
}

/* What errno says goes to *e and to the io, which was not set up. */
static int
no_connect(struct io *io, int fd, int result, const char *what, struct err *e)
{
	*io = (struct io){ .error = errno, .dead = true };
	err_errno(e, "%s", what);
	if (fd >= 0)
		close(fd);
	return result;
}

int
io_connect(struct io *io, struct loop *l, const struct io_ops *ops, const struct sockaddr *to,
    socklen_t to_len, const struct sockaddr *local, socklen_t local_len, size_t in_max,
    size_t out_max, struct err *e)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return no_connect(io, fd, -1, "socket", e);
	if (local && bind_to(fd, local, local_len) < 0)
		return no_connect(io, fd, IO_UNBOUND, "bind", e);
	if (connect(fd, to, to_len) < 0 && errno != EINPROGRESS)
		return no_connect(io, fd, -1, "connect", e);
	io_setup(io, l, fd, ops, in_max, out_max);
	io->connecting = true;
	io->writable = false;
	if (loop_add(l, &io->lf) < 0)
		return no_connect(io, fd, -1, "epoll", e);
	return 0;
}

static void
fail(struct io *io, const struct err *e)
{
	io->ops->closed(io, e);
}

static void
connect_ready(struct io *io)
{
	int soerr = 0;
	socklen_t len = sizeof(soerr);
	struct err e;

	if (getsockopt(io->lf.fd, SOL_SOCKET, SO_ERROR, &soerr, &len) < 0)
		soerr = errno;
	io->connecting = false;
	io->writable = true;
	io->error = soerr;
	if (soerr) {
		err_set(&e, ERR_TEMP, ESC(4, 4, 1), "%s", strerror(soerr));
	}
	io->ops->connected(io, soerr ? &e : NULL);
}

static void
handshake(struct io *io)
{
	struct err e;

	io->want_write = false;
	switch (tls_handshake(io->tls, &e)) {
	case TLS_DONE:
		io->handshaking = false;
		io->ops->secured(io, NULL);
		if (!io->dead)
			io_resume(io);
		break;
	case TLS_WANT_WRITE:
		io->want_write = true;
		break;
	case TLS_WANT_READ:
	case TLS_WANT_ASYNC:
		break;
	case TLS_CLOSED:
		err_set(&e, ERR_TEMP, ESC(4, 7, 5), "connection closed during the TLS handshake");
		/* fall through */
	default:
		io->handshaking = false;
		io->error = tls_errno(io->tls);
		io->ops->secured(io, &e);
		break;
	}
}

/* One read into `in`: bytes, 0 at end of stream, -1 nothing now, -2 failed. */
static int
read_some(struct io *io, char *room, size_t want, struct err *e)
{
	if (io->tls) {
		ptrdiff_t n = tls_read(io->tls, room, want, e);
		if (n > 0) {
			/* A record may leave more inside the TLS layer: the edge stays set. */
			return (int)n;
		}
		io->readable = false;
		if (n == TLS_WANT_READ || n == TLS_WANT_WRITE || n == TLS_WANT_ASYNC)
			return -1;
		io->error = tls_errno(io->tls);
		return n == TLS_CLOSED ? 0 : -2;
	}
	ssize_t n;
	do
		n = recv(io->lf.fd, room, want, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		io->readable = false;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return -1;
		io->error = errno;
		err_set(e, ERR_TEMP, ESC(4, 4, 2), "%s", strerror(errno));
		return -2;
	}
	return (int)n;
}

/* The peer's bytes behind the end, so that it can see why; then the end. */
static void
linger(struct io *io)
{
	char waste[READ_CHUNK];
	ssize_t n = recv(io->lf.fd, waste, sizeof(waste), 0);

	if (n < 0 && errno == EINTR)
		n = 1;
	if (n > 0 && (io->lingered += (size_t)n) < IO_LINGER_MAX)
		loop_post(io->loop, LOOP_WORK, &io->read_task);
	else if (n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		fail(io, NULL);
	else if (io->lingered == 0)
		fail(io, NULL); /* it waits for us */
}

/*
 * Most reads are used up at once, and an idle connection keeps no buffer: the one that was let go last waits
 * here for the next read, whoever's that is.
 */
static char *spare; /* READ_CHUNK bytes, or NULL */

static char *
read_room(struct io *io, size_t want)
{
	if (io->in.cap == 0 && spare && io->in.max >= READ_CHUNK) {
		io->in.p = spare;
		io->in.cap = READ_CHUNK;
		spare = NULL;
	}
	return buf_reserve(&io->in, want);
}

static void
let_go(struct io *io)
{
	if (spare == NULL && io->in.cap == READ_CHUNK) {
		spare = io->in.p;
		io->in.p = NULL;
	}
	buf_free(&io->in);
}

static void
deliver(struct io *io)
{
	io->ops->input(io);
	if (!io->dead && buf_len(&io->in) == 0 && io->in.cap)
		let_go(io);
}

static void
read_run(struct loop_task *t)
{
	struct io *io = CONTAINER(t, struct io, read_task);
	struct err e = { 0 };

	if (io->lingering && !io->dead) {
		linger(io);
		return;
	}
	if (io->dead || io->paused || io->finishing || io->handshaking || io->connecting)
		return;
	if (!io->readable || io->eof) {
		if (buf_len(&io->in) || io->eof)
			deliver(io);
		if (!io->dead && !io->paused && io->eof)
			fail(io, NULL);
		return;
	}
	size_t space = io->in.max - buf_len(&io->in);
	if (space == 0) {
		/* Full: the owner consumes, or decides that this is an error. */
		deliver(io);
		if (!io->dead && buf_len(&io->in) < io->in.max)
			loop_post(io->loop, LOOP_WORK, &io->read_task);
		return;
	}
	size_t want = space < READ_CHUNK ? space : READ_CHUNK;
	int n = read_some(io, read_room(io, want), want, &e);
	if (n > 0) {
		buf_commit(&io->in, (size_t)n);
		if (!io->tls && (size_t)n < want && !io->hup)
			io->readable = false; /* drained: the next edge tells of more */
	} else if (n == 0) {
		io->eof = true;
	} else if (n == -2) {
		fail(io, &e);
		return;
	}
	if (n >= 0 || buf_len(&io->in))
		deliver(io);
	else if (io->in.cap)
		let_go(io);
	if (io->dead || io->paused)
		return;
	if (io->eof)
		fail(io, NULL);
	else if (io->readable)
		loop_post(io->loop, LOOP_WORK, &io->read_task);
}

static void
on_ready(struct loop_fd *lf, unsigned events)
{
	struct io *io = CONTAINER(lf, struct io, lf);

	if (io->connecting) {
		if (events & (LOOP_WRITE | LOOP_HUP))
			connect_ready(io);
		if (io->dead)
			return;
	}
	if (events & LOOP_WRITE)
		io->writable = true;
	if (events & (LOOP_READ | LOOP_HUP))
		io->readable = true;
	if (events & LOOP_HUP)
		io->hup = true; /* no further edge comes for an end that is there already */
	if (io->handshaking) {
		handshake(io);
		return;
	}
	if (io->blocked && io->writable)
		loop_post(io->loop, LOOP_FLUSH, &io->flush_task);
	if (io->lingering || (io->readable && !io->paused && !io->finishing))
		loop_post(io->loop, LOOP_WORK, &io->read_task);
}

struct buf *
io_out(struct io *io)
{
	if (!io->dead)
		loop_post(io->loop, LOOP_FLUSH, &io->flush_task);
	return &io->out;
}

/* Bytes written, 0 when the peer takes no more now, -1 failed. */
static ptrdiff_t
write_some(struct io *io, struct view v, struct err *e)
{
	if (io->tls) {
		ptrdiff_t n = tls_write(io->tls, v.p, v.n, e);
		if (n == TLS_WANT_READ || n == TLS_WANT_WRITE || n == TLS_WANT_ASYNC)
			return 0;
		if (n <= 0)
			io->error = tls_errno(io->tls);
		return n > 0 ? n : -1;
	}
	ssize_t n;
	do
		n = send(io->lf.fd, v.p, v.n, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n < 0) {
		io->error = errno;
		err_set(e, ERR_TEMP, ESC(4, 4, 2), "%s", strerror(errno));
	}
	return n;
}

/* All output of a finished io is written. */
static void
say_bye(struct io *io)
{
	if (io->tls)
		tls_bye(io->tls);
	shutdown(io->lf.fd, SHUT_WR);
	io->lingering = true;
	io->lingered = buf_len(&io->in);
	if (io->eof)
		fail(io, NULL);
	else
		linger(io);
}

static void
flush_run(struct loop_task *t)
{
	struct io *io = CONTAINER(t, struct io, flush_task);
	struct err e = { .class = ERR_TEMP, .esc = ESC(4, 4, 2), .text = "write failed" };

	if (io->dead || io->connecting || io->lingering)
		return;
	if (io->out.bad) {
		err_set(&e, ERR_PEER, ESC(4, 4, 2), "the peer does not read our output");
		fail(io, &e);
		return;
	}
	while (buf_len(&io->out) && !io->handshaking) {
		ptrdiff_t n = write_some(io, buf_view(&io->out), &e);
		if (n < 0) {
			fail(io, &e);
			return;
		}
		if (n == 0) {
			io->writable = false;
			io->blocked = true;
			return;
		}
		buf_consume(&io->out, (size_t)n);
		io->written += (size_t)n;
	}
	if (buf_len(&io->out))
		return;
	buf_free(&io->out);
	if (io->finishing) {
		say_bye(io);
	} else if (io->blocked) {
		io->blocked = false;
		if (io->ops->drained)
			io->ops->drained(io);
	}
}

void
io_pause(struct io *io)
{
	io->paused = true;
}

void
io_resume(struct io *io)
{
	io->paused = false;
	if (!io->dead)
		loop_post(io->loop, LOOP_WORK, &io->read_task);
}

void
io_tls(struct io *io, struct tls *t)
{
	if (buf_len(&io->out))
		flush_run(&io->flush_task);
	if (io->dead) {
		tls_free(&t);
		return;
	}
	io->tls = t;
	io->handshaking = true;
	io->readable = true;
	handshake(io);
}

void
io_tls_wake(void *arg)
{
	struct io *io = arg;

	if (!io->dead && io->handshaking)
		handshake(io);
}

void
io_finish(struct io *io)
{
	if (io->dead)
		return;
	io->finishing = true;
	loop_post(io->loop, LOOP_FLUSH, &io->flush_task);
}

void
io_close(struct io *io)
{
	if (io->dead)
		return;
	io->dead = true;
	int fd = io->lf.fd;
	loop_unpost(io->loop, &io->read_task);
	loop_unpost(io->loop, &io->flush_task);
	loop_del(io->loop, &io->lf);
	tls_free(&io->tls);
	if (fd >= 0)
		close(fd);
	buf_free(&io->in);
	buf_free(&io->out);
}
