/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authd/txt.h"
#include "lib/log.h"

/* dnsd ends every look-up by itself; this is for a dnsd that does not. */
enum { WAIT_MS = 90000 };

void
txt_cancel(struct txt_wait *w)
{
	if (w->client == NULL)
		return;
	struct txt_wait **at = &w->client->waits;
	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	loop_timer_cancel(w->client->loop, &w->deadline);
	w->client = NULL;
}

static void
answer(struct txt_wait *w, enum dns_status status, struct view strings, struct view text)
{
	txt_cancel(w);
	w->done(w, status, strings, text);
}

static void
on_deadline(struct loop_timer *t)
{
	struct txt_wait *w = CONTAINER(t, struct txt_wait, deadline);
	bool connected = channel_is_open(&w->client->ch);

	answer(w, DNS_TEMP, view_of(NULL, 0),
	    connected ? VIEW("the resolver does not answer") : VIEW("the resolver is not there"));
}

static bool
on_txt_answer(struct txt_client *c, struct channel *ch, const struct ipc_txt_answer *m, int *fd)
{
	struct txt_wait *w = c->waits;

	(void)ch, (void)fd;
	while (w && w->req != m->req)
		w = w->next;
	/* None: it was cancelled meanwhile. */
	if (w)
		answer(w, m->status, m->strings, m->text);
	return true;
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct txt_client *d = ch->ctx;

	switch (type) {
		IPC_CASE(IPC_TYPE_txt_answer, txt_answer)
	default:
		return false;
	}
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	if (e)
		log_warn("channel from dnsd: %s", e->text);
	txt_client_disconnect(ch->ctx);
}

void
txt_client_init(struct txt_client *c, struct loop *l)
{
	*c = (struct txt_client){ .loop = l };
}

void
txt_client_disconnect(struct txt_client *c)
{
	channel_close(&c->ch);
	/* In the next turn, by their deadlines: no caller's callback runs inside another one. */
	for (struct txt_wait *w = c->waits; w; w = w->next)
		loop_timer_set(c->loop, &w->deadline, 0);
}

void
txt_client_connect(struct txt_client *c, int fd, uint32_t instance)
{
	static const struct channel_ops ops = { on_frame, on_closed };

	txt_client_disconnect(c);
	if (channel_open(&c->ch, c->loop, fd, &ops, c, ROLE_DNSD, instance) < 0) {
		log_error("channel to dnsd could not be opened");
		close(fd);
	}
}

void
txt_query(struct txt_client *c, struct txt_wait *w, struct view name)
{
	w->client = c;
	w->req = ++c->last_req;
	w->deadline = (struct loop_timer){ .fire = on_deadline };
	w->next = c->waits;
	c->waits = w;
	bool sent = channel_is_open(&c->ch) &&
	    IPC_SEND(&c->ch, txt_query, .req = w->req, .name = name) == 0;
	loop_timer_set(c->loop, &w->deadline, sent ? WAIT_MS : 0);
}
