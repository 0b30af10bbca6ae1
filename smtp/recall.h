/* SPDX-License-Identifier: ISC */
/*
 * Short memory of answers by name: what DNS said about a next hop, and which addresses did not take
 * a connection, so that a burst of connections does not ask or knock again for each.
 */
#ifndef EKIDEN_RECALL_H
#define EKIDEN_RECALL_H

#include "lib/buf.h"

enum { RECALL_BUCKETS = 4096, RECALL_MAX = 20000 };

struct recall_entry;
struct recall {
	struct recall_entry *bucket[RECALL_BUCKETS];
	size_t count;
	size_t sweep; /* next bucket to look for old entries in */
};

/* Keeps a copy of value for ms; replaces a former one. A full memory forgets the old ones first. */
void recall_put(struct recall *r, const char *key, struct view value, uint64_t now_ms, uint64_t ms);
/* The value is borrowed until the next call. false: not known (any more). */
bool recall_get(struct recall *r, const char *key, uint64_t now_ms, struct view *value);
void recall_forget(struct recall *r, const char *key);

#endif
