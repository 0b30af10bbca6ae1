/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "smtpd/gate.h"
#include "smtpd/session.h"

struct gate *
gate_find(const struct smtpd *d, struct view address)
{
	struct gate *g = d->gates;

	while (g && !view_is(address, g->address))
		g = g->next;
	return g;
}

struct gate *
gate_ref(struct gate *g)
{
	g->refs++;
	return g;
}

struct gate *
gate_take(struct smtpd *d, struct view address)
{
	struct gate *g = gate_find(d, address);

	if (g)
		return gate_ref(g);
	g = x_calloc(1, sizeof(*g));
	*g = (struct gate){.refs = 1, .next = d->gates, .address = x_strndup(address)};
	d->gates = g;
	return g;
}

void
gate_unref(struct smtpd *d, struct gate **gp)
{
	struct gate *g = *gp, **at = &d->gates;

	*gp = NULL;
	if (g == NULL || --g->refs)
		return;
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	free(g->address);
	free(g);
}

void
gate_set(struct smtpd *d, struct gate *g, uint8_t state)
{
	if (g->state == state)
		return;
	g->state = state;
	if (state != LISTENER_DRAINED)
		return;
	/* A session that ends may be the last one to hold it. */
	gate_ref(g);
	for (uint32_t i = 0; i < d->slots_count; i++)
		if (d->slots[i].s && d->slots[i].s->gate == g)
			session_drain(d->slots[i].s);
	gate_unref(d, &g);
}
