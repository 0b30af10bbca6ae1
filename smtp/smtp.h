/* SPDX-License-Identifier: ISC */
/* State of an SMTP client process. */
#ifndef EKIDEN_SMTP_H
#define EKIDEN_SMTP_H

#include "lib/channel.h"
#include "lib/daemon.h"
#include "smtp/content.h"
#include "smtp/recall.h"

enum { SESSION_BUCKETS = 4096 };

struct session;

/* Credentials for a smarthost. */
struct secret {
	struct secret *next;
	char *name, *user;
	struct buf secret;
};

struct smtp {
	struct daemon *daemon;
	struct channel qmgr, dnsd;
	struct session *sessions;		  /* all */
	struct session *by_conn[SESSION_BUCKETS]; /* those that qmgr knows */
	struct contents contents;
	struct recall recall;
	struct tls_ctx *tls;
	struct buf ca, next_ca; /* PEM; next_*: sent, not yet applied */
	struct secret *secrets, *next_secrets;
	uint32_t random; /* state of the shuffle; never 0 */
};

/* NULL when there is none of this name. */
const struct secret *smtp_secret(const struct smtp *p, const char *name);
uint32_t smtp_random(struct smtp *p);

#endif
