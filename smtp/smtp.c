/* SPDX-License-Identifier: ISC */
/*
 * The SMTP client process: opens the connections that qmgr asks for and delivers what qmgr hands it
 * on them. It has no files and no keys; names come from dnsd, content from descriptors of qmgr's.
 */
#include <sys/random.h>
#include <unistd.h>

#include "smtp/connect.h"
#include "smtp/material.h"

static bool
on_conn_open(struct smtp *p, struct channel *ch, const struct ipc_conn_open *m, int *fd)
{
	(void)fd;
	if (m->conn >= PROBE_FIRST || session_find(p, m->conn) || m->tls > TLS_POLICY_VERIFY ||
	    !ipc_records_ok(&ipc_desc_mx_host, m->hosts))
		return false;
	if (p->daemon->draining)
		IPC_SEND(ch, conn_closed, .conn = m->conn, .why = CONN_IDLE);
	else
		session_open(p, m);
	return true;
}

static bool
on_content(struct smtp *p, struct channel *ch, const struct ipc_content *m, int *fd)
{
	(void)ch;
	if (*fd < 0)
		return false;
	contents_add(&p->contents, m->content, *fd);
	*fd = -1;
	return true;
}

static bool
on_content_drop(struct smtp *p, struct channel *ch, const struct ipc_content_drop *m, int *fd)
{
	(void)ch, (void)fd;
	contents_drop(&p->contents, m->content);
	return true;
}

/* A connection that just ended has said so: qmgr knows that the job was not tried. */
static bool
on_deliver(struct smtp *p, struct channel *ch, const struct ipc_deliver *m, int *fd)
{
	struct session *s = session_find(p, m->conn);

	(void)ch, (void)fd;
	if (s)
		session_deliver(s, m);
	return true;
}

static bool
on_conn_close(struct smtp *p, struct channel *ch, const struct ipc_conn_close *m, int *fd)
{
	struct session *s = session_find(p, m->conn);

	(void)ch, (void)fd;
	if (s)
		session_close_soon(s);
	return true;
}

static bool
on_job_recall(struct smtp *p, struct channel *ch, const struct ipc_job_recall *m, int *fd)
{
	struct session *s = session_find(p, m->conn);

	(void)ch, (void)fd;
	if (s)
		session_recall(s, m->job);
	return true;
}

static bool
on_qmgr_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct smtp *d = ch->ctx;

	switch (type) {
		IPC_QMGR_TO_SMTP(IPC_CASE)
	default:
		return false;
	}
}

static void
drop_all(struct smtp *p)
{
	while (p->sessions)
		session_drop(p->sessions);
	contents_drop_all(&p->contents);
}

static void
on_qmgr_closed(struct channel *ch, const struct err *e)
{
	if (e)
		log_warn("channel from qmgr: %s", e->text);
	channel_close(ch);
	drop_all(ch->ctx);
}

static bool
on_dnsd_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct smtp *p = ch->ctx;
	struct ipc_mx_answer m;

	(void)fd;
	if (type != IPC_TYPE_mx_answer || !ipc_get(&ipc_desc_mx_answer, body, &m) ||
	    !ipc_records_ok(&ipc_desc_mx_host, m.hosts))
		return false;
	struct session *s = session_find(p, m.req);
	if (s)
		connect_answered(s, &m, body);
	return true;
}

static void
on_dnsd_closed(struct channel *ch, const struct err *e)
{
	if (e)
		log_warn("channel from dnsd: %s", e->text);
	channel_close(ch);
}

/* Questions that were under way are asked again. */
static void
ask_again(struct smtp *p)
{
	for (struct session *s = p->sessions; s; s = s->next)
		connect_ask(s);
}

static void
smtp_peer(struct daemon *daemon, enum role role, uint32_t instance, int fd)
{
	static const struct channel_ops qmgr_ops = { on_qmgr_frame, on_qmgr_closed };
	static const struct channel_ops dnsd_ops = { on_dnsd_frame, on_dnsd_closed };
	struct smtp *p = daemon->state;
	struct channel *ch = role == ROLE_QMGR ? &p->qmgr : role == ROLE_DNSD ? &p->dnsd : NULL;

	p->daemon = daemon;
	if (role == ROLE_SIGND) {
		signer_attach(smtp_signer(daemon), fd, instance);
		return;
	}
	if (ch == NULL) {
		close(fd);
		return;
	}
	channel_close(ch);
	if (role == ROLE_QMGR)
		drop_all(p);
	if (channel_open(ch, daemon->loop, fd, role == ROLE_QMGR ? &qmgr_ops : &dnsd_ops, p, role,
		instance) < 0)
		log_error("channel from %s: cannot be watched", role_name(role));
	else if (role == ROLE_DNSD)
		ask_again(p);
}

static void
smtp_peer_gone(struct daemon *daemon, enum role role, uint32_t instance)
{
	if (role == ROLE_SIGND)
		signer_detach(smtp_signer(daemon), instance);
}

static int
smtp_init(struct daemon *daemon, struct err *e)
{
	struct smtp *p = daemon->state;

	p->daemon = daemon;
	p->watch = (struct watch){ .loop = daemon->loop, .role = ROLE_SMTP, .instance = daemon->instance };
	if (getrandom(&p->random, sizeof(p->random), 0) != (ssize_t)sizeof(p->random))
		return err_errno(e, "getrandom");
	p->random |= 1;
	return material_apply(daemon, e);
}

/* Messages under way are finished; nothing new begins. */
static void
smtp_drain(struct daemon *daemon)
{
	struct smtp *p = daemon->state;

	for (struct session *s = p->sessions, *next; s; s = next) {
		next = s->next;
		session_close_soon(s);
	}
	if (p->sessions == NULL)
		daemon_exit(daemon);
}

CTL_SMTP(CTL_PROTOTYPE)

enum ctl_result
ctl_trace(struct ctl_call *call)
{
	struct smtp *p = call->daemon;

	return watch_call(&p->watch, call);
}

static void
smtp_admin(struct daemon *daemon, uint32_t uid, int fd)
{
	static const struct ctl_command table[] = { CTL_SMTP(CTL_ROW) { NULL, NULL } };

	ctl_serve(daemon->loop, fd, uid, table, daemon->state);
}

static const struct daemon_spec spec = {
	.role = ROLE_SMTP,
	.state_size = sizeof(struct smtp),
	.sandbox = SANDBOX_SMTP,
	.init = smtp_init,
	.reload = material_apply,
	.material = material_take,
	.peer = smtp_peer,
	.peer_gone = smtp_peer_gone,
	.admin = smtp_admin,
	.drain = smtp_drain,
};

int
main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
