/* SPDX-License-Identifier: ISC */
/*
 * The nearest valid name for a misspelt one: the fewest edits (insert, delete, replace a byte, swap
 * two neighbours), at most one in three bytes. Names over NEAR_MAX bytes have no neighbours.
 */
#ifndef EKIDEN_NEAR_H
#define EKIDEN_NEAR_H

#include "lib/buf.h"

enum { NEAR_MAX = 64 };

struct near {
	struct view word;
	const char *best; /* borrowed from the offer; NULL: nothing is near enough */
	unsigned distance;
};

/* Edits between two words; NEAR_MAX + 1 when one is too long. */
unsigned near_distance(struct view a, struct view b);
void near_init(struct near *n, struct view word);
/* Keeps the candidate when it is nearer than all before it. */
void near_offer(struct near *n, const char *candidate);

#endif
