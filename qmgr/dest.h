/* SPDX-License-Identifier: ISC */
/*
 * What DNS says of the domains that mail goes to: asked once per domain and time to live, for as long as mail goes
 * there. An answer that is too old serves on while it is asked for again. While the first one is out, mail waits at a
 * site of its own; when the hosts of a domain change, what waits moves to the other site.
 */
#ifndef EKIDEN_QMGR_DEST_H
#define EKIDEN_QMGR_DEST_H

#include "qmgr/site.h"

enum {
	DEST_QUERIES_MAX = 200,	    /* under way at a time */
	DEST_TTL_MIN_MS = 60000,
	DEST_TTL_MAX_MS = 86400000, /* also how long an old answer serves while there is no new one */
	DEST_IDLE_MS = 60000	    /* nothing goes there: forgotten */
};

struct dest {
	struct table_node node;	 /* in dests.names */
	struct table_node query; /* in dests.queries, while asked */
	struct link ask;	 /* in dests.ask: to be asked */
	struct qmgr *q;
	struct site *site;
	uint64_t req;		 /* 0: not asked */
	uint64_t fresh_until_ms, good_at_ms, used_ms;
	uint32_t waiting;	 /* recipients in lanes */
	char name[];
};

/* The domain (canonical) as it is known now. Never NULL. */
struct dest *dest_get(struct qmgr *q, struct view name);
/* Its site, if DNS was asked lately; NULL: nothing is known. Nobody is asked. */
const struct site *dest_site(struct qmgr *q, struct view name);
/* New settings may be of the resolver too: all that is known is asked again when it is needed. */
void dests_stale(struct qmgr *q);
/* Asks again where mail waits; forgets what is idle. */
void dests_sweep(struct qmgr *q);

void dnsd_attach(struct qmgr *q, uint32_t instance, int fd);
void dnsd_detach(struct qmgr *q);

#endif
