/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/log.h"
#include "t/tap.h"

struct end {
	struct channel ch;
	unsigned frames, fds, wrong;
	uint64_t next;
	bool closed, stop_on_close;
	char why[ERR_TEXT_MAX];
	unsigned expect;
};

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct end *e = ch->ctx;
	struct ipc_segment m;

	if (type != IPC_TYPE_segment || !ipc_get(&ipc_desc_segment, body, &m))
		return false;
	if (m.gen != e->next++)
		e->wrong++;
	e->frames++;
	if (*fd >= 0) {
		char c[8] = { 0 };
		e->fds++;
		if (pread(*fd, c, sizeof(c), 0) != 8 || strtoull(c, NULL, 10) != m.gen % 10000000)
			e->wrong++;
	}
	if (e->frames == e->expect)
		loop_stop(ch->loop);
	return true;
}

static void
on_closed(struct channel *ch, const struct err *err)
{
	struct end *e = ch->ctx;
	e->closed = true;
	snprintf(e->why, sizeof(e->why), "%s", err ? err->text : "");
	channel_close(ch);
	if (e->stop_on_close)
		loop_stop(ch->loop);
}

static const struct channel_ops ops = { on_frame, on_closed };

static void
on_late(struct loop_timer *t)
{
	(void)t;
	printf("Bail out! timeout\n");
	exit(1);
}

static int
numbered_file(uint64_t n)
{
	char name[] = "/tmp/channel_t.XXXXXX", text[16];
	int fd = mkstemp(name);
	unlink(name);
	snprintf(text, sizeof(text), "%08llu", (unsigned long long)(n % 10000000));
	if (pwrite(fd, text, 8, 0) != 8)
		abort();
	return fd;
}

static void
frames_and_fds(void)
{
	struct loop *l = loop_new();
	struct loop_timer late = { .fire = on_late };
	struct end a = { 0 }, b = { .expect = 5000 };
	int pair[2];

	loop_timer_set(l, &late, 20000);
	ok(channel_pair(pair) == 0, "a pair");
	channel_open(&a.ch, l, pair[0], &ops, &a, ROLE_QMGR, 0);
	channel_open(&b.ch, l, pair[1], &ops, &b, ROLE_SMTPD, 0);
	for (uint64_t i = 0; i < 5000; i++)
		IPC_SEND_FD(&a.ch, i % 7 == 3 ? numbered_file(i) : -1, segment, .gen = i, .size = 1);
	loop_run(l);
	is_int(b.frames, 5000, "all frames arrive");
	is_int(b.fds, 714, "with their descriptors");
	is_int(b.wrong, 0, "in order, each descriptor with its own frame");
	channel_close(&a.ch);
	b.stop_on_close = true;
	loop_run(l);
	ok(b.closed && !*b.why, "the end of one side is told to the other");
	is_int(IPC_SEND(&b.ch, segment, .gen = 1), -1, "a closed channel takes nothing");
	loop_free(l);
}

/* Raw bytes to a channel: what it makes of them. */
static struct end
raw(const void *bytes, size_t n, bool hello)
{
	struct loop *l = loop_new();
	struct loop_timer late = { .fire = on_late };
	struct end e = { .stop_on_close = true };
	struct buf b = BUF_INIT(1 << 20);
	int pair[2];

	loop_timer_set(l, &late, 20000);
	channel_pair(pair);
	if (hello) {
		buf_put_u32(&b, 8);
		buf_put_u16(&b, IPC_TYPE_hello);
		buf_put_u16(&b, 0);
		buf_put_u64(&b, ipc_digest());
	}
	buf_put(&b, bytes, n);
	if (write(pair[0], b.p + b.off, buf_len(&b)) != (ssize_t)buf_len(&b))
		abort();
	shutdown(pair[0], SHUT_WR);
	channel_open(&e.ch, l, pair[1], &ops, &e, ROLE_SMTP, 0);
	loop_run(l);
	close(pair[0]);
	buf_free(&b);
	loop_free(l);
	return e;
}

static void
hostile(void)
{
	static const char long_frame[] = "\xff\xff\xff\xff\x06\x01\0\0", unknown[] = "\0\0\0\0\x7f\x7f\0\0",
	    short_body[] = "\0\0\0\1\x06\x01\0\0x", no_fd[] = "\0\0\0\0\x06\x01\0\1",
	    bad_flags[] = "\0\0\0\0\x06\x01\0\x80";
	struct end e;

	e = raw(long_frame, 8, true);
	ok(e.closed && strstr(e.why, "bad frame header"), "atk-I12 an over-long frame drops the peer");
	e = raw(unknown, 8, true);
	ok(e.closed && strstr(e.why, "bad frame"), "an unknown number drops the peer");
	e = raw(short_body, 9, true);
	ok(e.closed && strstr(e.why, "bad frame"), "a short body drops the peer");
	e = raw(no_fd, 8, true);
	ok(e.closed && strstr(e.why, "bad frame"), "a promised descriptor that is missing drops the peer");
	e = raw(bad_flags, 8, true);
	ok(e.closed && strstr(e.why, "bad frame header"), "unknown flags drop the peer");
	e = raw(unknown, 8, false);
	ok(e.closed && strstr(e.why, "bad frame"), "a first frame that is not hello drops the peer");
	e = raw("\0\0\0\x08\0\1\0\0AAAAAAAA", 16, false);
	ok(e.closed && strstr(e.why, "bad frame"), "another schema's hello drops the peer");
	e = raw("\0\0", 2, true);
	ok(e.closed && !*e.why, "half a header, then the end: closed");
}

static void
unread(void)
{
	struct loop *l = loop_new();
	struct loop_timer late = { .fire = on_late };
	struct end e = { .stop_on_close = true };
	unsigned sent = 0;
	int pair[2];

	loop_timer_set(l, &late, 20000);
	channel_pair(pair);
	channel_open(&e.ch, l, pair[0], &ops, &e, ROLE_SMTP, 0);
	e.ch.out.max = 2 * IPC_FRAME_MAX;
	while (sent < 100000 && IPC_SEND(&e.ch, segment, .gen = sent) == 0)
		sent++;
	ok(sent > 1000 && sent < 100000, "what a peer does not read has a limit");
	is_int(IPC_SEND(&e.ch, segment, .gen = 1), -1, "nothing more is taken");
	ok(!e.closed, "no callback from within a send");
	loop_run(l);
	ok(e.closed && strstr(e.why, "does not read"), "atk-I12 then the channel is closed");
	close(pair[1]);
	loop_free(l);
}

static void
sync_use(void)
{
	struct buf store = BUF_INIT(IPC_FRAME_MAX + IPC_HEADER);
	struct ipc_ctl_end m;
	struct view body;
	struct err e;
	uint16_t type;
	int pair[2], fd;

	channel_pair(pair);
	ok(channel_sync_send(pair[0], &ipc_desc_ctl_end,
	       &(struct ipc_ctl_end){ .status = 2, .text = VIEW("no") }, -1, &e) == 0,
	    "blocking send");
	ok(channel_sync_recv(pair[1], &store, &type, &body, &fd, &e) == 0 && type == IPC_TYPE_ctl_end &&
	       ipc_get(&ipc_desc_ctl_end, body, &m) && m.status == 2 && view_is(m.text, "no"),
	    "blocking receive");
	close(pair[0]);
	ok(channel_sync_recv(pair[1], &store, &type, &body, &fd, &e) < 0, "end of stream is an error");
	close(pair[1]);
	buf_free(&store);
}

int
main(void)
{
	frames_and_fds();
	hostile();
	unread();
	sync_use();
	return done_testing();
}
