/* SPDX-License-Identifier: ISC */
/* P24: how much a new source may send to one destination on each of its first days. Pure. */
#ifndef EKIDEN_QMGR_WARMUP_H
#define EKIDEN_QMGR_WARMUP_H

#include "lib/buf.h"

#define WARMUP_ALL UINT32_MAX

struct warmup_plan {
	uint32_t *daily; /* recipients to one destination on the first day, the second, ... */
	size_t n;	 /* 0: no plan */
	uint32_t start;	 /* the first day */
};

/* Days are counted from 1970-01-01, as the host's calendar has them, and as conf_parse_date() does. */
uint32_t warmup_day(uint64_t wall_us, int32_t offset_s);
/* When the day after `day` begins, wall clock. */
uint64_t warmup_next_us(uint32_t day, int32_t offset_s);
/* Recipients to one destination on this day; WARMUP_ALL behind the plan, 0 before it. */
uint32_t warmup_cap(const struct warmup_plan *p, uint32_t day);

/*
 * Which of n is taken, by weights (0: it cannot be taken); equal hashes choose equally while weights do not change. n
 * when all are 0.
 */
size_t choose_weighted(const uint32_t *weights, size_t n, uint64_t hash);

#endif
