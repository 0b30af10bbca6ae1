/* SPDX-License-Identifier: ISC */
/* The channel to authd: it learns what became of tenants' mail, and says how fast that may go. */
#ifndef EKIDEN_QMGR_AUTHD_H
#define EKIDEN_QMGR_AUTHD_H

#include "qmgr/message.h"

enum { OUTCOMES_EVERY_MS = 1000 };

void authd_attach(struct qmgr *q, uint32_t instance, int fd);
void authd_detach(struct qmgr *q);

enum outcome_kind { OUTCOME_SENT, OUTCOME_FAILED, OUTCOME_DEFERRED, OUTCOME_KINDS };
/* Counts the recipient, unless it is a copy or simulated; told to authd at most OUTCOMES_EVERY_MS later. */
void outcomes_count(const struct rcpt *r, enum outcome_kind kind);
/* Tells what there is now. */
void outcomes_tell(struct qmgr *q);

#endif
