/* SPDX-License-Identifier: ISC */
/*
 * What comes with a yes: quotas are reserved, and it is said which sender takes the place of the one
 * given. Beside the records this needs what was used (usage.h) and the settings.
 */
#ifndef EKIDEN_AUTHD_GRANT_H
#define EKIDEN_AUTHD_GRANT_H

#include "authd/authd.h"
#include "authd/check.h"

/*
 * A session that goes on in the same way is not judged anew for each message: the answer is good for so
 * many more, which are counted when their use is told (mail_result.lease, txn_end.leased).
 */
enum { LEASE_MESSAGES = 32 };

struct grant {
	uint8_t rewrite; /* enum sender_rewrite */
	char sender[ADDR_MAX + 1];
	uint32_t key_serial;
	bool header_from_tenant, hold, check_rcpts;
	bool may_future, may_priority;
	char retry[NAME_BYTES + 1]; /* a schedule of the configuration; empty: the usual one */
	uint8_t priority;
	uint64_t reserved_s;
	uint32_t lease;
	bool end_leases; /* those that are out could go beyond a quota now */
};

/* check_mail() said 250. *r becomes a refusal when a quota is used up; nothing is reserved then. */
void grant_mail(struct authd *d, const struct check_sender *q, const struct check_records *found,
    struct grant *g, struct policy_reply *r);
/* One recipient of such a message. *hold: over a quota of a key whose mail then waits. */
void grant_rcpt(struct authd *d, const struct check_records *found, struct view tenant,
    struct view user, bool *hold, struct policy_reply *r);
/* What became of what was reserved. */
void grant_end(struct authd *d, const struct ipc_txn_end *m);

/*
 * Which sender is used (A13-A16, C19-C22), pure: the key's pattern asks for a return address of ours,
 * else the domain's rule, else the global one. `g` gets rewrite and sender.
 */
void grant_rewrite(const struct settings *set, const struct check_records *found, struct view sender,
    struct grant *g);

#endif
