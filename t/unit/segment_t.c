/* SPDX-License-Identifier: ISC */
#include "lib/durable.h"
#include "lib/segment.h"
#include "t/tap.h"

static struct segment_rcpt rcpts[3];

static struct envelope
sample(void)
{
	rcpts[0] = (struct segment_rcpt){ VIEW("b@example.jp"), VIEW("rfc822;b@example.jp"),
		NOTIFY_FAILURE, RCPT_NORMAL };
	rcpts[1] = (struct segment_rcpt){ VIEW("\"c d\"@example.jp"), VIEW(""), 0, RCPT_COPY };
	rcpts[2] = (struct segment_rcpt){ VIEW("e@example.jp"), VIEW(""), NOTIFY_NEVER, RCPT_SIMULATOR };
	return (struct envelope){ .qid = qid_make(77, 5), .arrival_us = 111, .received_us = 222,
		.sender = VIEW("a@example.jp"), .tenant = VIEW("acme"), .user = VIEW("app1"),
		.tag = VIEW(""), .client = VIEW("h[192.0.2.1]"), .session = VIEW("s1"),
		.message_id = VIEW("<1@x>"), .envid = VIEW("E1"), .sender_original = VIEW("o@x.example"),
		.return_domain = VIEW("b.example"), .hold_reason = VIEW("why"), .batch = VIEW("B"),
		.header_from = VIEW("from@h.example"), .retry = VIEW("slow"), .release_us = 1800000000000000,
		.mt_priority = 13,
		.label = VIEW("L"), .key_serial = 77, .priority = 3, .ret = RET_HDRS,
		.flags = SEGMENT_DOTS | SEGMENT_8BIT, .size = 100, .rcpts = rcpts, .nrcpt = 3 };
}

static struct buf
encoded(struct record *r)
{
	struct buf b = BUF_INIT(1 << 20);
	struct envelope env = sample();

	record_head_put(&b, 77, &env, 10, 100, 0xabcdu, r);
	while (buf_len(&b) < r->length)
		buf_putc(&b, 'x');
	return b;
}

/* What the readers of records refuse is not written: it would be acknowledged, and lost. */
static void
test_writer_is_strict(void)
{
	static char long_text[2000];
	struct view bad[] = { VIEW("<a\r\n b>"), VIEW("\033[31m"), VIEW("\177"), view_of(long_text, sizeof(long_text)) };
	struct record r;

	memset(long_text, 'x', sizeof(long_text));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (size_t place = 0; place < 3; place++) {
			struct buf b = BUF_INIT(1 << 20);
			struct envelope env = sample();
			*(place == 0 ? &env.message_id : place == 1 ? &env.sender : &rcpts[1].addr) = bad[i];
			record_head_put(&b, 77, &env, 10, 100, 0xabcdu, &r);
			ok(b.bad, "atk-J8 I10 text %zu is not written to place %zu of a record", i, place);
			buf_free(&b);
		}
	}
}

static void
test_crc(void)
{
	static char bytes[10000]; /* more than the lanes of one step, three times */

	is_int(crc32c(0, "123456789", 9), 0xe3069283u, "crc32c: the check value");
	is_int(crc32c_portable(0, "123456789", 9), 0xe3069283u, "crc32c: the same by table");
	unsigned combined = 0;
	for (size_t n = 0; n <= 9; n++)
		combined += crc32c_combine(crc32c(0, "123456789", n), crc32c(0, &"123456789"[n], 9 - n), 9 - n) ==
		    0xe3069283u;
	is_int(combined, 10, "crc32c_combine: wherever the bytes are cut");
	is_int(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u, "crc32c: in two parts");
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + 3);
	size_t same = 0;
	for (size_t n = 0; n < sizeof(bytes); n++)
		same += crc32c(9, bytes, n) == crc32c_portable(9, bytes, n);
	is_int(same, sizeof(bytes), "crc32c: hardware and table agree at every length");
}

static void
test_qid(void)
{
	char text[QID_CHARS + 1];
	uint64_t q, samples[] = { 0, 1, qid_make(1700000000000u, 1048575), UINT64_MAX };

	for (size_t i = 0; i < 4; i++) {
		qid_text(samples[i], text);
		ok(qid_parse(view_str(text), &q) && q == samples[i], "queue id %s there and back", text);
		ok(strspn(text, "0123456789BCDFGHJKLMNPQRSTVWXYZ") == QID_CHARS, "without vowels");
	}
	ok(!qid_parse(VIEW("000000000000"), &q), "a queue id has 13 characters");
	ok(!qid_parse(VIEW("00000000000A0"), &q), "a vowel is no digit");
	ok(!qid_parse(VIEW("ZZZZZZZZZZZZZ"), &q), "over 64 bits");
	ok(!qid_parse(view_of("00000000000\0" "0", 13), &q), "a NUL is no digit");
	is_int(qid_gen(qid_make(77, 5)), 77, "generation of a queue id");
}

static void
test_round_trip(void)
{
	struct record r, got;
	struct arena a = { 0 };
	struct envelope env;
	bool damaged;
	struct buf b = encoded(&r);
	struct view v = buf_view(&b);

	is_int(r.length % SEGMENT_ALIGN, 0, "a record is aligned");
	is_int(r.length, v.n, "length with padding");
	ok(record_header_get(v, 77, &got, &damaged) && !damaged, "header is read back");
	ok(got.qid == r.qid && got.flags == r.flags && got.content_crc == 0xabcdu &&
		got.front_len == 10 && got.content_len == 100, "fields of the header");
	is_int(record_front_at(&got), RECORD_HEADER + got.envelope_len, "front behind the envelope");
	struct view e = view_first(view_skip(v, RECORD_HEADER), got.envelope_len);
	ok(record_envelope_get(&got, e, &a, &env), "envelope is read back");
	is_view(env.sender, "a@example.jp", "sender");
	is_view(env.tenant, "acme", "tenant");
	is_view(env.client, "h[192.0.2.1]", "client");
	is_view(env.envid, "E1", "envid");
	is_view(env.sender_original, "o@x.example", "original sender");
	is_view(env.return_domain, "b.example", "return domain");
	is_view(env.hold_reason, "why", "hold reason");
	is_view(env.header_from, "from@h.example", "J9 header From");
	is_view(env.retry, "slow", "C11 retry schedule");
	is_int(env.release_us, 1800000000000000, "RFC 4865: time of release");
	is_int(env.mt_priority, 13, "RFC 6710: priority");
	is_view(env.batch, "B", "batch");
	is_view(env.label, "L", "label");
	is_int(env.key_serial, 77, "key serial");
	is_int(env.priority, 3, "priority");
	is_int(env.rcpts[1].kind, RCPT_COPY, "kind of a recipient");
	ok(env.arrival_us == 111 && env.received_us == 222 && env.size == 100 && env.ret == RET_HDRS,
	    "numbers");
	is_int(env.nrcpt, 3, "recipients");
	is_view(env.rcpts[0].orcpt, "rfc822;b@example.jp", "atk-C9: ORCPT reads back as written");
	is_view(env.rcpts[1].addr, "\"c d\"@example.jp", "quoted local part");
	is_int(env.rcpts[2].notify, NOTIFY_NEVER, "notify");
	ok(!record_header_get(v, 78, &got, &damaged) && !damaged,
	    "a record of another generation is no record");
	arena_free(&a);
	buf_free(&b);
}

/* Every single byte of header and envelope, changed: never read as good, never a crash. */
static void
test_damage(void)
{
	struct record r, got;
	struct arena a = { 0 };
	struct envelope env;
	struct buf b = encoded(&r);
	size_t head = RECORD_HEADER + r.envelope_len, good = 0, noticed = 0;
	bool damaged;

	for (size_t i = 0; i < head; i++) {
		b.p[i] ^= 0x41;
		struct view v = buf_view(&b);
		bool header = record_header_get(v, 77, &got, &damaged);
		noticed += !header && damaged;
		if (header && record_envelope_get(&got,
		    view_first(view_skip(v, RECORD_HEADER), got.envelope_len), &a, &env))
			good++;
		b.p[i] ^= 0x41;
	}
	is_int(good, 0, "atk-I11: no changed byte of header or envelope passes");
	/* The bytes that say what this is: magic (4) and generation (8). */
	is_int(noticed, RECORD_HEADER - 12, "atk-I11: a damaged header is told from an absent one");
	size_t read = 0;
	for (size_t n = 0; n < head; n++) {
		struct view v = view_first(buf_view(&b), n);
		read += record_header_get(v, 77, &got, &damaged) && n < RECORD_HEADER;
		if (record_header_get(buf_view(&b), 77, &got, &damaged))
			read += record_envelope_get(&got, view_skip(v, RECORD_HEADER), &a, &env) &&
			    n != head;
	}
	is_int(read, 0, "atk-I11: no torn head passes");
	arena_free(&a);
	buf_free(&b);
}

/* Lengths and tags that lie, under a correct sum: as if the writer had been taken over. */
static bool
envelope_passes(const char *bytes, size_t n)
{
	struct arena a = { 0 };
	struct envelope env;
	struct record r = { .gen = 1, .qid = 1, .envelope_len = (uint32_t)n,
		.envelope_crc = crc32c(0, bytes, n) };
	bool ok = record_envelope_get(&r, view_of(bytes, n), &a, &env);

	arena_free(&a);
	return ok;
}

#define PASSES(lit) envelope_passes("" lit, sizeof(lit) - 1)
static void
test_hostile(void)
{
	ok(PASSES("\0\x0e\0\0\0\x09\0\x01\0\0\0\x03" "a@b"), "one recipient is enough");
	ok(PASSES("\x77\x77\0\0\0\x02zz\0\x0e\0\0\0\x09\0\x01\0\0\0\x03" "a@b"),
	    "an unknown tag is skipped");
	ok(PASSES("\0\x0e\0\0\0\x11\0\x01\0\0\0\x03" "a@b\x10\0\0\0\0\x02zz"),
	    "an unknown tag inside a recipient is skipped");
	ok(!PASSES(""), "no recipient");
	ok(!PASSES("\0\x0e\0\0\0\0"), "a recipient without an address");
	ok(!PASSES("\0\x0e\xff\xff\xff\xff"), "a length over everything");
	ok(!PASSES("\0\x0e\0\0\0\x09\0\x01\0\0\0\x04" "a@b"), "an inner length over the outer one");
	ok(!PASSES("\0\x0e\0\0\0\x09\0\x01\0\0\0\x03" "a\nb"), "atk-C7: a newline in an address");
	ok(!PASSES("\0\x0e\0\0\0\x09\0\x01\0\0\0\x03" "a@b\0\x0a\0\0\0\x01\x01"),
	    "a number of the wrong width");
	ok(!PASSES("\0\x0e\0\0\0\x09\0\x01\0\0\0\x03" "a@b\0"), "half a tag at the end");
}

static void
test_limits(void)
{
	struct envelope env = sample();

	is_int(record_length(&env, 100, 10, 100), 320, "length: 64 + 100 + 10 + 100, aligned");
	is_int(record_length(&env, 100, 10, 1ull << 33), 0, "over 4 GiB: refused");
	env.nrcpt = 0;
	is_int(record_length(&env, 100, 10, 100), 0, "no recipient: refused");
}

static void
test_marks(void)
{
	struct buf b = BUF_INIT(65536);
	struct done_mark m = { qid_make(5, 1), 3 }, got;
	struct segment_header h = { 5, 1 << 20, 99, 1 << 16 }, hgot;

	done_mark_put(&b, 9, &m);
	is_int(buf_len(&b), DONE_MARK, "a done mark has its size");
	ok(done_mark_get(buf_view(&b), 9, &got) && got.qid == m.qid && got.rcpt == 3, "done mark");
	ok(!done_mark_get(buf_view(&b), 8, &got), "not one of another generation");
	b.p[10] ^= 1;
	ok(!done_mark_get(buf_view(&b), 9, &got), "nor a damaged one");
	buf_clear(&b);
	end_mark_put(&b, 9);
	is_int(buf_len(&b), END_MARK, "an end mark has its size");
	ok(end_mark_is(buf_view(&b), 9) && !end_mark_is(buf_view(&b), 8), "end mark");
	buf_clear(&b);
	segment_header_put(&b, &h);
	is_int(buf_len(&b), SEGMENT_DATA, "a segment header has its size");
	ok(segment_header_get(buf_view(&b), &hgot) && hgot.gen == 5 && hgot.size == 1 << 20 &&
		hgot.created_us == 99, "segment header");
	b.p[20] ^= 1;
	ok(segment_header_get(buf_view(&b), &hgot) && hgot.gen == 5, "its second copy stands in");
	b.p[SEGMENT_DATA / 2 + 20] ^= 1;
	ok(!segment_header_get(buf_view(&b), &hgot), "damaged twice: refused");
	buf_free(&b);
}

int
main(void)
{
	test_writer_is_strict();
	test_crc();
	test_qid();
	test_round_trip();
	test_damage();
	test_hostile();
	test_limits();
	test_marks();
	return done_testing();
}
