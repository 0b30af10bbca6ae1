/* SPDX-License-Identifier: ISC */
/*
 * A hash table of nodes embedded in their objects: nothing is allocated but the slots. The caller
 * compares: table_first() and table_next() walk the nodes with this hash.
 */
#ifndef EKIDEN_TABLE_H
#define EKIDEN_TABLE_H

#include "lib/buf.h"

struct table_node {
	struct table_node *next;
	uint64_t hash;
};

struct table {
	struct table_node **slot;
	size_t count, mask;
};

uint64_t hash_u64(uint64_t x);
uint64_t hash_view(struct view v, uint64_t seed);

void table_put(struct table *t, struct table_node *n, uint64_t hash);
void table_del(struct table *t, struct table_node *n); /* n is in the table */
/* Nodes with exactly this hash. */
struct table_node *table_first(const struct table *t, uint64_t hash);
struct table_node *table_next(const struct table_node *n);
/* Every node, in no order. The callback may delete the node it is given, and free it. */
void table_each(struct table *t, void (*visit)(void *ctx, struct table_node *n), void *ctx);
void table_free(struct table *t); /* the slots only */

#endif
