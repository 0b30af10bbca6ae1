/* SPDX-License-Identifier: ISC */
/* State of an SMTP client process. */
#ifndef EKIDEN_SMTP_H
#define EKIDEN_SMTP_H

#include "lib/channel.h"
#include "lib/daemon.h"
#include "lib/signer.h"
#include "lib/throttle.h"
#include "lib/watch.h"
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

/* A certificate chain as it came with a configuration. */
struct cert {
	struct cert *next;
	uint32_t key;
	char *name;
	struct buf chain;
};

struct smtp {
	struct daemon *daemon;
	struct channel qmgr, dnsd;
	struct session *sessions;		  /* all */
	struct session *by_conn[SESSION_BUCKETS]; /* those that qmgr knows */
	struct contents contents;
	struct recall recall;
	struct signer *signer; /* for the client certificate; NULL before the first use */
	struct tls_ctx *tls;
	struct throttles *throttles;
	struct cert *next_certs;
	struct buf ca, next_ca; /* PEM; next_*: sent, not yet applied */
	struct secret *secrets, *next_secrets;
	struct watch watch;
	uint64_t probes;
	uint32_t random; /* state of the shuffle; never 0 */
};

/* Numbers of connections from here on are those of probes (probe.c), not qmgr's. */
#define PROBE_FIRST ((uint64_t)1 << 63)

/* Made at its first use, which may be before init. */
struct signer *smtp_signer(struct daemon *daemon);
/* NULL when there is none of this name. */
const struct secret *smtp_secret(const struct smtp *p, const char *name);
uint32_t smtp_random(struct smtp *p);

#endif
