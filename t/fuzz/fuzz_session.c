/* SPDX-License-Identifier: ISC */
/*
 * A whole session: the first byte chooses the listener, the second where the rest is cut into pieces.
 * Where the order of bytes alone decides, the replies are the same however the bytes come (P01), but for
 * queue ids. ATTACKS A1-A9, B1, B2, D1, D4, J8; the rig has the rest.
 */
#include <string.h>

#include "t/fuzz/smtpd_rig.h"

enum { PIECES = 6 };

/* Replies without queue ids and nonces, the only things in them that are new each time. */
static void
put_masked(struct buf *out, struct view v)
{
	static const char mark[] = "queued as ";

	while (v.n) {
		struct view line = view_cut(&v, '\n');
		for (size_t i = 0; i + sizeof(mark) - 1 <= line.n; i++)
			if (view_starts(view_skip(line, i), mark))
				line = view_first(line, i);
		if (view_starts(line, "334"))
			line = view_first(line, 3);
		buf_putv(out, line);
		buf_putc(out, '\n');
	}
}

/* A session that ended while recipients were gathered for one question: how many depends on the pieces. */
static bool
gave_up(const struct buf *replies)
{
	static const char text[] = "Temporary lookup failure";

	return memmem(buf_view(replies).p, buf_len(replies), text, sizeof(text) - 1) != NULL;
}

/* The replies to the bytes, sent in pieces: one of `first` bytes, then equal ones. */
static void
run(struct rig *d, unsigned listener, struct view in, size_t first, unsigned pieces, struct buf *replies)
{
	struct client c;

	rig_connect(d, listener, &c);
	size_t rest = in.n - view_first(in, first).n, each = rest / pieces + 1;
	for (size_t n = first; in.n; n = each) {
		rig_send(d, &c, view_first(in, n ? n : each));
		in = view_skip(in, n ? n : each);
	}
	rig_end(d, listener, &c);
	put_masked(replies, buf_view(&c.got));
	buf_free(&c.got);
}

void
fuzz_one(struct view in)
{
	struct buf whole = BUF_INIT(16 << 20), split = BUF_INIT(16 << 20);
	struct rig *d = rig_get();
	unsigned listener = in.n ? (unsigned char)in.p[0] % RIG_LISTENERS : 0;
	size_t first = in.n > 1 ? (unsigned char)in.p[1] : 0;

	in = view_skip(in, 2);
	run(d, listener, in, first, PIECES, &split);
	if (listener < RIG_MX) {
		run(d, listener, in, in.n, 1, &whole);
		REQUIRE(gave_up(&whole) || gave_up(&split) || view_eq(buf_view(&whole), buf_view(&split)));
	}
	buf_free(&whole);
	buf_free(&split);
}
