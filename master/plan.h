/* SPDX-License-Identifier: ISC */
/*
 * What master decides, without doing any of it: which daemons there are, who may talk to whom, who
 * gets what, when a daemon that died comes back, and what a new configuration changes. No I/O, no
 * clock of its own, no state but what is passed in.
 */
#ifndef EKIDEN_MASTER_PLAN_H
#define EKIDEN_MASTER_PLAN_H

#include "lib/conf.h"
#include "lib/ipc_schema.h"

enum { PLAN_FIRST_ROLE = ROLE_SMTPD, PLAN_LAST_ROLE = ROLE_DNSD, PLAN_DRAIN_STEPS = 3 };

/* Where a daemon lives: the empty folder, the spool, or a folder of its own below state-dir. */
enum plan_home { HOME_EMPTY, HOME_SPOOL, HOME_STATE };

/* Material a role gets. What is not listed here never reaches the process. */
enum plan_need {
	NEED_LISTENERS = 1, /* sockets and ticket keys */
	NEED_CHAINS = 2,    /* certificates */
	NEED_KEYS = 4,	    /* private keys */
	NEED_SECRETS = 8,   /* credentials for the relay host */
	NEED_TRUST = 16,    /* CA certificates */
	NEED_RESOLVER = 32, /* DNSSEC root anchor, name servers of the host */
	NEED_DKIM_KEYS = 64,  /* private keys for mail */
	NEED_DKIM_NAMES = 128, /* which domain signs with which */
};

struct plan_role {
	enum role role;
	enum plan_home home;
	unsigned needs;	    /* enum plan_need */
	uint8_t drain_step; /* at a stop: roles of step 0 finish first */
};

/* NULL when master does not run such a daemon. */
const struct plan_role *plan_role(enum role role);
/* The table of channels: order does not matter. */
bool plan_linked(enum role a, enum role b);
/* How many processes of a role this configuration wants. */
uint32_t plan_instances(enum role role, const struct conf *c, unsigned cores);

/* Back-off of one process. Zeroed: it never died. */
struct backoff {
	uint32_t streak; /* deaths without a stable minute between them */
};
enum { BACKOFF_FIRST_MS = 1000, BACKOFF_MAX_MS = 60000, BACKOFF_STABLE_MS = 60000 };
/*
 * It died after uptime_ms: how long to wait before it starts again. The first time not at all, then
 * 1 s, 2 s, 4 s, ... 60 s.
 */
uint64_t backoff_died(struct backoff *b, uint64_t uptime_ms);

/* One listening socket of a configuration. */
struct plan_socket {
	uint32_t listener; /* index of its listen block */
	const struct hostport *at;
	ptrdiff_t keep;	   /* index of the same address in the former plan, or -1: to be bound */
};
/* Sockets of `next`, in its order; those of `former` (may be NULL) are kept. Owned by the caller. */
struct plan_socket *plan_sockets(const struct conf *former, const struct conf *next, size_t *count);
/* The directive that a reload cannot change but `next` does, or NULL. */
const char *plan_fixed(const struct conf *former, const struct conf *next);

#endif
