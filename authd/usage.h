/* SPDX-License-Identifier: ISC */
/*
 * What tenants and keys have used and how their mail fares, in memory, with a trail in authd's database:
 * changes of quotas are written at most USAGE_FLUSH_MS later, all in one transaction. After a crash a
 * tenant has at most what it used since the last flush once more.
 *
 * Read from the trail when first asked for, forgotten when nothing was used for more than a day.
 */
#ifndef EKIDEN_AUTHD_USAGE_H
#define EKIDEN_AUTHD_USAGE_H

#include "authd/quota.h"
#include "authd/ratio.h"
#include "authd/store.h"
#include "lib/table.h"
#include "lib/loop.h"

enum { USAGE_FLUSH_MS = 500 };

enum usage_kind { USAGE_TENANT = 't', USAGE_KEY = 'k' };

/* Of one tenant or key. The name is valid as long as the struct. */
struct usage {
	struct table_node node;
	struct usage *next_dirty; /* while dirty */
	bool dirty;
	bool leased; /* since it was last too near a limit (grant.c) */
	uint32_t factor; /* of a tenant's pace, as qmgr was told; 100: normal */
	uint64_t touched_s;
	struct quota quota;
	struct volume volume;
	struct ratio ratio;
	char kind, name[NAME_BYTES + 1];
};

struct usages {
	struct loop *loop;
	struct authd_store *store;
	struct db *db;
	struct table table;
	struct usage *dirty;
	struct loop_timer timer;
	uint64_t swept_s;
	size_t written; /* bytes since the last checkpoint */
};

/* The store stays open as long as this. */
int usages_open(struct usages *u, struct loop *l, struct authd_store *s, struct err *e);
/* Flushes. Before the store is closed. */
void usages_close(struct usages *u);
/* Never NULL; lives until the loop's next turn at least. A trail that cannot be read begins anew. */
struct usage *usages_get(struct usages *u, enum usage_kind kind, struct view name);
/* Its quota or volume changed. */
void usages_changed(struct usages *u, struct usage *of);
void usages_each(struct usages *u, void (*visit)(void *ctx, struct usage *of), void *ctx);

#endif
