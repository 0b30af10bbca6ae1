/* SPDX-License-Identifier: ISC */
#include "qmgr/warmup.h"

enum { DAY_S = 86400 };

uint32_t
warmup_day(uint64_t wall_us, int32_t offset_s)
{
	return (uint32_t)(((int64_t)(wall_us / 1000000) + offset_s) / DAY_S);
}

uint32_t
warmup_cap(const struct warmup_plan *plan, uint32_t start_day, uint32_t day)
{
	if (day < start_day)
		return 0;
	return day - start_day < plan->ndays ? plan->daily[day - start_day] : WARMUP_DONE;
}

uint64_t
warmup_next_day_us(uint64_t wall_us, int32_t offset_s)
{
	int64_t next = ((int64_t)warmup_day(wall_us, offset_s) + 1) * DAY_S;

	return (uint64_t)(next - offset_s) * 1000000;
}
