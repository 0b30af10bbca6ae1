/* SPDX-License-Identifier: ISC */
/*
 * The streaming scanner. Each byte is looked at twice: memchr() finds the LF, then whole words of the
 * line are tested for CR, NUL and the eighth bit at once. Unstuffed runs are copied as one piece.
 */
#include <string.h>

#include "lib/header.h"

/* AT_START: between lines. DOT, DOT_CR: a line so far of "." and ".\r". CR: a line ending in CR. */
enum { AT_START, IN_DOT, IN_DOT_CR, IN_LINE, IN_LINE_CR };

#define BYTES(c) (0x0101010101010101u * (c))
#define HIGH_BITS BYTES(0x80u)

void
header_scan_init(struct header_scan *h, size_t line_max, size_t header_max)
{
	*h = (struct header_scan){ .line_max = line_max, .header_max = header_max, .state = AT_START };
	buf_init(&h->line, header_max + 1);
}

void
header_scan_free(struct header_scan *h)
{
	buf_free(&h->line);
	h->field_len = 0;
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

/* Of several guards the largest counts: each hop wrote one and left those before it. */
static void
note_guard(struct header_scan *h, struct view value)
{
	uint64_t n;

	if (view_u64(view_trim(value), 10000, &n) && n > h->guard) {
		h->hops += (uint32_t)n - h->guard;
		h->guard = (uint32_t)n;
	}
}

/* Notes what the field is; true when it is a Received field. */
static bool
note_field(struct header_scan *h, struct view name, struct view value)
{
	static const struct {
		const char *name;
		unsigned mask;
	} known[] = { { "From", HEADER_FROM }, { "Date", HEADER_DATE },
		{ "Message-ID", HEADER_MESSAGE_ID }, { "DKIM-Signature", HEADER_DKIM } };

	if (view_iis(name, "Received")) {
		h->hops++;
		return true;
	}
	if (view_iis(name, HEADER_HOPS_FIELD))
		note_guard(h, value);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (view_iis(name, known[i].name))
			h->seen |= known[i].mask;
	return false;
}

/* The field that is complete: the first field_len bytes of `line`. */
static void
end_field(struct header_scan *h, struct buf *out)
{
	struct view raw = view_first(buf_view(&h->line), h->field_len), value = raw;
	bool received = false;

	if (raw.n == 0)
		return;
	ptrdiff_t colon = view_index(raw, ':');
	if (colon > 0) {
		struct view name = view_trim(view_cut(&value, ':'));
		if (value.n >= 2)
			value.n -= 2;
		received = note_field(h, name, value);
		if (h->field)
			h->field(h->ctx, name, value);
	}
	if (h->strip_received && !received)
		buf_putv(out, raw);
	buf_consume(&h->line, h->field_len);
	h->field_len = 0;
}

/* A whole header line stands in `line` behind the field under way. */
static void
header_line(struct header_scan *h, struct buf *out)
{
	struct view line = view_skip(buf_view(&h->line), h->field_len);
	size_t n = line.n;

	if (n == 2) {
		end_field(h, out);
		if (h->strip_received)
			buf_puts(out, "\r\n");
		h->header_done = true;
		buf_free(&h->line);
	} else if ((line.p[0] == ' ' || line.p[0] == '\t') && h->field_len) {
		h->field_len += n;
	} else {
		end_field(h, out);
		h->field_len = n;
	}
}

/* Takes text of a line up to its LF, or all there is; returns where it stopped. */
static const char *
take_text(struct header_scan *h, const char *p, const char *end, struct buf *out)
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
		buf_put(&h->line, p, n);
		if (h->state == AT_START)
			header_line(h, out);
	}
	return stop;
}

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

/* Copies content as it is, except while a header is rewritten field by field. */
static void
put_run(const struct header_scan *h, const char *run, const char *p, struct buf *out)
{
	if (h->fault == HEADER_GOOD && p > run)
		buf_put(out, run, (size_t)(p - run));
}

static void
at_end(struct header_scan *h, struct buf *out)
{
	if (!h->header_done && h->fault == HEADER_GOOD)
		end_field(h, out);
	h->header_done = true;
	h->state = AT_START;
	buf_free(&h->line);
}

enum scan_result
header_scan_data(struct header_scan *h, struct view *in, struct buf *out)
{
	const char *p = in->p, *end = p + in->n, *run = p;

	while (p < end) {
		if (h->state < IN_LINE) {
			if (h->state == IN_DOT_CR && *p == '\n') {
				at_end(h, out);
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
		bool by_field = h->strip_received && !h->header_done;
		p = take_text(h, p, end, out);
		if (by_field)
			run = p;
	}
	put_run(h, run, p, out);
	*in = view_of(end, 0);
	return SCAN_MORE;
}
