/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

enum { BUF_MIN = 256 };

struct view
view_of(const void *p, size_t n)
{
	return (struct view){ p ? p : "", n };
}

struct view
view_str(const char *s)
{
	return (struct view){ s ? s : "", s ? strlen(s) : 0 };
}

bool
view_eq(struct view a, struct view b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool
view_ieq(struct view a, struct view b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

bool
view_is(struct view v, const char *s)
{
	return view_eq(v, view_str(s));
}

bool
view_iis(struct view v, const char *s)
{
	return view_ieq(v, view_str(s));
}

bool
view_is_text(struct view v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c < 0x20 || c == 0x7f)
			return false;
	}
	return true;
}

bool
view_starts(struct view v, const char *s)
{
	size_t n = strlen(s);
	return v.n >= n && memcmp(v.p, s, n) == 0;
}

bool
view_istarts(struct view v, const char *s)
{
	size_t n = strlen(s);
	return v.n >= n && view_ieq(view_first(v, n), view_of(s, n));
}

ptrdiff_t
view_index(struct view v, char c)
{
	const char *q = v.n ? memchr(v.p, c, v.n) : NULL;
	return q ? q - v.p : -1;
}

struct view
view_skip(struct view v, size_t n)
{
	if (n > v.n)
		n = v.n;
	return (struct view){ v.p + n, v.n - n };
}

struct view
view_first(struct view v, size_t n)
{
	return (struct view){ v.p, n < v.n ? n : v.n };
}

struct view
view_trim(struct view v)
{
	while (v.n && (v.p[0] == ' ' || v.p[0] == '\t'))
		v = view_skip(v, 1);
	while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
		v.n--;
	return v;
}

struct view
view_cut(struct view *v, char sep)
{
	ptrdiff_t at = view_index(*v, sep);
	struct view head = at < 0 ? *v : view_first(*v, (size_t)at);
	*v = view_skip(*v, at < 0 ? v->n : (size_t)at + 1);
	return head;
}

bool
view_u64(struct view v, uint64_t max, uint64_t *out)
{
	uint64_t x = 0;

	if (v.n == 0)
		return false;
	for (size_t i = 0; i < v.n; i++) {
		unsigned d = (unsigned)(unsigned char)v.p[i] - '0';
		if (d > 9 || d > max || x > max / 10 || x * 10 > max - d)
			return false;
		x = x * 10 + d;
	}
	*out = x;
	return true;
}

struct view
view_get(struct view *v, size_t n)
{
	struct view out = { "", 0 };

	if (v->p == NULL || v->n < n) {
		*v = (struct view){ NULL, 0 };
		return out;
	}
	out = view_first(*v, n);
	*v = view_skip(*v, n);
	return out;
}

static uint64_t
get_be(struct view *v, size_t n)
{
	struct view b = view_get(v, n);
	uint64_t x = 0;
	for (size_t i = 0; i < b.n; i++)
		x = x << 8 | (unsigned char)b.p[i];
	return x;
}

uint8_t
view_get_u8(struct view *v)
{
	return (uint8_t)get_be(v, 1);
}

uint16_t
view_get_u16(struct view *v)
{
	return (uint16_t)get_be(v, 2);
}

uint32_t
view_get_u32(struct view *v)
{
	return (uint32_t)get_be(v, 4);
}

uint64_t
view_get_u64(struct view *v)
{
	return get_be(v, 8);
}

struct view
view_get_block(struct view *v, size_t max)
{
	uint32_t n = view_get_u32(v);

	if (n > max)
		*v = (struct view){ NULL, 0 };
	return view_get(v, n);
}

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf)BUF_INIT(max);
}

void
buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf)BUF_INIT(b->max);
}

void
buf_clear(struct buf *b)
{
	b->off = b->end = 0;
	b->bad = false;
}

void
buf_wipe(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf_clear(b);
}

/* Makes room for n bytes behind end: first by moving live bytes to the front, then by growing. */
static void
make_room(struct buf *b, size_t n)
{
	size_t live = buf_len(b);

	if (b->cap - b->end >= n)
		return;
	if (b->off && b->cap - live >= n && b->off >= live) {
		memcpy(b->p, b->p + b->off, live);
	} else {
		size_t cap = b->cap ? b->cap : BUF_MIN;
		while (cap - live < n)
			cap *= 2;
		char *p = x_malloc(cap);
		if (live)
			memcpy(p, b->p + b->off, live);
		free(b->p);
		b->p = p;
		b->cap = cap;
	}
	b->off = 0;
	b->end = live;
}

char *
buf_reserve(struct buf *b, size_t n)
{
	if (b->bad || n > b->max - buf_len(b)) {
		b->bad = true;
		return NULL;
	}
	make_room(b, n ? n : 1);
	return b->p + b->end;
}

void
buf_commit(struct buf *b, size_t n)
{
	b->end += n;
}

void
buf_consume(struct buf *b, size_t n)
{
	b->off += n;
	if (b->off == b->end)
		b->off = b->end = 0;
}

void
buf_truncate(struct buf *b, size_t n)
{
	if (n < buf_len(b))
		b->end = b->off + n;
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
	char *room = n ? buf_reserve(b, n) : NULL;

	if (room == NULL)
		return;
	memcpy(room, p, n);
	buf_commit(b, n);
}

void
buf_putv(struct buf *b, struct view v)
{
	buf_put(b, v.p, v.n);
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void
buf_putc(struct buf *b, char c)
{
	buf_put(b, &c, 1);
}

void
buf_put_decimal(struct buf *b, uint64_t x)
{
	char s[20], *p = s + sizeof(s);

	do
		*--p = (char)('0' + x % 10);
	while ((x /= 10) != 0);
	buf_put(b, p, (size_t)(s + sizeof(s) - p));
}

/*
 * What nearly every line is made of: %s %.*s %u %llu %c. false at anything else, which is vsnprintf()'s; for
 * these it would cost more than all other work on a reply or a line of the log.
 */
static bool __attribute__((format(printf, 2, 0)))
put_format(struct buf *b, const char *fmt, va_list ap)
{
	for (;;) {
		const char *at = strchrnul(fmt, '%'), *s;
		buf_put(b, fmt, (size_t)(at - fmt));
		if (*at == '\0')
			return true;
		fmt = at + 2;
		if (at[1] == 's') {
			s = va_arg(ap, const char *);
			buf_puts(b, s ? s : "(null)");
		} else if (strncmp(at, "%.*s", 4) == 0) {
			int n = va_arg(ap, int);
			s = va_arg(ap, const char *);
			buf_put(b, s, n < 0 ? strlen(s) : n ? strnlen(s, (size_t)n) : 0);
			fmt = at + 4;
		} else if (at[1] == 'u') {
			buf_put_decimal(b, va_arg(ap, unsigned));
		} else if (strncmp(at, "%llu", 4) == 0) {
			buf_put_decimal(b, va_arg(ap, unsigned long long));
			fmt = at + 4;
		} else if (at[1] == 'c') {
			buf_putc(b, (char)va_arg(ap, int));
		} else {
			return false;
		}
	}
}

static void __attribute__((format(printf, 2, 0)))
put_any_format(struct buf *b, const char *fmt, va_list ap)
{
	char *text;
	int n = vasprintf(&text, fmt, ap);

	if (n < 0) {
		b->bad = true;
		return;
	}
	buf_put(b, text, (size_t)n);
	free(text);
}

void
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	size_t before = buf_len(b);
	bool bad = b->bad;
	va_list again;

	va_copy(again, ap);
	if (!put_format(b, fmt, ap)) {
		b->bad = bad;
		buf_truncate(b, before);
		put_any_format(b, fmt, again);
	}
	if (b->bad)
		buf_truncate(b, before);
	va_end(again);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

static void
put_be(struct buf *b, uint64_t x, size_t n)
{
	char s[8];

	for (size_t i = n; i-- > 0; x >>= 8)
		s[i] = (char)(unsigned char)(x & 0xff);
	buf_put(b, s, n);
}

void
buf_put_u8(struct buf *b, uint8_t x)
{
	put_be(b, x, 1);
}

void
buf_put_u16(struct buf *b, uint16_t x)
{
	put_be(b, x, 2);
}

void
buf_put_u32(struct buf *b, uint32_t x)
{
	put_be(b, x, 4);
}

void
buf_put_u64(struct buf *b, uint64_t x)
{
	put_be(b, x, 8);
}

void
buf_put_block(struct buf *b, struct view v)
{
	if (v.n > UINT32_MAX) {
		b->bad = true;
		return;
	}
	buf_put_u32(b, (uint32_t)v.n);
	buf_putv(b, v);
}

void
buf_patch_u32(struct buf *b, size_t at, uint32_t x)
{
	if (b->bad || buf_len(b) < 4 || at > buf_len(b) - 4)
		return;
	for (size_t i = 4; i-- > 0; x >>= 8)
		b->p[b->off + at + i] = (char)(unsigned char)(x & 0xff);
}

const char *
buf_cstr(struct buf *b)
{
	make_room(b, 1);
	b->p[b->end] = '\0';
	return b->p + b->off;
}

void *
x_malloc(size_t n)
{
	void *p = malloc(n ? n : 1);
	if (p == NULL)
		abort();
	return p;
}

void *
x_calloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);
	if (p == NULL)
		abort();
	return p;
}

void *
x_realloc(void *p, size_t n, size_t size)
{
	void *q = reallocarray(p, n ? n : 1, size ? size : 1);
	if (q == NULL)
		abort();
	return q;
}

char *
x_strdup(const char *s)
{
	return x_strndup(view_str(s));
}

char *
x_strndup(struct view v)
{
	char *s = x_malloc(v.n + 1);
	if (v.n)
		memcpy(s, v.p, v.n);
	s[v.n] = '\0';
	return s;
}
