/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/simulator.h"
#include "lib/token.h"
#include "qmgr/logline.h"
#include "qmgr/special.h"

enum { AGAIN_US = 2000000 };

/* P25: what a simulator address stands for, and what a real host would have said. */
static const struct simulation {
	enum { SIM_SENT, SIM_DEFERRED, SIM_BOUNCED } end;
	uint16_t code;
	struct esc esc;
	const char *text;
	int also; /* an event beside that of the end; -1: none */
} simulations[] = {
	[SIMULATOR_success] = { SIM_SENT, 250, { 2, 0, 0 }, "Ok (simulated)", -1 },
	[SIMULATOR_hard] = { SIM_BOUNCED, 550, { 5, 1, 1 }, "No such user here (simulated)", -1 },
	[SIMULATOR_soft] = { SIM_DEFERRED, 452, { 4, 2, 2 }, "Mailbox full (simulated)", -1 },
	[SIMULATOR_complaint] = { SIM_SENT, 250, { 2, 0, 0 }, "Ok (simulated)", EVENT_complaint },
	[SIMULATOR_suppressed] = { SIM_BOUNCED, 554, { 5, 7, 1 }, "Address is suppressed (simulated)",
	    EVENT_suppressed },
};

static void
simulate(struct rcpt *r)
{
	int which = simulator_find(r->addr);
	const struct simulation *s = &simulations[which < 0 ? SIMULATOR_success : which];
	struct outcome o = { .code = s->code, .esc = s->esc, .text = view_str(s->text),
		.relay = VIEW("simulator"), .remote = true };
	static const char *const words[] = { "sent", "deferred", "bounced" };
	static const enum event_type events[] = { EVENT_delivered, EVENT_deferred, EVENT_bounced };

	logline_rcpt(r, &o, words[s->end], "simulator");
	rcpt_set_outcome(r, &o);
	if (s->end == SIM_DEFERRED)
		rcpt_defer(r, &o);
	else if (s->end == SIM_BOUNCED)
		rcpt_bounce(r, &o);
	event_rcpt(r, events[s->end]);
	if (s->also >= 0)
		event_rcpt(r, (enum event_type)s->also);
	if (s->end == SIM_SENT)
		rcpt_done(r);
}

static void
give_back(struct rcpt *r)
{
	rcpt_wait(r, qmgr_now(r->m->q) + AGAIN_US);
}

static void
hand_over(struct rcpt *r)
{
	struct qmgr *q = r->m->q;
	uint64_t req = qmgr_id(q);

	if (q->bounce == NULL || IPC_SEND(q->bounce, returned, .req = req, .qid = r->m->qid,
				     .sender = r->m->sender, .rcpt = r->addr) < 0) {
		give_back(r);
		return;
	}
	struct returned *p = x_calloc(1, sizeof(*p));
	p->req = req;
	p->r = r;
	table_put(&q->returned, &p->node, hash_u64(req));
	rcpt_set_state(r, R_JOB);
}

bool
special_take(struct rcpt *r)
{
	switch (r->kind) {
	case RCPT_SIMULATOR:
		simulate(r);
		return true;
	case RCPT_RETURNED:
		hand_over(r);
		return true;
	case RCPT_COPY:
		if (r->m->q->set.copy_to->host)
			return false;
		logline_note(r, "copy dropped: bcc-forward is not set any more");
		rcpt_done(r);
		return true;
	default: /* without a secret no return address can be made */
		if (!special_verp(r) || r->m->q->return_key.n)
			return false;
		give_back(r);
		return true;
	}
}

int
special_copy_route(const struct qmgr *q, struct route *out, struct err *e)
{
	*out = (struct route){ .port = q->set.route.port, .tls = q->set.route.tls, .copy = true,
		.group = &q->set.groups->general };
	return route_to_relay(&q->set.route, q->set.copy_to, out, e);
}

bool
special_verp(const struct rcpt *r)
{
	return r->m->rec.flags & SEGMENT_VERP && r->kind == RCPT_NORMAL;
}

struct view
special_sender(const struct rcpt *r, struct buf *room)
{
	struct qmgr *q = r->m->q;
	struct token t = { .qid = r->m->qid, .rcpt = r->index, .key_serial = r->m->key_serial,
		.last_day = (uint16_t)(token_day(loop_wall_us(q->loop)) + q->set.token_days) };

	if (!special_verp(r))
		return r->m->sender;
	token_make(&q->return_key, &t, room);
	buf_putc(room, '@');
	buf_putv(room, r->m->return_domain);
	return buf_view(room);
}

bool
returned_answer(struct qmgr *q, uint64_t req)
{
	for (struct table_node *n = table_first(&q->returned, hash_u64(req)); n; n = table_next(n)) {
		struct returned *p = CONTAINER(n, struct returned, node);
		if (p->req != req)
			continue;
		struct rcpt *r = p->r;
		table_del(&q->returned, n);
		free(p);
		rcpt_done(r);
		return true;
	}
	return false;
}

static void
detach_one(void *ctx, struct table_node *n)
{
	struct qmgr *q = ctx;
	struct returned *p = CONTAINER(n, struct returned, node);
	struct rcpt *r = p->r;

	table_del(&q->returned, n);
	free(p);
	give_back(r);
}

void
returned_detach(struct qmgr *q)
{
	table_each(&q->returned, detach_one, q);
}
