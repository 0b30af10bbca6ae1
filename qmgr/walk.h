/* SPDX-License-Identifier: ISC */
/*
 * A walk over recipients of the queue for the admin's commands, in steps: those of the ids given, or
 * first the messages in memory, then the rows of the database (by the index that fits the filter).
 * What is there all the time is met, once, wherever it goes meanwhile; what comes or goes may be missed.
 */
#ifndef EKIDEN_QMGR_WALK_H
#define EKIDEN_QMGR_WALK_H

#include "lib/ctl.h"
#include "qmgr/store.h"

struct filter {
	struct view tenant, key, domain, sender, state;
	uint64_t older_us; /* 0: any age */
	uint64_t id;	   /* this message alone; 0: any */
	bool any;	   /* a filter was given */
	bool ids;	   /* ids were given */
	bool all;	   /* --all */
};

/* A recipient, wherever it is; views live until the next one. */
struct seen {
	uint64_t qid, size, arrival_us, next_us, last_us;
	struct view sender, tenant, user, addr, text, relay;
	const char *state, *lane;
	uint32_t index, attempts, esc;
	uint16_t code;
	bool first; /* of its message in this walk */
};

/* Fills f from the call's arguments; false: one is wrong, and the call's end is set. */
bool filter_get(struct ctl_call *call, struct filter *f);

struct walk;
/* Makes call->cursor. */
void walk_start(struct ctl_call *call, struct qmgr *q, const struct filter *f);
/*
 * Meets the next recipients that match; false when the walk is over. `meet` returning false ends it.
 * With `load`, each is given as the recipient in memory (loaded for that).
 */
struct visitor {
	bool (*meet)(struct visitor *v, const struct seen *s, struct rcpt *r);
	struct ctl_call *call;
	struct qmgr *q;
	bool load;
	uint64_t *count; /* kept between the steps, for the caller: messages, recipients, bytes */
};
enum { WALK_COUNTS = 3 };
bool walk_step(struct visitor *v, const struct filter *f);
/* Of the walk under way. */
uint64_t *walk_counts(struct ctl_call *call);
/* What the command keeps beside the walk, for its end; NULL at first. */
void **walk_data(struct ctl_call *call, void (*free_data)(void *data));
const char *rcpt_state_name(const struct rcpt *r);

#endif
