/* SPDX-License-Identifier: ISC */
/*
 * Histogram of times in nanoseconds: 64 steps an octave, so a percentile is right to 1.6 %;
 * minimum and maximum are exact.  Fixed size, no allocation.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
	HIST_SUB_BITS = 6,
	HIST_BUCKETS = (64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS,
};

struct hist {
	uint64_t count, sum, min, max;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t ns);
/* Adds all samples of from. */
void hist_merge(struct hist *into, const struct hist *from);
/* Value below which the share q (0..1) of the samples lies; 0 when there are none. */
uint64_t hist_quantile(const struct hist *h, double q);
/* Text line, or a JSON object of microseconds without a line end. */
void hist_print(const struct hist *h, const char *name, bool json, FILE *fp);

#endif
