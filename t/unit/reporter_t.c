/* SPDX-License-Identifier: ISC */
/*
 * Reports from request to stored record: bounce's code and the spool writer on one side of a
 * channel, a qmgr on the other that gives segments and reads back what was written into them.
 */
#include <fcntl.h>
#include <unistd.h>

#include "bounce/dsn.h"
#include "bounce/reporter.h"
#include "lib/log.h"
#include "t/tap.h"

enum { SEGMENT_BYTES = 8 << 20, GEN = 0x123456789 };

#define ORIGINAL "From: a@example.jp\r\nSubject: original\r\n\r\nbody\r\n"

struct world {
	struct loop *loop;
	struct channel bounce, qmgr; /* the end of bounce, the end of qmgr */
	struct spool *spool;
	struct reporter reporter;
	bool no_segments, no_space;
	uint64_t gen;
	int segment; /* our copy of the descriptor */
	/* what came back */
	size_t stored, done, done_ok, none_due;
	uint64_t last_new_qid, last_req;
	char last_text[256];
	struct arena arena;
	struct envelope env; /* of the last record */
	struct record record;
	struct buf head, content;
	bool stored_first; /* `stored` came before `report_done` */
	unsigned idle;
	/* waiting */
	size_t want_done;
	struct loop_timer timer;
	uint64_t end_ms;
	size_t want_active; /* 0: not waited for */
};

static void
give_segment(struct world *w)
{
	char path[] = "/tmp/ekiden-reporter-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, SEGMENT_BYTES) < 0)
		exit(1);
	unlink(path);
	if (w->segment >= 0)
		close(w->segment);
	w->segment = dup(fd);
	IPC_SEND_FD(&w->qmgr, fd, segment, .gen = ++w->gen, .start = SEGMENT_DATA,
	    .size = SEGMENT_BYTES);
}

static void
take_stored(struct world *w, const struct ipc_stored *m)
{
	bool damaged = false;

	w->stored++;
	if (w->stored > 200) /* enough was looked at */
		return;
	buf_clear(&w->head);
	buf_putv(&w->head, m->head);
	struct view head = buf_view(&w->head);
	if (!record_header_get(head, m->gen, &w->record, &damaged) ||
	    !record_envelope_get(&w->record, view_skip(head, RECORD_HEADER), &w->arena, &w->env)) {
		ok(false, "the record can be read");
		return;
	}
	size_t n = (size_t)w->record.content_len;
	buf_clear(&w->content);
	if (pread(w->segment, buf_reserve(&w->content, n), n,
		(off_t)(m->offset + record_front_at(&w->record) + w->record.front_len)) == (ssize_t)n)
		buf_commit(&w->content, n);
}

static bool
qmgr_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct world *w = ch->ctx;
	struct ipc_report_done done;
	struct ipc_stored stored;

	(void)fd;
	if (type == IPC_TYPE_segment_want) {
		if (w->no_space)
			IPC_SEND(ch, no_space, .count = 1);
		else if (!w->no_segments)
			give_segment(w);
	} else if (type == IPC_TYPE_stored && ipc_get(&ipc_desc_stored, body, &stored)) {
		take_stored(w, &stored);
	} else if (type == IPC_TYPE_report_done && ipc_get(&ipc_desc_report_done, body, &done)) {
		w->done++;
		w->done_ok += done.ok;
		w->none_due += done.ok && done.new_qid == 0;
		w->last_new_qid = done.new_qid;
		w->last_req = done.req;
		snprintf(w->last_text, sizeof(w->last_text), VIEW_FMT, VIEW_ARG(done.text));
		w->stored_first = w->stored > 0;
	}
	return true;
}

static bool
bounce_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct world *w = ch->ctx;
	struct ipc_report m;

	if (type == IPC_TYPE_report)
		return ipc_get(&ipc_desc_report, body, &m) && reporter_take(&w->reporter, &m, fd);
	return spool_frame(w->spool, type, body, fd);
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	(void)e;
	channel_close(ch);
}

static void
on_timer(struct loop_timer *t)
{
	struct world *w = CONTAINER(t, struct world, timer);

	if (w->done >= w->want_done || (w->want_active && w->reporter.active_count >= w->want_active) ||
	    loop_now_ms(w->loop) > w->end_ms ||
	    !channel_is_open(&w->qmgr))
		loop_stop(w->loop);
	else
		loop_timer_set(w->loop, t, 1);
}

static bool
run_until_done(struct world *w, size_t want, uint64_t ms)
{
	w->want_done = want;
	w->end_ms = loop_now_ms(w->loop) + ms;
	loop_timer_set(w->loop, &w->timer, 1);
	loop_run(w->loop);
	loop_timer_cancel(w->loop, &w->timer);
	return w->done >= want;
}

static void
on_idle(struct reporter *r)
{
	CONTAINER(r, struct world, reporter)->idle++;
}

static void
world_open(struct world *w)
{
	static const struct channel_ops bounce_ops = { bounce_frame, on_closed };
	static const struct channel_ops qmgr_ops = { qmgr_frame, on_closed };
	int fds[2];

	*w = (struct world){ .loop = loop_new(), .segment = -1, .gen = GEN, .timer.fire = on_timer };
	buf_init(&w->head, IPC_FRAME_MAX);
	buf_init(&w->content, DSN_MAX);
	if (channel_pair(fds) < 0)
		exit(1);
	w->spool = spool_new(w->loop, ROLE_BOUNCE << 16);
	reporter_init(&w->reporter, w->loop, w->spool);
	reporter_names(&w->reporter, "mta1.example.jp", "");
	w->reporter.idle = on_idle;
	channel_open(&w->bounce, w->loop, fds[0], &bounce_ops, w, ROLE_QMGR, 0);
	channel_open(&w->qmgr, w->loop, fds[1], &qmgr_ops, w, ROLE_BOUNCE, 0);
}

static void
world_attach(struct world *w)
{
	spool_attach(w->spool, &w->bounce);
	reporter_channel(&w->reporter, &w->bounce);
}

static void
world_close(struct world *w)
{
	reporter_close(&w->reporter);
	spool_detach(w->spool);
	channel_close(&w->bounce);
	channel_close(&w->qmgr);
	run_until_done(w, 0, 0);
	spool_free(&w->spool);
	if (w->segment >= 0)
		close(w->segment);
	buf_free(&w->head);
	buf_free(&w->content);
	arena_free(&w->arena);
	loop_free(w->loop);
}

/* The original in a file of its own, behind something else; its descriptor. */
static int
original_file(void)
{
	static const char text[] = "xxxx" ORIGINAL "next record";
	char path[] = "/tmp/ekiden-original-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, text, sizeof(text) - 1) != sizeof(text) - 1)
		exit(1);
	unlink(path);
	return fd;
}

static void
ask(struct world *w, uint64_t req, const char *sender, uint8_t kind, uint64_t content_len)
{
	struct buf rcpts = BUF_INIT(50000);

	IPC_RECORD(&rcpts, report_rcpt, .rcpt = VIEW("bob@example.net"), .code = 550,
	    .esc = esc_pack(ESC(5, 1, 1)), .text = VIEW("No such user"), .remote = true,
	    .relay = VIEW("mx.example.net[192.0.2.1]:25"));
	IPC_SEND_FD(&w->qmgr, original_file(), report, .req = req, .qid = qid_make(GEN, 5),
	    .kind = kind, .sender = view_str(sender), .tenant = VIEW("acme"), .user = VIEW("key1"),
	    .arrival_us = 1763770000000000, .offset = 4, .content_len = content_len,
	    .rcpts = buf_view(&rcpts));
	buf_free(&rcpts);
}

static bool
has(struct view v, const char *what)
{
	return v.n && memmem(v.p, v.n, what, strlen(what)) != NULL;
}

static void
test_one(void)
{
	struct world w;

	world_open(&w);
	world_attach(&w);
	ask(&w, 7, "alice@example.jp", REPORT_FAILED, sizeof(ORIGINAL) - 1);
	ok(run_until_done(&w, 1, 5000), "S36 a request is answered");
	ok(w.done_ok == 1 && w.last_req == 7, "... with ok and its number");
	ok(w.stored == 1 && w.stored_first, "S35 ... after the record is synced and told");
	ok(w.last_new_qid == w.env.qid && w.env.qid == qid_make(w.gen, 0) + 0 * w.record.qid,
	    "... with the id of the new message");
	is_int((long long)w.env.sender.n, 0, "D08 E16 atk-H4 null sender");
	ok(w.env.nrcpt == 1 && view_is(w.env.rcpts[0].addr, "alice@example.jp"), "... to the sender");
	is_int(w.env.rcpts[0].notify, NOTIFY_NEVER, "D08 ... which asks for no report");
	ok(view_is(w.env.tenant, "acme") && view_is(w.env.user, "key1"), "... of the same tenant and key");
	ok((w.env.flags & SEGMENT_REPORT) && !(w.env.flags & (SEGMENT_8BIT | SEGMENT_BIG)), "... flagged");
	struct view v = buf_view(&w.content);
	ok(view_starts(v, "Date: ") && has(v, "From: MAILER-DAEMON@mta1.example.jp "), "... content");
	ok(has(v, "postmaster@mta1.example.jp"), "... with the default postmaster");
	ok(has(v, "\r\n\r\n" ORIGINAL "\r\n--") && !has(v, "next record") && !has(v, "xxxx"),
	    "... and the original, from its place");
	ok(view_is(w.env.message_id, "") || has(v, "Message-ID: <"), "... Message-ID");
	is_int(w.idle, 1, "... then nothing is left");
	world_close(&w);
}

static void
test_edges(void)
{
	struct world w;

	world_open(&w);
	world_attach(&w);
	ask(&w, 1, "", REPORT_FAILED, 10);
	ok(run_until_done(&w, 1, 5000) && w.none_due == 1 && w.stored == 0,
	    "atk-H1 S36 nothing is sent about a null sender, and that is no failure");
	ask(&w, 2, "alice@example.jp", REPORT_DELAYED, sizeof(ORIGINAL) - 1);
	run_until_done(&w, 2, 5000);
	ok(w.stored == 1 && has(buf_view(&w.content), "Action: delayed"), "a delay notification");
	ask(&w, 3, "alice@example.jp", REPORT_EXPIRED, 1 << 30);
	run_until_done(&w, 3, 5000);
	ok(w.stored == 2 && w.done_ok == 3 && has(buf_view(&w.content), "text/rfc822-headers"),
	    "atk-H7 an original that ends early or is huge: headers");
	ask(&w, 4, "alice@example.jp", 9, 10);
	run_until_done(&w, 4, 5000);
	ok(!channel_is_open(&w.bounce), "atk-I12 an unknown kind ends the channel");
	world_close(&w);
}

static void
test_no_spool(void)
{
	struct world w;

	world_open(&w);
	w.no_space = true;
	world_attach(&w);
	ask(&w, 1, "alice@example.jp", REPORT_FAILED, 10);
	run_until_done(&w, 1, 5000);
	ok(w.done == 1 && w.done_ok == 0 && w.stored == 0, "atk-J4 no space: not ok, asked again later (%s)",
	    w.last_text);
	w.no_space = false;
	world_close(&w);

	world_open(&w);
	w.no_segments = true;
	world_attach(&w);
	for (uint64_t i = 0; i < REPORTER_ACTIVE + REPORTER_WAITING + 10; i++)
		ask(&w, i, "alice@example.jp", REPORT_FAILED, 10);
	run_until_done(&w, 10, 20000);
	ok(w.done == 10 && w.done_ok == 0, "atk-H8 more than may wait are put off at once (%zu)", w.done);
	is_int((long long)w.reporter.active_count, REPORTER_ACTIVE, "... what is in memory is bounded");
	give_segment(&w);
	run_until_done(&w, REPORTER_ACTIVE + REPORTER_WAITING + 10, 20000);
	is_int((long long)w.done_ok, REPORTER_ACTIVE + REPORTER_WAITING, "... the others are stored");
	ok(reporter_idle(&w.reporter) && w.idle == 1, "... to the last");
	world_close(&w);
}

static void
test_lost_qmgr(void)
{
	struct world w;

	world_open(&w);
	w.no_segments = true;
	world_attach(&w);
	for (uint64_t i = 0; i < REPORTER_ACTIVE + 20; i++)
		ask(&w, i, "alice@example.jp", REPORT_FAILED, 10);
	w.want_active = REPORTER_ACTIVE;
	run_until_done(&w, 1, 20000);
	w.want_active = 0;
	is_int((long long)w.reporter.active_count, REPORTER_ACTIVE, "reports wait for a segment");
	reporter_channel(&w.reporter, NULL);
	spool_detach(w.spool);
	ok(reporter_idle(&w.reporter) && w.reporter.active_count == 0 && w.reporter.waiting_count == 0,
	    "... and are dropped with qmgr, which asks anew");
	run_until_done(&w, 1, 20);
	is_int((long long)w.done, 0, "... unanswered");
	world_close(&w);
}

int
main(void)
{
	log_init("test/bounce", "localhost", LOG_LEVEL_ERROR + 1);
	test_one();
	test_edges();
	test_no_spool();
	test_lost_qmgr();
	return done_testing();
}
