/* SPDX-License-Identifier: ISC */
/* The writing side of the spool against a scripted qmgr on the same loop. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/aio.h"
#include "lib/durable.h"
#include "lib/log.h"
#include "lib/spool.h"
#include "t/tap.h"

enum { FRAMES = 64, SEGMENT_SIZE = 16384 };

/* In place of lib/aio.c: syncs that are counted, and take as long as a test wants. */
struct aio {
	struct loop *loop;
	struct aio_op *op;
	struct loop_timer end;
};
static uint64_t sync_ms;
static uint64_t began_ms; /* the last one */
static unsigned syncs;

static void
sync_over(struct loop_timer *t)
{
	struct aio *a = CONTAINER(t, struct aio, end);

	a->op->pending = false;
	a->op->done(a->op, 0);
}

struct aio *
aio_new(struct loop *l, unsigned depth)
{
	struct aio *a = x_calloc(1, sizeof(*a));

	(void)depth;
	*a = (struct aio){ .loop = l, .end.fire = sync_over };
	return a;
}

void
aio_free(struct aio **a)
{
	loop_timer_cancel((*a)->loop, &(*a)->end);
	free(*a);
	*a = NULL;
}

int
aio_fdatasync(struct aio *a, struct aio_op *op, int fd)
{
	if (fdatasync(fd) < 0 && errno != EINVAL) /* /dev/full has nothing to sync */
		return -1;
	syncs++;
	began_ms = loop_now_ms(a->loop);
	a->op = op;
	op->pending = true;
	loop_timer_set(a->loop, &a->end, sync_ms);
	return 0;
}

struct seen {
	uint16_t type;
	uint64_t gen, offset, end, big, req;
	uint32_t count;
	bool failed;
	size_t head_len;
};

static struct fake {
	struct loop *loop;
	struct channel writer_end, qmgr_end;
	struct spool *spool;
	struct seen seen[FRAMES];
	size_t count;
	struct loop_timer stop;
} f;

static bool
qmgr_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct seen *s = &f.seen[f.count++ % FRAMES];
	union {
		struct ipc_segment_want want;
		struct ipc_segment_release release;
		struct ipc_stored stored;
		struct ipc_big_want big_want;
		struct ipc_big_drop big_drop;
	} m;

	(void)ch, (void)fd;
	*s = (struct seen){ .type = type };
	if (!ipc_get(ipc_desc_of(type), body, &m))
		return false;
	switch (type) {
	case IPC_TYPE_segment_want:
		s->count = m.want.count;
		break;
	case IPC_TYPE_segment_release:
		s->gen = m.release.gen;
		s->end = m.release.end;
		s->failed = m.release.failed;
		break;
	case IPC_TYPE_stored:
		s->gen = m.stored.gen;
		s->offset = m.stored.offset;
		s->end = m.stored.end;
		s->head_len = m.stored.head.n;
		break;
	case IPC_TYPE_big_want:
		s->req = m.big_want.req;
		break;
	case IPC_TYPE_big_drop:
		s->big = m.big_drop.big;
		break;
	default:
		return false;
	}
	return true;
}

static bool
writer_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	(void)ch;
	return spool_frame(f.spool, type, body, fd);
}

static void
closed(struct channel *ch, const struct err *e)
{
	printf("# channel closed: %s\n", e ? e->text : "end");
	channel_close(ch);
}

static void
stop(struct loop_timer *t)
{
	(void)t;
	loop_stop(f.loop);
}

static void
run_ms(uint64_t ms)
{
	loop_timer_set(f.loop, &f.stop, ms);
	loop_run(f.loop);
}

/* Lets everything happen that can happen now. */
static void
settle(void)
{
	run_ms(20);
}

static int
make_segment(const char *name, size_t size)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		abort();
	return fd;
}

static void
give(int fd, uint64_t gen, size_t size)
{
	IPC_SEND_FD(&f.qmgr_end, fd, segment, .gen = gen, .start = SEGMENT_DATA, .size = size);
}

struct test_msg {
	struct spool_msg m;
	struct envelope env;
	struct segment_rcpt rcpt;
	int calls;
	struct esc esc;
};

static void
committed(struct spool_msg *m, const struct err *e)
{
	struct test_msg *t = CONTAINER(m, struct test_msg, m);

	t->calls++;
	t->esc = e ? e->esc : ESC(2, 0, 0);
}

static void
store(struct test_msg *t, const char *content)
{
	*t = (struct test_msg){ .rcpt = { .addr = VIEW("b@x"), .orcpt = VIEW("") } };
	t->env = (struct envelope){ .sender = VIEW("a@x"), .tenant = VIEW("t"), .user = VIEW("u"),
		.tag = VIEW(""), .client = VIEW(""), .session = VIEW(""), .message_id = VIEW(""),
		.envid = VIEW(""), .rcpts = &t->rcpt, .nrcpt = 1 };
	t->m = (struct spool_msg){ .env = &t->env, .front = VIEW("Received: x\r\n"),
		.content = view_str(content), .committed = committed };
	spool_store(f.spool, &t->m);
}

static const char *
outcome(const struct test_msg *t, char out[static ESC_TEXT_MAX])
{
	return t->calls == 1 ? esc_text(t->esc, out) : t->calls ? "called twice" : "not called";
}

/* The same for one whose sync may take its time. */
static const char *
awaited(const struct test_msg *t, char out[static ESC_TEXT_MAX])
{
	for (int i = 0; i < 250 && t->calls == 0; i++)
		settle();
	settle(); /* what qmgr is told arrives, too */
	return outcome(t, out);
}

static size_t
count_frames(uint16_t type)
{
	size_t n = 0;
	for (size_t i = 0; i < f.count; i++)
		n += f.seen[i].type == type;
	return n;
}

static const struct seen *
last_frame(uint16_t type)
{
	for (size_t i = f.count; i-- > 0;)
		if (f.seen[i].type == type)
			return &f.seen[i];
	return NULL;
}

/* What the file says, record by record. */
static size_t
read_records(const char *name, uint64_t gen, struct buf *contents, bool *ended)
{
	static char bytes[SEGMENT_SIZE];
	struct record r;
	bool damaged;
	size_t n = 0;
	int fd = open(name, O_RDONLY);
	ssize_t size = pread(fd, bytes, sizeof(bytes), 0);

	close(fd);
	struct view v = view_skip(view_of(bytes, size > 0 ? (size_t)size : 0), SEGMENT_DATA);
	for (; record_header_get(v, gen, &r, &damaged); v = view_skip(v, r.length), n++) {
		struct view body = view_skip(v, record_front_at(&r));
		body = view_first(body, r.front_len + r.content_len);
		if (crc32c(0, body.p, body.n) != r.content_crc)
			buf_puts(contents, "BAD");
		buf_putv(contents, view_skip(body, r.front_len));
	}
	*ended = end_mark_is(v, gen);
	return n;
}

static void
open_pair(void)
{
	static const struct channel_ops writer_ops = { writer_frame, closed };
	static const struct channel_ops qmgr_ops = { qmgr_frame, closed };
	int fds[2];

	if (channel_pair(fds) < 0)
		abort();
	channel_open(&f.writer_end, f.loop, fds[0], &writer_ops, NULL, ROLE_QMGR, 0);
	channel_open(&f.qmgr_end, f.loop, fds[1], &qmgr_ops, NULL, ROLE_SMTPD, 0);
	f.count = 0;
}

static void
test_group_commit(void)
{
	struct test_msg a, b, c, gone;
	struct buf got = BUF_INIT(65536);
	char esc[ESC_TEXT_MAX];
	bool ended;

	is_int(spool_state(f.spool), SPOOL_WAIT, "no segment yet");
	store(&a, "early\r\n");
	settle();
	is_int(f.seen[0].count, 2, "two segments are asked for");
	is_str(outcome(&a, esc), "not called", "without a segment a message waits");
	give(make_segment("s1", SEGMENT_SIZE), 11, SEGMENT_SIZE);
	settle();
	is_str(awaited(&a, esc), "2.0.0", "and is committed when one came");
	is_int(spool_state(f.spool), SPOOL_READY, "ready");
	f.count = 0;
	store(&a, "one\r\n");
	store(&gone, "gone\r\n");
	store(&b, "two\r\n");
	store(&c, "");
	spool_cancel(f.spool, &gone.m);
	settle();
	is_str(awaited(&a, esc), "2.0.0", "first of a turn");
	is_str(awaited(&b, esc), "2.0.0", "second");
	is_str(awaited(&c, esc), "2.0.0", "an empty message");
	is_str(outcome(&gone, esc), "not called", "a cancelled message is not answered");
	is_int(count_frames(IPC_TYPE_stored), 3, "qmgr is told of each");
	ok(f.seen[0].gen == 11 && f.seen[0].head_len > RECORD_HEADER &&
		f.seen[1].offset == f.seen[0].end, "with place and head");
	ok(b.env.qid == a.env.qid + 1 && qid_gen(a.env.qid) == 11, "ids count within the segment");
	is_int(read_records("s1", 11, &got, &ended), 4, "all are in the file, the cancelled is not");
	is_view(buf_view(&got), "early\r\none\r\ntwo\r\n", "with their contents");
	ok(ended, "and an end mark behind the last");
	buf_free(&got);
}

static void
test_next_segment(void)
{
	struct test_msg m[8];
	static char text[3000];
	char esc[ESC_TEXT_MAX];
	bool ended;
	struct buf got = BUF_INIT(65536);

	give(make_segment("s2", SEGMENT_SIZE), 12, SEGMENT_SIZE);
	settle();
	f.count = 0;
	memset(text, 'y', sizeof(text) - 1);
	for (size_t i = 0; i < 5; i++)
		store(&m[i], text);
	settle();
	size_t good = 0;
	for (size_t i = 0; i < 5; i++)
		good += strcmp(awaited(&m[i], esc), "2.0.0") == 0;
	is_int(good, 5, "a turn that does not fit goes on in the spare segment");
	ok(count_frames(IPC_TYPE_segment_release) == 1 && !last_frame(IPC_TYPE_segment_release)->failed &&
		last_frame(IPC_TYPE_segment_release)->gen == 11, "the full one is released");
	is_int(count_frames(IPC_TYPE_segment_want), 1, "another one is asked for");
	ok(read_records("s2", 12, &got, &ended) > 0 && ended, "records in the second");
	/* Behind the segment's size nothing is written. */
	struct stat st;
	ok(stat("s1", &st) == 0 && st.st_size == SEGMENT_SIZE, "the first kept its size");
	buf_free(&got);
}

static void
test_failed_write(void)
{
	struct test_msg a, b, c;
	char esc[ESC_TEXT_MAX];

	/* From here: the one in use is used up by a large message, the next cannot be written to. */
	give(open("/dev/full", O_RDWR), 13, SEGMENT_SIZE);
	settle();
	static char text[9000];
	memset(text, 'z', sizeof(text) - 1);
	store(&a, text);
	store(&b, "b");
	f.count = 0;
	settle();
	is_str(awaited(&a, esc), "4.3.1", "J4: no space is 4.3.1");
	is_str(awaited(&b, esc), "4.3.1", "atk-J5: for all of the batch");
	const struct seen *s = last_frame(IPC_TYPE_segment_release);
	ok(s && s->gen == 13 && s->failed && s->end == SEGMENT_DATA, "the segment is given up as failed");
	is_int(count_frames(IPC_TYPE_stored), 0, "nothing is told as stored");
	give(make_segment("s4", SEGMENT_SIZE), 14, SEGMENT_SIZE);
	give(make_segment("s5", SEGMENT_SIZE), 15, SEGMENT_SIZE);
	settle();
	store(&c, "c");
	settle();
	is_str(awaited(&c, esc), "2.0.0", "the next one works in a fresh segment");
	/* A message that fits nowhere. */
	static char huge[SEGMENT_SIZE + 1];
	memset(huge, 'h', SEGMENT_SIZE);
	store(&a, huge);
	store(&b, "b");
	settle();
	is_str(awaited(&a, esc), "4.3.1", "a message over the size of a segment is refused");
	is_str(awaited(&b, esc), "2.0.0", "without hurting its neighbour");
}

static void
test_sync_fault(void)
{
#ifdef EKIDEN_FAULTS
	struct test_msg a, b;
	char esc[ESC_TEXT_MAX];

	f.count = 0;
	store(&a, "a"); /* the occurrence that main() chose */
	settle();
	is_str(awaited(&a, esc), "4.3.0", "atk-J5: a failed fdatasync is 4.3.0");
	ok(last_frame(IPC_TYPE_segment_release) && last_frame(IPC_TYPE_segment_release)->failed,
	    "atk-J5: and its segment is not used again");
	give(make_segment("s6", SEGMENT_SIZE), 16, SEGMENT_SIZE);
	settle();
	store(&b, "b");
	settle();
	is_str(awaited(&b, esc), "2.0.0", "the next message goes to another one");
#else
	skip(3, "no fault points in this build");
#endif
}

/* A task of the turn in which a batch was written: its sync is under way. */
struct meanwhile {
	struct loop_task task;
	struct test_msg *next, *cancel;
	bool new_qmgr;
};

static void
meanwhile_run(struct loop_task *t)
{
	struct meanwhile *m = CONTAINER(t, struct meanwhile, task);

	if (m->next)
		store(m->next, "next");
	if (m->cancel)
		spool_cancel(f.spool, &m->cancel->m);
	if (m->new_qmgr) {
		spool_detach(f.spool);
		spool_attach(f.spool, &f.writer_end);
	}
}

static void
test_overlap(void)
{
	struct test_msg a, b, c;
	struct meanwhile m = { .task.run = meanwhile_run, .next = &b };
	struct buf got = BUF_INIT(65536);
	char esc[ESC_TEXT_MAX];
	bool ended;

	give(make_segment("s8", SEGMENT_SIZE), 18, SEGMENT_SIZE);
	settle();
	store(&a, "during");
	loop_post(f.loop, LOOP_AFTER, &m.task);
	is_str(awaited(&a, esc), "2.0.0", "a sync beside the loop ends");
	is_str(awaited(&b, esc), "2.0.0", "what came during it is the next batch");
	ok(b.env.qid == a.env.qid + 1, "behind it in the segment");
	/* Cancelled between its write and the end of its sync. */
	m = (struct meanwhile){ .task.run = meanwhile_run, .next = &b, .cancel = &a };
	store(&a, "left alone");
	store(&c, "stays");
	loop_post(f.loop, LOOP_AFTER, &m.task);
	is_str(awaited(&c, esc), "2.0.0", "its neighbour is answered");
	is_str(awaited(&b, esc), "2.0.0", "and the batch behind it");
	is_str(outcome(&a, esc), "not called", "a cancelled one is not answered");
	/* Another qmgr comes meanwhile: what is durable is answered so; it finds that when the lock is free. */
	f.count = 0;
	m = (struct meanwhile){ .task.run = meanwhile_run, .new_qmgr = true };
	store(&a, "kept");
	loop_post(f.loop, LOOP_AFTER, &m.task);
	is_str(awaited(&a, esc), "2.0.0", "a sync outlives the channel to qmgr");
	is_int(count_frames(IPC_TYPE_stored), 0, "the next qmgr is not told of a segment it never gave");
	read_records("s8", 18, &got, &ended);
	struct view text = buf_view(&got);
	ok(text.n > 4 && view_is(view_skip(text, text.n - 4), "kept"), "the record is there");
	buf_free(&got);
}

/* A sync that has just ended, after some that took their time. */
static void
slow_syncs(void)
{
	struct test_msg m;

	sync_ms = 2;
	for (int i = 0; i < 20; i++) {
		store(&m, "slow");
		for (int ms = 0; ms < 100 && m.calls == 0; ms++)
			run_ms(1);
	}
	syncs = 0;
}

/* Whether the first of two messages waits for the other; tries again when the machine was not in time. */
static bool
waits(struct test_msg *first)
{
	for (int tries = 0; tries < 100; tries++) {
		char esc[ESC_TEXT_MAX];
		slow_syncs();
		uint64_t before_ms = began_ms;
		spool_expect(f.spool, 1);
		store(first, "first");
		run_ms(0);
		if (syncs == 0)
			return true;
		if (loop_now_ms(f.loop) < before_ms + 6)
			return false;
		awaited(first, esc);
		spool_expect(f.spool, -1);
	}
	return false;
}

static void
test_pause(void)
{
	struct test_msg a, b;
	char esc[ESC_TEXT_MAX];

	give(make_segment("s9", 1 << 20), 17, 1 << 20);
	settle();
	slow_syncs();
	store(&a, "alone");
	run_ms(1);
	is_int(syncs, 1, "nobody else is on the way: a sync begins at once");
	awaited(&a, esc);

	ok(waits(&a), "it waits for a message that is on its way");
	store(&b, "second");
	spool_expect(f.spool, -1); /* is here */
	run_ms(1);
	is_int(syncs, 1, "no longer than for that");
	is_str(awaited(&a, esc), "2.0.0", "one sync for the one");
	is_str(awaited(&b, esc), "2.0.0", "and the other");
	is_int(syncs, 1, "and no further one");

	ok(waits(&a), "it waits");
	spool_expect(f.spool, -1); /* the client left */
	run_ms(1);
	is_int(syncs, 1, "and does not when the message will not come");
	awaited(&a, esc);

	slow_syncs();
	spool_expect(f.spool, 1);
	store(&a, "first");
	is_str(awaited(&a, esc), "2.0.0", "a message that never comes is not waited for");
	syncs = 0;
	store(&b, "long after");
	run_ms(1);
	is_int(syncs, 1, "nor is any when the last sync is long ago");
	awaited(&b, esc);
	spool_expect(f.spool, -1);
	sync_ms = 0;
}

static struct spool_big big;
static int big_calls;
static void
big_opened(struct spool_big *b, const struct err *e)
{
	(void)b;
	big_calls += e ? 100 : 1;
}

static void
test_big(void)
{
	struct err e;

	f.count = 0;
	big.opened = big_opened;
	spool_big_open(f.spool, &big);
	settle();
	const struct seen *s = last_frame(IPC_TYPE_big_want);
	ok(s != NULL, "a file of its own is asked for");
	if (s == NULL)
		return;
	IPC_SEND_FD(&f.qmgr_end, make_segment("big", 0), big, .req = s->req, .big = 99);
	settle();
	ok(big_calls == 1 && big.fd >= 0 && big.number == 99, "and opened");
	ok(spool_big_write(&big, VIEW("hello"), &e) == 0 && spool_big_sync(&big, &e) == 0 &&
		big.size == 5, "written and synced");
	spool_big_close(f.spool, &big, false);
	settle();
	ok(last_frame(IPC_TYPE_big_drop) && last_frame(IPC_TYPE_big_drop)->big == 99,
	    "not kept: qmgr removes it");
	spool_big_open(f.spool, &big);
	settle();
	IPC_SEND(&f.qmgr_end, big, .req = big.req, .big = 0);
	settle();
	is_int(big_calls, 101, "no space for it is an error");
}

static void
test_end(void)
{
	struct test_msg a, b;
	char esc[ESC_TEXT_MAX];

	spool_detach(f.spool);
	channel_close(&f.writer_end);
	channel_close(&f.qmgr_end);
	store(&a, "a");
	settle();
	is_str(outcome(&a, esc), "not called", "without qmgr a message waits");
	open_pair();
	spool_attach(f.spool, &f.writer_end);
	settle();
	is_int(f.seen[0].count, 2, "a new qmgr is asked for both segments");
	IPC_SEND(&f.qmgr_end, no_space, .count = 2);
	settle();
	is_str(awaited(&a, esc), "4.3.1", "J4: no space: what waits is refused");
	is_int(spool_state(f.spool), SPOOL_FULL, "J4: MAIL is refused");
	give(make_segment("s7", SEGMENT_SIZE), 17, SEGMENT_SIZE);
	settle();
	is_int(spool_state(f.spool), SPOOL_READY, "J4: space is back");
	store(&b, "b");
	spool_detach(f.spool);
	is_str(outcome(&b, esc), "4.3.0", "the end of qmgr fails what is not synced");
	is_int(spool_state(f.spool), SPOOL_WAIT, "and segments are given up");
}

int
main(void)
{
	char dir[] = "/tmp/ekiden-spool-XXXXXX";

	if (mkdtemp(dir) == NULL || chdir(dir) < 0)
		return 1;
	setenv("EKIDEN_FAULT", "seg.sync:7:EIO", 1);
	log_init("ekiden/spool", "test", LOG_LEVEL_ERROR);
	log_open(open("/dev/null", O_WRONLY), false);
	f.loop = loop_new();
	f.stop.fire = stop;
	f.spool = spool_new(f.loop, ROLE_SMTPD << 16);
	open_pair();
	spool_attach(f.spool, &f.writer_end);
	test_group_commit();
	test_next_segment();
	test_failed_write();
	test_sync_fault();
	test_big();
	test_end();
	channel_close(&f.writer_end);
	channel_close(&f.qmgr_end);
	open_pair();
	spool_attach(f.spool, &f.writer_end);
	test_overlap();
	test_pause();
	channel_close(&f.writer_end);
	channel_close(&f.qmgr_end);
	spool_free(&f.spool);
	loop_free(f.loop);
	for (int i = 1; i <= 9; i++) {
		char name[16];
		snprintf(name, sizeof(name), "s%d", i);
		unlink(name);
	}
	unlink("big");
	rmdir(dir);
	return done_testing();
}
