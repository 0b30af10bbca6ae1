/* SPDX-License-Identifier: ISC */
/* The kinds of value that say how much and when: parse, print, release. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf_table.h"

enum { DAY_MIN = 24 * 60, PER_MAX_S = 31 * 86400 };

/* A number or duration that may be left out: 0 then, and `""` in print. */

static bool
parse_opt_number(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	return conf_unset(w) || conf_kind_number.parse(p, d, w, at);
}

static bool
parse_opt_duration(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	return conf_unset(w) || conf_kind_duration.parse(p, d, w, at);
}

static void
print_opt_number(const struct conf_kind *k, const void *at, struct buf *out)
{
	if (*(const uint64_t *)at)
		conf_kind_number.print(k, at, out);
	else
		buf_puts(out, "\"\"");
}

static void
print_opt_duration(const struct conf_kind *k, const void *at, struct buf *out)
{
	if (*(const uint64_t *)at)
		conf_kind_duration.print(k, at, out);
	else
		buf_puts(out, "\"\"");
}

/* "10/60s", "none". */

bool
conf_parse_rate(struct view v, struct conf_rate *out)
{
	ptrdiff_t slash = view_index(v, '/');
	uint64_t n, per;

	if (view_is(v, "none")) {
		*out = (struct conf_rate){ .set = true };
		return true;
	}
	if (slash < 0 || !view_u64(view_first(v, (size_t)slash), UINT32_MAX, &n) || n == 0 ||
	    !conf_parse_duration(view_skip(v, (size_t)slash + 1), &per) || per == 0 || per > PER_MAX_S)
		return false;
	*out = (struct conf_rate){ (uint32_t)n, (uint32_t)per, true };
	return true;
}

static bool
parse_rate(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	if (conf_unset(w) || conf_parse_rate(w.v[0].text, at))
		return true;
	return conf_malformed(p, d, &w.v[0], "a rate such as 10/60s (at least 1, within at most 31d), or none");
}

static void
print_rate(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct conf_rate *r = at;
	uint64_t per = r->per_s;

	(void)k;
	if (r->n == 0) {
		buf_puts(out, r->set ? "none" : "\"\"");
		return;
	}
	buf_printf(out, "%u/", r->n);
	conf_kind_duration.print(&conf_kind_duration, &per, out);
}

/* "2026-12-31". */

static bool
leap(uint64_t y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

bool
conf_parse_date(struct view v, uint32_t *day)
{
	static const uint8_t length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint64_t y, m, d, n = 0;

	if (v.n != 10 || v.p[4] != '-' || v.p[7] != '-' || !view_u64(view_first(v, 4), 9999, &y) || y < 1970 ||
	    !view_u64(view_first(view_skip(v, 5), 2), 12, &m) || m == 0 || !view_u64(view_skip(v, 8), 31, &d) ||
	    d == 0 || d > length[m - 1] + (uint64_t)(m == 2 && leap(y)))
		return false;
	for (uint64_t i = 1970; i < y; i++)
		n += 365 + leap(i);
	for (uint64_t i = 1; i < m; i++)
		n += length[i - 1] + (uint64_t)(i == 2 && leap(y));
	*day = (uint32_t)(n + d - 1);
	return true;
}

/* "22:00-07:00". */

static bool
take_clock(struct view v, uint16_t *minute)
{
	uint64_t h, m;

	if (v.n != 5 || v.p[2] != ':' || !view_u64(view_first(v, 2), 24, &h) ||
	    !view_u64(view_skip(v, 3), 59, &m) || h * 60 + m > DAY_MIN)
		return false;
	*minute = (uint16_t)(h * 60 + m);
	return true;
}

static bool
parse_spans(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	struct conf_spans *list = at;

	if (w.n == 0 || conf_unset(w))
		return true;
	if (!conf_count_ok(p, d, w))
		return false;
	list->v = x_calloc(w.n, sizeof(*list->v));
	for (size_t i = 0; i < w.n; i++) {
		struct conf_span *s = &list->v[list->n++];
		struct view v = w.v[i].text;
		ptrdiff_t dash = view_index(v, '-');
		if (dash < 0 || !take_clock(view_first(v, (size_t)dash), &s->from_min) ||
		    !take_clock(view_skip(v, (size_t)dash + 1), &s->to_min) || s->from_min == s->to_min) {
			conf_malformed(p, d, &w.v[i], "a span of the day such as 22:00-07:00");
			free(list->v);
			*list = (struct conf_spans){ 0 };
			return false;
		}
	}
	return true;
}

static void
print_spans(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct conf_spans *list = at;

	(void)k;
	if (list->n == 0)
		buf_puts(out, "\"\"");
	for (size_t i = 0; i < list->n; i++)
		buf_printf(out, "%s%02u:%02u-%02u:%02u", i ? " " : "", list->v[i].from_min / 60u,
		    list->v[i].from_min % 60u, list->v[i].to_min / 60u, list->v[i].to_min % 60u);
}

static void
release_spans(void *at)
{
	struct conf_spans *list = at;

	free(list->v);
	*list = (struct conf_spans){ 0 };
}

/* "tokyo-1 weight 1 tokyo-2 weight 3", in one directive or several. */

static void
release_members(void *at)
{
	struct conf_members *list = at;

	for (size_t i = 0; i < list->n; i++)
		free(list->v[i].name);
	free(list->v);
	*list = (struct conf_members){ 0 };
}

static bool
member_twice(const struct conf_members *list, struct view name)
{
	for (size_t i = 0; i < list->n; i++)
		if (view_is(name, list->v[i].name))
			return true;
	return false;
}

static bool
parse_members(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	struct conf_members *list = at;
	size_t i = 0;

	if (w.n == 0 || conf_unset(w))
		return true;
	while (i < w.n) {
		struct view name = w.v[i].text;
		uint64_t weight = 1;
		if (member_twice(list, name)) {
			conf_error(p, w.v[i].pos, "%s: \"%.*s\" is a member already", d->name, CONF_SHOW(name));
			return false;
		}
		if (i + 1 < w.n && view_is(w.v[i + 1].text, "weight")) {
			if (i + 2 == w.n || !view_u64(w.v[i + 2].text, 1000, &weight) || weight == 0) {
				conf_error(p, w.v[i + 1].pos, "%s: a weight is a number from 1 to 1000", d->name);
				return false;
			}
			i += 2;
		}
		list->v = x_realloc(list->v, list->n + 1, sizeof(*list->v));
		list->v[list->n++] = (struct conf_member){ x_strndup(name), (uint32_t)weight };
		i++;
	}
	return true;
}

static void
print_members(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct conf_members *list = at;

	(void)k;
	if (list->n == 0)
		buf_puts(out, "\"\"");
	for (size_t i = 0; i < list->n; i++) {
		buf_puts(out, i ? " " : "");
		conf_lex_quote(out, view_str(list->v[i].name));
		buf_printf(out, " weight %u", list->v[i].weight);
	}
}

/* "local", "+09:00". */

static bool
parse_zone(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	struct conf_zone *z = at;
	struct view v = w.v[0].text;
	uint16_t minutes;

	z->local = conf_unset(w) || view_is(v, "local");
	if (z->local)
		return true;
	if (v.n != 6 || (v.p[0] != '+' && v.p[0] != '-') || !take_clock(view_skip(v, 1), &minutes) ||
	    minutes > 14 * 60)
		return conf_malformed(p, d, &w.v[0], "local or an offset such as +09:00");
	z->offset_s = (v.p[0] == '-' ? -1 : 1) * minutes * 60;
	return true;
}

static void
print_zone(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct conf_zone *z = at;
	int minutes = abs(z->offset_s) / 60;

	(void)k;
	if (z->local)
		buf_puts(out, "local");
	else
		buf_printf(out, "%c%02d:%02d", z->offset_s < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

const struct conf_kind conf_kind_opt_number = { .name = "opt_number", .syntax = "number",
	.optional = true, .parse = parse_opt_number, .print = print_opt_number };
const struct conf_kind conf_kind_opt_duration = { .name = "opt_duration", .syntax = "duration",
	.optional = true, .parse = parse_opt_duration, .print = print_opt_duration };
const struct conf_kind conf_kind_rate = { .name = "rate", .syntax = "N/duration | none",
	.optional = true, .parse = parse_rate, .print = print_rate };
const struct conf_kind conf_kind_spans = { .name = "spans", .syntax = "HH:MM-HH:MM ...", .list = true,
	.parse = parse_spans, .print = print_spans, .release = release_spans };
const struct conf_kind conf_kind_members = { .name = "members", .syntax = "NAME [weight N] ...",
	.list = true, .repeat = true, .parse = parse_members, .print = print_members,
	.release = release_members };
const struct conf_kind conf_kind_zone = { .name = "zone", .syntax = "local | +HH:MM",
	.parse = parse_zone, .print = print_zone };
