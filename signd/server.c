/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "signd/server.h"

enum { COMPLAIN_MS = 10000 };

struct peer {
	struct server *server;
	struct channel ch;
	struct buf queue; /* requests, each one encoded as `sign` in a block */
	size_t waiting;
	struct loop_reap reap;
	struct peer *next;
};

static void
peer_free(struct loop_reap *r)
{
	struct peer *p = CONTAINER(r, struct peer, reap);

	buf_free(&p->queue);
	free(p);
}

static void
peer_close(struct server *s, struct peer *p)
{
	struct peer **at = &s->peers;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	channel_close(&p->ch);
	p->reap.free = peer_free;
	loop_reap(s->loop, &p->reap);
}

static void
complain(struct server *s, const struct peer *p, const char *why)
{
	uint64_t now = loop_now_ms(s->loop);

	/* Each handshake may bring one: a wrong certificate must not fill the log. */
	if (s->complained_ms && now - s->complained_ms < COMPLAIN_MS)
		return;
	s->complained_ms = now;
	log_warn("%s %u asked for a signature: %s", role_name(p->ch.role), p->ch.instance, why);
}

/* The length of the signature, 0: none. */
static size_t
sign_tls(struct server *s, const struct ipc_sign *m, unsigned char out[static KEYRING_SIGNATURE_MAX],
    struct err *e)
{
	enum keyring_result r = KEYRING_UNKNOWN;
	size_t len = 0;

	if (s->now)
		r = keyring_sign(s->now, m->key, m->pin, m->scheme, m->in, out, &len);
	/*
	 * Around a reload the peer's certificate may be of the configuration before, or the one
	 * after.
	 */
	if (r == KEYRING_UNKNOWN && s->now)
		r = keyring_sign_pin(s->now, m->pin, m->scheme, m->in, out, &len);
	if (r == KEYRING_UNKNOWN && s->former)
		r = keyring_sign_pin(s->former, m->pin, m->scheme, m->in, out, &len);
	if (r == KEYRING_SIGNED)
		return len;
	err_set(e, ERR_PERM, ESC(5, 7, 5), "key %u: %s", m->key,
	    r == KEYRING_UNKNOWN ? "not the private key of that certificate" : "refused");
	return 0;
}

/* A key for TLS signs no mail, and one for mail no handshake: each kind has its own ring. */
static size_t
sign_any(struct server *s, const struct ipc_sign *m, unsigned char out[static KEYRING_SIGNATURE_MAX],
    struct err *e)
{
	bool rsa = m->scheme == SIGN_DKIM_RSA;

	if (!rsa && m->scheme != SIGN_DKIM_ED25519)
		return sign_tls(s, m, out, e);
	if (s->dkim)
		return dkim_ring_sign(s->dkim, m->pin,
		    rsa ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256, m->in, out, e);
	err_set(e, ERR_PERM, ESC(5, 7, 5), "there are no DKIM keys");
	return 0;
}

static void
answer(struct server *s, struct peer *p, const struct ipc_sign *m)
{
	unsigned char out[KEYRING_SIGNATURE_MAX];
	struct err e;

	_Static_assert((int)DKIM_SIGNATURE_MAX <= (int)KEYRING_SIGNATURE_MAX, "room for a signature");
	size_t len = sign_any(s, m, out, &e);
	if (len == 0)
		complain(s, p, e.text);
	IPC_SEND(&p->ch, signature, .req = m->req, .ok = len > 0,
	    .signature = view_of(out, len));
}

/* The first request of p's queue; false when it has none. */
static bool
answer_one(struct server *s, struct peer *p)
{
	struct view v = buf_view(&p->queue);
	struct ipc_sign m;

	if (p->waiting == 0)
		return false;
	size_t before = v.n;
	if (ipc_next(&ipc_desc_sign, &v, &m))
		answer(s, p, &m);
	buf_consume(&p->queue, before - v.n);
	if (--p->waiting == 0)
		buf_free(&p->queue);
	return true;
}

/* Those served go to the end of the list, so that the next turn begins with others. */
static void
rotate(struct server *s)
{
	struct peer *first = s->peers, **end = &s->peers;

	if (first == NULL || first->next == NULL)
		return;
	s->peers = first->next;
	while (*end)
		end = &(*end)->next;
	first->next = NULL;
	*end = first;
}

static void
on_again(struct loop_timer *t)
{
	struct server *s = CONTAINER(t, struct server, again);
	int left = SERVER_TURN;
	bool more = true;

	while (more && left > 0) {
		more = false;
		for (struct peer *p = s->peers; p && left > 0; p = p->next) {
			if (answer_one(s, p)) {
				left--;
				more = true;
			}
		}
	}
	rotate(s);
	for (struct peer *p = s->peers; p; p = p->next) {
		if (p->waiting) {
			loop_timer_set(s->loop, t, 0);
			return;
		}
	}
}

static bool
on_sign(struct peer *p, struct channel *ch, struct ipc_sign *m, int *fd)
{
	struct server *s = p->server;

	(void)fd;
	if (p->waiting >= SERVER_QUEUE_MAX) {
		IPC_SEND(ch, signature, .req = m->req);
		return true;
	}
	ipc_put(&p->queue, &ipc_desc_sign, m);
	p->waiting++;
	if (!loop_timer_armed(&s->again))
		loop_timer_set(s->loop, &s->again, 0);
	return !p->queue.bad;
}

static bool
frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct peer *d = ch->ctx;

	switch (type) {
		IPC_TO_SIGND(IPC_CASE)
	default:
		return false;
	}
}

static void
closed(struct channel *ch, const struct err *e)
{
	struct peer *p = ch->ctx;

	if (e)
		log_warn("channel to %s %u: %s", role_name(ch->role), ch->instance, e->text);
	peer_close(p->server, p);
}

void
server_init(struct server *s, struct loop *l)
{
	s->loop = l;
	s->again.fire = on_again;
}

void
server_peer(struct server *s, enum role role, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { frame, closed };

	server_peer_gone(s, role, instance);
	struct peer *p = x_calloc(1, sizeof(*p));
	p->server = s;
	buf_init(&p->queue, (size_t)SERVER_QUEUE_MAX * 2048);
	if (channel_open(&p->ch, s->loop, fd, &ops, p, role, instance) < 0) {
		close(fd);
		free(p);
		return;
	}
	p->next = s->peers;
	s->peers = p;
}

void
server_peer_gone(struct server *s, enum role role, uint32_t instance)
{
	for (struct peer *p = s->peers; p; p = p->next) {
		if (p->ch.role == role && p->ch.instance == instance) {
			peer_close(s, p);
			return;
		}
	}
}

void
server_use(struct server *s, struct keyring *keys)
{
	keyring_free(&s->former);
	s->former = s->now;
	s->now = keys;
}

void
server_use_dkim(struct server *s, struct dkim_ring *keys)
{
	dkim_ring_ready(keys, &s->dkim);
	s->dkim = keys;
}

void
server_close(struct server *s)
{
	loop_timer_cancel(s->loop, &s->again);
	while (s->peers)
		peer_close(s, s->peers);
	keyring_free(&s->former);
	keyring_free(&s->now);
	dkim_ring_free(&s->dkim);
}
