/* SPDX-License-Identifier: ISC */
/*
 * A channel: one end of a socketpair that master made, carrying frames of lib/ipc.h and descriptors.
 *
 * Frames queued in a turn leave in one sendmsg at its end. The first frame each way is hello with the
 * schema digest. A bad frame, an unexpected number, a handler that returns false or a backlog over
 * CHANNEL_BACKLOG_MAX closes this channel (ops->closed), never the process.
 */
#ifndef EKIDEN_CHANNEL_H
#define EKIDEN_CHANNEL_H

#include "lib/err.h"
#include "lib/ipc.h"
#include "lib/loop.h"

enum { CHANNEL_BACKLOG_MAX = 256 << 20, CHANNEL_FDS_MAX = 64 };

struct channel;

struct channel_ops {
	/*
	 * One frame. `fd` points to the descriptor that came with it, or to -1: the handler that keeps
	 * it sets *fd = -1, otherwise it is closed. false closes the channel as broken by the peer.
	 */
	bool (*frame)(struct channel *ch, uint16_t type, struct view body, int *fd);
	/* The peer is gone or was dropped (e tells why; NULL: it closed). The owner calls channel_close(). */
	void (*closed)(struct channel *ch, const struct err *e);
};

struct channel {
	const struct channel_ops *ops;
	struct loop *loop;
	void *ctx;	   /* the owner's */
	enum role role;	   /* of the peer */
	uint32_t instance; /* of the peer */
	struct loop_fd lf;
	struct buf in, out;
	struct loop_task read_task, flush_task;
	int fds_in[CHANNEL_FDS_MAX]; /* received, not yet claimed by a frame */
	size_t fds_in_count;
	struct channel_fd *fds_out;  /* descriptors and the stream offsets of their frames */
	size_t fds_out_count, fds_out_cap;
	uint64_t out_at; /* stream offset of the first byte in out */
	bool hello_seen, blocked, dead;
	bool overrun; /* the peer does not read: closed at the end of the turn */
};

/* Takes over fd (set non-blocking). The hello is queued. */
int channel_open(struct channel *ch, struct loop *l, int fd, const struct channel_ops *ops, void *ctx,
    enum role role, uint32_t instance);
/* Idempotent; drops unsent frames; no callback follows. Free the container through loop_reap(). */
void channel_close(struct channel *ch);
static inline bool
channel_is_open(const struct channel *ch)
{
	return ch->lf.ready != NULL && !ch->dead;
}
/*
 * Queues a message. fd >= 0 is taken over and closed when sent. On a closed channel it does nothing
 * (and closes fd). A message that cannot be encoded is our bug: logged, dropped, -1.
 */
int channel_send(struct channel *ch, const struct ipc_desc *d, const void *m, int fd);
/* Bytes queued and not yet taken by the kernel: what a sender with a choice looks at. */
size_t channel_backlog(const struct channel *ch);

#define IPC_SEND(ch, name, ...)                                                                    \
	channel_send((ch), &ipc_desc_##name, &(struct ipc_##name){ __VA_ARGS__ }, -1)
#define IPC_SEND_FD(ch, fd, name, ...)                                                             \
	channel_send((ch), &ipc_desc_##name, &(struct ipc_##name){ __VA_ARGS__ }, (fd))

/* A connected pair of blocking, close-on-exec stream sockets. 0 or -1 with errno. */
int channel_pair(int fds[2]);
/*
 * Blocking use, before the loop runs or in mtactl: one frame out; one frame in (the body is left in
 * *body, owned by the caller's buf, valid until the next call). 0 or -1.
 */
int channel_sync_send(int sock, const struct ipc_desc *d, const void *m, int fd, struct err *e);
int channel_sync_recv(int sock, struct buf *store, uint16_t *type, struct view *body, int *fd,
    struct err *e);

#endif
