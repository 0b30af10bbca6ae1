/* SPDX-License-Identifier: ISC */
/* Making and recycling segments; used by segments.c only, but for the recycling at the tick. */
#ifndef EKIDEN_QMGR_SEGMENT_MAKE_H
#define EKIDEN_QMGR_SEGMENT_MAKE_H

#include "qmgr/segments.h"

void segment_make_init(struct qmgr *q);
void segment_make_stop(struct qmgr *q);
/* Starts to make one when more are needed than are free. */
void segments_make(struct qmgr *q);
/* No live message: recycled at the end of the next tick, when all that referred to it is durable. */
void segment_recycle_later(struct qmgr *q, struct segment *s);
/* At the end of a tick. */
void segments_recycle(struct qmgr *q);

/* Of segments.c. */
struct segment *segment_add(struct qmgr *q, const char *name, int fd, int done_fd,
    const struct segment_header *h);
void segment_set_free(struct qmgr *q, struct segment *s);
void segments_try_locks(struct loop_timer *t);

/* Of bigs.c. */
int big_open_all(struct qmgr *q, struct err *e);
void big_close_all(struct qmgr *q);

#endif
