/* SPDX-License-Identifier: ISC */
/*
 * smtpd: the SMTP server. Thousands of sessions on one loop; no files, no keys, no way out but the
 * channels: authd says who may send, signd makes the TLS handshakes' signatures, dnsd names clients,
 * qmgr gives the segments that messages are appended to.
 */
#include "lib/daemon.h"
#include "smtpd/smtpd.h"

struct state {
	struct smtpd smtpd;
	struct daemon *daemon;
};

static struct smtpd *
smtpd_of(struct daemon *d)
{
	struct state *st = d->state;

	st->daemon = d;
	smtpd_setup(&st->smtpd, d->loop, d->instance);
	st->smtpd.others = d->instances > 1;
	st->smtpd.master = &d->master;
	return &st->smtpd;
}

static int
on_init(struct daemon *d, struct err *e)
{
	return listeners_apply(smtpd_of(d), d->conf, e);
}

static bool
on_material(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	return listeners_material(smtpd_of(d), type, body, fd);
}

static void
on_peer(struct daemon *d, enum role role, uint32_t instance, int fd)
{
	peers_attach(smtpd_of(d), role, instance, fd);
}

static void
on_peer_gone(struct daemon *d, enum role role, uint32_t instance)
{
	peers_detach(smtpd_of(d), role, instance);
}

CTL_SMTPD(CTL_PROTOTYPE)

enum ctl_result
ctl_trace(struct ctl_call *call)
{
	struct smtpd *d = call->daemon;

	return watch_call(&d->watch, call);
}

static void
on_admin(struct daemon *d, uint32_t uid, int fd)
{
	static const struct ctl_command table[] = { CTL_SMTPD(CTL_ROW) { NULL, NULL } };

	ctl_serve(d->loop, fd, uid, table, smtpd_of(d));
}

static void
on_drained(struct smtpd *s)
{
	daemon_exit(CONTAINER(s, struct state, smtpd)->daemon);
}

static void
on_drain(struct daemon *d)
{
	struct smtpd *s = smtpd_of(d);

	s->drained = on_drained;
	smtpd_drain(s);
}

static const struct daemon_spec spec = {
	.role = ROLE_SMTPD,
	.state_size = sizeof(struct state),
	.sandbox = SANDBOX_SMTPD,
	.init = on_init,
	.reload = on_init,
	.material = on_material,
	.peer = on_peer,
	.peer_gone = on_peer_gone,
	.admin = on_admin,
	.drain = on_drain,
};

int
main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
