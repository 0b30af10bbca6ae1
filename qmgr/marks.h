/* SPDX-License-Identifier: ISC */
/* The done marks of one segment, as a set. */
#ifndef EKIDEN_QMGR_MARKS_H
#define EKIDEN_QMGR_MARKS_H

#include "qmgr/segments.h"

struct mark;
struct marks {
	struct table table;
	struct mark *all;
	size_t count;
};

/* Reads the done file; s->done_at is behind the last mark then. */
void marks_read(struct marks *k, struct segment *s);
bool marks_has(const struct marks *k, uint64_t qid, uint32_t rcpt);
void marks_free(struct marks *k);

#endif
