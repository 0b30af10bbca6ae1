/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/addr.h"
#include "lib/json.h"
#include "mtactl/mtactl.h"
#include "mtactl/output.h"

enum { OUT_MAX = 64 << 20, CELLS_MAX = 64 << 20, FLUSH_BYTES = 65536, GAP = 2 };

void
output_init(struct output *o, bool json, bool list)
{
	*o = (struct output){ .json = json, .list = list };
	buf_init(&o->out, OUT_MAX);
	buf_init(&o->cells, CELLS_MAX);
}

void
output_flush(struct output *o)
{
	if (buf_len(&o->out) && !o->failed)
		o->failed = !print(&o->out);
}

/* Digits, or 0 for what is none. */
static uint64_t
number_of(struct view v)
{
	uint64_t x = 0;

	return view_u64(v, UINT64_MAX, &x) ? x : 0;
}

/* A name that needs no escapes, so that output can be parsed by name. */
static bool
name_ok(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_-", v.p[i]) || v.p[i] == '\0')
			return false;
	return v.n > 0 && v.n < sizeof(((struct column *)NULL)->name);
}

static bool
value_ok(const struct ipc_ctl_field *f)
{
	uint64_t x;

	switch (f->type) {
	case CTL_NUMBER:
	case CTL_BOOL:
		return view_u64(f->value, UINT64_MAX, &x);
	case CTL_TIME:
		return f->value.n == 0 || view_u64(f->value, UINT64_MAX, &x);
	default:
		return f->type == CTL_TEXT || f->type == CTL_LIST;
	}
}

static void
json_list(struct json *j, const char *name, struct view v)
{
	json_open(j, name, '[');
	while (v.n && !view_bad(v)) {
		struct view item = view_get_block(&v, v.n);
		if (!view_bad(v))
			json_text(j, NULL, item);
	}
	json_close(j, ']');
}

static void
json_field(struct json *j, const struct ipc_ctl_field *f)
{
	char name[65];

	snprintf(name, sizeof(name), "%.*s", (int)f->name.n, f->name.p);
	if (f->type == CTL_NUMBER)
		json_number(j, name, number_of(f->value));
	else if (f->type == CTL_BOOL)
		json_bool(j, name, number_of(f->value) != 0);
	else if (f->type == CTL_TIME && f->value.n)
		json_time(j, name, number_of(f->value));
	else if (f->type == CTL_TIME)
		json_null(j, name);
	else if (f->type == CTL_LIST)
		json_list(j, name, f->value);
	else
		json_text(j, name, f->value);
}

static void
json_row(struct output *o, struct view fields)
{
	struct json j = JSON_INIT(&o->out);
	struct ipc_ctl_field f;

	json_open(&j, NULL, '{');
	while (ipc_next(&ipc_desc_ctl_field, &fields, &f))
		json_field(&j, &f);
	json_close(&j, '}');
	buf_putc(&o->out, '\n');
}

/* Local time with its offset: 2026-11-22T12:04:05+09:00. */
static void
put_time(struct buf *out, uint64_t wall_us)
{
	time_t t = (time_t)(wall_us / 1000000);
	char date[32], zone[8];
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL) {
		buf_printf(out, "%" PRIu64, wall_us);
		return;
	}
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof(zone), "%z", &tm);
	buf_printf(out, "%s%.3s:%s", date, zone, zone + 3);
}

void
output_text(struct buf *out, struct view v, bool lines)
{
	bool utf8 = utf8_valid(v);

	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		unsigned char next = i + 1 < v.n ? (unsigned char)v.p[i + 1] : 0;
		bool c1 = utf8 && c == 0xc2 && next < 0xa0; /* U+0080 to U+009F */
		if (lines && (c == '\n' || c == '\t'))
			buf_putc(out, (char)c);
		else if (lines && c == '\r' && next == '\n')
			continue;
		else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8) || c1)
			buf_printf(out, "\\%03o", c);
		else
			buf_putc(out, (char)c);
		if (c1)
			buf_printf(out, "\\%03o", (unsigned char)v.p[++i]);
	}
}

static void
put_list(struct buf *out, struct view v)
{
	for (bool first = true; v.n && !view_bad(v); first = false) {
		struct view item = view_get_block(&v, v.n);
		if (view_bad(v))
			return;
		if (!first)
			buf_puts(out, ", ");
		output_text(out, item, false);
	}
}

static void
put_value(struct buf *out, const struct ipc_ctl_field *f)
{
	size_t before = buf_len(out);

	if (f->type == CTL_TIME && f->value.n)
		put_time(out, number_of(f->value));
	else if (f->type == CTL_BOOL)
		buf_puts(out, number_of(f->value) ? "yes" : "no");
	else if (f->type == CTL_LIST)
		put_list(out, f->value);
	else
		output_text(out, f->value, false);
	if (buf_len(out) == before)
		buf_putc(out, '-');
}

/* Characters, not bytes: what a terminal shows of UTF-8 without wide ones. */
static size_t
width_of(struct view v)
{
	size_t n = 0;

	for (size_t i = 0; i < v.n; i++)
		n += ((unsigned char)v.p[i] & 0xc0) != 0x80;
	return n;
}

static void
put_cell(struct output *o, size_t column, struct view text)
{
	const struct column *c = &o->columns[column];
	size_t width = width_of(text);
	size_t pad = width < c->width ? c->width - width : 0;
	bool last = column + 1 == o->column_count;

	if (c->right)
		buf_printf(&o->out, "%*s", (int)pad, "");
	buf_putv(&o->out, text);
	if (!last)
		buf_printf(&o->out, "%*s", (int)(c->right ? GAP : pad + GAP), "");
	else
		buf_putc(&o->out, '\n');
}

static void
put_heading(struct output *o)
{
	for (size_t i = 0; i < o->column_count; i++) {
		char upper[65];
		size_t k = 0;
		for (; o->columns[i].name[k]; k++) {
			char c = o->columns[i].name[k];
			upper[k] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
		}
		put_cell(o, i, view_of(upper, k));
	}
}

/* The rows that were kept, as a table; its widths are fixed from now on. */
static void
start_table(struct output *o)
{
	struct view cells = buf_view(&o->cells);

	for (size_t i = 0; i < o->column_count; i++)
		o->columns[i].width = strlen(o->columns[i].name);
	for (size_t i = 0; cells.n; i++) {
		size_t width = width_of(view_get_block(&cells, cells.n));
		struct column *c = &o->columns[i % o->column_count];
		if (width > c->width)
			c->width = width;
	}
	put_heading(o);
	cells = buf_view(&o->cells);
	for (size_t i = 0; cells.n; i++)
		put_cell(o, i % o->column_count, view_get_block(&cells, cells.n));
	buf_wipe(&o->cells);
	o->started = true;
}

/* A row that stands alone. */
static void
put_single(struct output *o)
{
	struct view cells = buf_view(&o->cells);

	for (size_t i = 0; i < o->column_count; i++) {
		buf_printf(&o->out, "%s: ", o->columns[i].name);
		buf_putv(&o->out, view_get_block(&cells, cells.n));
		buf_putc(&o->out, '\n');
	}
	buf_wipe(&o->cells);
}

static void
end_group(struct output *o)
{
	if (o->kept == 0 || o->started)
		return;
	if (o->kept == 1 && !o->list)
		put_single(o);
	else
		start_table(o);
}

/* The same names in the same order as the rows before? */
static bool
same_columns(const struct output *o, struct view fields)
{
	struct ipc_ctl_field f;
	size_t n = 0;

	while (ipc_next(&ipc_desc_ctl_field, &fields, &f)) {
		if (n == o->column_count || !view_is(f.name, o->columns[n].name))
			return false;
		n++;
	}
	return n == o->column_count && n > 0;
}

static void
new_columns(struct output *o, struct view fields)
{
	struct ipc_ctl_field f;

	o->column_count = 0;
	o->kept = 0;
	o->started = false;
	while (ipc_next(&ipc_desc_ctl_field, &fields, &f)) {
		struct column *c = &o->columns[o->column_count++];
		snprintf(c->name, sizeof(c->name), "%.*s", (int)f.name.n, f.name.p);
		c->right = f.type == CTL_NUMBER;
		c->width = 0;
	}
	if (o->groups++)
		buf_putc(&o->out, '\n');
}

/* Rows of a single field "content" are parts of a text: written as they come, line ends and all. */
static bool
is_content(const struct output *o)
{
	return o->column_count == 1 && !strcmp(o->columns[0].name, "content");
}

static void
human_row(struct output *o, struct view fields)
{
	struct ipc_ctl_field f;
	struct buf cell = BUF_INIT(4 * IPC_BULK_MAX);
	size_t column = 0;

	if (!same_columns(o, fields)) {
		end_group(o);
		new_columns(o, fields);
	}
	if (is_content(o)) {
		ipc_next(&ipc_desc_ctl_field, &fields, &f);
		output_text(&o->out, f.value, true);
		return;
	}
	while (ipc_next(&ipc_desc_ctl_field, &fields, &f)) {
		buf_clear(&cell);
		put_value(&cell, &f);
		if (o->started)
			put_cell(o, column++, buf_view(&cell));
		else
			buf_put_block(&o->cells, buf_view(&cell));
	}
	buf_wipe(&cell);
	buf_free(&cell);
	if (!o->started && ++o->kept == ROWS_KEPT)
		start_table(o);
}

static bool
row_ok(struct view fields)
{
	struct ipc_ctl_field f;
	size_t n = 0;

	while (ipc_next(&ipc_desc_ctl_field, &fields, &f))
		if (++n > COLUMNS_MAX || !name_ok(f.name) || !value_ok(&f))
			return false;
	return view_done(fields);
}

bool
output_row(struct output *o, struct view fields)
{
	if (!row_ok(fields))
		return false;
	o->rows++;
	if (o->capture) {
		o->capture(o->ctx, fields);
		return true;
	}
	if (o->json)
		json_row(o, fields);
	else if (fields.n)
		human_row(o, fields);
	if (buf_len(&o->out) > FLUSH_BYTES)
		output_flush(o);
	return true;
}

bool
output_end(struct output *o)
{
	end_group(o);
	output_flush(o);
	buf_wipe(&o->out);
	buf_free(&o->out);
	buf_wipe(&o->cells);
	buf_free(&o->cells);
	return !o->failed;
}

static void
put_field(struct buf *b, const char *name, enum ctl_type type, struct view v)
{
	IPC_RECORD(b, ctl_field, .name = view_str(name), .type = (uint8_t)type, .value = v);
}

void
row_text(struct buf *b, const char *name, struct view v)
{
	put_field(b, name, CTL_TEXT, v);
}

void
row_str(struct buf *b, const char *name, const char *s)
{
	put_field(b, name, CTL_TEXT, view_str(s));
}

static void
put_digits(struct buf *b, const char *name, enum ctl_type type, uint64_t x)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, x);

	put_field(b, name, type, view_of(digits, (size_t)n));
}

void
row_number(struct buf *b, const char *name, uint64_t x)
{
	put_digits(b, name, CTL_NUMBER, x);
}

void
row_time(struct buf *b, const char *name, uint64_t wall_s)
{
	if (wall_s)
		put_digits(b, name, CTL_TIME, wall_s * 1000000);
	else
		put_field(b, name, CTL_TIME, VIEW(""));
}

void
row_end(struct output *o, struct buf *b)
{
	output_row(o, buf_view(b));
	buf_clear(b);
}
