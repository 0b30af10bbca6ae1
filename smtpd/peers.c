/* SPDX-License-Identifier: ISC */
/*
 * The channels to authd, qmgr, dnsd and signd. A session has at most one question under way; its number
 * on the wire is the session's slot and a count that is never used twice, so that a late answer, or
 * one for a session that is gone, finds nobody.
 */
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "smtpd/command.h"

static uint64_t
number(struct session *s)
{
	struct smtpd *d = s->d;

	if (++d->request == 0)
		d->request = 1;
	s->asked = d->request;
	return (uint64_t)s->asked << 32 | s->slot;
}

/* The session that asked, in the state in which it waits for this answer. */
static struct session *
asker(struct smtpd *d, uint64_t req, enum session_state state)
{
	uint32_t slot = (uint32_t)req, asked = (uint32_t)(req >> 32);

	if (slot >= d->slots_count || asked == 0)
		return NULL;
	struct session *s = d->slots[slot].s;
	if (s == NULL || s->asked != asked || s->state != state)
		return NULL;
	session_forget(s);
	return s;
}

/* The same for one question that was put; not put, nobody waits. */
static bool
put(struct session *s, int rc)
{
	if (rc < 0)
		session_forget(s);
	return rc == 0;
}

bool
peers_ask_name(struct session *s, const struct sockaddr *sa)
{
	struct view ip;

	if (sa->sa_family == AF_INET)
		ip = view_of(&((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	else
		ip = view_of(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	return put(s, IPC_SEND(&s->d->dnsd, ptr_query, .req = number(s), .ip = ip));
}

bool
peers_ask_auth(struct session *s, const char *method, struct view user, struct view secret)
{
	return put(s, IPC_SEND(&s->d->authd, auth, .req = number(s), .client = view_str(s->ip),
			  .method = view_str(method), .user = user, .secret = secret));
}

bool
peers_ask_mail(struct session *s, struct view sender, uint64_t size)
{
	const char *tenant = s->tenant ? s->tenant : s->listener->policy.tenant;

	return put(s, IPC_SEND(&s->d->authd, mail_check, .req = number(s), .client = view_str(s->ip),
			  .tenant = view_str(tenant), .user = view_str(s->user), .sender = sender,
			  .size = size));
}

static bool
on_auth_result(struct smtpd *d, struct channel *ch, struct ipc_auth_result *m, int *fd)
{
	struct session *s = asker(d, m->req, ST_VERIFY);

	(void)ch, (void)fd;
	if (s)
		session_got_auth(s, m);
	return true;
}

static bool
on_mail_result(struct smtpd *d, struct channel *ch, struct ipc_mail_result *m, int *fd)
{
	struct session *s = asker(d, m->req, ST_CHECK);

	(void)ch, (void)fd;
	if (s)
		session_got_mail(s, m);
	return true;
}

static bool
authd_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct smtpd *d = ch->ctx;

	switch (type) {
		IPC_AUTHD_TO_SMTPD(IPC_CASE)
	default:
		return false;
	}
}

static bool
dnsd_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct ipc_ptr_answer m;

	(void)fd;
	if (type != IPC_TYPE_ptr_answer || !ipc_get(&ipc_desc_ptr_answer, body, &m))
		return false;
	struct session *s = asker(ch->ctx, m.req, ST_CONNECT);
	if (s)
		session_got_name(s, m.status == DNS_OK ? m.name : VIEW(""));
	return true;
}

static bool
qmgr_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct smtpd *d = ch->ctx;

	return spool_frame(d->spool, type, body, fd);
}

static void
closed(struct channel *ch, const struct err *e)
{
	if (e)
		log_warn("channel to %s: %s", role_name(ch->role), e->text);
	peers_detach(ch->ctx, ch->role, ch->instance);
}

static const struct channel_ops authd_ops = { authd_frame, closed };
static const struct channel_ops dnsd_ops = { dnsd_frame, closed };
static const struct channel_ops qmgr_ops = { qmgr_frame, closed };

/* Who waits for a daemon that is gone goes on without its answer. */
static void
release(struct smtpd *d, enum role role)
{
	for (uint32_t i = 0; i < d->slots_count; i++) {
		struct session *s = d->slots[i].s;
		if (s == NULL)
			continue;
		if (role == ROLE_QMGR) {
			data_lost_queue(s);
			continue;
		}
		if (s->asked == 0)
			continue;
		session_forget(s);
		if (role == ROLE_AUTHD && s->state == ST_VERIFY)
			session_got_auth(s, NULL);
		else if (role == ROLE_AUTHD && s->state == ST_CHECK)
			session_got_mail(s, NULL);
		else if (role == ROLE_DNSD && s->state == ST_CONNECT)
			session_got_name(s, VIEW(""));
	}
}

void
peers_detach(struct smtpd *d, enum role role, uint32_t instance)
{
	if (role == ROLE_SIGND) {
		signer_detach(d->signer, instance);
	} else if (role == ROLE_AUTHD) {
		channel_close(&d->authd);
		release(d, role);
	} else if (role == ROLE_DNSD) {
		channel_close(&d->dnsd);
		release(d, role);
	} else if (role == ROLE_QMGR) {
		channel_close(&d->qmgr);
		release(d, role);
		spool_detach(d->spool);
	}
}

static void
open_channel(struct smtpd *d, struct channel *ch, const struct channel_ops *ops, enum role role,
    uint32_t instance, int fd)
{
	peers_detach(d, role, instance);
	if (channel_open(ch, d->loop, fd, ops, d, role, instance) < 0) {
		log_error("channel to %s cannot be used", role_name(role));
		close(fd);
	}
}

void
peers_attach(struct smtpd *d, enum role role, uint32_t instance, int fd)
{
	switch (role) {
	case ROLE_AUTHD:
		open_channel(d, &d->authd, &authd_ops, role, instance, fd);
		break;
	case ROLE_DNSD:
		open_channel(d, &d->dnsd, &dnsd_ops, role, instance, fd);
		break;
	case ROLE_QMGR:
		open_channel(d, &d->qmgr, &qmgr_ops, role, instance, fd);
		if (channel_is_open(&d->qmgr))
			spool_attach(d->spool, &d->qmgr);
		break;
	case ROLE_SIGND:
		signer_attach(d->signer, fd, instance);
		break;
	default:
		log_error("no use for a channel to %s", role_name(role));
		close(fd);
		break;
	}
}
