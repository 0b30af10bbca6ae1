/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "lib/conf_lex.h"

void
conf_lex_init(struct conf_lexer *x, struct view text)
{
	*x = (struct conf_lexer){ .rest = text, .line = 1, .column = 1 };
	if (view_starts(text, "\xef\xbb\xbf"))
		x->rest = view_skip(text, 3);
}

/* The next byte without taking it; 0 at the end (a NUL in the text is refused by the callers). */
static unsigned char
peek(const struct conf_lexer *x, size_t ahead)
{
	return ahead < x->rest.n ? (unsigned char)x->rest.p[ahead] : 0;
}

static void
advance(struct conf_lexer *x, size_t n)
{
	for (; n; n--) {
		unsigned char c = peek(x, 0);
		x->rest = view_skip(x->rest, 1);
		if (c == '\n') {
			x->line++;
			x->column = 1;
		} else if ((c & 0xc0) != 0x80) {
			x->column++;
		}
	}
}

static void
skip_line(struct conf_lexer *x)
{
	while (x->rest.n && peek(x, 0) != '\n')
		advance(x, 1);
}

/* Length of a line end here: LF or CRLF; 0: none. */
static size_t
newline(const struct conf_lexer *x, size_t ahead)
{
	if (peek(x, ahead) == '\n')
		return 1;
	return peek(x, ahead) == '\r' && peek(x, ahead + 1) == '\n' ? 2 : 0;
}

static void
skip_blanks(struct conf_lexer *x)
{
	for (;;) {
		unsigned char c = peek(x, 0);
		if (c == ' ' || c == '\t')
			advance(x, 1);
		else if (c == '\\' && newline(x, 1))
			advance(x, 1 + newline(x, 1));
		else if (c == '#')
			skip_line(x);
		else
			return;
	}
}

static void
bad(struct conf_lexer *x, struct conf_lexeme *out, const char *problem)
{
	out->token = CONF_BAD;
	out->line = x->line;
	out->column = x->column;
	snprintf(out->problem, sizeof(out->problem), "%s", problem);
	skip_line(x);
}

/* Refuses a byte that no word may contain. */
static bool
byte_ok(struct conf_lexer *x, struct conf_lexeme *out)
{
	char text[80];
	unsigned char c = peek(x, 0);

	if (c >= 0x20 && c != 0x7f)
		return true;
	snprintf(text, sizeof(text), "byte 0x%02x is not allowed", c);
	bad(x, out, text);
	return false;
}

static void
take(struct conf_lexer *x, struct buf *word)
{
	buf_putc(word, (char)peek(x, 0));
	advance(x, 1);
}

static bool
ends_word(const struct conf_lexer *x)
{
	unsigned char c = peek(x, 0);

	return x->rest.n == 0 || c == ' ' || c == '\t' || c == '{' || c == '}' || c == ';' ||
	       newline(x, 0) || (c == '\\' && newline(x, 1));
}

static void
lex_quoted(struct conf_lexer *x, struct buf *word, struct conf_lexeme *out)
{
	out->quoted = true;
	advance(x, 1);
	while (peek(x, 0) != '"') {
		if (x->rest.n == 0 || newline(x, 0)) {
			unsigned line = out->line, column = out->column;
			bad(x, out, "the quote that begins here is not closed on its line");
			out->line = line;
			out->column = column;
			return;
		}
		if (peek(x, 0) == '\\' && (peek(x, 1) == '"' || peek(x, 1) == '\\'))
			advance(x, 1);
		if (!byte_ok(x, out))
			return;
		take(x, word);
	}
	advance(x, 1);
	if (!ends_word(x))
		bad(x, out, "a blank is missing after the quote");
}

static void
lex_plain(struct conf_lexer *x, struct buf *word, struct conf_lexeme *out)
{
	while (!ends_word(x)) {
		if (peek(x, 0) == '"') {
			bad(x, out, "a quote inside a word");
			return;
		}
		if (!byte_ok(x, out))
			return;
		take(x, word);
	}
}

static enum conf_token
mark_token(unsigned char c)
{
	switch (c) {
	case '{':
		return CONF_OPEN;
	case '}':
		return CONF_CLOSE;
	default:
		return CONF_END;
	}
}

void
conf_lex(struct conf_lexer *x, struct buf *word, struct conf_lexeme *out)
{
	buf_clear(word);
	skip_blanks(x);
	*out = (struct conf_lexeme){ .token = CONF_WORD, .line = x->line, .column = x->column };
	if (x->rest.n == 0) {
		out->token = CONF_EOF;
	} else if (newline(x, 0)) {
		out->token = CONF_END;
		advance(x, newline(x, 0));
	} else if (strchr("{};", peek(x, 0)) && peek(x, 0)) {
		out->token = mark_token(peek(x, 0));
		advance(x, 1);
	} else if (peek(x, 0) == '"') {
		lex_quoted(x, word, out);
	} else {
		lex_plain(x, word, out);
	}
	if (out->token == CONF_WORD && word->bad) {
		out->token = CONF_BAD;
		snprintf(out->problem, sizeof(out->problem), "a word of more than %d bytes",
		    CONF_WORD_MAX);
		skip_line(x);
	}
}

/* Bytes that mean nothing to the lexer wherever they stand in a word. */
static bool
plain(unsigned char c)
{
	static const char marks[] = "!$%&'()*+,-./:<=>?@[]^_`|~";

	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c >= 0x80 ||
	       memchr(marks, c, sizeof(marks) - 1);
}

void
conf_lex_quote(struct buf *out, struct view v)
{
	bool quote = v.n == 0 || view_starts(v, "\xef\xbb\xbf");

	for (size_t i = 0; i < v.n && !quote; i++)
		quote = !plain((unsigned char)v.p[i]);
	if (!quote) {
		buf_putv(out, v);
		return;
	}
	buf_putc(out, '"');
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '"' || v.p[i] == '\\')
			buf_putc(out, '\\');
		buf_putc(out, v.p[i]);
	}
	buf_putc(out, '"');
}
