/* SPDX-License-Identifier: ISC */
/*
 * The queue manager's state. Which file does what:
 *
 * writer   processes that append to the spool   | segments  the pool of segments, big files
 * recover  replay at start, tails of segments   | store     Berkeley DB and done marks, the tick
 * message  messages, recipients, their states   | lane      lanes, what waits for them
 * conn     smtp processes, connections, jobs    | report    reports by bounce
 * loader   deferred recipients that are due     | compact   nearly dead segments
 * admin    mtactl                               | authd     what tenants did, their paces
 * keyhold  mail of frozen keys                  | special   simulator, returned mail, copies
 * dest     domains and what DNS says of them    | site      MX sets
 * way      which way a recipient goes           | dispatch  lanes that have something to do
 * shape    limits and back-off                  | source    sources, pools, their health
 * keep     paces that outlive the process       | pause     what the admin keeps back
 * answer   why something waits                  |
 * sched, retry, route: pure decisions
 */
#ifndef EKIDEN_QMGR_QMGR_H
#define EKIDEN_QMGR_QMGR_H

#include "lib/aio.h"
#include "lib/daemon.h"
#include "lib/db.h"
#include "lib/segment.h"
#include "lib/token.h"
#include "qmgr/group.h"
#include "qmgr/retry.h"
#include "qmgr/route.h"
#include "lib/table.h"

/* A list that its elements carry; see list.h. */
struct link {
	struct link *next, *prev;
};

/* Settings in the form in which they are used; replaced whole by a reload. */
struct settings {
	struct retry_rule retry;
	uint32_t *steps;
	struct route_rules route;
	const char *helo; /* of d->conf */
	struct groups *groups;
	uint32_t connections_total;
	const struct relay *copy_to; /* host NULL: no copies */
	uint16_t token_days;
	uint64_t active;
	uint64_t segment_size;
	uint32_t spare_segments, compact_percent;
};

/* Identity is by name; one address per name, for as long as the process lives. */
struct tenant {
	struct table_node node;
	uint32_t factor; /* percent of the normal pace (A28) */
	uint32_t weight; /* of its turns, 1-100 */
	char name[]; /* <= IPC_NAME_MAX */
};

struct counts {
	uint64_t messages, bytes;
	uint64_t active, deferred, held; /* recipients */
};

/* The pool (segments.c). */
struct pool {
	int seg_dir, big_dir, quarantine_dir;
	struct table segments; /* by generation, free ones too */
	struct link free;
	size_t free_count;
	struct link recycle; /* without live messages */
	struct making *making; /* the segment being pre-written */
	uint64_t last_gen;     /* generations and big files share one sequence */
	bool no_space;
	struct loop_timer step;	 /* of pre-writing, or of the next try to find space */
	struct aio *aio;	 /* NULL: not here */
	struct aio_op slice;	 /* of zeros, under way */
	struct loop_timer locks; /* waits for writers to let go */
	uint64_t big_sweep_below; /* files left by a former life have lower numbers; 0: swept */
	struct table bigs;	  /* handed out, not yet named by a record */
	struct buf big_wants;	  /* of this turn: one folder sync for all */
	struct loop_task big_task;
};

/* Berkeley DB and done marks (store.c). */
struct store {
	struct db_env *env;
	struct db *message, *rcpt, *segment, *meta;
	struct db *by_due, *by_domain, *by_tenant, *by_segment;
	struct buf ops; /* to be applied, in order */
	size_t ops_applied; /* bytes of ops in the database, not yet synced */
	size_t ops_count, ops_since_checkpoint;
	bool failed;	  /* the environment has to be opened again */
	uint64_t failed_at_ms;
	struct loop_timer tick;
	struct loop_task write_task;
	struct link dirty; /* segments with marks to write or sync */
	struct buf unlink; /* big files that go when what is above is durable */
};

/* What became of recipients since authd was told last (authd.c). */
struct outcomes {
	struct table table;
	struct loop_timer timer;
};

/* Domains that mail goes to (dest.c). */
struct dests {
	struct table names, queries;
	struct link ask;
	struct channel dnsd;
	struct dest *last; /* looked up last */
	bool attached;	   /* there was a dnsd */
};

struct sources {
	struct table names;
	struct source_pool *pools;
	size_t npools;
};

/* Changes that keep.c has to write. */
struct kept {
	struct link paces, uses;
};

struct qmgr {
	struct daemon *d;
	struct loop *loop;
	struct settings set;
	struct db_map *transport;
	struct queue_clock clock;
	uint64_t now_us; /* queue time of this turn */
	uint64_t now_at; /* the turn's wall clock when it was read */
	struct counts counts;
	struct pool pool;
	struct store store;
	struct dests dests;
	struct table sites;
	struct sources sources;
	struct kept kept;
	struct pause *pauses;
	struct table shapers; /* limits (shape.c) */
	struct table messages, lanes, tenants, conns, jobs, reports;
	struct link writers, smtps;
	struct channel *bounce; /* NULL: none */
	struct channel authd;
	struct token_secret return_key; /* of return addresses; n 0: authd did not say yet */
	struct table returned; /* with bounce (special.c) */
	struct outcomes outcomes;
	struct table frozen;  /* keys (keyhold.c) */
	struct link keyholds; /* orders under way */
	uint32_t slowed;      /* tenants with a factor below 100 */
	struct loop_timer slow_timer;
	/* Work collected during a turn. */
	struct link settle; /* messages whose states changed */
	struct loop_task settle_task;
	struct link runnable, starved; /* lanes */
	struct link untried; /* lanes that may have no connection of the last quarter */
	struct loop_task dispatch_task;
	struct link idle_conns;
	uint32_t conns_open;
	uint64_t last_id; /* of connections, jobs, reports */
	/* Deferred recipients that come due (loader.c). */
	struct loop_timer load_timer;
	struct buf load_from; /* key of the due index to go on from */
	uint64_t load_due_us; /* due time of load_from */
	bool load_blocked;    /* no room in memory when it last looked */
	struct compaction *compaction;
	struct loop_timer compact_timer, sweep_timer;
	struct loop_task exit_task;
	size_t most; /* lanes, sites, domains, active recipients: since memory was last given back */
	bool prepared, draining;
};

/* Queue time now. */
uint64_t qmgr_now(struct qmgr *q);
/* Queue time as wall clock, for people. */
static inline uint64_t
qmgr_wall(const struct qmgr *q, uint64_t queue_us)
{
	return queue_us + (uint64_t)q->clock.skew_us;
}
static inline uint64_t
qmgr_queue_time(const struct qmgr *q, uint64_t wall_us)
{
	return wall_us - (uint64_t)q->clock.skew_us;
}
static inline uint64_t
qmgr_id(struct qmgr *q)
{
	return ++q->last_id;
}
/* Of the host's local time to UTC, then. */
int32_t host_offset_s(uint64_t wall_us);
/* Interned; lives as long as the process. */
struct tenant *tenant_get(struct qmgr *q, struct view name);

/* From the configuration. -1: it cannot be used; out is untouched. */
int settings_load(struct settings *out, const struct conf *conf, struct err *e);
void settings_free(struct settings *s);
/* Takes effect for what comes next. */
int qmgr_configure(struct qmgr *q, struct err *e);
/* Drain: leaves when no job is under way. */
void qmgr_check_drained(struct qmgr *q);

#endif
