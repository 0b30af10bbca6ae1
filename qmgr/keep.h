/* SPDX-License-Identifier: ISC */
/*
 * What outlives the process besides mail: the paces of groups with a rate (J11), and what sources under warm-up sent
 * today (P24). Written with the next tick of the store. After an end that was not an orderly one, a pace counts as
 * full at its last write: what was sent behind that is not known.
 */
#ifndef EKIDEN_QMGR_KEEP_H
#define EKIDEN_QMGR_KEEP_H

#include "qmgr/shape.h"
#include "qmgr/source.h"

/* The store is open and nothing was sent yet. */
int keep_start(struct qmgr *q, struct err *e);
/* These changed. */
void keep_pace(struct qmgr *q, struct shaper *s);
void keep_use(struct qmgr *q, struct source_use *u);
/* These are nothing any more. */
void keep_drop_pace(struct qmgr *q, struct shaper *s);
void keep_drop_use(struct qmgr *q, struct source_use *u);
/* Before each tick of the store. */
void keep_write(struct qmgr *q);
/* An orderly end, before the last commit. */
void keep_stop(struct qmgr *q);

#endif
