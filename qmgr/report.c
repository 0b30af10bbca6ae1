/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "qmgr/list.h"
#include "qmgr/logline.h"
#include "qmgr/report.h"
#include "qmgr/segments.h"
#include "qmgr/special.h"

enum { RCPTS_BYTES = 49000 };

/* What the report may quote: front and content where they lie; of a big message the front, its header. */
struct source {
	int fd;
	uint64_t offset, length;
	uint8_t ret;
};

static int
open_source(struct qmgr *q, const struct message *m, struct source *s)
{
	*s = (struct source){ segment_open_reader(q, m->seg), m->offset + record_front_at(&m->rec),
		m->rec.front_len + m->rec.content_len, m->big ? RET_HDRS : m->ret };
	return s->fd;
}

static void
put_rcpt(struct buf *b, const struct rcpt *r)
{
	IPC_RECORD(b, report_rcpt, .index = r->index, .rcpt = r->addr, .orcpt = r->orcpt,
	    .code = r->code, .esc = r->esc, .text = view_str(r->text), .remote = r->remote,
	    .relay = view_str(r->relay), .last_attempt_us = r->last_us);
}

/* As many as fit; the rest goes into the next report. */
static struct rcpt *
gather(struct message *m, struct buf *b, bool *expired)
{
	struct rcpt *list = NULL, **end = &list;

	*expired = true;
	for (uint32_t i = 0; i < m->nrcpt; i++) {
		struct rcpt *r = &m->rcpts[i];
		if (r->state != R_FAILED)
			continue;
		size_t before = buf_len(b);
		put_rcpt(b, r);
		if (b->bad) {
			b->bad = false;
			buf_truncate(b, before);
			break;
		}
		*expired &= r->expired;
		r->next = NULL;
		*end = r;
		end = &r->next;
	}
	return list;
}

static void
later(struct message *m, uint64_t ms)
{
	if (!loop_timer_armed(&m->report_timer))
		loop_timer_set(m->q->loop, &m->report_timer, ms);
}

static int
send_report(struct message *m, struct report *p, struct view rcpts, bool expired)
{
	struct qmgr *q = m->q;
	struct source s;

	if (open_source(q, m, &s) < 0) {
		log_error("content of a message to report on: %s", strerror(errno));
		return -1;
	}
	return IPC_SEND_FD(q->bounce, s.fd, report, .req = p->req, .qid = m->qid,
	    .kind = expired ? REPORT_EXPIRED : REPORT_FAILED, .sender = m->sender,
	    .tenant = view_str(m->tenant->name), .user = m->user, .arrival_us = m->arrival_us,
	    .expires_us = message_expires(m), .envid = m->envid,
	    .ret = s.ret, .offset = s.offset, .content_len = s.length, .flags = m->rec.flags,
	    .rcpts = rcpts);
}

static void
report_send(struct message *m)
{
	struct qmgr *q = m->q;
	struct buf rcpts = BUF_INIT(RCPTS_BYTES);
	struct report *p = x_calloc(1, sizeof(*p));
	bool expired;

	p->req = qmgr_id(q);
	p->m = m;
	p->rcpts = gather(m, &rcpts, &expired);
	if (p->rcpts && send_report(m, p, buf_view(&rcpts), expired) == 0) {
		if (expired)
			logline_expired(m);
		for (struct rcpt *r = p->rcpts; r; r = r->next)
			rcpt_set_state(r, R_REPORT);
		table_put(&q->reports, &p->node, hash_u64(p->req));
		m->report = p;
	} else {
		free(p);
		later(m, REPORT_RETRY_MS);
	}
	m->report_soon = false;
	buf_free(&rcpts);
}

void
report_check(struct message *m)
{
	if (m->failed == 0 || m->report || m->q->bounce == NULL)
		return;
	if (m->report_soon || (m->failed == m->busy && !loop_timer_armed(&m->report_timer))) {
		loop_timer_cancel(m->q->loop, &m->report_timer);
		report_send(m);
	} else {
		later(m, REPORT_WAIT_MS);
	}
}

void
report_due(struct loop_timer *t)
{
	struct message *m = CONTAINER(t, struct message, report_timer);

	m->report_soon = true;
	message_settle(m);
}

static void
report_end(struct qmgr *q, struct report *p, void (*what)(struct rcpt *r))
{
	struct rcpt *list = p->rcpts, *r;

	table_del(&q->reports, &p->node);
	p->m->report = NULL;
	free(p);
	while ((r = list) != NULL) {
		list = r->next;
		r->next = NULL;
		what(r);
	}
}

static void
again(struct rcpt *r)
{
	rcpt_set_state(r, R_FAILED);
}

bool
report_answer(struct qmgr *q, const struct ipc_report_done *a)
{
	for (struct table_node *n = table_first(&q->reports, hash_u64(a->req)); n; n = table_next(n)) {
		struct report *p = CONTAINER(n, struct report, node);
		struct message *m = p->m;
		if (p->req != a->req)
			continue;
		report_end(q, p, a->ok ? rcpt_done : again);
		if (!a->ok)
			later(m, REPORT_RETRY_MS);
		return true;
	}
	return false;
}

static void
check_message(void *ctx, struct table_node *n)
{
	struct message *m = CONTAINER(n, struct message, node);

	(void)ctx;
	if (m->failed)
		message_settle(m);
}

void
reports_attach(struct qmgr *q, struct channel *bounce)
{
	q->bounce = bounce;
	table_each(&q->messages, check_message, NULL);
}

static void
detach_one(void *ctx, struct table_node *n)
{
	report_end(ctx, CONTAINER(n, struct report, node), again);
}

void
reports_detach(struct qmgr *q)
{
	q->bounce = NULL;
	returned_detach(q);
	table_each(&q->reports, detach_one, q);
}
