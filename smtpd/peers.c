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
#include "smtpd/lease.h"

static void
no_name(struct session *s)
{
	session_got_name(s, VIEW(""));
}

/* The same call with "nobody answers" for an answer. */
#define GONE(name)                                                                                 \
	static void gone_##name(struct session *s)                                                 \
	{                                                                                          \
		session_got_##name(s, NULL);                                                       \
	}
GONE(connect)
GONE(auth)
GONE(salt)
GONE(mail)
GONE(rcpts)

static void
gone_from(struct session *s)
{
	s->got_from(s, NULL);
}

/* Who is asked, and what the session is told when the answer will never come. */
static const struct {
	enum role role;
	void (*gone)(struct session *s);
} questions[] = {
	[ASK_NAME] = { ROLE_DNSD, no_name },
	[ASK_CONNECT] = { ROLE_AUTHD, gone_connect },
	[ASK_AUTH] = { ROLE_AUTHD, gone_auth },
	[ASK_SALT] = { ROLE_AUTHD, gone_salt },
	[ASK_MAIL] = { ROLE_AUTHD, gone_mail },
	[ASK_RCPTS] = { ROLE_AUTHD, gone_rcpts },
	[ASK_FROM] = { ROLE_AUTHD, gone_from },
};

static uint64_t
number(struct session *s, enum question question)
{
	struct smtpd *d = s->d;

	if (++d->request == 0)
		d->request = 1;
	s->asked = d->request;
	s->question = (uint8_t)question;
	return (uint64_t)s->asked << 32 | s->slot;
}

/* The session that asked this and still waits. */
static struct session *
asker(struct smtpd *d, uint64_t req, enum question question)
{
	uint32_t slot = (uint32_t)req, asked = (uint32_t)(req >> 32);

	if (slot >= d->slots_count || asked == 0)
		return NULL;
	struct session *s = d->slots[slot].s;
	if (s == NULL || s->asked != asked || s->question != question)
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
	return put(s, IPC_SEND(&s->d->dnsd, ptr_query, .req = number(s, ASK_NAME), .ip = ip));
}

bool
peers_ask_connect(struct session *s)
{
	s->counted = put(s, IPC_SEND(&s->d->authd, connect, .req = number(s, ASK_CONNECT),
	    .client = view_str(s->ip), .listener = view_str(s->listener->name)));
	s->d->admitting += s->counted;
	return s->counted;
}

void
peers_disconnect(struct session *s)
{
	if (s->counted)
		IPC_SEND(&s->d->authd, disconnect, .client = view_str(s->ip));
	s->counted = false;
}

bool
peers_ask_auth(struct session *s, const char *method, struct view user, struct view secret)
{
	return put(s, IPC_SEND(&s->d->authd, auth, .req = number(s, ASK_AUTH),
			  .client = view_str(s->ip), .method = view_str(method), .user = user,
			  .secret = secret));
}

bool
peers_ask_salt(struct session *s, struct view user)
{
	return put(s, IPC_SEND(&s->d->authd, scram_start, .req = number(s, ASK_SALT),
			  .client = view_str(s->ip), .user = user));
}

bool
peers_ask_proof(struct session *s, struct view user, struct view message, struct view proof)
{
	return put(s, IPC_SEND(&s->d->authd, scram_finish, .req = number(s, ASK_AUTH),
			  .client = view_str(s->ip), .user = user, .message = message,
			  .proof = proof));
}

/* In whose name the session sends. */
static struct view
tenant_of(const struct session *s)
{
	return view_str(s->tenant ? s->tenant : s->listener->policy.tenant);
}

bool
peers_ask_mail(struct session *s, struct view sender, uint64_t size)
{
	return put(s, IPC_SEND(&s->d->authd, mail_check, .req = number(s, ASK_MAIL),
			  .client = view_str(s->ip), .tenant = tenant_of(s),
			  .user = view_str(s->user), .sender = sender, .size = size));
}

bool
peers_ask_rcpts(struct session *s, uint32_t count, struct view rcpts)
{
	return put(s, IPC_SEND(&s->d->authd, rcpt_check, .req = number(s, ASK_RCPTS),
			  .tenant = tenant_of(s), .user = view_str(s->user), .count = count,
			  .rcpts = rcpts));
}

bool
peers_ask_from(struct session *s, struct view domains,
    void (*got)(struct session *s, const struct ipc_from_result *m))
{
	s->got_from = got;
	return put(s, IPC_SEND(&s->d->authd, from_check, .req = number(s, ASK_FROM),
			  .tenant = tenant_of(s), .domains = domains));
}

void
peers_end_txn(struct session *s)
{
	const struct txn *t = &s->txn;

	IPC_SEND(&s->d->authd, txn_end, .tenant = tenant_of(s), .user = view_str(s->user),
	    .reserved_s = t->grant.reserved_s, .stored = t->stored, .rcpts = t->env.nrcpt - t->copies,
	    .reserved = t->rcpts_reserved);
}

void
peers_tell_leased(struct session *s, uint32_t messages, uint32_t rcpts)
{
	IPC_SEND(&s->d->authd, txn_end, .tenant = tenant_of(s), .user = view_str(s->user),
	    .stored = true, .rcpts = rcpts, .leased = messages);
}

/* An answer goes to session_got_<what>() of the session that asked. */
#define ANSWER(message, question, what)                                                            \
	static bool on_##message(struct smtpd *d, struct channel *ch, struct ipc_##message *m,     \
	    int *fd)                                                                               \
	{                                                                                          \
		struct session *s = asker(d, m->req, question);                                    \
                                                                                                   \
		(void)ch, (void)fd;                                                                \
		if (s)                                                                             \
			session_got_##what(s, m);                                                  \
		return true;                                                                       \
	}
ANSWER(auth_result, ASK_AUTH, auth)
ANSWER(scram_salt, ASK_SALT, salt)
ANSWER(mail_result, ASK_MAIL, mail)
ANSWER(rcpt_result, ASK_RCPTS, rcpts)

static bool
on_connect_result(struct smtpd *d, struct channel *ch, struct ipc_connect_result *m, int *fd)
{
	struct session *s = asker(d, m->req, ASK_CONNECT);

	(void)ch, (void)fd;
	d->ahead = m->surplus;
	if (d->admitting)
		d->admitting--;
	if (s)
		session_got_connect(s, m);
	return true;
}

static bool
on_from_result(struct smtpd *d, struct channel *ch, struct ipc_from_result *m, int *fd)
{
	struct session *s = asker(d, m->req, ASK_FROM);

	(void)ch, (void)fd;
	if (s)
		s->got_from(s, m);
	return true;
}

static void
end_leases(struct smtpd *d)
{
	for (uint32_t i = 0; i < d->slots_count; i++)
		if (d->slots[i].s)
			lease_end(d->slots[i].s);
}

static bool
on_lease_end(struct smtpd *d, struct channel *ch, struct ipc_lease_end *m, int *fd)
{
	(void)ch, (void)m, (void)fd;
	end_leases(d);
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
	struct session *s = asker(ch->ctx, m.req, ASK_NAME);
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
		if (role == ROLE_QMGR)
			data_lost_queue(s);
		if (role == ROLE_AUTHD)
			s->counted = false;
		if (s->asked == 0 || questions[s->question].role != role)
			continue;
		session_forget(s);
		questions[s->question].gone(s);
	}
}

/* A new authd knows of no client: it is told of those that are here. */
static void
introduce(struct smtpd *d)
{
	for (uint32_t i = 0; i < d->slots_count; i++) {
		struct session *s = d->slots[i].s;
		if (s && s->state > ST_ADMIT && s->state < ST_CLOSE && !s->refusal)
			s->counted = IPC_SEND(&d->authd, connect, .req = 0,
			    .client = view_str(s->ip), .listener = view_str(s->listener->name)) == 0;
	}
}

void
peers_detach(struct smtpd *d, enum role role, uint32_t instance)
{
	if (role == ROLE_SIGND) {
		signer_detach(d->signer, instance);
	} else if (role == ROLE_AUTHD) {
		end_leases(d);
		channel_close(&d->authd);
		d->ahead = d->admitting = 0;
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
		introduce(d);
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
