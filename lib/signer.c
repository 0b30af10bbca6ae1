/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/signer.h"

enum { FREE_END = UINT32_MAX };

/*
 * A place in the table of pending requests. A request's number on the wire is its place and how
 * often the place was used, so that a late or invented answer finds nothing.
 */
struct place {
	struct tls_sign_op *op; /* NULL: free */
	struct link *link;
	uint32_t uses;
	uint32_t next_free;
};

/* A channel outlives its end until the turn is over (loop_reap). */
struct link {
	struct channel ch;
	struct signer *signer;
	struct link *next;
	uint32_t pending;
	struct loop_reap reap;
};

struct signer {
	struct tls_signer tls;
	struct loop *loop;
	struct link *links; /* one for each signd process */
	struct place *places;
	uint32_t count, cap, first_free, pending;
};

static uint64_t
number_of(const struct signer *s, uint32_t at)
{
	return (uint64_t)s->places[at].uses << 32 | at;
}

static struct place *
place_of(struct signer *s, uint64_t number)
{
	uint32_t at = (uint32_t)number;

	if (at >= s->count || s->places[at].op == NULL || number_of(s, at) != number)
		return NULL;
	return &s->places[at];
}

static uint32_t
take_place(struct signer *s)
{
	if (s->first_free != FREE_END) {
		uint32_t at = s->first_free;
		s->first_free = s->places[at].next_free;
		return at;
	}
	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->places = x_realloc(s->places, s->cap, sizeof(*s->places));
	}
	s->places[s->count] = (struct place){ .uses = 0 };
	return s->count++;
}

/* The operation of a place that becomes free. */
static struct tls_sign_op *
release(struct signer *s, struct place *p)
{
	struct tls_sign_op *op = p->op;

	p->op = NULL;
	p->uses++;
	p->next_free = s->first_free;
	s->first_free = (uint32_t)(p - s->places);
	p->link->pending--;
	s->pending--;
	return op;
}

/* Each signd holds every key: the one with the shortest queue is asked. */
static struct link *
least_busy(const struct signer *s)
{
	struct link *best = NULL;

	for (struct link *l = s->links; l; l = l->next)
		if (channel_is_open(&l->ch) && (best == NULL || l->pending < best->pending))
			best = l;
	return best;
}

static int
start(struct tls_signer *ts, struct tls_sign_op *op)
{
	struct signer *s = CONTAINER(ts, struct signer, tls);
	struct link *link = least_busy(s);

	if (link == NULL || s->pending >= SIGNER_PENDING_MAX)
		return -1;
	uint32_t at = take_place(s);
	s->places[at].op = op;
	s->places[at].link = link;
	link->pending++;
	s->pending++;
	op->ticket = number_of(s, at);
	if (IPC_SEND(&link->ch, sign, .req = op->ticket, .key = op->key, .scheme = op->scheme,
		.in = op->in, .pin = op->pin) < 0) {
		release(s, &s->places[at]);
		return -1;
	}
	return 0;
}

/* The request may be with signd already; its answer then finds the place used by nobody. */
static void
cancel(struct tls_signer *ts, struct tls_sign_op *op)
{
	struct signer *s = CONTAINER(ts, struct signer, tls);
	struct place *p = place_of(s, op->ticket);

	if (p && p->op == op)
		release(s, p);
}

static bool
on_signature(struct link *link, struct channel *ch, struct ipc_signature *m, int *fd)
{
	struct signer *s = link->signer;
	struct place *p = place_of(s, m->req);

	(void)ch;
	(void)fd;
	if (p && p->link == link) {
		struct tls_sign_op *op = release(s, p);
		op->done(op, m->ok, m->signature);
	}
	return true;
}

static bool
frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct link *d = ch->ctx;

	switch (type) {
		IPC_FROM_SIGND(IPC_CASE)
	default:
		return false;
	}
}

static void
link_free(struct loop_reap *r)
{
	free(CONTAINER(r, struct link, reap));
}

/* What pends there fails. */
static void
drop_link(struct signer *s, struct link *link)
{
	struct link **at = &s->links;

	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	channel_close(&link->ch);
	for (uint32_t i = 0; i < s->count && link->pending; i++) {
		if (s->places[i].op == NULL || s->places[i].link != link)
			continue;
		struct tls_sign_op *op = release(s, &s->places[i]);
		op->done(op, false, VIEW(""));
	}
	link->reap.free = link_free;
	loop_reap(s->loop, &link->reap);
}

static void
closed(struct channel *ch, const struct err *e)
{
	struct link *link = ch->ctx;

	if (e)
		log_warn("channel to signd %u: %s", ch->instance, e->text);
	drop_link(link->signer, link);
}

static const struct channel_ops ops = { frame, closed };

struct signer *
signer_new(struct loop *l)
{
	struct signer *s = x_calloc(1, sizeof(*s));

	s->tls = (struct tls_signer){ .start = start, .cancel = cancel };
	s->loop = l;
	s->first_free = FREE_END;
	return s;
}

void
signer_free(struct signer **sp)
{
	struct signer *s = *sp;

	if (s == NULL)
		return;
	while (s->links)
		drop_link(s, s->links);
	free(s->places);
	free(s);
	*sp = NULL;
}

struct tls_signer *
signer_tls(struct signer *s)
{
	return &s->tls;
}

int
signer_attach(struct signer *s, int fd, uint32_t instance)
{
	signer_detach(s, instance);
	struct link *link = x_calloc(1, sizeof(*link));
	link->signer = s;
	if (channel_open(&link->ch, s->loop, fd, &ops, link, ROLE_SIGND, instance) < 0) {
		close(fd);
		free(link);
		return -1;
	}
	link->next = s->links;
	s->links = link;
	return 0;
}

void
signer_detach(struct signer *s, uint32_t instance)
{
	for (struct link *l = s->links; l; l = l->next)
		if (l->ch.instance == instance) {
			drop_link(s, l);
			return;
		}
}

bool
signer_attached(const struct signer *s)
{
	return s->links != NULL;
}

int
signer_start(struct signer *s, struct tls_sign_op *op)
{
	return start(&s->tls, op);
}

void
signer_cancel(struct signer *s, struct tls_sign_op *op)
{
	cancel(&s->tls, op);
}
