/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "smtpd/milter.h"
#include "smtpd/milter_impl.h"

enum { IDLE_MAX = 16, OUT_MAX = 4 << 20, LEAVE_MS = 5000, REUSE_VERSION = 6 };

struct milter *
milter_ref(struct milter *m)
{
	m->refs++;
	return m;
}

void
milter_unref(struct milter **mp)
{
	struct milter *m = *mp;

	*mp = NULL;
	if (m == NULL || --m->refs)
		return;
	for (size_t i = 0; i < m->tenants.n; i++)
		free(m->tenants.v[i]);
	free(m->tenants.v);
	free(m->name);
	free(m);
}

static struct milter *
make(struct smtpd *d, const struct conf_milter *c)
{
	struct milter *m = x_calloc(1, sizeof(*m));

	*m = (struct milter){ .refs = 1, .d = d, .name = x_strdup(c->name), .on_failure = c->on_failure,
		.timeout_ms = c->timeout * 1000 };
	m->tenants.v = x_calloc(c->tenants.n + 1, sizeof(*m->tenants.v));
	for (; m->tenants.n < c->tenants.n; m->tenants.n++)
		m->tenants.v[m->tenants.n] = x_strdup(c->tenants.v[m->tenants.n]);
	return m;
}

void
milter_list_init(struct milter_list *l, struct smtpd *d, const struct conf *c,
    const struct conf_list *names)
{
	l->v = x_calloc(names->n + 1, sizeof(*l->v));
	for (size_t i = 0; i < names->n; i++)
		for (size_t k = 0; k < c->milter_count; k++)
			if (strcmp(c->milter[k].name, names->v[i]) == 0)
				l->v[l->n++] = make(d, &c->milter[k]);
}

/* A listener is over: nobody will take its idle connections. */
void
milter_list_clear(struct milter_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		for (struct milter_conn *c; (c = l->v[i]->idle) != NULL;) {
			l->v[i]->idle = c->next;
			milter_conn_drop(&c);
		}
		milter_unref(&l->v[i]);
	}
	free(l->v);
	*l = (struct milter_list){ 0 };
}

static void
free_conn(struct loop_reap *r)
{
	free(CONTAINER(r, struct milter_conn, reap));
}

/* Out of a list, if it is there. */
static bool
unlink_conn(struct milter_conn **list, const struct milter_conn *c)
{
	while (*list && *list != c)
		list = &(*list)->next;
	if (*list == NULL)
		return false;
	*list = c->next;
	return true;
}

void
milter_conn_drop(struct milter_conn **cp)
{
	struct milter_conn *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	struct smtpd *d = c->m->d;
	if (c->req)
		unlink_conn(&d->milter_wants, c);
	else
		io_close(&c->io);
	if (unlink_conn(&c->m->idle, c))
		c->m->idle_count--;
	loop_timer_cancel(d->loop, &c->timer);
	for (int i = 0; i < MILTER_STAGES; i++)
		free((void *)(uintptr_t)c->terms.macros[i].p);
	milter_unref(&c->m);
	c->reap.free = free_conn;
	loop_reap(d->loop, &c->reap);
}

/* Nobody's fault if it is idle or was told to quit. */
static void
broken(struct milter_conn *c, const char *why)
{
	const struct milter_conn_ops *ops = c->ops;
	void *ctx = c->ctx;

	if (ctx)
		ops->broken(ctx, why); /* who drops it */
	else
		milter_conn_drop(&c);
}

static bool
take_terms(struct milter_conn *c, const struct milter_packet *p)
{
	struct milter_terms t;

	if (!milter_terms_get(p, &t))
		return false;
	for (int i = 0; i < MILTER_STAGES; i++)
		if (t.macros[i].p)
			t.macros[i] = (struct view){ x_strndup(t.macros[i]), t.macros[i].n };
	c->terms = t;
	c->ready = true;
	return true;
}

static void
on_input(struct io *io)
{
	struct milter_conn *c = CONTAINER(io, struct milter_conn, io);
	struct milter_packet p;

	while (!io->dead) {
		struct view in = buf_view(&io->in);
		size_t given = in.n;
		enum milter_taken taken = milter_take(&in, &p);
		if (taken == MILTER_MORE)
			return;
		if (taken == MILTER_BROKEN) {
			broken(c, "a packet of a wrong length");
			return;
		}
		buf_consume(&io->in, given - in.n); /* the bytes stay where they are */
		if (c->ctx == NULL) {
			broken(c, "");
		} else if (c->ready) {
			c->ops->packet(c->ctx, &p);
		} else if (take_terms(c, &p)) {
			c->ops->open(c->ctx);
		} else {
			broken(c, "its answer to the negotiation is not valid");
		}
	}
}

static void
on_drained(struct io *io)
{
	struct milter_conn *c = CONTAINER(io, struct milter_conn, io);

	if (c->ctx)
		c->ops->drained(c->ctx);
}

static void
on_closed(struct io *io, const struct err *e)
{
	broken(CONTAINER(io, struct milter_conn, io), e ? e->text : "it closed the connection");
}

static void
on_left(struct loop_timer *t)
{
	struct milter_conn *c = CONTAINER(t, struct milter_conn, timer);

	milter_conn_drop(&c);
}

/* From another session; one that the milter has closed meanwhile is not there any more. */
static struct milter_conn *
take_idle(struct milter *m)
{
	struct milter_conn *c = m->idle;

	if (c) {
		m->idle = c->next;
		m->idle_count--;
		c->next = NULL;
		c->used = true;
	}
	return c;
}

static struct milter_conn *
ask_master(struct milter *m)
{
	struct smtpd *d = m->d;

	if (d->master == NULL || !channel_is_open(d->master))
		return NULL;
	struct milter_conn *c = x_calloc(1, sizeof(*c));
	c->m = milter_ref(m);
	c->timer.fire = on_left;
	c->req = ++d->milter_request;
	c->next = d->milter_wants;
	d->milter_wants = c;
	IPC_SEND(d->master, milter_want, .req = c->req, .name = view_str(m->name));
	return c;
}

struct milter_conn *
milter_conn_get(struct milter *m, bool fresh, const struct milter_conn_ops *ops, void *ctx)
{
	struct milter_conn *c = fresh ? NULL : take_idle(m);

	if (c == NULL)
		c = ask_master(m);
	if (c) {
		c->ops = ops;
		c->ctx = ctx;
	}
	return c;
}

void
milter_conn_put(struct milter_conn **cp, bool ended)
{
	struct milter_conn *c = *cp;
	struct milter *m = c->m;

	if (!c->ready) {
		milter_conn_drop(cp);
		return;
	}
	*cp = NULL;
	c->ctx = NULL;
	if (!ended || c->terms.version < REUSE_VERSION || m->idle_count >= IDLE_MAX || buf_len(&c->io.in)) {
		milter_put(io_out(&c->io), SMFIC_QUIT, VIEW(""));
		io_finish(&c->io);
		loop_timer_set(m->d->loop, &c->timer, LEAVE_MS);
		return;
	}
	milter_put(io_out(&c->io), SMFIC_QUIT_NC, VIEW(""));
	c->next = m->idle;
	m->idle = c;
	m->idle_count++;
}

static struct milter_conn *
take_want(struct smtpd *d, uint64_t req)
{
	for (struct milter_conn *c = d->milter_wants; c; c = c->next)
		if (c->req == req) {
			unlink_conn(&d->milter_wants, c);
			c->next = NULL;
			return c;
		}
	return NULL;
}

bool
milters_frame(struct smtpd *d, struct view body, int *fd)
{
	static const struct io_ops ops = { .input = on_input, .drained = on_drained, .closed = on_closed };
	struct ipc_milter m;
	char why[256];

	if (!ipc_get(&ipc_desc_milter, body, &m))
		return false;
	struct milter_conn *c = take_want(d, m.req);
	if (c == NULL)
		return true; /* nobody waits for it any more */
	c->req = 0;
	if (*fd < 0) {
		c->io.dead = true; /* never opened */
		snprintf(why, sizeof(why), VIEW_FMT, VIEW_ARG(m.why));
		broken(c, why);
		return true;
	}
	int rc = io_open(&c->io, d->loop, *fd, &ops, MILTER_FRAME_MAX, OUT_MAX);
	*fd = -1;
	if (rc < 0) {
		broken(c, "it cannot be watched");
		return true;
	}
	milter_put_negotiate(io_out(&c->io));
	return true;
}
