/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "lib/buf.h"
#include "master/plan.h"

static const struct plan_role roles[] = {
	/* Sessions end first; then the queue takes the results of what is under way; then the rest. */
	{ ROLE_SMTPD, HOME_EMPTY, NEED_LISTENERS | NEED_CHAINS | NEED_DKIM_NAMES, 0 },
	{ ROLE_AUTHD, HOME_STATE, 0, 2 },
	{ ROLE_SIGND, HOME_EMPTY, NEED_KEYS | NEED_DKIM_KEYS, 2 },
	{ ROLE_QMGR, HOME_SPOOL, 0, 1 },
	{ ROLE_SMTP, HOME_EMPTY, NEED_SECRETS | NEED_TRUST | NEED_CHAINS, 2 },
	{ ROLE_BOUNCE, HOME_STATE, 0, 2 },
	{ ROLE_DNSD, HOME_EMPTY, NEED_RESOLVER, 2 },
};

/* Who talks to whom. A pair that is not here has no way to each other. */
static const struct {
	enum role a, b;
} links[] = {
	{ ROLE_SMTPD, ROLE_AUTHD },  /* AUTH, sender rights */
	{ ROLE_SMTPD, ROLE_QMGR },   /* segments, accepted messages */
	{ ROLE_SMTPD, ROLE_SIGND },  /* TLS handshakes, DKIM signatures */
	{ ROLE_SMTP, ROLE_SIGND },   /* TLS client certificates */
	{ ROLE_SMTPD, ROLE_DNSD },   /* names of clients */
	{ ROLE_QMGR, ROLE_SMTP },    /* deliveries */
	{ ROLE_QMGR, ROLE_BOUNCE },  /* reports, and their segments */
	{ ROLE_QMGR, ROLE_DNSD },    /* the hosts of a domain */
	{ ROLE_SMTP, ROLE_DNSD },    /* those of what qmgr knows nothing good of, and of hosts that are named */
	{ ROLE_AUTHD, ROLE_DNSD },   /* TXT records that verify domains */
	{ ROLE_QMGR, ROLE_AUTHD },   /* outcomes; paces, holds, keys of return addresses */
};

const struct plan_role *
plan_role(enum role role)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (roles[i].role == role)
			return &roles[i];
	return NULL;
}

bool
plan_linked(enum role a, enum role b)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if ((links[i].a == a && links[i].b == b) || (links[i].a == b && links[i].b == a))
			return true;
	return false;
}

uint32_t
plan_instances(enum role role, const struct conf *c, unsigned cores)
{
	uint64_t wanted = 1;

	if (plan_role(role) == NULL)
		return 0;
	if (role == ROLE_SMTPD)
		wanted = c->smtpd_processes ? c->smtpd_processes : cores;
	else if (role == ROLE_SMTP)
		wanted = c->smtp_processes ? c->smtp_processes : cores;
	else if (role == ROLE_SIGND)
		wanted = c->signd_processes;
	return wanted < 1 ? 1 : wanted > 256 ? 256 : (uint32_t)wanted;
}

uint64_t
backoff_died(struct backoff *b, uint64_t uptime_ms)
{
	if (uptime_ms >= BACKOFF_STABLE_MS)
		b->streak = 0;
	uint32_t n = b->streak++;
	if (n == 0)
		return 0;
	/* 2^6 s is over the limit: no shift beyond it. */
	uint64_t wait = n > 6 ? BACKOFF_MAX_MS : (uint64_t)BACKOFF_FIRST_MS << (n - 1);
	return wait > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : wait;
}

static size_t
socket_count(const struct conf *c)
{
	size_t n = 0;

	for (size_t i = 0; c && i < c->listen_count; i++)
		n += c->listen[i].address.n;
	return n;
}

/* The place of an address among all of a configuration, or -1. */
static ptrdiff_t
socket_index(const struct conf *c, const char *text)
{
	ptrdiff_t at = 0;

	for (size_t i = 0; c && i < c->listen_count; i++)
		for (size_t k = 0; k < c->listen[i].address.n; k++, at++)
			if (!strcmp(c->listen[i].address.v[k].text, text))
				return at;
	return -1;
}

struct plan_socket *
plan_sockets(const struct conf *former, const struct conf *next, size_t *count)
{
	struct plan_socket *v = x_calloc(socket_count(next) + 1, sizeof(*v));
	size_t n = 0;

	for (size_t i = 0; i < next->listen_count; i++)
		for (size_t k = 0; k < next->listen[i].address.n; k++, n++) {
			const struct hostport *at = &next->listen[i].address.v[k];
			v[n] = (struct plan_socket){ (uint32_t)i, at,
				socket_index(former, at->text) };
		}
	*count = n;
	return v;
}

const char *
plan_fixed(const struct conf *former, const struct conf *next)
{
	if (strcmp(former->state_dir, next->state_dir))
		return "state-dir";
	if (strcmp(former->spool_dir, next->spool_dir))
		return "spool-dir";
	if (strcmp(former->run_dir, next->run_dir))
		return "run-dir";
	if (former->uid_base != next->uid_base)
		return "uid-base";
	return NULL;
}
