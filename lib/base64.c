/* SPDX-License-Identifier: ISC */
#include "lib/addr.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 0..63, or -1. */
static int
value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four characters with `n` (2..4) that are not padding. */
static bool
decode_group(const char *p, size_t n, struct buf *out)
{
	uint32_t x = 0;

	for (size_t i = 0; i < 4; i++) {
		int digit = i < n ? value_of(p[i]) : 0;
		if (digit < 0)
			return false;
		x = x << 6 | (uint32_t)digit;
	}
	/* Bits that no byte uses must be zero: one text for one value. */
	if ((n == 2 && (x & 0xffff)) || (n == 3 && (x & 0xff)))
		return false;
	for (size_t i = 0; i + 1 < n; i++)
		buf_put_u8(out, (uint8_t)(x >> (16 - 8 * i) & 0xff));
	return true;
}

bool
base64_decode(struct view v, struct buf *out)
{
	if (v.n % 4)
		return false;
	for (; v.n; v = view_skip(v, 4)) {
		size_t n = 4;
		if (v.n == 4)
			while (n > 2 && v.p[n - 1] == '=')
				n--;
		if (!decode_group(v.p, n, out))
			return false;
	}
	return !out->bad;
}

void
base64_encode(struct view v, struct buf *out)
{
	while (v.n) {
		struct view in = view_first(v, 3);
		uint32_t x = 0;
		char group[4];

		for (size_t i = 0; i < 3; i++)
			x = x << 8 | (i < in.n ? (unsigned char)in.p[i] : 0u);
		for (size_t i = 0; i < 4; i++)
			group[i] = i <= in.n ? alphabet[x >> (18 - 6 * i) & 63] : '=';
		buf_put(out, group, sizeof(group));
		v = view_skip(v, in.n);
	}
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
xtext_decode(struct view v, size_t max, struct buf *out)
{
	size_t taken = 0;

	while (v.n) {
		unsigned char c = (unsigned char)v.p[0];
		if (c == '+') {
			int high = v.n > 2 ? hex_value(v.p[1]) : -1;
			int low = v.n > 2 ? hex_value(v.p[2]) : -1;
			if (high < 0 || low < 0)
				return false;
			c = (unsigned char)(high << 4 | low);
			if (c < 0x20 || c == 0x7f)
				return false;
			v = view_skip(v, 3);
		} else if (c > 0x20 && c < 0x7f && c != '=') {
			v = view_skip(v, 1);
		} else {
			return false;
		}
		if (++taken > max)
			return false;
		buf_put_u8(out, c);
	}
	return !out->bad;
}

void
xtext_encode(struct view v, struct buf *out)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c > 0x20 && c < 0x7f && c != '+' && c != '=')
			buf_putc(out, v.p[i]);
		else
			buf_printf(out, "+%02X", c);
	}
}
