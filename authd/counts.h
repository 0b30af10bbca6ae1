/* SPDX-License-Identifier: ISC */
/* Connections by client address (A30). Pure: no clock, no I/O. */
#ifndef EKIDEN_AUTHD_COUNTS_H
#define EKIDEN_AUTHD_COUNTS_H

#include "lib/table.h"

enum { COUNTS_NAME_MAX = 64 };

/* Zeroed: nobody is here. An address without connections takes no memory. */
struct counts {
	struct table table;
};

/* Both return how many there are then; taking away more than there are takes all. */
uint32_t counts_add(struct counts *c, struct view name, uint32_t n);
uint32_t counts_sub(struct counts *c, struct view name, uint32_t n);
/* All of `part` are gone from `whole`; `part` is empty then. */
void counts_give_back(struct counts *whole, struct counts *part);
void counts_free(struct counts *c);

#endif
