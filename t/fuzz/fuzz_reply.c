/* SPDX-License-Identifier: ISC */
/* SMTP replies: the same at every split; text without control bytes; limits hold (ATTACKS G1, G2). */
#include "lib/reply.h"
#include "t/fuzz/fuzz.h"

/* What the parser leaves (an incomplete line) stays in front of the next piece, as in a session. */
static enum reply_result
parse(struct view in, size_t step, struct reply *r, size_t *left)
{
	enum reply_result result = REPLY_MORE;
	struct buf hold = BUF_INIT(1 << 20);
	struct err e;

	reply_init(r);
	while (in.n && result == REPLY_MORE) {
		buf_putv(&hold, view_first(in, step));
		in = view_skip(in, step);
		struct view v = buf_view(&hold);
		result = reply_parse(r, &v, &e);
		buf_consume(&hold, buf_len(&hold) - v.n);
	}
	*left = in.n + buf_len(&hold);
	buf_free(&hold);
	return result;
}

void
fuzz_one(struct view in)
{
	struct reply a, b;
	size_t step = in.n ? (unsigned char)in.p[0] % 13 + 1u : 1, left_a, left_b;
	struct buf flat = BUF_INIT(1 << 16);
	struct esc esc;

	in = view_skip(in, 1);
	enum reply_result ra = parse(in, in.n ? in.n : 1, &a, &left_a);
	enum reply_result rb = parse(in, step, &b, &left_b);
	REQUIRE(ra == rb);
	if (ra == REPLY_DONE) {
		REQUIRE(left_a == left_b && a.code == b.code && a.lines == b.lines);
		REQUIRE(view_eq(buf_view(&a.text), buf_view(&b.text)));
		REQUIRE(a.code >= 200 && a.code <= 599 && a.lines <= REPLY_LINES_MAX);
		reply_flat(&a, &flat);
		for (size_t i = 0; i < buf_len(&flat); i++)
			REQUIRE((unsigned char)buf_view(&flat).p[i] >= 0x20);
		(void)reply_class(a.code, a.esc, REPLY_AT_RCPT, buf_view(&flat), &esc);
		if (a.code >= 400)
			REQUIRE(esc.class == 4 || esc.class == 5);
	}
	buf_free(&flat);
	reply_free(&a);
	reply_free(&b);
}
