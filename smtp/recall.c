/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "smtp/recall.h"

enum { SWEEP_BUCKETS = 16 }; /* looked through for each new entry */

struct recall_entry {
	struct recall_entry *next;
	uint64_t until_ms;
	char *key, *value;
	size_t value_len;
};

static struct recall_entry **
find(struct recall *r, const char *key)
{
	uint32_t h = 2166136261u;

	for (const char *p = key; *p; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	struct recall_entry **at = &r->bucket[h % RECALL_BUCKETS];
	while (*at && strcmp((*at)->key, key) != 0)
		at = &(*at)->next;
	return at;
}

static void
remove_at(struct recall *r, struct recall_entry **at)
{
	struct recall_entry *e = *at;

	*at = e->next;
	free(e->key);
	free(e->value);
	free(e);
	r->count--;
}

static void
sweep(struct recall *r, uint64_t now_ms)
{
	for (int i = 0; i < SWEEP_BUCKETS; i++) {
		struct recall_entry **at = &r->bucket[r->sweep];
		while (*at)
			if ((*at)->until_ms <= now_ms)
				remove_at(r, at);
			else
				at = &(*at)->next;
		r->sweep = (r->sweep + 1) % RECALL_BUCKETS;
	}
}

void
recall_put(struct recall *r, const char *key, struct view value, uint64_t now_ms, uint64_t ms)
{
	recall_forget(r, key);
	sweep(r, now_ms);
	if (r->count >= RECALL_MAX)
		return; /* it is only a memory */
	struct recall_entry **at = find(r, key), *e = x_calloc(1, sizeof(*e));
	*e = (struct recall_entry){ .until_ms = now_ms + ms,
		.key = x_strdup(key),
		.value = x_strndup(value),
		.value_len = value.n };
	*at = e;
	r->count++;
}

bool
recall_get(struct recall *r, const char *key, uint64_t now_ms, struct view *value)
{
	struct recall_entry **at = find(r, key);

	if (*at == NULL)
		return false;
	if ((*at)->until_ms <= now_ms) {
		remove_at(r, at);
		return false;
	}
	*value = view_of((*at)->value, (*at)->value_len);
	return true;
}

void
recall_forget(struct recall *r, const char *key)
{
	struct recall_entry **at = find(r, key);

	if (*at)
		remove_at(r, at);
}
