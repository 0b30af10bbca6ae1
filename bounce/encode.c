/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "bounce/encode.h"
#include "lib/addr.h"

#define WORD_START "=?utf-8?Q?"
#define WORD_END "?="

static bool
printable(unsigned char c)
{
	return c >= 0x20 && c < 0x7f;
}

static bool
alnum(unsigned char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

bool
encode_is_ascii(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] >= 0x80)
			return false;
	return true;
}

void
encode_plain(struct buf *out, struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		buf_putc(out, printable((unsigned char)v.p[i]) ? v.p[i] : '?');
}

void
encode_utf8(struct buf *out, struct view v)
{
	bool valid = utf8_valid(v);

	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		buf_putc(out, printable(c) || (c >= 0x80 && valid) ? (char)c : '?');
	}
}

/* Bytes of the UTF-8 character at the front of valid text. */
static size_t
char_bytes(struct view v)
{
	size_t n = 1;

	while (n < v.n && ((unsigned char)v.p[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* One character, as it stands in an encoded word of any place (RFC 2047, 5, rule 3). */
static void
put_q(struct buf *out, struct view c)
{
	for (size_t i = 0; i < c.n; i++) {
		unsigned char b = (unsigned char)c.p[i];
		if (b == ' ')
			buf_putc(out, '_');
		else if (alnum(b))
			buf_putc(out, (char)b);
		else
			buf_printf(out, "=%02X", b);
	}
}

static size_t
q_width(struct view c)
{
	size_t n = 0;

	for (size_t i = 0; i < c.n; i++)
		n += c.p[i] == ' ' || alnum((unsigned char)c.p[i]) ? 1 : 3;
	return n;
}

/* Valid UTF-8 as encoded words, one a line; blanks between them are not part of the text. */
static void
put_words(struct buf *out, struct view v, size_t column)
{
	const size_t frame = sizeof(WORD_START WORD_END) - 1;

	while (v.n) {
		size_t room = ENCODE_WIDTH - 1 - frame;
		if (column + frame + 12 > ENCODE_WIDTH)
			buf_puts(out, "\r\n ");
		else if (column > 1)
			room = ENCODE_WIDTH - column - frame;
		buf_puts(out, WORD_START);
		for (size_t n = char_bytes(v); v.n && q_width(view_first(v, n)) <= room;
		     n = char_bytes(v)) {
			put_q(out, view_first(v, n));
			room -= q_width(view_first(v, n));
			v = view_skip(v, n);
		}
		buf_puts(out, WORD_END);
		column = ENCODE_WIDTH;
	}
}

/* Words at their blanks; one that fits on no line is cut. */
static void
put_folded(struct buf *out, struct view v, size_t column)
{
	bool first = true;

	while (v.n) {
		struct view word = view_cut(&v, ' ');
		if (word.n == 0)
			continue;
		if (!first && column + 1 + word.n > ENCODE_WIDTH) {
			buf_puts(out, "\r\n ");
			column = 1;
		} else if (!first) {
			buf_putc(out, ' ');
			column++;
		}
		first = false;
		while (column + word.n > 10 * ENCODE_WIDTH) {
			struct view head = view_first(word, ENCODE_WIDTH);
			encode_plain(out, head);
			buf_puts(out, "\r\n ");
			column = 1;
			word = view_skip(word, head.n);
		}
		encode_plain(out, word);
		column += word.n;
	}
}

static bool
has_encoded_word(struct view v)
{
	return v.n >= 2 && memmem(v.p, v.n, "=?", 2) != NULL;
}

void
encode_field(struct buf *out, struct view v, size_t column)
{
	/* Text that looks like an encoded word would be read as one: it is encoded too. */
	if ((!encode_is_ascii(v) && utf8_valid(v)) || has_encoded_word(v)) {
		struct buf clean = BUF_INIT(v.n);
		encode_utf8(&clean, v);
		put_words(out, buf_view(&clean), column);
		buf_free(&clean);
	} else {
		put_folded(out, v, column);
	}
}

static bool
is_atext(unsigned char c)
{
	return alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool
is_dot_atom(struct view v)
{
	bool dot = true; /* before the first character none is allowed */

	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '.' ? dot : !is_atext((unsigned char)v.p[i]))
			return false;
		dot = v.p[i] == '.';
	}
	return !dot;
}

/* "..." with nothing in it that ends it early. */
static bool
is_quoted(struct view v)
{
	if (v.n < 2 || v.p[0] != '"' || v.p[v.n - 1] != '"')
		return false;
	size_t i = 1;
	for (; i < v.n - 1; i++) {
		if (!printable((unsigned char)v.p[i]) || v.p[i] == '"')
			return false;
		if (v.p[i] == '\\' && (++i == v.n - 1 || !printable((unsigned char)v.p[i])))
			return false;
	}
	return true;
}

static bool
is_domain(struct view v)
{
	if (v.n >= 2 && v.p[0] == '[' && v.p[v.n - 1] == ']')
		v = view_first(view_skip(v, 1), v.n - 2);
	for (size_t i = 0; i < v.n; i++)
		if (!alnum((unsigned char)v.p[i]) && !strchr(".-_:", v.p[i]))
			return false;
	return v.n > 0;
}

static void
put_local(struct buf *out, struct view local)
{
	if (is_dot_atom(local) || is_quoted(local)) {
		buf_putv(out, local);
		return;
	}
	buf_putc(out, '"');
	for (size_t i = 0; i < local.n; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			buf_putc(out, '\\');
		buf_putc(out, printable((unsigned char)local.p[i]) ? local.p[i] : '?');
	}
	buf_putc(out, '"');
}

void
encode_mailbox(struct buf *out, struct view addr)
{
	size_t at = addr.n;

	while (at > 0 && addr.p[at - 1] != '@')
		at--;
	struct view domain = view_skip(addr, at);
	struct view local = view_first(addr, at ? at - 1 : 0);
	if (at > 1 && encode_is_ascii(addr) && is_domain(domain)) {
		put_local(out, local);
		buf_putc(out, '@');
		buf_putv(out, domain);
		return;
	}
	struct buf clean = BUF_INIT(addr.n + 1);
	encode_utf8(&clean, addr);
	if (buf_len(&clean) == 0)
		buf_putc(&clean, '?');
	put_words(out, buf_view(&clean), sizeof("To: ") - 1);
	buf_puts(out, " :;");
	buf_free(&clean);
}

static uint32_t
code_point(struct view c)
{
	static const unsigned char masks[] = { 0x7f, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t x = (unsigned char)c.p[0] & masks[c.n <= 4 ? c.n : 4];

	for (size_t i = 1; i < c.n; i++)
		x = x << 6 | ((unsigned char)c.p[i] & 0x3f);
	return x;
}

void
encode_typed_addr(struct buf *out, struct view type, struct view addr)
{
	if (encode_is_ascii(addr) || !utf8_valid(addr)) {
		encode_plain(out, type);
		buf_puts(out, "; ");
		encode_plain(out, addr);
		return;
	}
	buf_puts(out, "utf-8; ");
	while (addr.n) {
		struct view c = view_first(addr, char_bytes(addr));
		if (c.n > 1 || c.p[0] == '\\' || c.p[0] == '+' || c.p[0] == '=')
			buf_printf(out, "\\x{%02X}", (unsigned)code_point(c));
		else
			encode_plain(out, c);
		addr = view_skip(addr, c.n);
	}
}

void
encode_quoted_printable(struct buf *out, struct view v)
{
	size_t column = 0;

	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c == '\r' && i + 1 < v.n && v.p[i + 1] == '\n') {
			buf_puts(out, "\r\n");
			column = 0;
			i++;
			continue;
		}
		bool last = i + 1 == v.n || v.p[i + 1] == '\r';
		/*
		 * Blanks at the end of a line get lost on the way; a dot at its start means
		 * something.
		 */
		bool literal =
		    printable(c) && c != '=' && !(c == ' ' && last) && !(c == '.' && column == 0);
		size_t width = literal ? 1 : 3;
		if (column + width > ENCODE_WIDTH - 1) {
			buf_puts(out, "=\r\n");
			column = 0;
			literal = literal && c != '.';
			width = literal ? 1 : 3;
		}
		if (literal)
			buf_putc(out, (char)c);
		else
			buf_printf(out, "=%02X", c);
		column += width;
	}
}
