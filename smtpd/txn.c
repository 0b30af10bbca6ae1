/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "smtpd/lease.h"

enum { FIRST_RCPTS = 4 };

void
grant_take(struct grant *g, struct arena *texts, const struct ipc_mail_result *m)
{
	*g = (struct grant){ .rewrite = m->rewrite, .key_serial = m->key_serial,
		.sender = arena_view(texts, m->sender), .header_from_tenant = m->header_from_tenant,
		.hold = m->hold, .check_rcpts = m->check_rcpts, .priority = m->priority,
		.may_future = m->may_future, .may_priority = m->may_priority,
		.retry = arena_view(texts, m->retry), .reserved_s = m->reserved_s };
}

void
txn_close_file(struct txn *t, bool keep)
{
	if (t->big_spool)
		spool_big_close(t->big_spool, &t->big, keep);
	t->big_spool = NULL;
	t->big_open = false;
}

void
txn_clear(struct txn *t)
{
	struct session *s = CONTAINER(t, struct session, txn);

	milters_reset(s);
	sign_clear(t);
	txn_close_file(t, false);
	if (t->grant.reserved_s)
		peers_end_txn(s);
	else if (t->leased && t->stored)
		lease_count(s, t->env.nrcpt - t->copies);
	buf_free(&t->late);
	header_list_free(&t->header);
	buf_free(&t->content);
	buf_free(&t->front);
	arena_free(&t->arena);
	*t = (struct txn){ 0 };
}

void
txn_add_rcpt(struct txn *t, struct view addr, enum rcpt_kind kind)
{
	struct envelope *env = &t->env;

	if (env->nrcpt == t->rcpts_cap) {
		uint32_t cap = t->rcpts_cap ? t->rcpts_cap * 2 : FIRST_RCPTS;
		struct segment_rcpt *v = arena_alloc(&t->arena, cap * sizeof(*v));
		if (env->nrcpt)
			memcpy(v, env->rcpts, env->nrcpt * sizeof(*v));
		env->rcpts = v;
		t->rcpts_cap = cap;
	}
	env->rcpts[env->nrcpt++] =
	    (struct segment_rcpt){ .addr = arena_view(&t->arena, addr), .kind = (uint8_t)kind };
}
