/* SPDX-License-Identifier: ISC */
/*
 * qmgr: the queue. It owns the spool and its index, decides what is delivered next and by which
 * connection, tries again what failed for now, and hands what failed for good to bounce.
 */
#include "lib/ctl.h"
#include "qmgr/state.h"

static struct qmgr *
state_of(struct daemon *d)
{
	return qmgr_prepare(d->state, d);
}

static int
on_init(struct daemon *d, struct err *e)
{
	return qmgr_start(state_of(d), e);
}

static int
on_reload(struct daemon *d, struct err *e)
{
	return qmgr_configure(state_of(d), e);
}

static void
on_peer(struct daemon *d, enum role role, uint32_t instance, int fd)
{
	qmgr_peer(state_of(d), role, instance, fd);
}

static void
on_peer_gone(struct daemon *d, enum role role, uint32_t instance)
{
	qmgr_peer_gone(state_of(d), role, instance);
}

CTL_QMGR(CTL_PROTOTYPE)
CTL_QMGR_OWN(CTL_PROTOTYPE)

static void
on_admin(struct daemon *d, uint32_t uid, int fd)
{
	static const struct ctl_command table[] = { CTL_QMGR(CTL_ROW) CTL_QMGR_OWN(CTL_ROW) { NULL, NULL } };

	ctl_serve(d->loop, fd, uid, table, state_of(d));
}

static void
on_drain(struct daemon *d)
{
	qmgr_drain(state_of(d));
}

static const struct daemon_spec spec = {
	.role = ROLE_QMGR,
	.state_size = sizeof(struct qmgr),
	.sandbox = SANDBOX_QMGR,
	.init = on_init,
	.reload = on_reload,
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
