/* SPDX-License-Identifier: ISC */
/*
 * What the running authd knows beside its records, for the admin's commands: who decides about mail
 * fills a struct live and gives it to the store. Offline there is none.
 */
#ifndef EKIDEN_AUTHD_LIVE_H
#define EKIDEN_AUTHD_LIVE_H

#include "lib/buf.h"

/* In the order of RECORD_QUOTAS. */
enum live_window {
	LIVE_QUOTA_MINUTE,
	LIVE_QUOTA_HOUR,
	LIVE_QUOTA_DAY,
	LIVE_RCPT_MINUTE,
	LIVE_RCPT_HOUR,
	LIVE_RCPT_DAY,
	LIVE_WINDOWS
};

struct live_quota {
	uint64_t limit; /* in force, the configuration's included; 0: none */
	uint64_t used;
	uint64_t frees_us; /* wall clock: when the next one is taken again; 0: now */
};

/* A28 */
struct live_pace {
	uint32_t factor; /* percent of the normal pace; 100: not slowed */
	uint64_t failed, total; /* recipients within the window */
	uint64_t until_us;	/* wall clock: when this state is looked at again; 0: not slowed */
};

struct live {
	void *ctx;
	/* Of a tenant, or of a key when user is not empty. */
	void (*quotas)(void *ctx, const char *tenant, const char *user,
	    struct live_quota out[static LIVE_WINDOWS]);
	void (*pace)(void *ctx, const char *tenant, struct live_pace *out);
	/* Containment by command: queued mail of the key (user empty: of the tenant) waits, or goes on. */
	void (*hold)(void *ctx, const char *tenant, const char *user, bool on);
	/* Queued mail of it is deleted. false: nobody there to do it. */
	bool (*purge)(void *ctx, const char *tenant, const char *user);
	/* The tenant's record may have changed, or is gone: qmgr is told what it needs of it. */
	void (*tenant)(void *ctx, struct view name);
	/* Records changed: what was derived from them is no longer true. */
	void (*changed)(void *ctx);
};

#endif
