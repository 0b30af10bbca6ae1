/* SPDX-License-Identifier: ISC */
/*
 * Keys of TLS session tickets: each listener has its own, its workers share it, and it changes from time to
 * time, so that what a stolen key opens is bounded.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/log.h"
#include "master/master.h"

static void
renew(struct master *m, uint32_t listener)
{
	struct gen_listen *l = &m->gen->listens[listener];

	memcpy(l->former_ticket_key, l->ticket_key, TICKET_KEY_BYTES);
	if (getrandom(l->ticket_key, TICKET_KEY_BYTES, 0) != TICKET_KEY_BYTES)
		abort();
	for (size_t i = 0; i < m->proc_count; i++) {
		struct proc *p = m->procs[i];
		if (p->role == ROLE_SMTPD && proc_reachable(p))
			IPC_SEND(&p->ch, ticket_next, .listener = listener,
			    .key = view_of(l->ticket_key, TICKET_KEY_BYTES));
	}
}

static void
on_time(struct loop_timer *t)
{
	struct master *m = CONTAINER(t, struct master, tickets);
	const struct conf *c = m->gen->conf;

	tickets_start(m);
	/* While a configuration is under way it is not known by which numbers the listeners go. */
	if (m->phase != MASTER_SERVING || m->reload.next)
		return;
	for (uint32_t i = 0; i < c->listen_count; i++)
		if (c->listen[i].tls != CONF_TLS_none)
			renew(m, i);
	log_debug("new keys for session tickets");
}

void
tickets_start(struct master *m)
{
	m->tickets.fire = on_time;
	loop_timer_set(m->loop, &m->tickets, m->gen->conf->ticket_rotation * 1000);
}
