/* SPDX-License-Identifier: ISC */
/*
 * Reports to senders: the failed recipients of a message are gathered until none of it is under way
 * any more, or REPORT_WAIT_MS passed, then go to bounce. They are finished when bounce says that the
 * report is durable; until then they stay, and are reported again after a failure or a restart.
 */
#ifndef EKIDEN_QMGR_REPORT_H
#define EKIDEN_QMGR_REPORT_H

#include "qmgr/message.h"

enum { REPORT_WAIT_MS = 5000, REPORT_RETRY_MS = 60000 };

struct report {
	struct table_node node;
	uint64_t req;
	struct message *m;
	struct rcpt *rcpts;
};

/* Sends one when it is time. */
void report_check(struct message *m);
void report_due(struct loop_timer *t); /* of message.report_timer */
/* false: not a report of ours. */
bool report_answer(struct qmgr *q, const struct ipc_report_done *m);
/* bounce is here, or gone. */
void reports_attach(struct qmgr *q, struct channel *bounce);
void reports_detach(struct qmgr *q);

#endif
