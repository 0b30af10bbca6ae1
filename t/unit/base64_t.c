/* SPDX-License-Identifier: ISC */
/*
 * base64 (RFC 4648) and xtext (RFC 3461) at every length; copies are exact, so that sanitizers see one byte
 * too many.
 */
#include <string.h>

#include "lib/addr.h"
#include "t/tap.h"

enum { LENGTH_MAX = 4100 };

/* The specification, slowly: digit by digit. -1: not valid. */
static ptrdiff_t
reference_decode(const char *p, size_t n, unsigned char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t pads = 0, bits = 0, have = 0;
	uint32_t acc = 0;

	if (n % 4)
		return -1;
	while (pads < 2 && pads < n && p[n - 1 - pads] == '=')
		pads++;
	for (size_t i = 0; i < n - pads; i++) {
		const char *d = p[i] ? strchr(digits, p[i]) : NULL;
		if (d == NULL)
			return -1;
		acc = (acc << 6 | (uint32_t)(d - digits)) & 0xffff;
		if ((bits += 6) >= 8) {
			bits -= 8;
			out[have++] = (unsigned char)(acc >> bits);
		}
	}
	return acc & ((1u << bits) - 1) ? -1 : (ptrdiff_t)have;
}

/* Our answer, on an exact copy and with the smallest limit that must do, against the reference's. */
static bool
same(const char *text, size_t n)
{
	unsigned char *want = x_malloc(n + 1);
	char *copy = x_malloc(n ? n : 1);
	ptrdiff_t len = reference_decode(text, n, want);
	struct buf out = BUF_INIT(n ? n / 4 * 3 : 1);

	if (n)
		memcpy(copy, text, n);
	bool good = base64_decode(view_of(copy, n), &out);
	bool equal = good == (len >= 0) && (!good || view_eq(buf_view(&out), view_of(want, (size_t)len)));
	buf_free(&out);
	if (good && len > 0) { /* a limit one byte below is respected */
		struct buf small = BUF_INIT((size_t)len - 1);
		equal = equal && !base64_decode(view_of(copy, n), &small) && buf_len(&small) < (size_t)len;
		buf_free(&small);
	}
	free(copy);
	free(want);
	return equal;
}

static void
every_length(void)
{
	static const char odd[] = { '=', '*', '\0', '\n', '-', '_', ' ', (char)0x80, (char)0xff, '@', '[',
		'`', '{', '/', ':' };
	char text[LENGTH_MAX + 1];
	bool plain = true, spoiled = true, padded = true;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "QWxhZGRpbjpvcGVu"[i % 16];
	for (size_t n = 0; n <= LENGTH_MAX; n++) {
		plain = plain && same(text, n);
		for (size_t pads = 1; pads <= 4 && pads <= n; pads++) {
			char saved[4];
			memcpy(saved, text + n - pads, pads);
			memset(text + n - pads, '=', pads);
			padded = padded && same(text, n);
			if (pads < n) { /* bits that no byte uses */
				char last = text[n - pads - 1];
				text[n - pads - 1] = 'B';
				padded = padded && same(text, n);
				text[n - pads - 1] = last;
			}
			memcpy(text + n - pads, saved, pads);
		}
		const size_t places[] = { 0, n / 2, n > 4 ? n - 4 : 0, n > 3 ? n - 3 : 0, n > 2 ? n - 2 : 0,
			n - 1 };
		for (size_t i = 0; n && i < sizeof(places) / sizeof(places[0]); i++) {
			char saved = text[places[i]];
			text[places[i]] = odd[(n + i) % sizeof(odd)];
			spoiled = spoiled && same(text, n);
			text[places[i]] = saved;
		}
	}
	ok(plain, "atk-C1 every length 0..%d", LENGTH_MAX);
	ok(padded, "atk-C1 every length with 1 to 4 signs of padding, and with bits behind the value");
	ok(spoiled, "atk-C1 every length with a wrong byte at its start, middle and end");
}

static void
every_byte(void)
{
	bool good = true;

	for (int place = 0; place < 8; place++)
		for (int c = 0; c < 256; c++) {
			char text[] = "QUJDRUZH";
			text[place] = (char)c;
			good = good && same(text, 8);
		}
	ok(good, "atk-C1 every byte at every place of two groups");
}

/* One text for one value: what RFC 4648, 3.5 lets a decoder refuse. */
static void
canonical(void)
{
	static const char *const wrong[] = { "A", "AA", "AAA", "AA=A", "A===", "====", "AB==", "AAB=",
		"AA==AAAA", "AAA=AAA=", "AAAA\r\n==" };
	struct buf out = BUF_INIT(64);

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		buf_clear(&out);
		ok(!base64_decode(view_str(wrong[i]), &out), "not canonical: row %zu", i);
	}
	buf_free(&out);
}

static void
both_ways(void)
{
	struct buf raw = BUF_INIT(LENGTH_MAX), text = BUF_INIT(2 * LENGTH_MAX), back = BUF_INIT(LENGTH_MAX);
	bool base64 = true, xtext = true;

	for (int n = 0; n <= LENGTH_MAX; n++) {
		buf_clear(&text);
		buf_clear(&back);
		base64_encode(buf_view(&raw), &text);
		base64 = base64 && buf_len(&text) == (buf_len(&raw) + 2) / 3 * 4 &&
		    base64_decode(buf_view(&text), &back) && view_eq(buf_view(&back), buf_view(&raw));
		buf_putc(&raw, (char)(n * 151 >> 3));
	}
	buf_clear(&raw);
	for (int n = 0; n <= 1000; n++) {
		struct buf coded = BUF_INIT(4000);
		buf_clear(&back);
		xtext_encode(buf_view(&raw), &coded);
		xtext = xtext && xtext_decode(buf_view(&coded), (size_t)n, &back) &&
		    view_eq(buf_view(&back), buf_view(&raw));
		buf_clear(&back);
		xtext = xtext && (n == 0 || !xtext_decode(buf_view(&coded), (size_t)n - 1, &back));
		buf_putc(&raw, (char)(0x20 + n % 0x5f));
		buf_free(&coded);
	}
	ok(base64, "atk-C1 what is encoded reads back, every length 0..%d", LENGTH_MAX);
	ok(xtext, "D02 atk-C9 xtext reads back at every length, and its limit holds");
	buf_free(&raw);
	buf_free(&text);
	buf_free(&back);
}

/* "+HH" for every HH: printable ones and 8-bit are taken, what could end a line or a record is not. */
static void
every_hexchar(void)
{
	struct buf out = BUF_INIT(16);
	bool good = true;

	for (int c = 0; c < 256; c++) {
		char text[8];
		snprintf(text, sizeof(text), "a+%02X", c);
		buf_clear(&out);
		good = good && xtext_decode(view_str(text), 8, &out) == (c >= 0x20 && c != 0x7f);
		for (size_t cut = 2; cut < 4; cut++) {
			char *copy = x_strndup(view_first(view_str(text), cut));
			buf_clear(&out);
			good = good && !xtext_decode(view_of(copy, cut), 8, &out);
			free(copy);
		}
	}
	ok(good, "atk-C7 atk-C9 no control byte comes out of xtext, and a cut one is refused");
	buf_free(&out);
}

int
main(void)
{
	every_length();
	every_byte();
	canonical();
	both_ways();
	every_hexchar();
	return done_testing();
}
