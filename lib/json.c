/* SPDX-License-Identifier: ISC */
#include <time.h>

#include "lib/json.h"

static void
begin(struct json *j, const char *name)
{
	if (j->comma)
		buf_putc(j->out, ',');
	j->comma = true;
	if (name) {
		buf_putc(j->out, '"');
		buf_puts(j->out, name);
		buf_puts(j->out, "\":");
	}
}

void
json_open(struct json *j, const char *name, char bracket)
{
	begin(j, name);
	buf_putc(j->out, bracket);
	j->comma = false;
}

void
json_close(struct json *j, char bracket)
{
	buf_putc(j->out, bracket);
	j->comma = true;
}

/* Length of the valid UTF-8 sequence at the front (RFC 3629), or 0. */
static size_t
utf8_length(struct view v)
{
	unsigned char c = (unsigned char)v.p[0], d;
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 :
	    c >= 0xf0 && c < 0xf5 ? 4 : 0;

	if (n == 0 || v.n < n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)v.p[i] & 0xc0) != 0x80)
			return 0;
	if (n < 3)
		return n;
	d = (unsigned char)v.p[1];
	if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f) || (c == 0xf0 && d < 0x90) ||
	    (c == 0xf4 && d > 0x8f))
		return 0;
	return n;
}

void
json_text(struct json *j, const char *name, struct view v)
{
	begin(j, name);
	buf_putc(j->out, '"');
	while (v.n) {
		size_t n = utf8_length(v);
		unsigned char c = (unsigned char)v.p[0];
		if (n == 0)
			buf_puts(j->out, "\\ufffd");
		else if (c == '"' || c == '\\')
			buf_printf(j->out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_printf(j->out, "\\u%04x", c);
		else
			buf_put(j->out, v.p, n);
		v = view_skip(v, n ? n : 1);
	}
	buf_putc(j->out, '"');
}

void
json_number(struct json *j, const char *name, uint64_t x)
{
	begin(j, name);
	buf_printf(j->out, "%llu", (unsigned long long)x);
}

void
json_seconds(struct json *j, const char *name, uint64_t us)
{
	begin(j, name);
	buf_printf(j->out, "%llu.%03llu", (unsigned long long)(us / 1000000),
	    (unsigned long long)(us / 1000 % 1000));
}

void
json_bool(struct json *j, const char *name, bool x)
{
	begin(j, name);
	buf_puts(j->out, x ? "true" : "false");
}

void
json_null(struct json *j, const char *name)
{
	begin(j, name);
	buf_puts(j->out, "null");
}

void
json_time(struct json *j, const char *name, uint64_t wall_us)
{
	time_t t = (time_t)(wall_us / 1000000);
	char text[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	begin(j, name);
	buf_printf(j->out, "\"%s.%03lluZ\"", text, (unsigned long long)(wall_us / 1000 % 1000));
}
