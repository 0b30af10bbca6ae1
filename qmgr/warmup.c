/* SPDX-License-Identifier: ISC */
#include "qmgr/warmup.h"

enum { DAY_S = 86400 };

uint32_t
warmup_day(uint64_t wall_us, int32_t offset_s)
{
	return (uint32_t)(((int64_t)(wall_us / 1000000) + offset_s) / DAY_S);
}

uint64_t
warmup_next_us(uint32_t day, int32_t offset_s)
{
	return (uint64_t)(((int64_t)day + 1) * DAY_S - offset_s) * 1000000;
}

uint32_t
warmup_cap(const struct warmup_plan *p, uint32_t day)
{
	if (p->n == 0)
		return WARMUP_ALL;
	if (day < p->start)
		return 0;
	return day - p->start < p->n ? p->daily[day - p->start] : WARMUP_ALL;
}

size_t
choose_weighted(const uint32_t *weights, size_t n, uint64_t hash)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += weights[i];
	if (total == 0)
		return n;
	uint64_t at = hash % total;
	for (size_t i = 0; i < n; at -= weights[i++])
		if (at < weights[i])
			return i;
	return n;
}
