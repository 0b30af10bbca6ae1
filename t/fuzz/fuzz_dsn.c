/* SPDX-License-Identifier: ISC */
/*
 * Reports: whatever the failed message, its addresses and the remote replies are, the report is wire-form,
 * 7-bit text of the parts it should have, and nothing of theirs begins a line of ours (ATTACKS F7, G1).
 */
#include <string.h>

#include "bounce/dsn.h"
#include "lib/arena.h"
#include "lib/header.h"
#include "t/fuzz/fuzz.h"

/* Text of a field, as the codec lets it through: without control bytes. */
static struct view
take_text(struct view *in, struct arena *a, size_t max)
{
	uint8_t n = view_get_u8(in);
	struct view v = fuzz_take(in, n < max ? n : max);

	char *copy = arena_alloc(a, v.n + 1);
	for (size_t i = 0; i < v.n; i++)
		copy[i] = (unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f ? '~' : v.p[i];
	return view_of(copy, v.n);
}

static struct view
take_addr(struct view *in, struct arena *a)
{
	struct view v = take_text(in, a, 100);
	char *copy = arena_alloc(a, v.n + sizeof("\"\"@d.test"));
	size_t n = 0;

	/* What the codec calls an address: blanks and the like inside quotes only. */
	copy[n++] = '"';
	for (size_t i = 0; i < v.n; i++)
		copy[n++] = v.p[i] == '"' || v.p[i] == '\\' ? '_' : v.p[i];
	memcpy(copy + n, "\"@d.test", 8);
	return view_of(copy, n + 8);
}

static void
take_rcpts(struct view *in, struct arena *a, struct buf *out)
{
	for (unsigned n = view_get_u8(in) % 5u + 1, i = 0; i < n; i++)
		IPC_RECORD(out, report_rcpt, .index = i, .rcpt = take_addr(in, a),
		    .orcpt = take_text(in, a, 200), .code = view_get_u16(in), .esc = view_get_u32(in),
		    .text = take_text(in, a, 255), .remote = view_get_u8(in) & 1,
		    .relay = take_text(in, a, 100), .last_attempt_us = view_get_u64(in) >> 8);
}

static void
check(struct view v)
{
	size_t line = 0;

	REQUIRE(v.n > 2 && v.p[v.n - 1] == '\n');
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		REQUIRE(c < 0x80 && c != 0);
		REQUIRE(c != '\r' || (i + 1 < v.n && v.p[i + 1] == '\n'));
		if (c == '\n') {
			REQUIRE(i && v.p[i - 1] == '\r');
			line = 0;
		} else {
			REQUIRE(++line <= 1000);
		}
	}
}

/* Fields of the report itself, by our own scanner: each is there once. */
static void
scan(struct view message)
{
	struct header_list list;
	struct header_scan s;
	struct buf out = BUF_INIT(8 << 20), stuffed = BUF_INIT(16 << 20);

	for (struct view v = message; v.n;) {
		struct view l = view_cut(&v, '\n');
		if (l.n && l.p[0] == '.')
			buf_putc(&stuffed, '.');
		buf_putv(&stuffed, l);
		buf_putc(&stuffed, '\n');
	}
	buf_puts(&stuffed, ".\r\n");
	header_list_init(&list, 100000);
	header_scan_init(&s, 2000, 100000, &list);
	struct view v = buf_view(&stuffed);
	REQUIRE(header_scan_data(&s, &v, &out) == SCAN_END && s.fault == HEADER_GOOD && v.n == 0);
	REQUIRE(list.counts[HEADER_FROM] == 1 && list.counts[HEADER_TO] == 1 && list.count < 20);
	header_list_free(&list);
	buf_free(&out);
	buf_free(&stuffed);
}

void
fuzz_one(struct view in)
{
	struct arena a = { 0 };
	struct buf rcpts = BUF_INIT(1 << 20);
	struct dsn_text t;
	struct dsn d = { .hostname = VIEW("mta.test"), .postmaster = VIEW("postmaster@mta.test"), .qid = "0000000000001" };

	dsn_text_init(&t);
	d.kind = view_get_u8(&in) % 3u + 1;
	d.ret = view_get_u8(&in) % 3u;
	d.sender = take_addr(&in, &a);
	d.now_us = view_get_u64(&in) >> 8;
	d.arrival_us = view_get_u64(&in) >> 8;
	d.expires_us = view_get_u64(&in) >> 8;
	d.envid = take_text(&in, &a, 100);
	take_rcpts(&in, &a, &rcpts);
	d.rcpts = buf_view(&rcpts);
	d.original = view_bad(in) ? VIEW("") : view_first(in, DSN_ORIGINAL_MAX);
	d.original_size = d.original.n + (d.ret == 2 ? 100000 : 0);
	if (!rcpts.bad && dsn_write(&d, &t) == 0) {
		check(buf_view(&t.message));
		scan(buf_view(&t.message));
	}
	dsn_text_free(&t);
	buf_free(&rcpts);
	arena_free(&a);
}
