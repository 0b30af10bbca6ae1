/* SPDX-License-Identifier: ISC */
/* A listening address is closed to clients and opened again by command; the others go on (A10). */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "master/master.h"

static const char *const state_names[LISTENER_STATES] = {"open", "paused", "drained"};

void
listener_rows(const struct master *m, struct ctl_call *call, bool all)
{
	const struct generation *g = m->gen;

	for (size_t i = 0; i < g->socket_count; i++) {
		const struct gen_socket *s = &g->sockets[i];
		if (!all && s->state == LISTENER_OPEN)
			continue;
		ctl_str(call, "listener", g->conf->listen[s->listener].name);
		ctl_str(call, "address", s->address);
		ctl_str(call, "state", state_names[s->state]);
		ctl_row_end(call);
	}
}

enum ctl_result
ctl_listener_list(struct ctl_call *call)
{
	listener_rows(call->daemon, call, true);
	return CTL_DONE;
}

/* The sockets of an address, or of a listen block; how many there are. */
static size_t
mark(struct generation *g, struct view which, uint8_t state)
{
	size_t n = 0;

	for (size_t i = 0; g && i < g->socket_count; i++) {
		struct gen_socket *s = &g->sockets[i];
		if (!view_is(which, s->address) &&
		    !view_is(which, g->conf->listen[s->listener].name))
			continue;
		s->state = state;
		n++;
	}
	return n;
}

static void
tell_smtpd(struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++) {
		struct proc *p = m->procs[i];
		if (p->role != ROLE_SMTPD || !proc_reachable(p))
			continue;
		for (size_t k = 0; k < m->gen->socket_count; k++)
			IPC_SEND(&p->ch, listener_state,
			    .address = view_str(m->gen->sockets[k].address),
			    .state = m->gen->sockets[k].state);
	}
}

static enum ctl_result
set_state(struct ctl_call *call, uint8_t state)
{
	struct view which = ctl_arg(call, "address");
	struct master *m = call->daemon;
	struct hostport h = {.text = NULL};
	char *name = NULL;

	/* As the configuration would have written it. */
	if (conf_parse_hostport(which, &h))
		name = h.text;
	else
		name = x_strndup(view_first(which, 200));
	size_t n = mark(m->gen, view_str(name), state);
	if (n) {
		/* A reload under way carries the state along. */
		mark(m->reload.next, view_str(name), state);
		tell_smtpd(m);
		log_info("listener %s %s by user %u", name, state_names[state], call->uid);
	} else {
		ctl_end(call, 2, "there is no listener %s", name);
	}
	free(name);
	return CTL_DONE;
}

enum ctl_result
ctl_listener_pause(struct ctl_call *call)
{
	return set_state(call, LISTENER_PAUSED);
}

enum ctl_result
ctl_listener_drain(struct ctl_call *call)
{
	return set_state(call, LISTENER_DRAINED);
}

enum ctl_result
ctl_listener_resume(struct ctl_call *call)
{
	return set_state(call, LISTENER_OPEN);
}
