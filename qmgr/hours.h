/* SPDX-License-Identifier: ISC */
/* When a group takes mail: not within quiet spans of the day, not around the full hour. Pure. */
#ifndef EKIDEN_QMGR_HOURS_H
#define EKIDEN_QMGR_HOURS_H

#include "lib/conf.h"

struct hours {
	const struct conf_span *quiet; /* minutes of the day; from > to: over midnight */
	size_t nquiet;
	uint32_t full_hour_s; /* quiet that long before and behind each full hour; < 1800 */
	int32_t offset_s;     /* of local time to UTC */
};

/* wall_us when it is open then, else the next time when it is; UINT64_MAX: never (a config error). */
uint64_t hours_open_at(const struct hours *h, uint64_t wall_us);

#endif
