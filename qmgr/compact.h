/* SPDX-License-Identifier: ISC */
/*
 * Compaction: the few live records of a nearly dead segment move to a segment of qmgr's own, so that
 * the old one can be used again. Only messages that the database knows wholly and that nobody is busy
 * with are moved. Order: the copies are synced, then the rows that say where they are, then the old
 * segment is recycled.
 */
#ifndef EKIDEN_QMGR_COMPACT_H
#define EKIDEN_QMGR_COMPACT_H

#include "qmgr/qmgr.h"

void compact_init(struct qmgr *q);
void compact_stop(struct qmgr *q);
/* A free segment came that compaction waited for? Counted by the pool. */
bool compact_wants_segment(const struct qmgr *q);

#endif
