/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "smtpd/session.h"

enum { FIRST_RCPTS = 4 };

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
	milters_reset(CONTAINER(t, struct session, txn));
	sign_clear(t);
	txn_close_file(t, false);
	if (t->grant.reserved_s)
		peers_end_txn(CONTAINER(t, struct session, txn));
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
