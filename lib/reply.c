/* SPDX-License-Identifier: ISC */
#include "lib/reply.h"

void
reply_init(struct reply *r)
{
	*r = (struct reply){ .text = BUF_INIT(REPLY_BYTES_MAX) };
}

void
reply_free(struct reply *r)
{
	buf_free(&r->text);
	reply_clear(r);
}

void
reply_clear(struct reply *r)
{
	r->code = 0;
	r->esc = (struct esc){ 0 };
	r->lines = 0;
	r->bytes = 0;
	buf_clear(&r->text);
}

static int
bad(struct err *e, const char *what)
{
	return err_set(e, ERR_PEER, ESC(4, 5, 0), "bad reply: %s", what);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Three digits, 2 to 5 first, ended by a hyphen, a blank or the end of the line. */
static bool
take_code(struct view *line, uint16_t *code, bool *last)
{
	struct view v = *line;

	if (v.n < 3 || v.p[0] < '2' || v.p[0] > '5' || !is_digit(v.p[1]) || !is_digit(v.p[2]))
		return false;
	*code = (uint16_t)((v.p[0] - '0') * 100 + (v.p[1] - '0') * 10 + (v.p[2] - '0'));
	*last = v.n == 3 || v.p[3] != '-';
	if (v.n > 3 && v.p[3] != '-' && v.p[3] != ' ' && v.p[3] != '\t')
		return false;
	*line = view_skip(v, v.n > 3 ? 4 : 3);
	return true;
}

static void
put_text(struct buf *out, struct view v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c == '\t')
			buf_putc(out, ' ');
		else
			buf_putc(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
	}
}

/* One line without its line end. 1: the last of its reply, 0: more follow, -1: bad. */
static int
take_line(struct reply *r, struct view line, struct err *e)
{
	uint16_t code;
	struct esc esc;
	bool last;

	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (!take_code(&line, &code, &last))
		return bad(e, "no reply code");
	if (r->lines && code / 100 != r->code / 100)
		return bad(e, "codes of two classes in one reply");
	struct view rest = line;
	if (esc_take(&rest, &esc) && esc.class == code / 100) {
		r->esc = esc;
		line = rest;
	}
	r->code = code;
	if (r->lines++)
		buf_putc(&r->text, '\n');
	put_text(&r->text, line);
	if (!last && r->lines == REPLY_LINES_MAX)
		return bad(e, "too many lines");
	return last ? 1 : 0;
}

enum reply_result
reply_parse(struct reply *r, struct view *in, struct err *e)
{
	ptrdiff_t end;

	while ((end = view_index(view_first(*in, REPLY_LINE_MAX), '\n')) >= 0) {
		struct view line = view_first(*in, (size_t)end);
		*in = view_skip(*in, (size_t)end + 1);
		r->bytes += (size_t)end + 1;
		if (r->bytes > REPLY_BYTES_MAX) {
			bad(e, "too long");
			return REPLY_BAD;
		}
		int got = take_line(r, line, e);
		if (got != 0)
			return got < 0 ? REPLY_BAD : REPLY_DONE;
	}
	if (in->n >= REPLY_LINE_MAX) {
		bad(e, "line too long");
		return REPLY_BAD;
	}
	return REPLY_MORE;
}

void
reply_flat(const struct reply *r, struct buf *out)
{
	struct view v = buf_view(&r->text);

	for (size_t i = 0; i < v.n; i++)
		buf_putc(out, v.p[i] == '\n' ? ' ' : v.p[i]);
}

static bool
has_word(struct view text, const char *word)
{
	for (; text.n; text = view_skip(text, 1))
		if (view_istarts(text, word))
			return true;
	return false;
}

static bool
has_any(struct view text, const char *const *words)
{
	for (; *words; words++)
		if (has_word(text, *words))
			return true;
	return false;
}

/* Words of servers that answer 552 for a mailbox that has no room now. */
static const char *const full_words[] = { "mailbox full", "mailbox is full", "over quota",
	"overquota", "quota exceeded", "exceeded quota", "exceeds quota", "too much mail data",
	"storage space", "insufficient disk", NULL };
static const char *const space_words[] = { "insufficient", "storage", "disk", "space", NULL };

static bool
esc_is(struct esc e, unsigned subject, unsigned detail)
{
	return e.class && e.subject == subject && e.detail == detail;
}

bool
reply_too_many(uint16_t code, struct esc given, struct view text)
{
	if (code != 452 && code != 552)
		return false;
	if (esc_is(given, 5, 3) || has_word(text, "too many recipients"))
		return true;
	return given.class == 0 && !has_any(text, full_words) && !has_any(text, space_words);
}

static bool
temporary_5xx(uint16_t code, struct esc given, enum reply_at at, struct view text)
{
	if (esc_is(given, 2, 2))
		return true;
	if (at == REPLY_AT_RCPT && reply_too_many(code, given, text))
		return true;
	return code == 552 && !esc_is(given, 3, 4) && has_any(text, full_words);
}

enum err_class
reply_class(uint16_t code, struct esc given, enum reply_at at, struct view text, struct esc *esc)
{
	enum err_class class;

	if (code >= 200 && code < 300)
		class = ERR_NONE;
	else if (code >= 500 && code < 600 && !temporary_5xx(code, given, at, text))
		class = ERR_PERM;
	else
		class = ERR_TEMP;
	*esc = given;
	if (given.class == 0 && class == ERR_TEMP && at == REPLY_AT_RCPT &&
	    reply_too_many(code, given, text))
		*esc = ESC(4, 5, 3);
	else if (given.class == 0 && class == ERR_TEMP && code >= 500)
		*esc = ESC(4, 2, 2); /* by its words only a full mailbox came here without a code */
	esc->class = class == ERR_NONE ? 2 : class == ERR_PERM ? 5 : 4;
	return class;
}
