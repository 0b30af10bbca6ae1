/* SPDX-License-Identifier: ISC */
/*
 * Frames of hostile peers against a daemon's real handlers (ATTACKS I12). A target includes the daemon's main
 * file, so that its tables and handlers are these very ones, and calls frames_one().
 *
 * The daemon lives as long as the fuzzer. Each input opens fresh channels of all its peers and sends them
 * frames made from the input by the schema's field lists, a few of them raw. Whatever comes, the daemon goes
 * on: its loop must not stop, and it must not exit.
 */
#ifndef EKIDEN_FUZZ_FRAMES_H
#define EKIDEN_FUZZ_FRAMES_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/daemon.h"
#include "t/fuzz/folder.h"

/* What main() is renamed to. */
int daemon_main(int argc, char **argv);

enum { FRAMES_PEERS = 4, FRAMES_SEEN = 32, FRAMES_MAX = 40, FRAMES_TURNS = 3, FRAMES_TEXT = 400 };

/* Numbers that the daemon told us: connections, jobs, segments, requests. */
struct frames {
	struct daemon d;
	enum role roles[FRAMES_PEERS];
	size_t count;
	const uint16_t *types; /* the high byte of what its peers send; 0 ends */
	int sock[FRAMES_PEERS];
	struct buf in[FRAMES_PEERS];
	uint64_t seen[FRAMES_SEEN];
	size_t seen_at;
	struct loop_task stop;
	bool stopped;
	/* A target's own kind of frame; may be NULL. */
	void (*special)(struct frames *f, struct view *in);
	/* A frame came from the daemon; may be NULL. */
	void (*told)(struct frames *f, const struct ipc_desc *d, const void *m);
};

union frames_any {
#define FRAMES_ANY(num, name) struct ipc_##name name;
	IPC_MESSAGES(FRAMES_ANY) IPC_RECORDS(FRAMES_ANY)
};

static const struct {
	const struct ipc_desc *message;
	const char *field;
	const struct ipc_desc *record;
} frames_lists[] = {
	{ &ipc_desc_deliver, "rcpts", &ipc_desc_job_rcpt },
	{ &ipc_desc_job_done, "results", &ipc_desc_job_result },
	{ &ipc_desc_mx_answer, "hosts", &ipc_desc_mx_host },
	{ &ipc_desc_txt_answer, "strings", &ipc_desc_txt_string },
	{ &ipc_desc_report, "rcpts", &ipc_desc_report_rcpt },
	{ &ipc_desc_ctl_call, "args", &ipc_desc_ctl_arg },
	{ &ipc_desc_ctl_args, "args", &ipc_desc_ctl_arg },
};

static void frames_fill(struct frames *f, const struct ipc_desc *d, void *m, struct view *in, struct arena *a);

static uint64_t
frames_number(struct frames *f, struct view *in)
{
	uint8_t how = view_get_u8(in);

	if (how < 96)
		return f->seen[how % FRAMES_SEEN];
	if (how < 224)
		return how - 96u;
	return how < 240 ? view_get_u64(in) : UINT64_MAX - (how - 240u);
}

static struct view
frames_text(const struct ipc_field *fd, struct view *in, struct arena *a)
{
	static const char *const addrs[] = { "", "a@b.test", "\"x y\"@d.test", "postmaster", "a@[127.0.0.1]" };
	static const char *const names[] = { "", "b.test", "mx.b.test", "127.0.0.1", "[IPv6:::1]", "bad..name" };
	uint8_t how = view_get_u8(in);

	if (fd->kind == IPC_addr && how < 200)
		return view_str(addrs[how % 5]);
	if (how < 100)
		return view_str(names[how % 6]);
	struct view v = fuzz_take(in, how == 255 ? FRAMES_TEXT : how - 100u);
	char *copy = arena_alloc(a, v.n + 1);
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		copy[i] = fd->kind != IPC_blob && (c < 0x20 || c == 0x7f) ? 'x' : (char)c;
	}
	return view_of(copy, v.n);
}

static struct view
frames_records(struct frames *f, const struct ipc_desc *record, struct view *in, struct arena *a)
{
	struct buf b = BUF_INIT(IPC_BULK_MAX);

	for (unsigned n = view_get_u8(in) % 4u; n--;) {
		union frames_any any;
		memset(&any, 0, sizeof(any));
		frames_fill(f, record, &any, in, a);
		ipc_put(&b, record, &any);
		b.bad = false;
	}
	struct view v = arena_view(a, buf_view(&b));
	buf_free(&b);
	return v;
}

static const struct ipc_desc *
frames_list_of(const struct ipc_desc *d, const char *field)
{
	for (size_t i = 0; i < sizeof(frames_lists) / sizeof(frames_lists[0]); i++)
		if (frames_lists[i].message == d && !strcmp(frames_lists[i].field, field))
			return frames_lists[i].record;
	return NULL;
}

static void
frames_fill(struct frames *f, const struct ipc_desc *d, void *m, struct view *in, struct arena *a)
{
	size_t count;
	const struct ipc_field *fd = d->fields(&count);

	for (; count--; fd++) {
		void *at = (char *)m + fd->offset;
		const struct ipc_desc *record = frames_list_of(d, fd->name);
		if (fd->kind == IPC_u8)
			*(uint8_t *)at = view_get_u8(in) % 9u;
		else if (fd->kind == IPC_u16)
			*(uint16_t *)at = view_get_u16(in);
		else if (fd->kind == IPC_u32)
			*(uint32_t *)at = (uint32_t)frames_number(f, in);
		else if (fd->kind == IPC_u64)
			*(uint64_t *)at = frames_number(f, in);
		else if (fd->kind == IPC_flag)
			*(bool *)at = view_get_u8(in) & 1;
		else if (record)
			*(struct view *)at = frames_records(f, record, in, a);
		else
			*(struct view *)at = frames_text(fd, in, a);
	}
}

/* Writes a frame, with a file if `fd` says so; the channel may be closed already. */
static void
frames_send(struct frames *f, size_t peer, uint16_t type, unsigned flags, struct view body, uint32_t lie)
{
	struct buf b = BUF_INIT(2 * IPC_FRAME_MAX);
	char space[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	int fd = -1;

	buf_put_u32(&b, (uint32_t)body.n + lie);
	buf_put_u16(&b, type);
	buf_put_u16(&b, (uint16_t)flags);
	buf_putv(&b, body);
	struct iovec iov = { (void *)(uintptr_t)buf_view(&b).p, buf_len(&b) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (flags & IPC_HAS_FD && (fd = memfd_create("fuzz", MFD_CLOEXEC)) >= 0) {
		h.msg_control = space;
		h.msg_controllen = sizeof(space);
		struct cmsghdr *c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		(void)!ftruncate(fd, 3000);
	}
	(void)!sendmsg(f->sock[peer], &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (fd >= 0)
		close(fd);
	buf_free(&b);
}

static void
frames_put(struct frames *f, size_t peer, const struct ipc_desc *d, const void *m, unsigned flags)
{
	struct buf b = BUF_INIT(IPC_FRAME_MAX);

	ipc_put(&b, d, m);
	if (!b.bad)
		frames_send(f, peer, d->type, flags, buf_view(&b), 0);
	buf_free(&b);
}

static const struct ipc_desc *
frames_pick(const struct frames *f, uint8_t n)
{
	size_t count, fit = 0;
	const struct ipc_desc *const *all = ipc_all(&count);

	/* Mostly what its peers may send; now and then anything. */
	if (n >= 240)
		return all[n % count]->type ? all[n % count] : all[0];
	for (int pass = 0; pass < 2; pass++) {
		size_t at = fit ? n % fit : 0;
		for (size_t i = 0; i < count; i++)
			for (const uint16_t *t = f->types; *t; t++)
				if (all[i]->type >> 8 == *t) {
					if (pass == 0)
						fit++;
					else if (at-- == 0)
						return all[i];
				}
	}
	return all[0];
}

static void
frames_learn(struct frames *f, size_t peer)
{
	struct view v = buf_view(&f->in[peer]);

	while (v.n >= IPC_HEADER) {
		struct view h = v;
		uint32_t len = view_get_u32(&h);
		uint16_t type = view_get_u16(&h);
		(void)view_get_u16(&h);
		union frames_any any;
		if (h.n < len)
			break;
		const struct ipc_desc *d = ipc_desc_of(type);
		REQUIRE(d && ipc_get(d, view_first(h, len), &any)); /* what it sends is valid */
		size_t count;
		const struct ipc_field *fd = d->fields(&count);
		for (; count--; fd++)
			if (fd->kind == IPC_u64 && d->type != IPC_TYPE_hello)
				f->seen[f->seen_at++ % FRAMES_SEEN] =
				    *(uint64_t *)(void *)((char *)&any + fd->offset);
		if (f->told)
			f->told(f, d, &any);
		v = view_skip(v, IPC_HEADER + len);
	}
	buf_consume(&f->in[peer], buf_len(&f->in[peer]) - v.n);
}

/* Descriptors that come along are not taken, so the kernel closes them. */
static void
frames_read(struct frames *f)
{
	for (size_t i = 0; i < f->count; i++) {
		ssize_t n;
		while ((n = recv(f->sock[i], buf_reserve(&f->in[i], 65536), 65536, MSG_DONTWAIT)) > 0)
			buf_commit(&f->in[i], (size_t)n);
		frames_learn(f, i);
	}
}

static void
frames_stopped(struct loop_task *t)
{
	struct frames *f = CONTAINER(t, struct frames, stop);

	f->stopped = true;
	loop_stop(f->d.loop);
}

static void
frames_turns(struct frames *f, int turns)
{
	while (turns--) {
		f->stopped = false;
		loop_post(f->d.loop, LOOP_AFTER, &f->stop);
		loop_run(f->d.loop);
		REQUIRE(f->stopped); /* no peer makes a daemon leave */
		frames_read(f);
	}
}

static void
frames_connect(struct frames *f)
{
	for (size_t i = 0; i < f->count; i++) {
		int fds[2];
		REQUIRE(channel_pair(fds) == 0);
		f->sock[i] = fds[0];
		buf_clear(&f->in[i]);
		f->d.spec->peer(&f->d, f->roles[i], 0, fds[1]);
		frames_put(f, i, &ipc_desc_hello, &(struct ipc_hello){ .digest = ipc_digest() }, 0);
	}
}

static void
frames_step(struct frames *f, struct view *in)
{
	struct arena a = { 0 };
	size_t peer = view_get_u8(in) % f->count;
	uint8_t how = view_get_u8(in);
	const struct ipc_desc *d = frames_pick(f, view_get_u8(in));
	union frames_any any;

	memset(&any, 0, sizeof(any));
	if (how < 48 && f->special) {
		f->special(f, in);
	} else if (how < 240) {
		frames_fill(f, d, &any, in, &a);
		frames_put(f, peer, d, &any, how & 1);
	} else { /* raw bytes, perhaps with a length that is not theirs */
		uint8_t n = view_get_u8(in);
		struct view body = fuzz_take(in, n);
		frames_send(f, peer, d->type, how & 3, body, how & 4 ? how : 0);
	}
	if (how & 8)
		frames_turns(f, 1);
	arena_free(&a);
}

static void
frames_one(struct frames *f, struct view in)
{
	frames_connect(f);
	frames_turns(f, 1);
	for (int n = 0; in.n && n < FRAMES_MAX; n++)
		frames_step(f, &in);
	frames_turns(f, FRAMES_TURNS);
	for (size_t i = 0; i < f->count; i++)
		close(f->sock[i]);
	/* What the daemon had for them is undone. */
	for (size_t i = 0; i < f->count; i++)
		f->sock[i] = -1;
	frames_turns(f, FRAMES_TURNS);
}

/* The daemon's root. */
static void
frames_folder(const char *const *folders)
{
	fuzz_folder();
	for (; *folders; folders++)
		REQUIRE(mkdir(*folders, 0700) == 0);
}

/* The daemon as it is behind its start; spec->init has run. */
static void
frames_start(struct frames *f, const struct daemon_spec *spec, const char *conf)
{
	struct buf errors = BUF_INIT(65536);
	struct err e;

	log_init("fuzz", "localhost", LOG_LEVEL_ERROR);
	log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), false);
	f->d.spec = spec;
	f->d.instances = 1;
	f->d.loop = loop_new();
	f->d.state = x_calloc(1, spec->state_size);
	f->d.conf = conf_read_text(view_str(conf), "fuzz", &errors);
	REQUIRE(f->d.conf);
	f->stop.run = frames_stopped;
	for (size_t i = 0; i < f->count; i++) {
		f->sock[i] = -1;
		buf_init(&f->in[i], 1ul << 30);
	}
	REQUIRE(spec->init == NULL || spec->init(&f->d, &e) == 0);
}

#endif
