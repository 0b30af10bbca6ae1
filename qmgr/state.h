/* SPDX-License-Identifier: ISC */
/* The life of the process: start, configuration, peers, end. */
#ifndef EKIDEN_QMGR_STATE_H
#define EKIDEN_QMGR_STATE_H

#include "qmgr/qmgr.h"

/* Makes zeroed memory a queue manager that can take peers; once. */
struct qmgr *qmgr_prepare(void *state, struct daemon *d);
/* Opens spool and database and replays. */
int qmgr_start(struct qmgr *q, struct err *e);
/* Takes fd; roles that qmgr has no use for are closed. */
void qmgr_peer(struct qmgr *q, enum role role, uint32_t instance, int fd);
void qmgr_peer_gone(struct qmgr *q, enum role role, uint32_t instance);
void qmgr_drain(struct qmgr *q);

#endif
