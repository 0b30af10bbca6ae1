/* SPDX-License-Identifier: ISC */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "qmgr/authd.h"
#include "qmgr/compact.h"
#include "qmgr/conn.h"
#include "qmgr/dest.h"
#include "qmgr/keep.h"
#include "qmgr/keyhold.h"
#include "qmgr/lane.h"
#include "qmgr/list.h"
#include "qmgr/loader.h"
#include "qmgr/pause.h"
#include "qmgr/recover.h"
#include "qmgr/segments.h"
#include "qmgr/shape.h"
#include "qmgr/state.h"
#include "qmgr/store.h"
#include "qmgr/writer.h"

enum { SWEEP_MS = 10000, TRIM_AT = 5000 };

uint64_t
qmgr_now(struct qmgr *q)
{
	uint64_t wall = loop_wall_us(q->loop);
	int64_t jump;

	if (wall == q->now_at)
		return q->now_us;
	q->now_at = wall;
	q->now_us = queue_clock_read(&q->clock, wall, loop_now_ms(q->loop), &jump);
	if (jump)
		log_warn("the clock was set by %+lld s: queue times go on as before until a restart",
		    (long long)jump);
	return q->now_us;
}

int32_t
host_offset_s(uint64_t wall_us)
{
	time_t t = (time_t)(wall_us / 1000000);
	struct tm tm;

	return localtime_r(&t, &tm) ? (int32_t)tm.tm_gmtoff : 0;
}

struct tenant *
tenant_get(struct qmgr *q, struct view name)
{
	uint64_t hash = hash_view(name, 0);

	for (struct table_node *n = table_first(&q->tenants, hash); n; n = table_next(n)) {
		struct tenant *t = CONTAINER(n, struct tenant, node);
		if (view_is(name, t->name))
			return t;
	}
	struct tenant *t = x_calloc(1, sizeof(*t) + name.n + 1);
	t->factor = 100;
	t->weight = 1;
	if (name.n)
		memcpy(t->name, name.p, name.n);
	table_put(&q->tenants, &t->node, hash);
	return t;
}

struct qmgr *
qmgr_prepare(void *state, struct daemon *d)
{
	struct qmgr *q = state;

	if (q->prepared)
		return q;
	q->prepared = true;
	q->d = d;
	q->loop = d->loop;
	list_init(&q->writers);
	list_init(&q->smtps);
	list_init(&q->settle);
	list_init(&q->runnable);
	list_init(&q->starved);
	list_init(&q->untried);
	list_init(&q->idle_conns);
	list_init(&q->keyholds);
	list_init(&q->dests.ask);
	list_init(&q->kept.paces);
	list_init(&q->kept.uses);
	q->settle_task.run = message_settle_all;
	q->dispatch_task.run = lanes_dispatch;
	return q;
}

static int
look_up_transport(void *ctx, struct view key, struct buf *out, struct err *e)
{
	return db_map_get(ctx, key, out, e);
}

int
qmgr_configure(struct qmgr *q, struct err *e)
{
	const struct conf *c = q->d->conf;
	struct db_map *map = NULL;
	struct settings s;

	if (*c->transport && (map = db_map_open("maps/transport.db", e)) == NULL)
		return err_wrap(e, "transport map");
	if (settings_load(&s, c, e) < 0) {
		db_map_close(&map);
		return -1;
	}
	s.route.lookup = map ? look_up_transport : NULL;
	s.route.ctx = map;
	db_map_close(&q->transport);
	struct settings old = q->set;
	q->transport = map;
	q->set = s;
	q->set.groups = groups_new(c, &q->set.retry);
	dests_stale(q);
	sources_rebind(q);
	sites_rebind(q);
	shapers_rebind(q);
	lanes_rebind(q);
	settings_free(&old);
	return 0;
}

static void
expire_old(void *ctx, struct table_node *n)
{
	struct message *m = CONTAINER(n, struct message, node);

	(void)ctx;
	if (!message_expired(m))
		return;
	for (uint32_t i = 0; i < m->nrcpt; i++) {
		struct rcpt *r = &m->rcpts[i];
		if (r->state != R_READY)
			continue;
		lane_cut(r);
		rcpt_expire(r);
	}
}

/* Memory of what there was many of goes back to the system: malloc would keep it. */
static void
give_back(struct qmgr *q)
{
	size_t now = q->lanes.count + q->sites.count + q->dests.names.count + q->counts.active;

	if (now > q->most) {
		q->most = now;
	} else if (now + TRIM_AT < q->most) {
		malloc_trim(0);
		q->most = now;
	}
}

/* What no event brings up: a lane that nobody can serve, an age limit reached while waiting. */
static void
sweep(struct loop_timer *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, sweep_timer);

	table_each(&q->messages, expire_old, NULL);
	jobs_recall_old(q);
	lanes_sweep(q);
	shapers_sweep(q);
	dests_sweep(q);
	sources_sweep(q);
	pauses_sweep(q);
	give_back(q);
	log_debug("sweep: %zu lanes, %zu sites, %zu domains, %zu limits", q->lanes.count, q->sites.count,
	    q->dests.names.count, q->shapers.count);
	loader_wake(q);
	segments_serve(q);
	loop_timer_set(q->loop, &q->sweep_timer, SWEEP_MS);
}

int
qmgr_start(struct qmgr *q, struct err *e)
{
	uint64_t start = clock_mono_us();

	if (qmgr_configure(q, e) < 0 || segments_open(q, e) < 0 || store_open(q, e) < 0 ||
	    keep_start(q, e) < 0 || pauses_load(q, e) < 0)
		return -1;
	loader_init(q);
	compact_init(q);
	if (recover_start(q, e) < 0)
		return -1;
	q->sweep_timer.fire = sweep;
	loop_timer_set(q->loop, &q->sweep_timer, SWEEP_MS);
	segments_serve(q);
	log_info("queue: %llu messages, %llu deferred, %llu held, %llu active recipients; read in %llu ms",
	    (unsigned long long)q->counts.messages, (unsigned long long)q->counts.deferred,
	    (unsigned long long)q->counts.held, (unsigned long long)q->counts.active,
	    (unsigned long long)(clock_mono_us() - start) / 1000);
	return 0;
}

void
qmgr_peer(struct qmgr *q, enum role role, uint32_t instance, int fd)
{
	if (role == ROLE_SMTPD || role == ROLE_BOUNCE)
		writer_attach(q, role, instance, fd);
	else if (role == ROLE_SMTP)
		smtp_attach(q, instance, fd);
	else if (role == ROLE_AUTHD)
		authd_attach(q, instance, fd);
	else if (role == ROLE_DNSD)
		dnsd_attach(q, instance, fd);
	else
		close(fd);
}

void
qmgr_peer_gone(struct qmgr *q, enum role role, uint32_t instance)
{
	if (role == ROLE_SMTPD || role == ROLE_BOUNCE)
		writer_detach(q, role, instance);
	else if (role == ROLE_SMTP)
		smtp_detach(q, instance);
	else if (role == ROLE_AUTHD)
		authd_detach(q);
	else if (role == ROLE_DNSD)
		dnsd_detach(q);
}

/* In the last phase of the turn: nothing uses the store behind this. */
static void
leave(struct loop_task *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, exit_task);

	loop_timer_cancel(q->loop, &q->sweep_timer);
	loop_timer_cancel(q->loop, &q->slow_timer);
	compact_stop(q);
	loader_stop(q);
	writers_close(q);
	smtp_detach(q, UINT32_MAX);
	outcomes_tell(q);
	authd_detach(q);
	dnsd_detach(q);
	keyhold_stop(q);
	keep_stop(q);
	pauses_free(q);
	store_close(q);
	segments_close(q);
	daemon_exit(q->d);
}

void
qmgr_check_drained(struct qmgr *q)
{
	if (!q->draining || q->jobs.count || q->reports.count || q->exit_task.run)
		return;
	q->exit_task.run = leave;
	loop_post(q->loop, LOOP_AFTER, &q->exit_task);
}

void
qmgr_drain(struct qmgr *q)
{
	q->draining = true;
	qmgr_check_drained(q);
}
