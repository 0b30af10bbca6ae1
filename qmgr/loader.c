/* SPDX-License-Identifier: ISC */
#include "qmgr/loader.h"
#include "qmgr/message.h"
#include "qmgr/store.h"

enum { ROWS_A_STEP = 200, STEP_MS = 1, SOON_MS = 100, LATEST_MS = 60000 };

/*
 * Rows of recipients in memory keep their former time, so each look goes on behind the last row taken
 * (load_from); a row put with an earlier time moves that place back.
 */
static void
arm(struct qmgr *q, uint64_t ms)
{
	if (q->draining)
		return;
	if (!loop_timer_armed(&q->load_timer) ||
	    loop_now_ms(q->loop) + ms < q->load_timer.at_ms)
		loop_timer_set(q->loop, &q->load_timer, ms);
}

static void
arm_for(struct qmgr *q, uint64_t due_us)
{
	uint64_t now = qmgr_now(q), ms = due_us > now ? (due_us - now) / 1000 + 1 : 0;

	arm(q, ms < SOON_MS ? SOON_MS : ms < LATEST_MS ? ms : LATEST_MS);
}

void
loader_due(struct qmgr *q, uint64_t due_us)
{
	if (due_us < q->load_due_us) {
		buf_clear(&q->load_from);
		buf_put_u64(&q->load_from, due_us);
		q->load_due_us = due_us;
	}
	arm_for(q, due_us);
}

void
loader_reset(struct qmgr *q)
{
	buf_clear(&q->load_from);
	q->load_due_us = 0;
	arm(q, SOON_MS);
}

void
loader_wake(struct qmgr *q)
{
	if (!q->load_blocked || q->counts.active < q->set.active - q->set.active / 10)
		arm(q, q->load_blocked ? 0 : SOON_MS);
}

static void
activate_due(struct qmgr *q, struct message *m)
{
	uint64_t now = qmgr_now(q);
	bool any = false;

	for (uint32_t i = 0; i < m->nrcpt; i++) {
		if (m->rcpts[i].state != R_WAIT || m->rcpts[i].due_us > now)
			continue;
		if (!any && m->busy == 0)
			message_log_active(m);
		any = true;
		rcpt_activate(&m->rcpts[i]);
	}
	message_settle(m);
}

/* Keys of what is due, copied: loading uses the database too. */
static size_t
collect(struct qmgr *q, struct buf *keys, uint64_t *next_due, struct err *e)
{
	uint64_t now = qmgr_now(q);
	struct view key, primary;
	struct db_cursor *c = db_cursor(q->store.by_due, NULL, buf_view(&q->load_from), e);
	size_t n = 0;
	int rc = -1;

	*next_due = UINT64_MAX;
	while (c && n < ROWS_A_STEP && (rc = db_next(c, &key, &primary, NULL, e)) > 0) {
		struct view k = key;
		uint64_t due = view_get_u64(&k);
		if (due > now) {
			*next_due = due;
			break;
		}
		buf_clear(&q->load_from);
		buf_putv(&q->load_from, key);
		buf_putc(&q->load_from, '\0'); /* behind it */
		q->load_due_us = due;
		buf_putv(keys, primary);
		n++;
	}
	db_cursor_close(&c);
	if (rc < 0)
		log_error("queue database: %s", e->text);
	return n;
}

static void
load(struct loop_timer *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, load_timer);
	struct buf keys = BUF_INIT(ROWS_A_STEP * 16);
	uint64_t next_due = UINT64_MAX, last = 0;
	struct err e;

	if (q->draining)
		return;
	q->load_blocked = q->counts.active >= q->set.active;
	if (q->load_blocked || store_apply(q) < 0) {
		arm(q, SOON_MS * 10);
		return;
	}
	size_t n = collect(q, &keys, &next_due, &e);
	for (struct view v = buf_view(&keys); v.n >= 12;) {
		uint64_t qid = view_get_u64(&v);
		(void)view_get_u32(&v);
		struct message *m = qid == last ? NULL : message_load(q, qid);
		last = qid;
		if (m)
			activate_due(q, m);
	}
	buf_free(&keys);
	if (n == ROWS_A_STEP)
		arm(q, STEP_MS);
	else if (next_due != UINT64_MAX)
		arm_for(q, next_due);
}

void
loader_init(struct qmgr *q)
{
	buf_init(&q->load_from, 64);
	q->load_timer.fire = load;
	arm(q, 0);
}

void
loader_stop(struct qmgr *q)
{
	loop_timer_cancel(q->loop, &q->load_timer);
	buf_free(&q->load_from);
}
