/* SPDX-License-Identifier: ISC */
/* RFC 5322, 3.4: the mailbox list of a From field, and the values of Message-ID and Date. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/header.h"

enum { COMMENT_DEPTH_MAX = 64, MSGID_MAX = 998 };

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
at(struct view v, char c)
{
	return v.n && v.p[0] == c;
}

/* Blanks, folds and comments; false when a comment does not end. */
static bool
skip_cfws(struct view *v)
{
	unsigned depth = 0;

	for (; v->n; *v = view_skip(*v, 1)) {
		char c = v->p[0];
		if (c == '(') {
			if (++depth > COMMENT_DEPTH_MAX)
				return false;
		} else if (depth && c == ')') {
			depth--;
		} else if (depth && c == '\\') {
			*v = view_skip(*v, 1);
			if (v->n == 0)
				return false;
		} else if (!depth && !is_blank(c)) {
			return true;
		}
	}
	return depth == 0;
}

/* A word of a phrase: what cannot stand in an atom ends it. 8-bit text is tolerated in names. */
static bool
is_phrase_char(unsigned char c)
{
	return c > 0x20 && c != 0x7f && !strchr("()<>[]:;@\\,\"", c);
}

/* Takes an atom (with dots) or a quoted string; empty when there is neither. */
static struct view
take_word(struct view *v)
{
	struct view word = view_of(v->p, 0);
	size_t n = 0;

	if (at(*v, '"')) {
		for (n = 1; n < v->n && v->p[n] != '"'; n++)
			if (v->p[n] == '\\')
				n++;
		if (n >= v->n)
			return word;
		n++;
	} else {
		while (n < v->n && is_phrase_char((unsigned char)v->p[n]))
			n++;
	}
	word.n = n;
	*v = view_skip(*v, n);
	return word;
}

/* "@domain" behind a local part, with comments around; what they make goes to `out`. */
static bool
take_domain(struct view *v, struct view local, struct buf *out)
{
	struct view domain;

	if (!at(*v, '@'))
		return false;
	*v = view_skip(*v, 1);
	if (!skip_cfws(v))
		return false;
	size_t n = 0;
	if (at(*v, '[')) {
		while (n < v->n && v->p[n] != ']')
			n++;
		n += n < v->n;
	} else {
		while (n < v->n && is_phrase_char((unsigned char)v->p[n]))
			n++;
	}
	domain = view_first(*v, n);
	*v = view_skip(*v, n);
	buf_putv(out, local);
	buf_putc(out, '@');
	buf_putv(out, domain);
	return skip_cfws(v) && !out->bad;
}

/* The part of a mailbox in angle brackets; v stands behind '<'. */
static bool
take_angle(struct view *v, struct buf *out)
{
	if (!skip_cfws(v))
		return false;
	struct view local = take_word(v);
	if (!skip_cfws(v) || !take_domain(v, local, out) || !at(*v, '>'))
		return false;
	*v = view_skip(*v, 1);
	return true;
}

/* One mailbox: a bare address, or an optional display name and an address in angle brackets. */
static bool
take_mailbox(struct view *v, struct buf *out)
{
	struct view first = { "", 0 };

	for (unsigned words = 0;; words++) {
		if (!skip_cfws(v))
			return false;
		if (at(*v, '<')) {
			*v = view_skip(*v, 1);
			return take_angle(v, out);
		}
		if (at(*v, '@'))
			return words == 1 && take_domain(v, first, out);
		struct view word = take_word(v);
		if (word.n == 0)
			return false;
		if (words == 0)
			first = word;
	}
}

bool
header_from_read(struct view value, header_mailbox_fn *each, void *ctx)
{
	struct buf text = BUF_INIT(ADDR_MAX + 2);
	struct addr a;
	bool good;

	for (;;) {
		buf_clear(&text);
		good = take_mailbox(&value, &text) && skip_cfws(&value) &&
		    addr_parse(buf_view(&text), 0, &a, NULL) == 0;
		if (good && each)
			each(ctx, &a);
		if (!good || value.n == 0)
			break;
		good = at(value, ',');
		if (!good)
			break;
		value = view_skip(value, 1);
	}
	buf_free(&text);
	return good;
}

struct view
header_msgid(struct view value)
{
	while (value.n && is_blank(value.p[0]))
		value = view_skip(value, 1);
	value = view_first(value, MSGID_MAX);
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
			value.n = i;
	while (value.n && is_blank(value.p[value.n - 1]))
		value.n--;
	return value;
}

const char *
header_date(uint64_t wall_us, char out[static 40])
{
	/* Not strftime()'s names: they follow the locale. */
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
		"Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)(wall_us / 1000000);
	struct tm tm;

	localtime_r(&t, &tm);
	long minutes = tm.tm_gmtoff / 60, off = minutes < 0 ? -minutes : minutes;
	snprintf(out, 40, "%s, %d %s %d %02d:%02d:%02d %c%02ld%02ld", days[tm.tm_wday % 7],
	    tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec,
	    minutes < 0 ? '-' : '+', off / 60 % 100, off % 60);
	return out;
}
