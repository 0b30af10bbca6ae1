/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "authd/counts.h"
#include "lib/loop.h"

struct count {
	struct table_node node;
	uint32_t n;
	char name[];
};

static struct count *
find(const struct counts *c, struct view name, uint64_t hash)
{
	for (struct table_node *at = table_first(&c->table, hash); at; at = table_next(at)) {
		struct count *count = CONTAINER(at, struct count, node);
		if (view_is(name, count->name))
			return count;
	}
	return NULL;
}

uint32_t
counts_add(struct counts *c, struct view name, uint32_t n)
{
	uint64_t hash = hash_view(name, 0);
	struct count *count = find(c, name, hash);

	if (count == NULL) {
		count = x_calloc(1, sizeof(*count) + name.n + 1);
		if (name.n)
			memcpy(count->name, name.p, name.n);
		table_put(&c->table, &count->node, hash);
	}
	count->n += n;
	return count->n;
}

uint32_t
counts_sub(struct counts *c, struct view name, uint32_t n)
{
	struct count *count = find(c, name, hash_view(name, 0));

	if (count && count->n > n) {
		count->n -= n;
		return count->n;
	}
	if (count) {
		table_del(&c->table, &count->node);
		free(count);
	}
	return 0;
}

static void
give_back(void *ctx, struct table_node *n)
{
	const struct count *count = CONTAINER(n, struct count, node);

	counts_sub(ctx, view_str(count->name), count->n);
}

static void
forget(void *ctx, struct table_node *n)
{
	(void)ctx;
	free(CONTAINER(n, struct count, node));
}

void
counts_give_back(struct counts *whole, struct counts *part)
{
	table_each(&part->table, give_back, whole);
	counts_free(part);
}

void
counts_free(struct counts *c)
{
	table_each(&c->table, forget, NULL);
	table_free(&c->table);
}
