/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/addr.h"
#include "qmgr/authd.h"
#include "qmgr/keyhold.h"
#include "qmgr/lane.h"

enum { WEIGHT_MAX = 100 };

struct outcome_row {
	struct table_node node;
	uint32_t n[OUTCOME_KINDS];
	const struct tenant *tenant;
	char user[IPC_NAME_MAX + 1];
};

static struct outcome_row *
row_of(struct qmgr *q, const struct message *m)
{
	struct outcomes *o = &q->outcomes;
	struct view user = view_first(m->user, IPC_NAME_MAX);
	uint64_t hash = hash_view(user, (uint64_t)(uintptr_t)m->tenant);

	for (struct table_node *n = table_first(&o->table, hash); n; n = table_next(n)) {
		struct outcome_row *r = CONTAINER(n, struct outcome_row, node);
		if (r->tenant == m->tenant && view_is(user, r->user))
			return r;
	}
	struct outcome_row *r = x_calloc(1, sizeof(*r));
	r->tenant = m->tenant;
	memcpy(r->user, user.p, user.n);
	table_put(&o->table, &r->node, hash);
	return r;
}

static void
on_timer(struct loop_timer *t)
{
	outcomes_tell(CONTAINER(t, struct qmgr, outcomes.timer));
}

void
outcomes_count(const struct rcpt *r, enum outcome_kind kind)
{
	const struct message *m = r->m;
	struct outcomes *o = &m->q->outcomes;

	if (r->kind != RCPT_NORMAL || *m->tenant->name == '\0')
		return; /* reports of our own, mail for hosted domains */
	row_of(m->q, m)->n[kind]++;
	if (!loop_timer_armed(&o->timer)) {
		o->timer.fire = on_timer;
		loop_timer_set(m->q->loop, &o->timer, OUTCOMES_EVERY_MS);
	}
}

struct telling {
	struct qmgr *q;
	struct buf rows;
};

static void
put_row(void *ctx, struct table_node *n)
{
	struct telling *t = ctx;
	struct outcome_row *r = CONTAINER(n, struct outcome_row, node);

	if (buf_len(&t->rows) + sizeof(*r) + IPC_NAME_MAX > IPC_BULK_MAX) {
		IPC_SEND(&t->q->authd, outcomes, .more = true, .outcomes = buf_view(&t->rows));
		buf_clear(&t->rows);
	}
	IPC_RECORD(&t->rows, outcome, .tenant = view_str(r->tenant->name),
	    .user = view_str(r->user), .sent = r->n[OUTCOME_SENT], .failed = r->n[OUTCOME_FAILED],
	    .deferred = r->n[OUTCOME_DEFERRED]);
	free(r);
}

/* Without authd they are lost: they steer a pace, nothing is billed by them. */
void
outcomes_tell(struct qmgr *q)
{
	struct telling t = { q, BUF_INIT(IPC_BULK_MAX) };

	loop_timer_cancel(q->loop, &q->outcomes.timer);
	table_each(&q->outcomes.table, put_row, &t);
	table_free(&q->outcomes.table);
	if (buf_len(&t.rows))
		IPC_SEND(&q->authd, outcomes, .outcomes = buf_view(&t.rows));
	buf_free(&t.rows);
}

static bool
on_token_key(struct qmgr *q, struct channel *ch, const struct ipc_token_key *m, int *fd)
{
	(void)ch, (void)fd;
	if (!m->current)
		return true;
	q->return_key.id = m->id;
	q->return_key.n = (uint8_t)m->key.n;
	memcpy(q->return_key.key, m->key.p, m->key.n);
	return true;
}

/* A period begins: slowed tenants have their turns again. */
static void
on_period(struct loop_timer *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, slow_timer);

	lanes_wake_all(q);
	if (q->slowed)
		loop_timer_set(q->loop, t, sched_period_left_ms(loop_now_ms(q->loop)));
}

static void
set_factor(struct qmgr *q, struct tenant *t, uint32_t factor)
{
	q->slowed += (factor < 100) - (t->factor < 100);
	t->factor = factor;
	q->slow_timer.fire = on_period;
	loop_timer_set(q->loop, &q->slow_timer,
	    q->slowed ? sched_period_left_ms(loop_now_ms(q->loop)) : 0);
}

static void
forget(void *ctx, struct table_node *n)
{
	struct tenant *t = CONTAINER(n, struct tenant, node);

	set_factor(ctx, t, 100);
	t->weight = 1;
}

static bool
on_tenant_factor(struct qmgr *q, struct channel *ch, const struct ipc_tenant_factor *m, int *fd)
{
	struct tenant *t = tenant_get(q, m->tenant);

	(void)ch, (void)fd;
	if (m->factor == 0 || m->factor > 100 || m->weight > WEIGHT_MAX)
		return false; /* it slows, and never stops (A28) */
	set_factor(q, t, m->factor);
	t->weight = m->weight ? m->weight : 1;
	return true;
}

static bool
on_key_hold(struct qmgr *q, struct channel *ch, const struct ipc_key_hold *m, int *fd)
{
	(void)ch, (void)fd;
	return keyhold_order(q, m->tenant, m->user, m->act);
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct qmgr *d = ch->ctx;

	switch (type) {
		IPC_AUTHD_TO_QMGR(IPC_CASE)
	default:
		return false;
	}
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	struct qmgr *q = ch->ctx;

	if (!q->draining)
		log_warn("authd is gone%s%s", e ? ": " : "", e ? e->text : "");
	authd_detach(q);
}

void
authd_detach(struct qmgr *q)
{
	channel_close(&q->authd);
}

void
authd_attach(struct qmgr *q, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { on_frame, on_closed };

	authd_detach(q);
	/* A new authd counts anew, and tells what it knows. */
	table_each(&q->tenants, forget, q);
	if (channel_open(&q->authd, q->loop, fd, &ops, q, ROLE_AUTHD, instance) < 0) {
		log_error("channel to authd: %s", strerror(errno));
		close(fd);
	}
}
