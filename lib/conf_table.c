/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/conf_table.h"

/* offsetof() needs the struct's name, which the directive lists do not carry: `self` is it. */
#define CONF_ROW(kind, field, directive, deflt, min, max, doc)                                     \
	{ directive, &conf_kind_##kind, offsetof(self, field), sizeof(conf_t_##kind), deflt, min,  \
		max, doc },
#define CONF_ROWS(block, type)                                                                     \
	static const struct conf_directive *directives_##block(size_t *count)                      \
	{                                                                                          \
		typedef type self;                                                                 \
		static const struct conf_directive rows[] = { CONF_##block(CONF_ROW) };            \
		*count = sizeof(rows) / sizeof(rows[0]);                                           \
		return rows;                                                                       \
	}
#define CONF_BLOCK_ROWS(kind, block) CONF_ROWS(block, struct conf_##block)
CONF_ROWS(main, struct conf)
CONF_BLOCKS(CONF_BLOCK_ROWS)

#define CONF_COUNT_AT_one(block) 0
#define CONF_COUNT_AT_many(block) offsetof(struct conf, block##_count)
#define CONF_MANY_one false
#define CONF_MANY_many true
/* The block's own spelling when it has one, else its C name. */
#define CONF_SECOND(first, second, ...) second
#define CONF_SPELLING(...) CONF_SECOND(__VA_ARGS__)
#define CONF_BLOCK_ENTRY(kind, block)                                                              \
	{ CONF_SPELLING(CONF_SPELLED_##block, #block, 0), CONF_MANY_##kind, directives_##block, sizeof(struct conf_##block),               \
		offsetof(struct conf, block), CONF_COUNT_AT_##kind(block), CONF_DOC_##block },

const struct conf_block *
conf_blocks(size_t *count)
{
	static const struct conf_block blocks[] = { { "", false, directives_main,
							sizeof(struct conf), 0, 0, CONF_DOC_main },
		CONF_BLOCKS(CONF_BLOCK_ENTRY) };
	*count = sizeof(blocks) / sizeof(blocks[0]);
	return blocks;
}

const struct conf_block *
conf_block_find(struct view name)
{
	size_t count;
	const struct conf_block *b = conf_blocks(&count);

	for (; count--; b++)
		if (view_is(name, b->name))
			return b;
	return NULL;
}

const struct conf_directive *
conf_directive_find(const struct conf_block *b, struct view name)
{
	size_t count;
	const struct conf_directive *d = b->directives(&count);

	for (; count--; d++)
		if (view_is(name, d->name))
			return d;
	return NULL;
}

/* The arrays have different types: their pointers are copied, not aliased. */
static char *
array_of(const struct conf *c, const struct conf_block *b)
{
	char *array;

	memcpy(&array, (const char *)c + b->at, sizeof(array));
	return array;
}

void *
conf_block_get(const struct conf *c, const struct conf_block *b, size_t index)
{
	char *array = b->many ? array_of(c, b) : NULL;

	if (b->many)
		return array ? array + index * b->size : NULL;
	return (char *)(uintptr_t)c + b->at;
}

size_t
conf_block_count(const struct conf *c, const struct conf_block *b)
{
	size_t count = 1;

	if (b->many)
		memcpy(&count, (const char *)c + b->count_at, sizeof(count));
	return count;
}

void *
conf_block_add(struct conf *c, const struct conf_block *b)
{
	size_t count = conf_block_count(c, b);
	char *array = x_realloc(array_of(c, b), count + 1, b->size);
	void *added = memset(array + count * b->size, 0, b->size);

	count++;
	memcpy((char *)c + b->at, &array, sizeof(array));
	memcpy((char *)c + b->count_at, &count, sizeof(count));
	return added;
}

bool
conf_required(const struct conf_directive *d)
{
	return *d->deflt == '\0' && d->min >= 1 && !d->kind->optional;
}

bool
conf_is_default(const struct conf_directive *d, const void *at)
{
	struct conf_parse p = { 0 };
	struct buf a = BUF_INIT(CONF_BYTES_MAX), b = BUF_INIT(CONF_BYTES_MAX);
	union conf_any deflt;

	memset(&deflt, 0, sizeof(deflt));
	conf_set_default(&p, d, &deflt);
	d->kind->print(d->kind, &deflt, &a);
	d->kind->print(d->kind, at, &b);
	bool same = view_eq(buf_view(&a), buf_view(&b));
	if (d->kind->release)
		d->kind->release(&deflt);
	buf_free(&a);
	buf_free(&b);
	return same;
}
