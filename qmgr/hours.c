/* SPDX-License-Identifier: ISC */
#include "qmgr/hours.h"

enum { DAY_S = 86400, HOUR_S = 3600, STEPS_MAX = 512 };

/* When the span that holds this second of the day ends, counted from the day's begin; 0: none holds it. */
static uint32_t
quiet_until(const struct hours *h, uint32_t second)
{
	for (size_t i = 0; i < h->nquiet; i++) {
		uint32_t from = h->quiet[i].from_min * 60u, to = h->quiet[i].to_min * 60u;
		if (from < to && second >= from && second < to)
			return to;
		if (from > to && second >= from)
			return to + DAY_S;
		if (from > to && second < to)
			return to;
	}
	return 0;
}

static uint32_t
full_hour_until(const struct hours *h, uint32_t second)
{
	uint32_t into = second % HOUR_S;

	if (h->full_hour_s == 0)
		return 0;
	if (into < h->full_hour_s)
		return second - into + h->full_hour_s;
	if (into >= HOUR_S - h->full_hour_s)
		return second - into + HOUR_S + h->full_hour_s;
	return 0;
}

uint64_t
hours_open_at(const struct hours *h, uint64_t wall_us)
{
	int64_t local = (int64_t)(wall_us / 1000000) + h->offset_s, first = local;

	for (int i = 0; i < STEPS_MAX; i++) {
		uint32_t second = (uint32_t)(local % DAY_S);
		uint32_t until = quiet_until(h, second);
		if (until == 0)
			until = full_hour_until(h, second);
		if (until == 0)
			return local == first ? wall_us : (uint64_t)(local - h->offset_s) * 1000000;
		local += until - second;
	}
	return UINT64_MAX;
}
