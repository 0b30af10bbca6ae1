/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/log.h"

enum { READ_CHUNK = 65536 };

struct channel_fd {
	uint64_t at; /* stream offset of the first byte of its frame */
	int fd;
};

union fd_space {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
};

static void read_run(struct loop_task *t);
static void flush_run(struct loop_task *t);
static void on_ready(struct loop_fd *lf, unsigned events);

int
channel_open(struct channel *ch, struct loop *l, int fd, const struct channel_ops *ops, void *ctx,
    enum role role, uint32_t instance)
{
	int flags = fcntl(fd, F_GETFL);

	*ch = (struct channel){ .ops = ops, .loop = l, .ctx = ctx, .role = role, .instance = instance };
	ch->lf = (struct loop_fd){ .fd = fd, .ready = on_ready };
	ch->read_task.run = read_run;
	ch->flush_task.run = flush_run;
	buf_init(&ch->in, 2 * IPC_FRAME_MAX + READ_CHUNK);
	buf_init(&ch->out, CHANNEL_BACKLOG_MAX);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    loop_add_level(l, &ch->lf, LOOP_READ) < 0) {
		ch->dead = true;
		return -1;
	}
	IPC_SEND(ch, hello, .digest = ipc_digest());
	return 0;
}

void
channel_close(struct channel *ch)
{
	if (ch->dead || ch->lf.ready == NULL)
		return;
	ch->dead = true;
	int fd = ch->lf.fd;
	loop_unpost(ch->loop, &ch->read_task);
	loop_unpost(ch->loop, &ch->flush_task);
	loop_del(ch->loop, &ch->lf);
	close(fd);
	for (size_t i = 0; i < ch->fds_in_count; i++)
		close(ch->fds_in[i]);
	for (size_t i = 0; i < ch->fds_out_count; i++)
		close(ch->fds_out[i].fd);
	free(ch->fds_out);
	ch->fds_out = NULL;
	ch->fds_in_count = ch->fds_out_count = 0;
	buf_free(&ch->in);
	buf_free(&ch->out);
}

static void
drop(struct channel *ch, const struct err *e)
{
	if (!ch->dead)
		ch->ops->closed(ch, e);
}

/* Appends header and body; the length is known behind the body. */
static int
put_frame(struct buf *b, const struct ipc_desc *d, const void *m, bool has_fd)
{
	size_t at = buf_len(b);

	buf_put_u32(b, 0);
	buf_put_u16(b, d->type);
	buf_put_u16(b, has_fd ? IPC_HAS_FD : 0);
	ipc_put(b, d, m);
	size_t len = buf_len(b) - at - IPC_HEADER;
	if (b->bad || len > IPC_FRAME_MAX) {
		b->bad = false;
		buf_truncate(b, at);
		return -1;
	}
	buf_patch_u32(b, at, (uint32_t)len);
	return 0;
}

int
channel_send(struct channel *ch, const struct ipc_desc *d, const void *m, int fd)
{
	if (!channel_is_open(ch) || ch->overrun) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	uint64_t at = ch->out_at + buf_len(&ch->out);
	if (put_frame(&ch->out, d, m, fd >= 0) < 0) {
		log_error("channel to %s: cannot send %s", role_name(ch->role), d->name);
		if (fd >= 0)
			close(fd);
		/* A missing frame would leave its asker waiting: a full backlog is the end. */
		ch->overrun = buf_len(&ch->out) + IPC_HEADER + IPC_FRAME_MAX > ch->out.max;
		if (ch->overrun)
			loop_post(ch->loop, LOOP_FLUSH, &ch->flush_task);
		return -1;
	}
	if (fd >= 0) {
		if (ch->fds_out_count == ch->fds_out_cap) {
			ch->fds_out_cap = ch->fds_out_cap ? ch->fds_out_cap * 2 : 8;
			ch->fds_out = x_realloc(ch->fds_out, ch->fds_out_cap, sizeof(*ch->fds_out));
		}
		ch->fds_out[ch->fds_out_count++] = (struct channel_fd){ at, fd };
	}
	if (!ch->blocked)
		loop_post(ch->loop, LOOP_FLUSH, &ch->flush_task);
	return 0;
}

size_t
channel_backlog(const struct channel *ch)
{
	return buf_len(&ch->out);
}

/* One sendmsg of v, with fd on its first byte unless negative. */
static ssize_t
send_bytes(int sock, struct view v, int fd, int flags)
{
	struct iovec iov = { (void *)(uintptr_t)v.p, v.n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	union fd_space space;
	ssize_t n;

	if (fd >= 0) {
		memset(&space, 0, sizeof(space));
		m.msg_control = space.bytes;
		m.msg_controllen = CMSG_SPACE(sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do
		n = sendmsg(sock, &m, flags | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Frames carry secrets, and these buffers live as long as the process. */
static void
used_up(struct buf *b, size_t n)
{
	explicit_bzero((void *)(uintptr_t)buf_view(b).p, n);
	buf_consume(b, n);
}

static void
forget_first_fd(struct channel *ch)
{
	close(ch->fds_out[0].fd);
	ch->fds_out_count--;
	memmove(ch->fds_out, ch->fds_out + 1, ch->fds_out_count * sizeof(*ch->fds_out));
}

/*
 * Room is asked about only while the peer's buffer is full: a peer that reads would wake its sender up each
 * time, for nothing.
 */
static void
set_blocked(struct channel *ch, bool blocked)
{
	if (ch->blocked == blocked)
		return;
	ch->blocked = blocked;
	loop_mod_level(ch->loop, &ch->lf, blocked ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void
flush_run(struct loop_task *t)
{
	struct channel *ch = CONTAINER(t, struct channel, flush_task);
	struct err e;

	if (ch->overrun) {
		err_set(&e, ERR_PEER, ESC(4, 3, 0), "the peer does not read");
		drop(ch, &e);
		return;
	}
	while (!ch->dead && buf_len(&ch->out)) {
		/* Stop before the next frame with a descriptor, or start with it. */
		struct view v = buf_view(&ch->out);
		int fd = -1;
		if (ch->fds_out_count && ch->fds_out[0].at == ch->out_at)
			fd = ch->fds_out[0].fd;
		size_t next = fd >= 0 ? 1 : 0;
		if (ch->fds_out_count > next)
			v = view_first(v, ch->fds_out[next].at - ch->out_at);
		ssize_t n = send_bytes(ch->lf.fd, v, fd, 0);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			set_blocked(ch, true);
			return;
		}
		if (n < 0) {
			err_errno(&e, "send");
			drop(ch, errno == EPIPE || errno == ECONNRESET ? NULL : &e);
			return;
		}
		if (fd >= 0)
			forget_first_fd(ch);
		used_up(&ch->out, (size_t)n);
		ch->out_at += (size_t)n;
	}
	set_blocked(ch, false);
	if (ch->out.cap > 4 * IPC_FRAME_MAX)
		buf_free(&ch->out);
}

/* One recvmsg; descriptors are stored into fds. */
static ssize_t
recv_bytes(int sock, void *room, size_t want, int *fds, size_t *count, size_t max)
{
	struct iovec iov = { room, want };
	union fd_space space;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes,
		.msg_controllen = sizeof(space.bytes) };
	ssize_t n;

	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < got; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*count < max)
				fds[(*count)++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static bool
handle_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct ipc_hello h;

	if (ch->hello_seen)
		return ch->ops->frame(ch, type, body, fd);
	ch->hello_seen = true;
	return type == IPC_TYPE_hello && ipc_get(&ipc_desc_hello, body, &h) &&
	    h.digest == ipc_digest();
}

/* Handles one whole frame of the buffer; false when there is none, or the channel ended. */
static bool
next_frame(struct channel *ch)
{
	struct view v = buf_view(&ch->in), h = v;
	struct err e;

	if (v.n < IPC_HEADER)
		return false;
	uint32_t len = view_get_u32(&h);
	uint16_t type = view_get_u16(&h), flags = view_get_u16(&h);
	bool has_fd = flags & IPC_HAS_FD;
	if (len > IPC_FRAME_MAX || flags > IPC_HAS_FD) {
		err_set(&e, ERR_PEER, ESC(4, 3, 0), "bad frame header from %s", role_name(ch->role));
		drop(ch, &e);
		return false;
	}
	if (h.n < len)
		return false;
	int fd = -1;
	if (has_fd && ch->fds_in_count) {
		fd = ch->fds_in[0];
		ch->fds_in_count--;
		memmove(ch->fds_in, ch->fds_in + 1, ch->fds_in_count * sizeof(int));
	}
	bool ok = (!has_fd || fd >= 0) && handle_frame(ch, type, view_first(h, len), &fd);
	if (fd >= 0)
		close(fd);
	if (ch->dead)
		return false;
	if (!ok) {
		const struct ipc_desc *d = ipc_desc_of(type);
		err_set(&e, ERR_PEER, ESC(4, 3, 0), "bad frame %u (%s) from %s", type,
		    d ? d->name : "unknown", role_name(ch->role));
		drop(ch, &e);
		return false;
	}
	used_up(&ch->in, IPC_HEADER + len);
	return true;
}

static void
read_run(struct loop_task *t)
{
	struct channel *ch = CONTAINER(t, struct channel, read_task);
	struct err e;

	if (ch->dead)
		return;
	ssize_t n = recv_bytes(ch->lf.fd, buf_reserve(&ch->in, READ_CHUNK), READ_CHUNK, ch->fds_in,
	    &ch->fds_in_count, CHANNEL_FDS_MAX);
	if (n < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		err_errno(&e, "receive");
		drop(ch, errno == ECONNRESET ? NULL : &e);
		return;
	}
	if (n == 0) {
		drop(ch, NULL);
		return;
	}
	buf_commit(&ch->in, (size_t)n);
	while (next_frame(ch))
		;
	if (ch->dead)
		return;
	/* After a short count ("up to a descriptor", or drained) the next turn tells whether there is more. */
	if (n == READ_CHUNK)
		loop_post(ch->loop, LOOP_WORK, &ch->read_task);
}

static void
on_ready(struct loop_fd *lf, unsigned events)
{
	struct channel *ch = CONTAINER(lf, struct channel, lf);

	if (events & LOOP_READ)
		loop_post(ch->loop, LOOP_WORK, &ch->read_task);
	if (events & LOOP_WRITE && ch->blocked)
		loop_post(ch->loop, LOOP_FLUSH, &ch->flush_task);
}

int
channel_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
}

int
channel_sync_send(int sock, const struct ipc_desc *d, const void *m, int fd, struct err *e)
{
	struct buf b = BUF_INIT(IPC_FRAME_MAX + IPC_HEADER);
	int rc = 0;

	if (put_frame(&b, d, m, fd >= 0) < 0)
		rc = err_set(e, ERR_BUG, ESC(5, 3, 0), "cannot encode %s", d->name);
	while (rc == 0 && buf_len(&b)) {
		ssize_t n = send_bytes(sock, buf_view(&b), fd, 0);
		if (n < 0) {
			rc = err_errno(e, "send %s", d->name);
			break;
		}
		fd = -1;
		buf_consume(&b, (size_t)n);
	}
	buf_free(&b);
	return rc;
}

int
channel_sync_recv(int sock, struct buf *store, uint16_t *type, struct view *body, int *fd,
    struct err *e)
{
	size_t need = IPC_HEADER, count = 0;

	*fd = -1;
	buf_clear(store);
	while (buf_len(store) < need) {
		size_t want = need - buf_len(store);
		char *room = buf_reserve(store, want);
		if (room == NULL)
			return err_set(e, ERR_PEER, ESC(4, 3, 0), "frame too large");
		ssize_t n = recv_bytes(sock, room, want, fd, &count, 1);
		if (n < 0)
			return err_errno(e, "receive");
		if (n == 0)
			return err_set(e, ERR_TEMP, ESC(4, 3, 0), "connection closed");
		buf_commit(store, (size_t)n);
		struct view h = buf_view(store);
		if (h.n == IPC_HEADER) {
			need += view_get_u32(&h);
			if (need > IPC_HEADER + IPC_FRAME_MAX)
				return err_set(e, ERR_PEER, ESC(4, 3, 0), "bad frame");
		}
	}
	struct view v = buf_view(store);
	(void)view_get_u32(&v);
	*type = view_get_u16(&v);
	(void)view_get_u16(&v);
	*body = v;
	return 0;
}
