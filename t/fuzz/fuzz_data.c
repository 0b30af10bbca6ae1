/* SPDX-License-Identifier: ISC */
/*
 * DATA framing: the first byte chooses how the rest is split. However it is split, the scanner must see
 * the same message, and what it accepts must hold no bare CR, bare LF or NUL (ATTACKS A1-A9).
 */
#include <string.h>

#include "lib/header.h"
#include "t/fuzz/fuzz.h"

struct outcome {
	enum scan_result result;
	struct header_scan scan;
	struct header_list list;
	struct buf out;
	size_t left;
};

/* Whoever is shown to others as the author is an address. */
static void
check_mailbox(void *ctx, const struct addr *a)
{
	struct addr again;

	(void)ctx;
	REQUIRE(a->local.n && a->domain.n);
	REQUIRE(addr_parse(addr_whole(a), 0, &again, NULL) == 0);
}

static void
read_fields(const struct header_list *l)
{
	for (uint32_t i = 0; i < l->count; i++) {
		struct view value = header_list_value(l, i);
		REQUIRE(view_index(header_list_name(l, i), ':') < 0);
		(void)header_from_read(value, check_mailbox, NULL);
		(void)header_msgid(value);
	}
}

static void
scan(struct view in, size_t step, struct outcome *o)
{
	header_list_init(&o->list, 8000);
	header_scan_init(&o->scan, 200, 4000, &o->list);
	buf_init(&o->out, 1 << 20);
	o->result = SCAN_MORE;
	while (in.n && o->result == SCAN_MORE) {
		struct view piece = view_first(in, step);
		size_t given = piece.n;
		o->result = header_scan_data(&o->scan, &piece, &o->out);
		in = view_skip(in, given - piece.n);
	}
	o->left = in.n;
	read_fields(&o->list);
}

static void
check_accepted(struct view out)
{
	for (size_t i = 0; i < out.n; i++) {
		REQUIRE(out.p[i] != '\0');
		if (out.p[i] == '\n')
			REQUIRE(i > 0 && out.p[i - 1] == '\r');
		if (out.p[i] == '\r')
			REQUIRE(i + 1 < out.n && out.p[i + 1] == '\n');
	}
}

void
fuzz_one(struct view in)
{
	struct outcome whole, split;
	size_t step = in.n ? (unsigned char)in.p[0] % 17 + 1u : 1;

	in = view_skip(in, 1);
	scan(in, in.n ? in.n : 1, &whole);
	scan(in, step, &split);
	REQUIRE(whole.result == split.result && whole.left == split.left);
	REQUIRE(whole.scan.fault == split.scan.fault);
	if (whole.result == SCAN_END && whole.scan.fault == HEADER_GOOD) {
		struct buf a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);
		REQUIRE(header_list_hops(&whole.list) == header_list_hops(&split.list));
		header_list_write(&whole.list, &a);
		header_list_write(&split.list, &b);
		buf_putv(&a, buf_view(&whole.out));
		buf_putv(&b, buf_view(&split.out));
		REQUIRE(view_eq(buf_view(&a), buf_view(&b)));
		check_accepted(buf_view(&a));
		REQUIRE(whole.scan.eight_bit == split.scan.eight_bit && whole.scan.dots == split.scan.dots);
		REQUIRE(whole.scan.size == buf_len(&a));
		buf_free(&a);
		buf_free(&b);
	}
	header_list_free(&whole.list);
	header_list_free(&split.list);
	buf_free(&whole.out);
	buf_free(&split.out);
}
