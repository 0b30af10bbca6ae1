/* SPDX-License-Identifier: ISC */
/* Spool bytes: segment header, records, envelopes, done marks, queue ids; as replay walks them (ATTACKS I11). */
#include "lib/durable.h"
#include "lib/segment.h"
#include "t/fuzz/fuzz.h"

static void
walk(struct view in, uint64_t gen)
{
	struct arena a = { 0 };
	struct envelope env;
	struct record r;
	bool damaged;

	while (in.n) {
		if (!record_header_get(in, gen, &r, &damaged)) {
			in = view_skip(in, SEGMENT_ALIGN);
			continue;
		}
		REQUIRE(r.length >= RECORD_HEADER && r.length % SEGMENT_ALIGN == 0);
		struct view bytes = view_first(view_skip(in, RECORD_HEADER), r.envelope_len);
		if (record_envelope_get(&r, bytes, &a, &env))
			REQUIRE(env.nrcpt <= RCPTS_MAX);
		arena_free(&a);
		in = view_skip(in, r.length);
	}
}

/* An envelope that was accepted is written again and accepted again. */
static void
envelope(struct view in)
{
	struct arena a = { 0 }, b = { 0 };
	struct buf out = BUF_INIT(1 << 24);
	struct envelope env = { 0 }, again;
	/* A record that fits it, so that the checks behind the checksum are reached. */
	struct record r = { .envelope_len = (uint32_t)in.n, .envelope_crc = crc32c(0, in.p, in.n),
		.flags = SEGMENT_BIG };

	if (record_envelope_get(&r, in, &a, &env)) {
		record_head_put(&out, 7, &env, 0, 0, 0, &r);
		if (!out.bad) {
			bool damaged;
			struct record s;
			REQUIRE(record_header_get(buf_view(&out), 7, &s, &damaged));
			struct view bytes = view_first(view_skip(buf_view(&out), RECORD_HEADER), s.envelope_len);
			REQUIRE(record_envelope_get(&s, bytes, &b, &again));
			REQUIRE(again.nrcpt == env.nrcpt && view_eq(again.sender, env.sender));
		}
	}
	buf_free(&out);
	arena_free(&a);
	arena_free(&b);
}

void
fuzz_one(struct view in)
{
	struct segment_header h;
	struct done_mark m;
	uint64_t qid;
	char text[QID_CHARS + 1];

	(void)segment_header_get(in, &h);
	(void)done_mark_get(in, 7, &m);
	if (qid_parse(in, &qid))
		REQUIRE(view_eq(view_str(qid_text(qid, text)), in));
	walk(in, 7);
	envelope(in);
}
