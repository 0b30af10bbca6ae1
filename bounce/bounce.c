/* SPDX-License-Identifier: ISC */
/*
 * bounce: tells senders what could not be delivered, or not yet. It takes `report` from qmgr,
 * writes the report into the spool like any other message, and answers when that is durable.
 */
#include <stdlib.h>
#include <unistd.h>

#include "bounce/reporter.h"
#include "bounce/returned.h"
#include "lib/daemon.h"

/* The channel to qmgr; outlives its end until the turn is over. */
struct link {
	struct channel ch;
	struct loop_reap reap;
};

struct bounce {
	struct spool *spool;
	struct reporter reporter;
	struct link *qmgr;
	struct daemon *daemon;
};

static void
exit_when_idle(struct daemon *d)
{
	const struct bounce *b = d->state;

	if (d->draining && reporter_idle(&b->reporter))
		daemon_exit(d);
}

static void
on_idle(struct reporter *r)
{
	exit_when_idle(CONTAINER(r, struct bounce, reporter)->daemon);
}

/* Before init as well as later. */
static struct bounce *
bounce_of(struct daemon *d)
{
	struct bounce *b = d->state;

	if (b->spool == NULL) {
		b->spool = spool_new(d->loop, (uint32_t)ROLE_BOUNCE << 16 | d->instance);
		reporter_init(&b->reporter, d->loop, b->spool);
		reporter_names(&b->reporter, "", "");
		b->reporter.idle = on_idle;
		b->daemon = d;
	}
	return b;
}

static bool
on_report(struct bounce *b, struct channel *ch, struct ipc_report *m, int *fd)
{
	if (b->daemon->draining) {
		IPC_SEND(ch, report_done, .req = m->req, .text = VIEW("stopping"));
		return true;
	}
	return reporter_take(&b->reporter, m, fd);
}

/*
 * The address alone tells that something came back, for which message, recipient and key. authd has
 * checked it when it came.
 */
static bool
on_returned(struct bounce *b, struct channel *ch, struct ipc_returned *m, int *fd)
{
	struct token t;
	struct view local = m->rcpt;

	(void)b, (void)fd;
	if (token_parse(NULL, 0, view_cut(&local, '@'), 0, &t) == TOKEN_MALFORMED)
		log_error("%s", "a return address that is none came out of the queue");
	else
		returned_note(m, &t);
	IPC_SEND(ch, returned_done, .req = m->req);
	return true;
}

static bool
frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct bounce *d = ch->ctx;

	switch (type) {
		IPC_QMGR_TO_BOUNCE(IPC_CASE)
	default:
		return spool_frame(d->spool, type, body, fd);
	}
}

static void
link_free(struct loop_reap *r)
{
	free(CONTAINER(r, struct link, reap));
}

static void
unlink_qmgr(struct bounce *b)
{
	struct link *link = b->qmgr;

	if (link == NULL)
		return;
	b->qmgr = NULL;
	reporter_channel(&b->reporter, NULL);
	spool_detach(b->spool);
	channel_close(&link->ch);
	link->reap.free = link_free;
	loop_reap(b->daemon->loop, &link->reap);
	exit_when_idle(b->daemon);
}

static void
closed(struct channel *ch, const struct err *e)
{
	struct bounce *b = ch->ctx;

	if (e)
		log_warn("channel to qmgr: %s", e->text);
	if (b->qmgr && ch == &b->qmgr->ch)
		unlink_qmgr(b);
}

static void
peer(struct daemon *d, enum role role, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { frame, closed };
	struct bounce *b = bounce_of(d);

	if (role != ROLE_QMGR) {
		close(fd);
		return;
	}
	unlink_qmgr(b);
	struct link *link = x_calloc(1, sizeof(*link));
	if (channel_open(&link->ch, d->loop, fd, &ops, b, role, instance) < 0) {
		close(fd);
		free(link);
		return;
	}
	b->qmgr = link;
	spool_attach(b->spool, &link->ch);
	reporter_channel(&b->reporter, &link->ch);
}

static void
peer_gone(struct daemon *d, enum role role, uint32_t instance)
{
	(void)instance;
	if (role == ROLE_QMGR)
		unlink_qmgr(bounce_of(d));
}

static int
configure(struct daemon *d, struct err *e)
{
	(void)e;
	reporter_names(&bounce_of(d)->reporter, d->conf->hostname, d->conf->postmaster);
	return 0;
}

static const struct daemon_spec spec = {
	.role = ROLE_BOUNCE,
	.state_size = sizeof(struct bounce),
	.sandbox = SANDBOX_BOUNCE,
	.init = configure,
	.reload = configure,
	.peer = peer,
	.peer_gone = peer_gone,
	.drain = exit_when_idle,
};

int
main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
