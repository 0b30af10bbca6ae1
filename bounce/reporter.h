/* SPDX-License-Identifier: ISC */
/*
 * Reports from request to stored message. Each `report` of qmgr is answered by one `report_done`:
 * with the queue id of the report once that is durable, with 0 when none was due, or with ok =
 * false when it could not be made now (qmgr keeps the recipients and asks again).
 *
 * Under way are at most REPORTER_ACTIVE reports with what they hold in memory; the others wait
 * with their descriptors, at most REPORTER_WAITING, and more are answered ok = false.
 */
#ifndef EKIDEN_BOUNCE_REPORTER_H
#define EKIDEN_BOUNCE_REPORTER_H

#include "lib/spool.h"

enum { REPORTER_ACTIVE = 64, REPORTER_WAITING = 512 };

struct report_job;

struct reporter {
	struct loop *loop;
	struct spool *spool;
	struct channel *qmgr; /* NULL: none */
	char *hostname, *postmaster;
	void (*idle)(struct reporter *r); /* the last request was answered; may be NULL */
	struct report_job *waiting, **waiting_end;
	struct report_job *active;
	size_t waiting_count, active_count;
	uint64_t last_us; /* of the last report: their times are all different */
};

void reporter_init(struct reporter *r, struct loop *l, struct spool *spool);
/* Copies both names; an empty postmaster is "postmaster@hostname". */
void reporter_names(struct reporter *r, const char *hostname, const char *postmaster);
/* A new channel to qmgr; NULL: it is gone, with every request that is open. */
void reporter_channel(struct reporter *r, struct channel *qmgr);
/* A `report` with its descriptor (taken when *fd is set to -1); false: not valid. */
bool reporter_take(struct reporter *r, const struct ipc_report *m, int *fd);
static inline bool
reporter_idle(const struct reporter *r)
{
	return r->active == NULL && r->waiting == NULL;
}
/* Drops everything; the loop must turn once more. */
void reporter_close(struct reporter *r);

#endif
