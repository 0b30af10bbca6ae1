/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"

/* With its head still a size that malloc() keeps at hand. */
enum { BLOCK_BYTES = 960, ALIGN = _Alignof(max_align_t) };

struct arena_block {
	struct arena_block *next;
	size_t used, cap;
	_Alignas(max_align_t) char bytes[];
};

void *
arena_alloc(struct arena *a, size_t n)
{
	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	struct arena_block *b = a->head;
	if (b == NULL || b->cap - b->used < n) {
		size_t cap = n > BLOCK_BYTES ? n : BLOCK_BYTES;
		b = x_malloc(sizeof(*b) + cap);
		*b = (struct arena_block){ .next = a->head, .cap = cap };
		a->head = b;
	}
	void *p = b->bytes + b->used;
	b->used += n;
	a->size_bytes += n;
	return memset(p, 0, n);
}

struct view
arena_view(struct arena *a, struct view v)
{
	return (struct view){ arena_str(a, v), v.n };
}

char *
arena_str(struct arena *a, struct view v)
{
	char *s = arena_alloc(a, v.n + 1);
	if (v.n)
		memcpy(s, v.p, v.n);
	return s;
}

void
arena_free(struct arena *a)
{
	for (struct arena_block *b = a->head, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	*a = (struct arena){ 0 };
}
