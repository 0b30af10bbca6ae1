/* SPDX-License-Identifier: ISC */
/* How many recipients a new source may send to one provider on a day of its calendar (P24). Pure. */
#ifndef EKIDEN_QMGR_WARMUP_H
#define EKIDEN_QMGR_WARMUP_H

#include <stddef.h>
#include <stdint.h>

#define WARMUP_DONE UINT32_MAX

struct warmup_plan {
	const uint32_t *daily; /* of the 1st, 2nd, ... day */
	size_t ndays;
};

/* Days since 1970-01-01 in local time. */
uint32_t warmup_day(uint64_t wall_us, int32_t offset_s);
/* The cap of `day`: 0 before the start, WARMUP_DONE behind the last day of the plan. */
uint32_t warmup_cap(const struct warmup_plan *plan, uint32_t start_day, uint32_t day);
/* When the next day begins (wall clock). */
uint64_t warmup_next_day_us(uint64_t wall_us, int32_t offset_s);

#endif
