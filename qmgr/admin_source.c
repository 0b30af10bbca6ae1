/* SPDX-License-Identifier: ISC */
/* mtactl source list. */
#include "qmgr/answer.h"
#include "qmgr/source.h"

CTL_QMGR(CTL_PROTOTYPE)

/* The use under warm-up with the most of today. */
struct most {
	uint32_t day, sent;
	uint64_t suspended_us, now_us;
	uint32_t suspended;
};

static void
look_at_use(void *ctx, struct table_node *n)
{
	const struct source_use *u = CONTAINER(n, struct source_use, node);
	struct most *m = ctx;

	if (u->day == m->day && u->sent > m->sent)
		m->sent = u->sent;
	if (u->suspended_until_us > m->now_us) {
		m->suspended++;
		if (u->suspended_until_us > m->suspended_us)
			m->suspended_us = u->suspended_until_us;
	}
}

static void
put_source(void *ctx, struct table_node *n)
{
	struct source *s = CONTAINER(n, struct source, node);
	struct ctl_call *call = ctx;
	struct qmgr *q = call->daemon;
	uint64_t now = qmgr_now(q), wall = qmgr_wall(q, now);
	struct most m = { .day = warmup_day(wall, host_offset_s(wall)), .now_us = now };

	if (s->conf == NULL)
		return;
	table_each(&s->uses, look_at_use, &m);
	uint32_t cap = warmup_cap(&s->plan, m.day);
	ctl_str(call, "source", s->name);
	ctl_text(call, "address4", source_address(s, false));
	ctl_text(call, "address6", source_address(s, true));
	ctl_text(call, "helo", source_helo(s, q));
	ctl_str(call, "state", s->unusable_until_us > now ? "unusable" : m.suspended ? "suspended" : "good");
	ctl_time(call, "until", s->unusable_until_us > now ? qmgr_wall(q, s->unusable_until_us) :
		m.suspended ? qmgr_wall(q, m.suspended_us) : 0);
	ctl_number(call, "suspended_at", m.suspended);
	ctl_number(call, "connections", s->conns);
	ctl_number(call, "warm_up_sent", m.sent);
	ctl_number(call, "warm_up_limit", cap == WARMUP_ALL ? 0 : cap);
	ctl_row_end(call);
}

enum ctl_result
ctl_source_list(struct ctl_call *call)
{
	struct qmgr *q = call->daemon;

	table_each(&q->sources.names, put_source, call);
	return CTL_DONE;
}
