/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "smtpd/lease.h"

struct lease {
	struct session *s;
	struct loop_timer timer;
	struct loop_reap reap;
	struct arena arena; /* what the views show */
	struct view sender;
	struct grant grant;
	uint32_t left, used, rcpts;
};

static void
lease_reaped(struct loop_reap *r)
{
	struct lease *l = CONTAINER(r, struct lease, reap);

	arena_free(&l->arena);
	free(l);
}

void
lease_end(struct session *s)
{
	struct lease *l = s->lease;

	if (l == NULL)
		return;
	s->lease = NULL;
	if (l->used)
		peers_tell_leased(s, l->used, l->rcpts);
	loop_timer_cancel(s->d->loop, &l->timer);
	l->reap.free = lease_reaped;
	loop_reap(s->d->loop, &l->reap);
}

static void
lease_over(struct loop_timer *t)
{
	lease_end(CONTAINER(t, struct lease, timer)->s);
}

void
lease_take(struct session *s, struct view sender, const struct ipc_mail_result *m)
{
	lease_end(s);
	if (m->lease == 0 || s->mails == 0) /* most sessions bring one message */
		return;
	struct lease *l = x_calloc(1, sizeof(*l));
	l->s = s;
	l->left = m->lease;
	l->sender = arena_view(&l->arena, sender);
	grant_take(&l->grant, &l->arena, m);
	l->grant.reserved_s = 0;
	l->timer.fire = lease_over;
	loop_timer_set(s->d->loop, &l->timer, LEASE_MS);
	s->lease = l;
}

bool
lease_use(struct session *s, struct view sender)
{
	struct lease *l = s->lease;
	struct txn *t = &s->txn;

	if (l == NULL || l->left == 0 || !view_eq(l->sender, sender))
		return false;
	l->left--;
	t->grant = l->grant;
	t->grant.sender = arena_view(&t->arena, l->grant.sender);
	t->grant.retry = arena_view(&t->arena, l->grant.retry);
	t->leased = true;
	return true;
}

void
lease_count(struct session *s, uint32_t rcpts)
{
	struct lease *l = s->lease;

	if (l == NULL) {
		peers_tell_leased(s, 1, rcpts);
		return;
	}
	l->used++;
	l->rcpts += rcpts;
}
