/* SPDX-License-Identifier: ISC */
/*
 * The streaming scanner. Whole lines of the body in which nothing is special are found 64 bytes at a time
 * (clean_lines); for all else memchr() finds the LF, then whole words of the line are tested for CR, NUL and
 * the eighth bit at once. Unstuffed runs of the body are copied as one piece, header lines one by one into
 * the list.
 */
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "lib/header.h"

/* AT_START: between lines. DOT, DOT_CR: a line so far of "." and ".\r". CR: a line ending in CR. */
enum { AT_START, IN_DOT, IN_DOT_CR, IN_LINE, IN_LINE_CR };

#define BYTES(c) (0x0101010101010101u * (c))
#define HIGH_BITS BYTES(0x80u)

void
header_scan_init(struct header_scan *h, size_t line_max, size_t header_max,
    struct header_list *list)
{
	*h = (struct header_scan){ .line_max = line_max, .header_max = header_max, .list = list,
		.state = AT_START };
}

static void
set_fault(struct header_scan *h, enum header_fault fault)
{
	if (fault > h->fault)
		h->fault = fault;
}

/* Nonzero when a byte of w is zero. */
static uint64_t
zero_byte(uint64_t w)
{
	return (w - BYTES(1u)) & ~w & HIGH_BITS;
}

/* CR or NUL in p[0..n) sets *bad; returns whether a byte is over 0x7f. */
static bool
test_bytes(const char *p, size_t n, bool *bad)
{
	uint64_t high = 0, wrong = 0, w;
	size_t i = 0;

	for (; n - i >= sizeof(w); i += sizeof(w)) {
		memcpy(&w, p + i, sizeof(w));
		high |= w;
		wrong |= zero_byte(w) | zero_byte(w ^ BYTES('\r'));
	}
	if (i < n && n >= sizeof(w)) { /* the tail as a word that overlaps the one before */
		memcpy(&w, p + n - sizeof(w), sizeof(w));
		high |= w;
		wrong |= zero_byte(w) | zero_byte(w ^ BYTES('\r'));
	} else {
		for (; i < n; i++) {
			high |= (unsigned char)p[i];
			wrong |= p[i] == '\r' || p[i] == '\0';
		}
	}
	if (wrong)
		*bad = true;
	return high & HIGH_BITS;
}

/* Takes text of a line up to its LF, or all there is; returns where it stopped. */
static const char *
take_text(struct header_scan *h, const char *p, const char *end)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p));
	const char *stop = lf ? lf + 1 : end, *text = lf ? lf : end;
	bool cr_before = h->state == IN_LINE_CR, bad = cr_before && lf != p, cr;

	if (text > p && text[-1] == '\r') {
		text--;
		cr = true;
	} else {
		cr = lf == p && cr_before;
	}
	if (lf && !cr)
		bad = true;
	bool high = test_bytes(p, (size_t)(text - p), &bad);
	size_t n = (size_t)(stop - p);
	h->line_len += n;
	h->size += n;
	h->eight_bit |= high;
	h->state = lf ? (cr ? AT_START : IN_LINE) : (cr ? IN_LINE_CR : IN_LINE);
	if (bad)
		set_fault(h, HEADER_FRAMING);
	if (h->line_len > h->line_max)
		set_fault(h, HEADER_LINE);
	if (h->header_done)
		return stop;
	h->eight_bit_header |= high;
	h->header_size += n;
	if (h->header_size > h->header_max)
		set_fault(h, HEADER_TOO_LARGE);
	if (h->fault == HEADER_GOOD) {
		header_list_put(h->list, p, n);
		if (h->state == AT_START)
			h->header_done = header_list_line(h->list);
	}
	return stop;
}

#ifdef __SSE2__
/* Of 64 bytes, the first in the lowest bit. */
struct masks {
	uint64_t lf, cr, nul, dot, high;
};

static struct masks
masks_of(const char *p)
{
	struct masks m = { 0 };

	for (int i = 0; i < 4; i++) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
#define MASK(c) (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(c))) << 16 * i
		m.lf |= MASK('\n');
		m.cr |= MASK('\r');
		m.nul |= MASK('\0');
		m.dot |= MASK('.');
#undef MASK
		m.high |= (uint64_t)(uint32_t)_mm_movemask_epi8(v) << 16 * i;
	}
	return m;
}

/*
 * How many of these bytes, from the start of a line, are whole lines that begin with no dot, end in CRLF,
 * contain neither CR nor LF nor NUL otherwise and are not too long. 0 says nothing of them.
 */
static size_t
clean_lines(struct header_scan *h, const char *p, size_t n)
{
	uint64_t after_cr = 0, after_lf = 1, high = 0;
	size_t good = 0;

	if (h->line_max < 64) /* lines within a block are not measured */
		return 0;
	for (size_t at = 0; n - at >= 64; at += 64) {
		struct masks m = masks_of(p + at);
		uint64_t ends = m.cr << 1 | after_cr, starts = m.lf << 1 | after_lf;
		if (m.nul || ends != m.lf || (m.dot & starts))
			break;
		if (m.lf) {
			size_t first = at + (size_t)__builtin_ctzll(m.lf) + 1;
			if (first - good > h->line_max)
				break;
			good = at + 64 - (size_t)__builtin_clzll(m.lf);
		}
		high |= m.high;
		after_cr = m.cr >> 63;
		after_lf = m.lf >> 63;
	}
	h->eight_bit |= high != 0; /* what is behind `good` is content as well: no line with a dot */
	return good;
}
#else
static size_t
clean_lines(struct header_scan *h, const char *p, size_t n)
{
	(void)h, (void)p, (void)n;
	return 0;
}
#endif

/* The bytes that can make a line special: its leading dot. True when p starts ordinary text. */
static bool
take_start(struct header_scan *h, char c)
{
	switch (h->state) {
	case AT_START:
		h->line_len = 0;
		h->state = c == '.' ? IN_DOT : IN_LINE;
		return c != '.';
	case IN_DOT: /* the dot was stuffed, or is the last line */
		h->state = c == '\r' ? IN_DOT_CR : IN_LINE;
		if (c == '.')
			h->dots = true;
		return c != '\r';
	default: /* IN_DOT_CR, and c is not LF */
		set_fault(h, HEADER_FRAMING);
		h->state = IN_LINE;
		return true;
	}
}

/* Copies a piece of the body. */
static void
put_run(const struct header_scan *h, const char *run, const char *p, struct buf *out)
{
	if (h->fault == HEADER_GOOD && p > run)
		buf_put(out, run, (size_t)(p - run));
}

static void
at_end(struct header_scan *h)
{
	if (!h->header_done && h->fault == HEADER_GOOD)
		header_list_end(h->list);
	h->header_done = true;
	h->state = AT_START;
}

enum scan_result
header_scan_data(struct header_scan *h, struct view *in, struct buf *out)
{
	const char *p = in->p, *end = p + in->n, *run = p;

	while (p < end) {
		if (h->state == AT_START && h->header_done) {
			size_t n = clean_lines(h, p, (size_t)(end - p));
			h->size += n;
			p += n;
			if (p == end)
				break;
		}
		if (h->state < IN_LINE) {
			if (h->state == IN_DOT_CR && *p == '\n') {
				at_end(h);
				*in = view_of(p + 1, (size_t)(end - p - 1));
				return SCAN_END;
			}
			bool text = take_start(h, *p);
			if (!text) { /* a dot, or the CR behind one: not content */
				put_run(h, run, p, out);
				run = ++p;
				continue;
			}
		}
		bool header = !h->header_done;
		p = take_text(h, p, end);
		if (header)
			run = p;
	}
	put_run(h, run, p, out);
	*in = view_of(end, 0);
	return SCAN_MORE;
}
