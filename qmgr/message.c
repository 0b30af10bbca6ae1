/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "qmgr/conn.h"
#include "qmgr/keyhold.h"
#include "qmgr/lane.h"
#include "qmgr/list.h"
#include "qmgr/loader.h"
#include "qmgr/logline.h"
#include "qmgr/recover.h"
#include "qmgr/report.h"
#include "qmgr/segments.h"
#include "qmgr/store.h"

enum { AGAIN_MAX = 10 };

struct message *
message_find(const struct qmgr *q, uint64_t qid)
{
	for (struct table_node *n = table_first(&q->messages, hash_u64(qid)); n; n = table_next(n)) {
		struct message *m = CONTAINER(n, struct message, node);
		if (m->qid == qid)
			return m;
	}
	return NULL;
}

static struct message *
message_new(struct qmgr *q, struct segment *seg, uint32_t nrcpt)
{
	struct arena mem = { 0 };
	struct message *m = arena_alloc(&mem, sizeof(*m));

	m->rcpts = arena_alloc(&mem, nrcpt * sizeof(*m->rcpts));
	m->mem = mem;
	m->q = q;
	m->seg = seg;
	m->nrcpt = m->live = nrcpt;
	m->active_us = loop_wall_us(q->loop);
	return m;
}

struct message *
message_from_record(struct qmgr *q, struct segment *seg, uint64_t offset, const struct record *r,
    const struct envelope *env)
{
	struct message *m = message_new(q, seg, env->nrcpt);
	struct arena *a = &m->mem;

	m->qid = r->qid;
	m->offset = offset;
	m->rec = *r;
	m->big = env->flags & SEGMENT_BIG ? env->big : 0;
	m->size = env->size;
	m->arrival_us = env->arrival_us;
	m->received_us = env->received_us;
	m->release_us = env->release_us;
	m->base_us = qmgr_queue_time(q, env->release_us > env->arrival_us ? env->release_us : env->arrival_us);
	m->sender = arena_view(a, env->sender);
	m->user = arena_view(a, env->user);
	m->tag = arena_view(a, env->tag);
	m->envid = arena_view(a, env->envid);
	m->sender_original = arena_view(a, env->sender_original);
	m->return_domain = arena_view(a, env->return_domain);
	m->hold_reason = arena_view(a, env->hold_reason);
	m->batch = arena_view(a, env->batch);
	m->label = arena_view(a, env->label);
	m->header_from = arena_view(a, env->header_from);
	m->retry = arena_view(a, env->retry);
	m->key_serial = env->key_serial;
	m->priority = env->priority;
	m->mt_priority = env->mt_priority;
	m->tenant = tenant_get(q, env->tenant);
	m->ret = env->ret;
	m->total = env->nrcpt;
	for (uint32_t i = 0; i < env->nrcpt; i++) {
		const struct segment_rcpt *from = &env->rcpts[i];
		m->rcpts[i] = (struct rcpt){ .m = m, .index = i, .notify = from->notify,
			.kind = from->kind,
			.addr = arena_view(a, from->addr), .orcpt = arena_view(a, from->orcpt) };
	}
	seg->loose += env->nrcpt;
	return m;
}

void
message_enter(struct message *m, bool fresh)
{
	struct qmgr *q = m->q;

	table_put(&q->messages, &m->node, hash_u64(m->qid));
	m->seg->mem++;
	m->report_timer.fire = report_due;
	if (!fresh)
		return;
	segment_live(m->seg, 1, m->rec.length);
	q->counts.messages++;
	q->counts.bytes += whole_bytes(&m->rec, m->size);
}

void
message_log_active(struct message *m)
{
	uint32_t copies = 0;

	for (uint32_t i = 0; i < m->nrcpt; i++)
		copies += m->rcpts[i].kind == RCPT_COPY && m->rcpts[i].state != R_DONE;
	logline_active(m, m->live - copies);
}

int
message_priority(const struct message *m)
{
	return m->priority + (m->mt_priority ? m->mt_priority - 10 : 0);
}

const struct retry_rule *
message_retry(const struct message *m)
{
	const struct retry_rule *own = m->retry.n ? retry_by_name(m->q->set.groups, m->retry) : NULL;

	return own ? own : &m->q->set.retry;
}

/* The key's schedule, else that of the recipient's group. */
static const struct retry_rule *
rcpt_retry(const struct rcpt *r)
{
	const struct groups *g = r->m->q->set.groups;
	struct buf domain = BUF_INIT(256);

	if (g->domains.n == 0 || (r->m->retry.n && retry_by_name(g, r->m->retry)))
		return message_retry(r->m);
	const struct group *group = domain_canonical(addr_domain(r->addr), &domain) ?
	    group_of_domain(g, buf_view(&domain)) : &g->general;
	buf_free(&domain);
	return group->retry;
}

uint64_t
message_expires(const struct message *m)
{
	return qmgr_wall(m->q, m->base_us) + message_retry(m)->period_s * 1000000;
}

void
message_arrived(struct qmgr *q, struct segment *seg, uint64_t offset, const struct record *r,
    const struct envelope *env)
{
	struct message *m = message_from_record(q, seg, offset, r, env);

	if (m->big)
		big_named(q, m->big);
	message_enter(m, true);
	message_log_active(m);
	for (uint32_t i = 0; i < m->nrcpt; i++)
		rcpt_begin(&m->rcpts[i]);
}

/* Loading. */

struct loading {
	struct message *m; /* NULL: counting */
	uint32_t n;
};

static bool
load_row(void *ctx, const struct rcpt_row *row)
{
	struct loading *l = ctx;

	if (l->m && l->n < l->m->nrcpt) {
		struct rcpt *r = &l->m->rcpts[l->n];
		*r = (struct rcpt){ .m = l->m, .index = row->index, .notify = row->notify,
			.kind = row->kind,
			.addr = arena_view(&l->m->mem, row->addr),
			.orcpt = arena_view(&l->m->mem, row->orcpt) };
		l->m->seg->loose++;
		rcpt_from_row(r, row);
	}
	l->n++;
	return true;
}

/* Age counts from the later of both times when no jump is known: a clock set back makes none old. */
static uint64_t
base_time(const struct qmgr *q, const struct message_row *row)
{
	if (q->clock.skew_us != 0 || row->base_us > row->arrival_us)
		return row->base_us;
	return row->arrival_us;
}

static struct message *
from_row(struct qmgr *q, struct segment *seg, const struct message_row *row)
{
	struct loading l = { NULL, 0 };
	uint64_t qid = row->qid;

	if (row->total == 1)
		l.n = 1; /* which needs no counting */
	else if (store_each_rcpt(q, qid, load_row, &l) < 0)
		return NULL;
	if (l.n == 0)
		return NULL;
	struct message *m = message_new(q, seg, l.n);
	struct arena *a = &m->mem;
	m->qid = qid;
	m->offset = row->offset;
	m->rec = row->rec;
	m->big = row->big;
	m->size = row->size;
	m->arrival_us = row->arrival_us;
	m->received_us = row->received_us;
	m->release_us = row->release_us;
	m->base_us = base_time(q, row);
	m->sender = arena_view(a, row->sender);
	m->user = arena_view(a, row->user);
	m->tag = arena_view(a, row->tag);
	m->envid = arena_view(a, row->envid);
	m->sender_original = arena_view(a, row->sender_original);
	m->return_domain = arena_view(a, row->return_domain);
	m->batch = arena_view(a, row->batch);
	m->label = arena_view(a, row->label);
	m->header_from = arena_view(a, row->header_from);
	m->retry = arena_view(a, row->retry);
	m->pool = arena_view(a, row->pool);
	m->key_serial = row->key_serial;
	m->priority = row->priority;
	m->mt_priority = row->mt_priority;
	m->tenant = tenant_get(q, row->tenant);
	m->ret = row->ret;
	m->total = row->total;
	m->in_db = true;
	l = (struct loading){ m, 0 };
	store_each_rcpt(q, qid, load_row, &l);
	if (l.n == m->nrcpt)
		return m;
	struct arena mem = m->mem; /* fewer than there should be: the database cannot be read */
	arena_free(&mem);
	return NULL;
}

/* A message of a segment that is not read to the end may have recipients that no row knows. */
struct message *
message_get(struct qmgr *q, uint64_t qid)
{
	struct message *m = message_find(q, qid);

	return m || store_apply(q) < 0 ? m : message_load(q, qid);
}

struct message *
message_load(struct qmgr *q, uint64_t qid)
{
	struct message *m = message_find(q, qid);
	struct message_row row;

	if (m || store_get_message(q, qid, &row) <= 0)
		return m;
	struct segment *seg = segment_find(q, row.gen);
	if (seg == NULL || (seg->state == SEG_CLOSING && row.offset >= seg->told))
		return NULL;
	m = from_row(q, seg, &row);
	if (m) {
		message_enter(m, false);
		message_settle(m);
	}
	return m;
}

/* Leaving. */

static void
leave_memory(struct message *m)
{
	struct arena mem = m->mem;

	loop_timer_cancel(m->q->loop, &m->report_timer);
	link_cut(&m->settle);
	table_del(&m->q->messages, &m->node);
	m->seg->mem--;
	segment_check(m->q, m->seg);
	arena_free(&mem);
}

static void
message_removed(struct message *m)
{
	struct qmgr *q = m->q;

	logline_removed(m);
	if (m->in_db)
		store_del_message(q, m->qid);
	if (m->big) {
		conn_drop_content(q, m->big);
		big_remove(q, m->big);
	}
	q->counts.messages--;
	q->counts.bytes -= whole_bytes(&m->rec, m->size);
	segment_live(m->seg, -1, m->rec.length);
	leave_memory(m);
}

void
message_settle(struct message *m)
{
	if (link_in(&m->settle))
		return;
	list_put(&m->q->settle, &m->settle);
	loop_post(m->q->loop, LOOP_COMMIT, &m->q->settle_task);
}

void
message_settle_all(struct loop_task *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, settle_task);

	while (!list_empty(&q->settle)) {
		struct message *m = CONTAINER(q->settle.next, struct message, settle);
		link_cut(&m->settle);
		if (m->live == 0)
			message_removed(m);
		else if (m->busy == 0)
			leave_memory(m);
		else
			report_check(m);
	}
	if (q->load_blocked)
		loader_wake(q);
	if (q->draining)
		qmgr_check_drained(q);
}

/* Recipients. */

static void
count_state(struct rcpt *r, int by)
{
	struct message *m = r->m;
	struct counts *c = &m->q->counts;
	uint64_t n = (uint64_t)(int64_t)by;

	switch (r->state) {
	case R_WAIT:
		c->deferred += n;
		break;
	case R_HELD:
		c->held += n;
		break;
	case R_NEW:
	case R_DONE:
		break;
	default:
		c->active += n;
		m->busy += (uint32_t)by;
		m->failed += r->state == R_FAILED ? (uint32_t)by : 0;
		break;
	}
}

void
rcpt_set_state(struct rcpt *r, enum rcpt_state state)
{
	count_state(r, -1);
	r->state = (uint8_t)state;
	count_state(r, 1);
	message_settle(r->m);
}

void
rcpt_set_outcome(struct rcpt *r, const struct outcome *o)
{
	struct arena *a = &r->m->mem;

	r->code = o->code;
	r->esc = esc_pack(o->esc);
	r->text = arena_str(a, view_first(o->text, IPC_TEXT_MAX));
	r->relay = o->relay.n ? arena_str(a, view_first(o->relay, 330)) : NULL;
	r->remote = o->remote;
	r->last_us = loop_wall_us(r->m->q->loop);
}

static void
save(struct rcpt *r)
{
	struct message *m = r->m;

	if (!m->in_db)
		store_put_message(m->q, m);
	m->in_db = true;
	store_put_rcpt(m->q, r);
	if (!r->in_db)
		m->seg->loose--;
	r->in_db = true;
}

void
rcpt_forget(struct rcpt *r)
{
	r->state = R_DONE;
	r->m->live--;
	r->m->seg->loose--;
}

/* It is counted already: by the walk at start, or when its row was put. */
void
rcpt_from_row(struct rcpt *r, const struct rcpt_row *row)
{
	struct arena *a = &r->m->mem;

	if (r->state != R_NEW)
		return;
	r->state = row->held ? R_HELD : R_WAIT;
	r->due_us = row->due_us;
	r->last_us = row->last_us;
	r->attempts = row->attempts;
	r->code = row->code;
	r->esc = row->esc;
	r->remote = row->remote;
	r->scheduled = row->scheduled;
	r->paused = row->paused;
	r->text = row->text.n ? arena_str(a, row->text) : NULL;
	r->relay = row->relay.n ? arena_str(a, row->relay) : NULL;
	r->in_db = true;
	r->m->seg->loose--;
}

void
rcpt_begin(struct rcpt *r)
{
	const struct message *m = r->m;
	struct outcome o = { .esc = ESC(4, 7, 0), .text = m->hold_reason };

	if (!(m->rec.flags & SEGMENT_HELD)) {
		rcpt_start(r);
		return;
	}
	rcpt_set_outcome(r, &o);
	rcpt_hold(r);
}

/* No attempt is counted, and the age begins at that time. */
void
rcpt_start(struct rcpt *r)
{
	struct message *m = r->m;
	uint64_t due = m->release_us ? qmgr_queue_time(m->q, m->release_us) : 0;

	if (due <= qmgr_now(m->q) || keyhold_frozen(m)) {
		rcpt_activate(r);
		return;
	}
	r->scheduled = true;
	rcpt_wait(r, due);
}

void
rcpt_activate(struct rcpt *r)
{
	struct qmgr *q = r->m->q;

	r->scheduled = r->paused = false;
	if (keyhold_frozen(r->m))
		keyhold_hold(r);
	else if (q->counts.active >= q->set.active)
		rcpt_wait(r, qmgr_now(q));
	else
		lane_put(r, false);
}

void
rcpt_done(struct rcpt *r)
{
	struct message *m = r->m;

	if (!m->seg->indexed)
		store_done_mark(m->q, m->seg, m->qid, r->index);
	if (r->in_db)
		store_del_rcpt(m->q, m->qid, r->index);
	else
		m->seg->loose--;
	rcpt_set_state(r, R_DONE);
	m->live--;
}

void
rcpt_hold(struct rcpt *r)
{
	r->due_us = 0;
	r->scheduled = false;
	r->wish = WISH_NONE;
	rcpt_set_state(r, R_HELD);
	save(r);
}

void
rcpt_wait(struct rcpt *r, uint64_t due_us)
{
	r->due_us = due_us;
	rcpt_set_state(r, R_WAIT);
	save(r);
	loader_due(r->m->q, due_us);
}

void
rcpt_move(struct rcpt *r, struct view pool)
{
	struct message *m = r->m;

	if (!view_eq(m->pool, pool)) {
		m->pool = arena_view(&m->mem, pool);
		if (m->in_db)
			store_put_message(m->q, m);
	}
	if (r->state == R_READY) {
		lane_cut(r);
		rcpt_wait(r, qmgr_now(m->q));
	}
}

/* RFC 3461: NOTIFY without FAILURE, and RFC 5321 6.1: the null sender, are told nothing; nobody of copies. */
static void
fail(struct rcpt *r)
{
	bool copy = r->kind == RCPT_COPY;
	bool quiet = copy || r->m->sender.n == 0 || (r->notify && !(r->notify & NOTIFY_FAILURE));

	if (r->expired)
		event_rcpt(r, EVENT_expired);
	if (!quiet) {
		rcpt_set_state(r, R_FAILED);
		return;
	}
	logline_note(r, copy ? "no report: a copy" : r->m->sender.n ? "no report: not asked for" :
	    "no report: null sender");
	if (r->expired)
		logline_note(r, "status=expired");
	rcpt_done(r);
}

void
rcpt_defer(struct rcpt *r, const struct outcome *o)
{
	struct qmgr *q = r->m->q;
	uint64_t next;

	rcpt_set_outcome(r, o);
	r->attempts++;
	if (retry_next(rcpt_retry(r), r->attempts, qmgr_now(q), r->m->base_us, &next)) {
		rcpt_wait(r, next);
		return;
	}
	r->expired = true;
	fail(r);
}

void
rcpt_bounce(struct rcpt *r, const struct outcome *o)
{
	rcpt_set_outcome(r, o);
	r->expired = false;
	fail(r);
}

/* By the longest age limit of its recipients: what has a shorter one is given up at its next failure. */
bool
message_expired(const struct message *m)
{
	uint64_t now = qmgr_now(m->q);

	if (!retry_expired(message_retry(m), now, m->base_us))
		return false;
	for (uint32_t i = 0; m->q->set.groups->n && i < m->nrcpt; i++)
		if (m->rcpts[i].state != R_DONE && !retry_expired(rcpt_retry(&m->rcpts[i]), now, m->base_us))
			return false;
	return true;
}

void
rcpt_expire(struct rcpt *r)
{
	const struct outcome o = { .esc = ESC(4, 4, 7), .text = VIEW("delivery time expired") };

	if (r->text == NULL)
		rcpt_set_outcome(r, &o);
	r->expired = true;
	fail(r);
}

void
rcpt_again(struct rcpt *r)
{
	const struct outcome o = { .esc = ESC(4, 3, 0),
		.text = VIEW("delivery was interrupted too often") };

	if (++r->again > AGAIN_MAX) {
		r->again = 0;
		logline_rcpt(r, &o, "deferred", NULL);
		rcpt_defer(r, &o);
		return;
	}
	lane_put(r, true);
}

void
rcpt_damaged(struct rcpt *r)
{
	struct message *m = r->m;
	char id[QID_CHARS + 1];

	log_error("%s: content is damaged in the spool: held", qid_text(m->qid, id));
	recover_quarantine(m->q, m->seg, m->offset, m->offset + m->rec.length);
	rcpt_hold(r);
	for (uint32_t i = 0; i < m->nrcpt; i++) {
		struct rcpt *other = &m->rcpts[i];
		if (other->state == R_READY)
			lane_cut(other);
		if (other->state == R_JOB)
			other->wish = WISH_HOLD;
		else if (other->state == R_NEW || other->state == R_READY || other->state == R_WAIT)
			rcpt_hold(other);
	}
}
