/* SPDX-License-Identifier: ISC */
/*
 * The one place of policy: answers smtpd's questions about log-ins and senders, and the admin's
 * commands about tenants, keys and domains. Owns the database of all three.
 */
#include <stdlib.h>
#include <unistd.h>

#include "authd/admin.h"
#include "authd/check.h"
#include "authd/txt.h"
#include "lib/daemon.h"

enum { CHECKPOINT_MS = 5 * 60 * 1000, WATCH_MS = 2000 };

struct authd {
	struct daemon *daemon;
	struct authd_store *store;
	struct hasher hasher;
	struct txt_client txt;
	struct client *clients;
	struct loop_timer checkpoint, watch;
	bool ready;
};

/* A channel from an smtpd process. */
struct client {
	struct channel ch;
	struct authd *d;
	struct client *next;
	struct loop_reap reap;
};

static bool
on_auth(struct authd *d, struct channel *ch, const struct ipc_auth *m, int *fd)
{
	struct check_identity id;
	struct policy_reply r;

	(void)fd;
	check_auth(d->store, &d->hasher, m->user, m->secret, &id, &r);
	IPC_SEND(ch, auth_result, .req = m->req, .code = r.code, .esc = esc_pack(r.esc),
	    .text = view_str(r.text), .tenant = view_str(id.tenant), .user = view_str(id.user),
	    .why = view_str(r.why));
	return true;
}

static bool
on_mail_check(struct authd *d, struct channel *ch, const struct ipc_mail_check *m, int *fd)
{
	struct policy_reply r;

	(void)fd;
	check_mail(d->store, m->tenant, m->user, m->sender, &r);
	IPC_SEND(ch, mail_result, .req = m->req, .code = r.code, .esc = esc_pack(r.esc),
	    .text = view_str(r.text), .why = view_str(r.why));
	return true;
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct client *c = ch->ctx;
	struct authd *d = c->d;

	switch (type) {
		IPC_SMTPD_TO_AUTHD(IPC_CASE)
	default:
		return false;
	}
}

static void
client_reaped(struct loop_reap *r)
{
	free(CONTAINER(r, struct client, reap));
}

static void
leave(struct authd *d)
{
	struct err e;

	/* Not closed: callbacks of this turn may still come for it. */
	if (store_checkpoint(d->store, &e) < 0)
		log_error("%s", e.text);
	daemon_exit(d->daemon);
}

static void
client_close(struct client *c)
{
	struct authd *d = c->d;
	struct client **at = &d->clients;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at == NULL)
		return; /* closed before */
	*at = c->next;
	channel_close(&c->ch);
	c->reap.free = client_reaped;
	loop_reap(d->daemon->loop, &c->reap);
	if (d->daemon->draining && d->clients == NULL)
		leave(d); /* the last one that could ask is gone */
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	if (e)
		log_warn("channel from %s %u: %s", role_name(ch->role), ch->instance, e->text);
	client_close(ch->ctx);
}

static struct client *
find_client(struct authd *d, uint32_t instance)
{
	struct client *c = d->clients;

	while (c && c->ch.instance != instance)
		c = c->next;
	return c;
}

static void
add_client(struct authd *d, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { on_frame, on_closed };
	struct client *former = find_client(d, instance), *c = x_calloc(1, sizeof(*c));

	c->d = d;
	c->next = d->clients;
	d->clients = c;
	if (channel_open(&c->ch, d->daemon->loop, fd, &ops, c, ROLE_SMTPD, instance) < 0) {
		log_error("channel to smtpd %u could not be opened", instance);
		close(fd);
	}
	if (former)
		client_close(former);
}

/* Peers come before init() as well, when the state is still all zero. */
static void
ready_for_peers(struct daemon *daemon)
{
	struct authd *d = daemon->state;

	if (d->ready)
		return;
	d->daemon = daemon;
	txt_client_init(&d->txt, daemon->loop);
	d->ready = true;
}

static void
authd_peer(struct daemon *daemon, enum role role, uint32_t instance, int fd)
{
	struct authd *d = daemon->state;

	ready_for_peers(daemon);
	if (role == ROLE_SMTPD)
		add_client(d, instance, fd);
	else if (role == ROLE_DNSD)
		txt_client_connect(&d->txt, fd, instance);
	else
		close(fd); /* has nothing to ask yet */
}

static void
authd_peer_gone(struct daemon *daemon, enum role role, uint32_t instance)
{
	struct authd *d = daemon->state;
	struct client *c = find_client(d, instance);

	ready_for_peers(daemon);
	if (role == ROLE_DNSD)
		txt_client_disconnect(&d->txt);
	else if (role == ROLE_SMTPD && c)
		client_close(c);
}

/*
 * After a failure nobody knows what is on disk: recovery is for a new process, which master starts.
 * Until then every answer is a temporary failure.
 */
static void
on_watch(struct loop_timer *t)
{
	struct authd *d = CONTAINER(t, struct authd, watch);

	if (store_dead(d->store)) {
		log_error("the database failed: starting anew to recover it");
		daemon_exit(d->daemon);
	}
	loop_timer_set(d->daemon->loop, &d->watch, WATCH_MS);
}

static void
on_checkpoint(struct loop_timer *t)
{
	struct authd *d = CONTAINER(t, struct authd, checkpoint);
	struct err e;

	if (store_checkpoint(d->store, &e) < 0)
		log_error("%s", e.text);
	loop_timer_set(d->daemon->loop, &d->checkpoint, CHECKPOINT_MS);
}

static int
authd_init(struct daemon *daemon, struct err *e)
{
	struct authd *d = daemon->state;

	ready_for_peers(daemon);
	if (hasher_open(&d->hasher, e) < 0)
		return -1;
	d->store = store_open(".", e);
	if (d->store == NULL)
		return -1;
	store_set_txt_client(d->store, &d->txt);
	d->checkpoint.fire = on_checkpoint;
	d->watch.fire = on_watch;
	loop_timer_set(daemon->loop, &d->checkpoint, CHECKPOINT_MS);
	loop_timer_set(daemon->loop, &d->watch, WATCH_MS);
	return 0;
}

static void
authd_admin(struct daemon *daemon, uint32_t uid, int fd)
{
	struct authd *d = daemon->state;

	ctl_serve(daemon->loop, fd, uid, authd_commands, d->store);
}

/* Sessions that finish may still ask; the skeleton's deadline ends that. */
static void
authd_drain(struct daemon *daemon)
{
	struct authd *d = daemon->state;

	if (d->clients == NULL)
		leave(d);
}

static const struct daemon_spec spec = {
	.role = ROLE_AUTHD,
	.state_size = sizeof(struct authd),
	.sandbox = SANDBOX_AUTHD,
	.max_fds = 1024,
	.init = authd_init,
	.peer = authd_peer,
	.peer_gone = authd_peer_gone,
	.admin = authd_admin,
	.drain = authd_drain,
};

int
main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
