/* SPDX-License-Identifier: ISC */
/* The channel to qmgr: outcomes come in, paces and holds go out. */
#include <unistd.h>

#include "authd/authd.h"
#include "authd/contain.h"

static bool
on_outcomes(struct authd *d, struct channel *ch, const struct ipc_outcomes *m, int *fd)
{
	struct view rows = m->outcomes;
	struct ipc_outcome o;

	(void)ch, (void)fd;
	if (!ipc_records_ok(&ipc_desc_outcome, rows))
		return false;
	while (ipc_next(&ipc_desc_outcome, &rows, &o))
		contain_outcome(d, &o);
	return true;
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct authd *d = ch->ctx;

	switch (type) {
		IPC_QMGR_TO_AUTHD(IPC_CASE)
	default:
		return false;
	}
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	if (e)
		log_warn("channel to qmgr: %s", e->text);
	queue_detach(ch->ctx);
}

void
queue_detach(struct authd *d)
{
	channel_close(&d->qmgr);
}

void
queue_tell_return_key(struct authd *d)
{
	const struct token_secret *k = return_keys_current(&d->return_keys);

	if (k && channel_is_open(&d->qmgr))
		IPC_SEND(&d->qmgr, token_key, .id = k->id, .key = view_of(k->key, k->n), .current = true);
}

void
queue_attach(struct authd *d, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { on_frame, on_closed };

	queue_detach(d);
	if (channel_open(&d->qmgr, d->daemon->loop, fd, &ops, d, ROLE_QMGR, instance) < 0) {
		log_error("channel to qmgr could not be opened");
		close(fd);
	} else if (d->store) {
		contain_tell_all(d);
		queue_tell_return_key(d);
	}
}
