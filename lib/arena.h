/* SPDX-License-Identifier: ISC */
/*
 * Bulk-freed memory: what one transaction allocates is freed in one call.  Nothing is allocated
 * before the first use, so an idle session pays nothing.  Pointers live until arena_free().
 */
#ifndef EKIDEN_ARENA_H
#define EKIDEN_ARENA_H

#include "lib/buf.h"

struct arena_block;
struct arena {
	struct arena_block *head;
	size_t size_bytes; /* handed out since the last arena_free(); callers check their limits on it */
};

void *arena_alloc(struct arena *a, size_t n); /* zeroed, aligned for any type */
struct view arena_view(struct arena *a, struct view v); /* a copy, NUL-terminated behind its end */
char *arena_str(struct arena *a, struct view v);
void arena_free(struct arena *a); /* frees everything; the arena stays usable */

#endif
