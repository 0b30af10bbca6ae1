/* SPDX-License-Identifier: ISC */
/*
 * The one place of policy: answers smtpd's questions about log-ins and senders, and the admin's
 * commands about tenants, keys and domains. Owns the database of all three.
 */
#include <sys/random.h>
#include <unistd.h>

#include "authd/admin.h"
#include "authd/audit.h"
#include "authd/authd.h"
#include "authd/contain.h"

enum { CHECKPOINT_MS = 5 * 60 * 1000, WATCH_MS = 2000 };

void
authd_leave(struct authd *d)
{
	struct err e;

	usages_close(&d->usages);
	/* Not closed: callbacks of this turn may still come for it. */
	if (store_checkpoint(d->store, &e) < 0)
		log_error("%s", e.text);
	daemon_exit(d->daemon);
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
		client_attach(d, instance, fd);
	else if (role == ROLE_DNSD)
		txt_client_connect(&d->txt, fd, instance);
	else if (role == ROLE_QMGR)
		queue_attach(d, instance, fd);
	else
		close(fd); /* has nothing to ask */
}

static void
authd_peer_gone(struct daemon *daemon, enum role role, uint32_t instance)
{
	struct authd *d = daemon->state;

	ready_for_peers(daemon);
	if (role == ROLE_DNSD)
		txt_client_disconnect(&d->txt);
	else if (role == ROLE_QMGR)
		queue_detach(d);
	else if (role == ROLE_SMTPD)
		client_detach(d, instance);
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
	contain_look(d);
	loop_timer_set(d->daemon->loop, &d->watch, WATCH_MS);
}

/* Only where return addresses are in use. */
static void
look_at_return_keys(struct authd *d)
{
	struct err e;
	int rc = 0;

	if (*d->set.bounce_domain)
		rc = return_keys_rotate(&d->return_keys, d->store, clock_wall_us(),
		    d->set.token_lifetime_s, &e);
	if (rc < 0)
		log_error("secret of return addresses: %s", e.text);
	else if (rc > 0)
		queue_tell_return_key(d);
}

static void
prune_audit(struct authd *d)
{
	uint64_t keep_us = d->daemon->conf->audit_keep * 1000000;
	struct err e;

	if (audit_prune(d->store, clock_wall_us() - keep_us, &e) < 0 && e.class != ERR_DAMAGED)
		log_error("audit trail: %s", e.text);
}

static void
on_checkpoint(struct loop_timer *t)
{
	struct authd *d = CONTAINER(t, struct authd, checkpoint);
	struct err e;

	if (store_checkpoint(d->store, &e) < 0)
		log_error("%s", e.text);
	prune_audit(d);
	look_at_return_keys(d);
	loop_timer_set(d->daemon->loop, &d->checkpoint, CHECKPOINT_MS);
}

/* Made once, and kept: else a restart would tell users who exist from those who do not. */
static int
kept_seed(struct authd_store *s, uint64_t *seed, struct err *e)
{
	struct record_counter c;
	int rc = store_get_counter(s, VIEW("salts"), &c, e);

	if (rc == 1) {
		*seed = c.value;
		return 0;
	}
	c = (struct record_counter){ .value = *seed };
	if (rc < 0 || store_begin(s, e) < 0)
		return -1;
	if (store_put_counter(s, VIEW("salts"), &c, e) == 0)
		return store_commit(s, e);
	store_abort(s);
	return -1;
}

static int
make_seeds(struct authd *d, struct err *e)
{
	uint64_t seed[2];

	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return err_errno(e, "getrandom");
	brute_init(&d->brute, seed[0]);
	if (kept_seed(d->store, &seed[1], e) < 0 && e->class != ERR_DAMAGED)
		return -1;
	return hasher_seed(&d->hasher, seed[1]) ? 0 :
	    err_set(e, ERR_TEMP, ESC(4, 3, 0), "libcrypto failed");
}

static int
authd_reload(struct daemon *daemon, struct err *e)
{
	struct authd *d = daemon->state;

	(void)e;
	settings_load(&d->set, daemon->conf);
	counts_free(&d->unknown_schedules);
	clients_end_leases(d);
	look_at_return_keys(d);
	return 0;
}

/*
 * A database that is damaged is not served, nor is its process started again and again: every question
 * is answered with a temporary failure, and every command with what was found.
 */
static int
open_store(struct authd *d, struct err *e)
{
	d->store = store_open(".", e);
	if (d->store == NULL && e->class == ERR_DAMAGED) {
		d->store = store_open_damaged(e);
		log_error("the policy database is damaged and is not served: %s: stop the suite, move "
			  "its folder away, restore it with mtactl --offline import, start again",
		    e->text);
	}
	return d->store ? 0 : -1;
}

static void
records_changed(void *ctx)
{
	clients_end_leases(ctx);
}

static int
authd_init(struct daemon *daemon, struct err *e)
{
	struct authd *d = daemon->state;

	ready_for_peers(daemon);
	if (hasher_open(&d->hasher, e) < 0)
		return -1;
	if (open_store(d, e) < 0)
		return -1;
	if (usages_open(&d->usages, daemon->loop, d->store, e) < 0 || make_seeds(d, e) < 0)
		return -1;
	if (return_keys_load(&d->return_keys, d->store, e) < 0 && e->class != ERR_DAMAGED)
		return -1;
	settings_load(&d->set, daemon->conf);
	prune_audit(d);
	look_at_return_keys(d);
	store_set_txt_client(d->store, &d->txt);
	contain_live(d, &d->live);
	d->live.changed = records_changed;
	store_set_live(d->store, &d->live);
	if (channel_is_open(&d->qmgr)) /* it came first */
		contain_tell_all(d);
	queue_tell_return_key(d);
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
		authd_leave(d);
}

static const struct daemon_spec spec = {
	.role = ROLE_AUTHD,
	.state_size = sizeof(struct authd),
	.sandbox = SANDBOX_AUTHD,
	.max_fds = 1024,
	.init = authd_init,
	.reload = authd_reload,
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
