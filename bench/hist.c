/* SPDX-License-Identifier: ISC */
#include "bench/hist.h"

static unsigned
bucket_of(uint64_t v)
{
	unsigned top, shift;

	if (v < (1u << HIST_SUB_BITS))
		return (unsigned)v;
	top = 63 - (unsigned)__builtin_clzll(v);
	shift = top - HIST_SUB_BITS;
	return ((shift + 1) << HIST_SUB_BITS) + (unsigned)((v >> shift) - (1u << HIST_SUB_BITS));
}

/* Middle of the bucket's range. */
static uint64_t
bucket_value(unsigned b)
{
	unsigned shift;
	uint64_t low;

	if (b < (1u << HIST_SUB_BITS))
		return b;
	shift = (b >> HIST_SUB_BITS) - 1;
	low = ((uint64_t)(b & ((1u << HIST_SUB_BITS) - 1)) + (1u << HIST_SUB_BITS)) << shift;
	return low + ((uint64_t)1 << shift) / 2;
}

void
hist_add(struct hist *h, uint64_t ns)
{
	if (h->count == 0 || ns < h->min)
		h->min = ns;
	if (ns > h->max)
		h->max = ns;
	h->count++;
	h->sum += ns;
	h->bucket[bucket_of(ns)]++;
}

void
hist_merge(struct hist *into, const struct hist *from)
{
	unsigned b;

	if (from->count == 0)
		return;
	if (into->count == 0 || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->count += from->count;
	into->sum += from->sum;
	for (b = 0; b < HIST_BUCKETS; b++)
		into->bucket[b] += from->bucket[b];
}

uint64_t
hist_quantile(const struct hist *h, double q)
{
	uint64_t want = (uint64_t)(q * (double)h->count + 0.5), seen = 0, v;
	unsigned b;

	if (want == 0)
		want = 1;
	for (b = 0; b < HIST_BUCKETS; b++) {
		seen += h->bucket[b];
		if (seen < want)
			continue;
		v = bucket_value(b);
		return v < h->min ? h->min : v > h->max ? h->max : v;
	}
	return h->max;
}

void
hist_print(const struct hist *h, const char *name, bool json, FILE *fp)
{
	double us[] = {(double)h->min / 1e3, (double)hist_quantile(h, 0.5) / 1e3,
	    (double)hist_quantile(h, 0.9) / 1e3, (double)hist_quantile(h, 0.99) / 1e3,
	    (double)h->max / 1e3};

	if (json)
		fprintf(fp,
		    "\"%s\":{\"n\":%llu,\"min\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,"
		    "\"max\":%.1f}",
		    name, (unsigned long long)h->count, us[0], us[1], us[2], us[3], us[4]);
	else
		fprintf(fp, "%-16s n=%-8llu min %.1f  p50 %.1f  p90 %.1f  p99 %.1f  max %.1f us\n",
		    name, (unsigned long long)h->count, us[0], us[1], us[2], us[3], us[4]);
}
