/* SPDX-License-Identifier: ISC */
/* Reading segments: replay at start, and the tails that writers left. */
#ifndef EKIDEN_QMGR_RECOVER_H
#define EKIDEN_QMGR_RECOVER_H

#include "qmgr/segments.h"

/*
 * Reads records of a segment that nobody writes to, from s->told on. A recipient without a done mark
 * and without a row becomes active. Damage is copied to quarantine/ and logged, what follows it is
 * read; a torn tail ends the scan.
 */
void recover_scan(struct qmgr *q, struct segment *s);
/*
 * At start: counts what the database holds, then reads every segment that it does not know wholly.
 * Segments that a writer of the former life still holds are read when it let go.
 */
int recover_start(struct qmgr *q, struct err *e);
/* Keeps a copy of [from, to) of a segment in quarantine/. */
void recover_quarantine(struct qmgr *q, const struct segment *s, uint64_t from, uint64_t to);

#endif
