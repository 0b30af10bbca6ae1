/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "lib/table.h"

enum { SLOTS_MIN = 16 };

uint64_t
hash_u64(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* FNV-1a, mixed at the end: keys are host and tenant names, and the slots are its low bits. */
uint64_t
hash_view(struct view v, uint64_t seed)
{
	uint64_t h = 0xcbf29ce484222325u ^ seed;

	for (size_t i = 0; i < v.n; i++)
		h = (h ^ (unsigned char)v.p[i]) * 0x100000001b3u;
	return hash_u64(h);
}

static void
grow(struct table *t)
{
	size_t old = t->slot ? t->mask + 1 : 0, size = old ? old * 2 : SLOTS_MIN;
	struct table_node **slot = x_calloc(size, sizeof(struct table_node *));

	for (size_t i = 0; i < old; i++) {
		for (struct table_node *n = t->slot[i], *next; n; n = next) {
			next = n->next;
			n->next = slot[n->hash & (size - 1)];
			slot[n->hash & (size - 1)] = n;
		}
	}
	free(t->slot);
	t->slot = slot;
	t->mask = size - 1;
}

void
table_put(struct table *t, struct table_node *n, uint64_t hash)
{
	if (t->slot == NULL || t->count > t->mask)
		grow(t);
	n->hash = hash;
	n->next = t->slot[hash & t->mask];
	t->slot[hash & t->mask] = n;
	t->count++;
}

void
table_del(struct table *t, struct table_node *n)
{
	struct table_node **at = &t->slot[n->hash & t->mask];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->count--;
}

static struct table_node *
with_hash(struct table_node *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct table_node *
table_first(const struct table *t, uint64_t hash)
{
	return t->slot ? with_hash(t->slot[hash & t->mask], hash) : NULL;
}

struct table_node *
table_next(const struct table_node *n)
{
	return with_hash(n->next, n->hash);
}

void
table_each(struct table *t, void (*visit)(void *ctx, struct table_node *n), void *ctx)
{
	for (size_t i = 0; t->slot && i <= t->mask; i++) {
		for (struct table_node *n = t->slot[i], *next; n; n = next) {
			next = n->next;
			visit(ctx, n);
		}
	}
}

void
table_free(struct table *t)
{
	free(t->slot);
	*t = (struct table){ 0 };
}
