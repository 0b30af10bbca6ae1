/* SPDX-License-Identifier: ISC */
/* The kinds of value that are numbers and words: parse, print, release. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf_table.h"
#include "lib/near.h"

struct unit {
	char suffix;
	uint64_t factor;
};
static const struct unit size_units[] = { { 'G', 1 << 30 }, { 'M', 1 << 20 }, { 'K', 1 << 10 } };
static const struct unit time_units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 } };

bool
conf_unset(struct conf_words w)
{
	return w.n == 1 && w.v[0].quoted && w.v[0].text.n == 0;
}

static bool
in_range(struct conf_parse *p, const struct conf_directive *d, const struct conf_word *w, int64_t x,
    const void *lo, const void *hi)
{
	struct buf low = BUF_INIT(64), high = BUF_INIT(64);

	if (x >= d->min && x <= d->max)
		return true;
	d->kind->print(d->kind, lo, &low);
	d->kind->print(d->kind, hi, &high);
	conf_error(p, w->pos, "%s: \"%.*s\" is not between %s and %s", d->name, CONF_SHOW(w->text),
	    buf_cstr(&low), buf_cstr(&high));
	buf_free(&low);
	buf_free(&high);
	return false;
}

bool
conf_malformed(struct conf_parse *p, const struct conf_directive *d, const struct conf_word *w,
    const char *wanted)
{
	conf_error(p, w->pos, "%s: \"%.*s\" is not %s", d->name, CONF_SHOW(w->text), wanted);
	return false;
}

static bool
take_unsigned(struct conf_parse *p, const struct conf_directive *d, const struct conf_word *w,
    uint64_t x, void *at)
{
	uint64_t lo = (uint64_t)d->min, hi = (uint64_t)d->max;

	if (!in_range(p, d, w, x > INT64_MAX ? INT64_MAX : (int64_t)x, &lo, &hi))
		return false;
	*(uint64_t *)at = x;
	return true;
}

static bool
parse_flag(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	if (!view_is(w.v[0].text, "yes") && !view_is(w.v[0].text, "no"))
		return conf_malformed(p, d, &w.v[0], "yes or no");
	*(bool *)at = view_is(w.v[0].text, "yes");
	return true;
}

static void
print_flag(const struct conf_kind *k, const void *at, struct buf *out)
{
	(void)k;
	buf_puts(out, *(const bool *)at ? "yes" : "no");
}

static bool
parse_number(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	uint64_t x;

	if (!view_u64(w.v[0].text, UINT64_MAX, &x))
		return conf_malformed(p, d, &w.v[0], "a number");
	return take_unsigned(p, d, &w.v[0], x, at);
}

static void
print_number(const struct conf_kind *k, const void *at, struct buf *out)
{
	(void)k;
	buf_printf(out, "%" PRIu64, *(const uint64_t *)at);
}

static bool
parse_signed(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	struct view v = w.v[0].text;
	bool negative = view_starts(v, "-");
	uint64_t x;

	if (!view_u64(view_skip(v, negative), INT64_MAX, &x))
		return conf_malformed(p, d, &w.v[0], "a number");
	int64_t value = negative ? -(int64_t)x : (int64_t)x;
	if (!in_range(p, d, &w.v[0], value, &d->min, &d->max))
		return false;
	*(int64_t *)at = value;
	return true;
}

static void
print_signed(const struct conf_kind *k, const void *at, struct buf *out)
{
	(void)k;
	buf_printf(out, "%" PRId64, *(const int64_t *)at);
}

/* Digits and one unit letter; no letter (or `one`) means 1. */
static bool
parse_units(struct view v, const struct unit *units, size_t count, char one, uint64_t *out)
{
	uint64_t factor = 1, x;
	char last = v.n ? v.p[v.n - 1] : '0';

	if (last < '0' || last > '9') {
		v.n--;
		while (count && units->suffix != last) {
			units++;
			count--;
		}
		if (count)
			factor = units->factor;
		else if (one == '\0' || last != one)
			return false;
	}
	if (!view_u64(v, UINT64_MAX / factor, &x))
		return false;
	*out = x * factor;
	return true;
}

static void
print_units(uint64_t x, const struct unit *units, size_t count, struct buf *out)
{
	for (; count && x; count--, units++)
		if (x % units->factor == 0) {
			buf_printf(out, "%" PRIu64 "%c", x / units->factor, units->suffix);
			return;
		}
	buf_printf(out, "%" PRIu64, x);
}

bool
conf_parse_size(struct view v, uint64_t *bytes)
{
	return parse_units(v, size_units, 3, '\0', bytes);
}

bool
conf_parse_duration(struct view v, uint64_t *seconds)
{
	return parse_units(v, time_units, 3, 's', seconds);
}

static bool
parse_size(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	uint64_t x;

	if (!conf_parse_size(w.v[0].text, &x))
		return conf_malformed(p, d, &w.v[0], "a size: bytes, or a number with K, M or G");
	return take_unsigned(p, d, &w.v[0], x, at);
}

static void
print_size(const struct conf_kind *k, const void *at, struct buf *out)
{
	(void)k;
	print_units(*(const uint64_t *)at, size_units, 3, out);
}

static bool
parse_duration(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	uint64_t x;

	if (!conf_parse_duration(w.v[0].text, &x))
		return conf_malformed(
		    p, d, &w.v[0], "a duration: seconds, or a number with s, m, h or d");
	return take_unsigned(p, d, &w.v[0], x, at);
}

static void
print_duration(const struct conf_kind *k, const void *at, struct buf *out)
{
	uint64_t x = *(const uint64_t *)at;

	(void)k;
	if (x && x % 60)
		buf_printf(out, "%" PRIu64 "s", x);
	else
		print_units(x, time_units, 3, out);
}

static bool
length_ok(struct conf_parse *p, const struct conf_directive *d, const struct conf_word *w, size_t n)
{
	if ((int64_t)n < d->min && n == 0)
		conf_error(p, w->pos, "%s: must not be empty", d->name);
	else if ((int64_t)n < d->min)
		conf_error(p, w->pos, "%s: shorter than %" PRId64 " bytes", d->name, d->min);
	else if ((int64_t)n > d->max)
		conf_error(p, w->pos, "%s: longer than %" PRId64 " bytes", d->name, d->max);
	else
		return true;
	return false;
}

static bool
parse_text(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	if (!length_ok(p, d, &w.v[0], w.v[0].text.n))
		return false;
	*(char **)at = x_strndup(w.v[0].text);
	return true;
}

static void
print_text(const struct conf_kind *k, const void *at, struct buf *out)
{
	(void)k;
	conf_lex_quote(out, view_str(*(char *const *)at));
}

static void
release_text(void *at)
{
	free(*(char **)at);
	*(char **)at = NULL;
}

/* A relative path is below the folder of the main file. */
static bool
parse_path(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	struct view v = w.v[0].text;
	struct buf b = BUF_INIT(2 * CONF_WORD_MAX);

	if (v.n && v.p[0] != '/' && p->dir)
		buf_printf(&b, "%s/", p->dir);
	buf_putv(&b, v);
	bool good = length_ok(p, d, &w.v[0], b.bad ? SIZE_MAX >> 1 : buf_len(&b));
	if (good)
		*(char **)at = x_strdup(buf_cstr(&b));
	buf_free(&b);
	return good;
}

bool
conf_count_ok(struct conf_parse *p, const struct conf_directive *d, struct conf_words w)
{
	if (w.n <= (uint64_t)d->max)
		return true;
	conf_error(p, w.v[d->max].pos, "%s: more than %" PRId64 " values", d->name, d->max);
	return false;
}

static void
release_list(void *at)
{
	struct conf_list *list = at;

	for (size_t i = 0; i < list->n; i++)
		free(list->v[i]);
	free(list->v);
	*list = (struct conf_list){ 0 };
}

static bool
parse_list(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	struct conf_list *list = at;

	if (conf_unset(w) || w.n == 0)
		return true;
	if (!conf_count_ok(p, d, w))
		return false;
	list->v = x_calloc(w.n, sizeof(*list->v));
	for (size_t i = 0; i < w.n; i++) {
		if (w.v[i].text.n == 0) {
			conf_error(p, w.v[i].pos, "%s: an empty word in a list", d->name);
			release_list(list);
			return false;
		}
		list->v[list->n++] = x_strndup(w.v[i].text);
	}
	return true;
}

static void
print_list(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct conf_list *list = at;

	(void)k;
	if (list->n == 0)
		buf_puts(out, "\"\"");
	for (size_t i = 0; i < list->n; i++) {
		if (i)
			buf_putc(out, ' ');
		conf_lex_quote(out, view_str(list->v[i]));
	}
}

#define KIND(kind, syntax_of, is_list, release_of)                                                          \
	const struct conf_kind conf_kind_##kind = { .name = #kind, .syntax = syntax_of,              \
		.list = is_list,                                                                   \
		.parse = parse_##kind, .print = print_##kind, .release = release_of };
#define print_path print_text
KIND(flag, "yes | no", false, NULL)
KIND(number, "number", false, NULL)
KIND(signed, "number", false, NULL)
KIND(size, "size", false, NULL)
KIND(duration, "duration", false, NULL)
KIND(text, "text", false, release_text)
KIND(path, "file", false, release_text)
KIND(list, "word ...", true, release_list)

static bool
parse_choice(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	const struct conf_kind *k = d->kind;
	struct buf all = BUF_INIT(1024);
	struct near near;

	near_init(&near, w.v[0].text);
	for (unsigned i = 0; i < k->choice_count; i++) {
		if (view_is(w.v[0].text, k->choices[i])) {
			buf_free(&all);
			memcpy(at, &i, sizeof(i));
			return true;
		}
		near_offer(&near, k->choices[i]);
		buf_printf(&all, "%s%s", i ? ", " : "", k->choices[i]);
	}
	conf_error(p, w.v[0].pos, "%s: \"%.*s\" is not one of %s%s%s%s", d->name,
	    CONF_SHOW(w.v[0].text), buf_cstr(&all), near.best ? "; did you mean \"" : "",
	    near.best ? near.best : "", near.best ? "\"?" : "");
	buf_free(&all);
	return false;
}

static void
print_choice(const struct conf_kind *k, const void *at, struct buf *out)
{
	unsigned i;

	memcpy(&i, at, sizeof(i));
	buf_puts(out, i < k->choice_count ? k->choices[i] : "?");
}

#define CHOICE_TEXT(name, text) text,
#define CHOICE_KIND(c)                                                                             \
	static const char *const choices_##c[] = { CONF_CHOICE_##c(CHOICE_TEXT) };                 \
	_Static_assert(                                                                            \
	    sizeof(conf_t_choice_##c) == sizeof(unsigned), "an enum is not an unsigned");          \
	const struct conf_kind conf_kind_choice_##c = { .name = "choice", .parse = parse_choice,   \
		.print = print_choice, .choices = choices_##c,                                       \
		.choice_count = sizeof(choices_##c) / sizeof(choices_##c[0]) };
CONF_CHOICES(CHOICE_KIND)
