/* SPDX-License-Identifier: ISC */
#include <limits.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/esc.h"
#include "t/tap.h"

static void
views(void)
{
	struct view v = VIEW("a,b,,c");
	uint64_t x = 7;

	is_view(view_cut(&v, ','), "a", "cut takes the first part");
	is_view(view_cut(&v, ','), "b", "cut takes the second part");
	is_view(view_cut(&v, ','), "", "cut keeps an empty part");
	is_view(view_cut(&v, ','), "c", "cut takes the rest");
	ok(v.n == 0 && v.p, "cut leaves an empty view");
	is_view(view_trim(VIEW(" \t x y\t")), "x y", "trim takes blanks at both ends only");
	ok(view_iis(VIEW("StartTLS"), "STARTTLS"), "case-insensitive compare");
	ok(!view_iis(VIEW("STARTTL["), "STARTTL{"), "only letters fold: [ is not {");
	ok(view_istarts(VIEW("mail from:"), "MAIL"), "case-insensitive prefix");
	ok(view_u64(VIEW("18446744073709551615"), UINT64_MAX, &x) && x == UINT64_MAX, "largest u64");
	ok(!view_u64(VIEW("18446744073709551616"), UINT64_MAX, &x), "P09 one more does not wrap");
	ok(!view_u64(VIEW("99999999999999999999"), UINT64_MAX, &x), "P09 twenty digits do not wrap");
	ok(!view_u64(VIEW("-1"), 10, &x) && !view_u64(VIEW(""), 10, &x), "no sign, not empty");
	ok(!view_u64(VIEW("11"), 10, &x) && view_u64(VIEW("10"), 10, &x), "the limit is inclusive");
	ok(!view_u64(VIEW("9"), 3, &x) && view_u64(VIEW("3"), 3, &x), "a limit of one digit");
}

static void
integers(void)
{
	struct buf b = BUF_INIT(100);

	buf_put_u8(&b, 0x12);
	buf_put_u16(&b, 0x3456);
	buf_put_u32(&b, 0x789abcde);
	buf_put_u64(&b, 0x1122334455667788);
	buf_put_block(&b, VIEW("xy"));
	struct view v = buf_view(&b);
	is_int(v.n, 1 + 2 + 4 + 8 + 4 + 2, "big-endian integers have fixed widths");
	is_int((unsigned char)v.p[1], 0x34, "high byte first");
	is_int(view_get_u8(&v), 0x12, "u8");
	is_int(view_get_u16(&v), 0x3456, "u16");
	is_int(view_get_u32(&v), 0x789abcde, "u32");
	is_int((long long)view_get_u64(&v), 0x1122334455667788, "u64");
	is_view(view_get_block(&v, 2), "xy", "block");
	ok(view_done(v), "everything was read");
	is_int(view_get_u8(&v), 0, "reading past the end gives zero");
	ok(view_bad(v) && !view_done(v), "and makes the view bad");
	is_int(view_get_u8(&v), 0, "for good");

	struct view w = buf_view(&b);
	w = view_skip(w, 15);
	view_get_block(&w, 1);
	ok(view_bad(w), "a block over its limit is bad");
	buf_free(&b);
}

static void
limits(void)
{
	struct buf b = BUF_INIT(5);

	buf_puts(&b, "abc");
	buf_puts(&b, "def");
	ok(b.bad, "an append over the limit sets bad");
	buf_putc(&b, 'x');
	is_view(buf_view(&b), "abc", "and nothing is appended from then on");
	buf_clear(&b);
	buf_puts(&b, "abcde");
	ok(!b.bad && buf_len(&b) == 5, "the limit itself fits");
	ok(buf_reserve(&b, SIZE_MAX) == NULL && b.bad, "a huge reservation does not wrap");
	buf_free(&b);

	buf_init(&b, 1 << 20);
	for (int i = 0; i < 5000; i++) {
		buf_printf(&b, "%06d", i);
		if (i % 3 == 0)
			buf_consume(&b, 6);
	}
	is_view(view_first(buf_view(&b), 6), "001667", "consuming at the front keeps the order");
	is_int((long long)buf_len(&b), (5000 - 1667) * 6, "and the length");
	buf_truncate(&b, 6);
	is_str(buf_cstr(&b), "001667", "buf_cstr ends with NUL");
	buf_clear(&b);
	buf_printf(&b, "%0700d", 1);
	is_int((long long)buf_len(&b), 700, "a long one");
	buf_free(&b);
}

/* As the C library writes it. */
#define SAME(...)                                                                                  \
	do {                                                                                       \
		char want[256];                                                                    \
		snprintf(want, sizeof(want), __VA_ARGS__);                                         \
		buf_clear(&b);                                                                     \
		buf_puts(&b, "x");                                                                 \
		buf_printf(&b, __VA_ARGS__);                                                       \
		is_view(view_skip(buf_view(&b), 1), want, "printf %s", #__VA_ARGS__);             \
	} while (0)

static void
formats(void)
{
	static const char unended[3] = { 'a', 'b', 'c' };
	const char *volatile none = NULL;
	struct buf b = BUF_INIT(1000);

	SAME("plain");
	SAME("%s", "");
	SAME("<%s> %s", "one", "two");
	SAME("%s", none);
	SAME("%.*s|%.*s|%.*s", 3, unended, 0, unended, -1, "all");
	SAME("%.*s", 10, "short");
	SAME("%u %u %u", 0u, 10u, UINT_MAX);
	SAME("%llu %llu", 0ULL, ULLONG_MAX);
	SAME("%c%c", 'a', '.');
	SAME("%s: %u %d %s", "left to the library", 7u, -7, "behind it");
	SAME("%u%% %03u %-6s|%6.2s|%x %zu", 50u, 7u, "ab", "abc", 255u, (size_t)9);
	buf_free(&b);

	buf_init(&b, 10);
	buf_puts(&b, "ab");
	buf_printf(&b, "%s and %s", "cdef", "more than fits");
	is_view(buf_view(&b), "ab", "what does not fit is not begun");
	ok(b.bad, "and sets bad");
	buf_free(&b);
}

static void
arenas(void)
{
	struct arena a = { 0 };
	char *first = arena_str(&a, VIEW("first"));
	for (int i = 0; i < 1000; i++)
		memset(arena_alloc(&a, 100), 'x', 100);
	is_str(first, "first", "arena memory stays where it is");
	ok((uintptr_t)arena_alloc(&a, 1) % _Alignof(max_align_t) == 0, "aligned");
	arena_free(&a);
	ok(a.head == NULL && a.size_bytes == 0, "one call frees it");
}

static void
codes(void)
{
	static const struct {
		const char *text, *code, *rest;
	} t[] = {
		{ "5.1.1 user unknown", "5.1.1", "user unknown" },
		{ "2.0.0", "2.0.0", "" },
		{ "4.7.500  busy", "4.7.500", "busy" },
		{ "5.7.2\tx", "5.7.2", "x" },
		{ "3.1.1 x", NULL, NULL },
		{ "5.1 x", NULL, NULL },
		{ "5.1.1x", NULL, NULL },
		{ "5.1.1234 x", NULL, NULL },
		{ "5..1 x", NULL, NULL },
		{ "5.7.", NULL, NULL },
		{ "", NULL, NULL },
		{ "192.0.2.1 said", NULL, NULL },
	};
	char text[ESC_TEXT_MAX];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct view v = view_str(t[i].text), before = v;
		struct esc e = { 0 };
		bool got = esc_take(&v, &e);
		ok(got == (t[i].code != NULL), "S41 \"%s\" is %sa code", t[i].text, t[i].code ? "" : "not ");
		if (t[i].code) {
			is_str(esc_text(e, text), t[i].code, "S41 its value");
			is_view(v, t[i].rest, "S41 what follows");
			is_str(esc_text(esc_unpack(esc_pack(e)), text), t[i].code, "pack and unpack");
		} else {
			ok(v.p == before.p && v.n == before.n, "and the text is untouched");
		}
	}
}

int
main(void)
{
	views();
	integers();
	limits();
	formats();
	arenas();
	codes();
	return done_testing();
}
