/* SPDX-License-Identifier: ISC */
/* Deferred recipients that come due are loaded from the database, while there is room in memory. */
#ifndef EKIDEN_QMGR_LOADER_H
#define EKIDEN_QMGR_LOADER_H

#include "qmgr/qmgr.h"

void loader_init(struct qmgr *q);
void loader_stop(struct qmgr *q);
/* A row with this time was put. */
void loader_due(struct qmgr *q, uint64_t due_us);
/* Looks at every due row again: some could not be loaded before. */
void loader_reset(struct qmgr *q);
/* There may be room again. */
void loader_wake(struct qmgr *q);

#endif
