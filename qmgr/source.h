/* SPDX-License-Identifier: ISC */
/*
 * Sources: addresses that mail leaves from, with limits over all destinations, their health, and their warm-up (P24).
 * A pool is several sources that share by weight; those that cannot be used just now are left out, and what waits for
 * one of these moves to the others.
 */
#ifndef EKIDEN_QMGR_SOURCE_H
#define EKIDEN_QMGR_SOURCE_H

#include "qmgr/lane.h"
#include "qmgr/stop.h"
#include "qmgr/warmup.h"

enum { SOURCE_UNUSABLE_S = 300 };

struct source {
	struct table_node node; /* in sources.names */
	const struct conf_source *conf; /* NULL: in the configuration no more */
	uint32_t connections, conns; /* limit (0: none), and how many are open */
	struct pace_limit limit;
	struct pace rate;
	struct warmup_plan plan;
	uint64_t unusable_until_us;
	struct table uses;
	struct link starved; /* lanes that wait for a connection of it */
	char name[];
};

/* What a source is at one destination (a shaper's key); there while it is something. */
struct source_use {
	struct table_node node;
	struct link dirty; /* in qmgr.kept.uses: its count is to be written */
	struct source *source;
	uint64_t suspended_until_us;
	uint32_t day, sent; /* under warm-up */
	bool stored;
	char key[];
};

/* From the configuration; sources stay, by name. Before lanes find their ways anew. */
void sources_rebind(struct qmgr *q);
/* NULL: no such source in the configuration. */
struct source *source_by_name(const struct qmgr *q, struct view name);
/*
 * The source for a message at the destination of this key: of the pool of this name, by weight of those that can be
 * used; if none can, the one that it would be. NULL: there is no such pool, the system chooses an address.
 */
struct source *source_of_pool(struct qmgr *q, struct view pool, struct view key, uint64_t qid);
bool pool_known(const struct qmgr *q, struct view name);
/* For a pool's member list and other readers; visit() is false to end. */
struct view source_address(const struct source *s, bool v6);
/* The name it greets with. */
struct view source_helo(const struct source *s, const struct qmgr *q);

/* Of the lane's source, if it has one: recipients that may go now; 0 with *why. */
uint32_t source_room(struct lane *lane, struct stop *why);
/* Connections that may be opened; 0 with *why. */
uint32_t source_connections(const struct lane *lane, struct stop *why);
void source_begin(struct lane *lane, uint32_t n);
void source_give_back(struct lane *lane, uint32_t n);

/* It cannot be used on this host: not tried for SOURCE_UNUSABLE_S; what waits goes by others. */
void source_unusable(struct lane *lane, const struct outcome *why);
/* Not used at the lane's destination for a time. */
void source_suspend(struct lane *lane, uint32_t for_s);
/* Uses that are nothing any more. */
void sources_sweep(struct qmgr *q);
/* The use at this key; made when it is not there. */
struct source_use *source_use_get(struct source *s, struct view key, bool make);

#endif
