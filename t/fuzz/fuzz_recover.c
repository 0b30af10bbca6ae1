/* SPDX-License-Identifier: ISC */
/*
 * A start of qmgr on a damaged spool (ATTACKS I11). The input describes a segment: records, done marks, and bytes
 * that are changed in both. Whatever is changed, qmgr starts, and each message whose record is whole and
 * which has a recipient without a mark is in the queue.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/segment.h"
#include "qmgr/message.h"
#include "qmgr/segments.h"
#include "qmgr/state.h"
#include "qmgr/store.h"
#include "t/fuzz/folder.h"
#include "t/fuzz/libdb.h"

enum { GEN = 9, SEGMENT_BYTES = 8 << 20, RECORDS_MAX = 12, RCPTS = 3, MARKS_MAX = 64 };

static struct {
	struct buf bytes, marks;
	struct {
		uint64_t qid, at, length, used;
		uint32_t nrcpt;
		unsigned marked; /* bit: recipient */
		bool touched;
	} records[RECORDS_MAX];
	size_t count;
	bool marks_touched;
} spool;

static void
put_record(struct view *in)
{
	static const char text[] = "Subject: x\r\n\r\nbody of some length, and then some more of it\r\n";
	struct segment_rcpt rcpts[RCPTS] = { { .addr = VIEW("a@b.test") }, { .addr = VIEW("c@d.test") },
		{ .addr = VIEW("e@[127.0.0.1]") } };
	uint32_t n = (uint32_t)spool.count;
	uint8_t shape = view_get_u8(in);
	size_t front = shape >> 4, size = (shape & 15) * 4u;
	struct envelope env = { .qid = qid_make(GEN, n + 1), .arrival_us = clock_wall_us(),
		.received_us = clock_wall_us(), .sender = VIEW("s@t.test"), .tenant = VIEW("acme"),
		.rcpts = rcpts, .nrcpt = shape % RCPTS + 1u, .size = size };
	uint32_t crc = crc32c(crc32c(0, text, front), text, size);
	struct record r;
	uint64_t at = buf_len(&spool.bytes);

	record_head_put(&spool.bytes, GEN, &env, front, size, crc, &r);
	buf_put(&spool.bytes, text, front);
	buf_put(&spool.bytes, text, size);
	uint64_t used = buf_len(&spool.bytes) - at;
	while (buf_len(&spool.bytes) - at < r.length)
		buf_putc(&spool.bytes, '\0');
	spool.records[spool.count].qid = env.qid;
	spool.records[spool.count].at = at;
	spool.records[spool.count].length = r.length;
	spool.records[spool.count].used = used;
	spool.records[spool.count].nrcpt = env.nrcpt;
	spool.records[spool.count].marked = 0;
	spool.records[spool.count++].touched = false;
}

static void
put_mark(struct view *in)
{
	size_t i = view_get_u8(in) % (RECORDS_MAX + 1u);
	uint32_t rcpt = view_get_u8(in) % (RCPTS + 1u);

	done_mark_put(&spool.marks, GEN, &(struct done_mark){ .qid = qid_make(GEN, (uint32_t)i + 1), .rcpt = rcpt });
	if (i < spool.count)
		spool.records[i].marked |= 1u << rcpt;
}

static void
change_byte(struct view *in)
{
	size_t at = view_get_u16(in) % buf_len(&spool.bytes);
	uint8_t by = view_get_u8(in);

	if (at < SEGMENT_DATA || view_bad(*in))
		return;
	((char *)(uintptr_t)buf_view(&spool.bytes).p)[at] ^= (char)by;
	for (size_t i = 0; by && i < spool.count; i++)
		if (at >= spool.records[i].at && at < spool.records[i].at + spool.records[i].used)
			spool.records[i].touched = true;
}

static void
change_mark(struct view *in)
{
	size_t n = buf_len(&spool.marks);
	uint16_t at = view_get_u16(in);
	uint8_t by = view_get_u8(in);

	if (n == 0 || by == 0 || view_bad(*in))
		return;
	((char *)(uintptr_t)buf_view(&spool.marks).p)[at % n] ^= (char)by;
	spool.marks_touched = true;
}

/* Numbers of records first, then what is marked and changed. */
static void
describe(struct view in)
{
	buf_clear(&spool.bytes);
	buf_clear(&spool.marks);
	spool.count = 0;
	spool.marks_touched = false;
	segment_header_put(&spool.bytes, &(struct segment_header){ .gen = GEN, .size = SEGMENT_BYTES, .created_us = 1,
	    .writer = 1 << 16 });
	REQUIRE(buf_len(&spool.bytes) == SEGMENT_DATA);
	for (unsigned n = view_get_u8(&in) % (RECORDS_MAX + 1u); n; n--)
		put_record(&in);
	end_mark_put(&spool.bytes, GEN);
	for (unsigned n = view_get_u8(&in) % MARKS_MAX; n; n--)
		put_mark(&in);
	while (in.n > 3 && !view_bad(in))
		if (view_get_u8(&in) < 200)
			change_byte(&in);
		else
			change_mark(&in);
}

static void
write_file(const char *path, struct view v, off_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	REQUIRE(fd >= 0 && write(fd, v.p, v.n) == (ssize_t)v.n && ftruncate(fd, size) == 0);
	close(fd);
}

static void
make_spool(void)
{
	static const char *const folders[] = { "seg", "big", "db", "maps", "quarantine" };
	char name[64];

	fuzz_folder_empty();
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		REQUIRE(mkdir(folders[i], 0700) == 0);
	snprintf(name, sizeof(name), "seg/%x", GEN);
	write_file(name, buf_view(&spool.bytes), SEGMENT_BYTES);
	snprintf(name, sizeof(name), "seg/%x.done", GEN);
	write_file(name, buf_view(&spool.marks), (off_t)buf_len(&spool.marks));
}

static void
enter_folder(void)
{
	fuzz_folder();
	log_init("fuzz", "localhost", LOG_LEVEL_ERROR);
	log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), false);
}

/* A whole record has its message, unless each of its recipients is finished. */
static void
check(struct qmgr *q)
{
	for (size_t i = 0; i < spool.count; i++) {
		unsigned all = (1u << spool.records[i].nrcpt) - 1;
		struct message *m = message_find(q, spool.records[i].qid);
		bool finished = (spool.records[i].marked & all) == all;
		if (!spool.records[i].touched && !finished)
			REQUIRE(m);
		if (m)
			REQUIRE(m->nrcpt <= RCPTS_MAX);
	}
	REQUIRE(q->counts.messages <= spool.count);
}

void
fuzz_one(struct view in)
{
	static struct qmgr **former;
	static size_t formers;
	static bool entered;
	struct buf errors = BUF_INIT(65536);
	struct daemon d = { 0 };
	struct err e;

	if (!entered) {
		enter_folder();
		buf_init(&spool.bytes, 1 << 20);
		buf_init(&spool.marks, 1 << 20);
		entered = true;
	}
	describe(in);
	make_spool();
	d.loop = loop_new();
	d.conf = conf_read_text(VIEW("hostname fuzz.test\nspool { segment-size 8M; spare-segments 0 }\n"), "fuzz", &errors);
	REQUIRE(d.conf);
	struct qmgr *q = x_calloc(1, sizeof(*q));
	d.state = q;
	qmgr_prepare(q, &d);
	REQUIRE(qmgr_start(q, &e) == 0);
	check(q);
	/* It leaves as it does when master says so. */
	qmgr_drain(q);
	loop_run(d.loop);
	conf_free(&d.conf);
	loop_free(d.loop);
	former = x_realloc(former, ++formers, sizeof(*former));
	former[formers - 1] = q; /* what it leaves to its process to free stays reachable */
	buf_free(&errors);
}
