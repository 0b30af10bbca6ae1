/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "lib/conf_table.h"

enum { VALUE_MAX = 2 * CONF_BYTES_MAX };

static void
print_directive(
    const struct conf_directive *d, const void *base, const char *indent, bool all, struct buf *out)
{
	struct buf value = BUF_INIT(VALUE_MAX);
	const char *at = (const char *)base + d->offset;
	bool deflt = conf_is_default(d, at);

	d->kind->print(d->kind, at, &value);
	bool unset = *d->deflt == '\0' && view_is(buf_view(&value), "\"\"");
	if (!unset && (all || !deflt)) {
		buf_printf(out, "%s%s ", indent, d->name);
		buf_putv(out, buf_view(&value));
		buf_putc(out, '\n');
	}
	buf_free(&value);
}

/* The name that follows the kind of a `many` block, or "". */
static const char *
instance_name(const struct conf_block *b, const void *base)
{
	return b->many ? *(char *const *)base : "";
}

static void
print_block(
    const struct conf *c, const struct conf_block *b, size_t index, bool all, struct buf *out)
{
	const char *base = conf_block_get(c, b, index);
	struct buf body = BUF_INIT(VALUE_MAX);
	size_t count;
	const struct conf_directive *d = b->directives(&count);
	const char *indent = *b->name ? "\t" : "";

	for (size_t i = 0; i < count; i++)
		print_directive(&d[i], base, indent, all, &body);
	if (*b->name && (b->many || buf_len(&body)))
		buf_printf(
		    out, "\n%s%s%s {\n", b->name, b->many ? " " : "", instance_name(b, base));
	buf_putv(out, buf_view(&body));
	if (*b->name && (b->many || buf_len(&body)))
		buf_puts(out, "}\n");
	buf_free(&body);
}

void
conf_print(const struct conf *c, bool all, struct buf *out)
{
	size_t blocks;
	const struct conf_block *b = conf_blocks(&blocks);

	for (; blocks--; b++)
		for (size_t i = 0; i < conf_block_count(c, b); i++)
			print_block(c, b, i, all, out);
}

static void
visit_block(const struct conf *c, const struct conf_block *b, size_t index, bool all,
    void (*visit)(void *ctx, const char *name, struct view value), void *ctx)
{
	const char *base = conf_block_get(c, b, index);
	struct buf name = BUF_INIT(1024), value = BUF_INIT(VALUE_MAX);
	size_t count;
	const struct conf_directive *d = b->directives(&count);

	for (size_t i = 0; i < count; i++) {
		if (!all && conf_is_default(&d[i], base + d[i].offset))
			continue;
		buf_clear(&name);
		buf_clear(&value);
		buf_printf(&name, "%s%s%s%s%s", b->name, b->many ? " " : "", instance_name(b, base),
		    *b->name ? "." : "", d[i].name);
		d[i].kind->print(d[i].kind, base + d[i].offset, &value);
		struct view v = buf_view(&value);
		visit(ctx, buf_cstr(&name), view_is(v, "\"\"") ? VIEW("") : v);
	}
	buf_free(&name);
	buf_free(&value);
}

void
conf_each(const struct conf *c, bool all,
    void (*visit)(void *ctx, const char *name, struct view value), void *ctx)
{
	size_t blocks;
	const struct conf_block *b = conf_blocks(&blocks);

	for (; blocks--; b++)
		for (size_t i = 0; i < conf_block_count(c, b); i++)
			visit_block(c, b, i, all, visit, ctx);
}

struct search {
	const char *name;
	struct buf *out;
	bool found;
};

static void
match_name(void *ctx, const char *name, struct view value)
{
	struct search *s = ctx;

	if (!s->found && !strcmp(name, s->name)) {
		s->found = true;
		buf_putv(s->out, value);
	}
}

bool
conf_value(const struct conf *c, const char *name, struct buf *out)
{
	struct search s = { name, out, false };

	conf_each(c, true, match_name, &s);
	return s.found;
}
