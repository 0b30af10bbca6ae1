/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "qmgr/pace.h"

enum { RUN_BYTES = 12 };

struct pace_run {
	uint64_t at_us;
	uint32_t count;
};

void
pace_free(struct pace *p)
{
	free(p->runs);
	*p = (struct pace){ 0 };
}

static void
drop_oldest(struct pace *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		p->used -= p->runs[i].count;
	p->len -= n;
	if (p->len == 0)
		pace_free(p);
	else
		memmove(p->runs, p->runs + n, p->len * sizeof(*p->runs));
}

/* Runs end T after their time; what lies in the future (a clock set back) lies at now. */
static void
forget(struct pace *p, const struct pace_limit *l, uint64_t now_us)
{
	uint64_t per_us = (uint64_t)l->per_ms * 1000;
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->len; i++)
		if (p->runs[i].at_us > now_us)
			p->runs[i].at_us = now_us;
	while (n < p->len && now_us - p->runs[n].at_us >= per_us)
		n++;
	if (n)
		drop_oldest(p, n);
}

uint32_t
pace_room(struct pace *p, const struct pace_limit *l, uint64_t now_us)
{
	if (l->n == 0)
		return PACE_ALL;
	forget(p, l, now_us);
	return p->used < l->n ? l->n - p->used : 0;
}

/* The two oldest are one, at the later time. */
static void
join_oldest(struct pace *p)
{
	p->runs[1].count += p->runs[0].count;
	p->len--;
	memmove(p->runs, p->runs + 1, p->len * sizeof(*p->runs));
}

void
pace_take(struct pace *p, const struct pace_limit *l, uint64_t now_us, uint32_t n)
{
	if (l->n == 0 || n == 0)
		return;
	forget(p, l, now_us);
	if (p->runs == NULL)
		p->runs = x_calloc(PACE_RUNS, sizeof(*p->runs));
	p->used += n;
	if (p->len && p->runs[p->len - 1].at_us == now_us) {
		p->runs[p->len - 1].count += n;
		return;
	}
	if (p->len == PACE_RUNS)
		join_oldest(p);
	p->runs[p->len++] = (struct pace_run){ now_us, n };
}

void
pace_give_back(struct pace *p, uint32_t n)
{
	while (n && p->len) {
		struct pace_run *last = &p->runs[p->len - 1];
		uint32_t k = n < last->count ? n : last->count;
		last->count -= k;
		p->used -= k;
		n -= k;
		if (last->count == 0)
			p->len--;
	}
	if (p->len == 0)
		pace_free(p);
}

uint64_t
pace_next_us(struct pace *p, const struct pace_limit *l, uint64_t now_us)
{
	if (pace_room(p, l, now_us))
		return now_us;
	uint32_t over = p->used - l->n, i = 0;
	for (; i + 1 < p->len && p->runs[i].count <= over; i++)
		over -= p->runs[i].count;
	return p->runs[i].at_us + (uint64_t)l->per_ms * 1000;
}

void
pace_shift(struct pace *p, int64_t by_us)
{
	for (uint32_t i = 0; i < p->len; i++)
		p->runs[i].at_us += (uint64_t)by_us;
}

void
pace_put(const struct pace *p, struct buf *out)
{
	buf_put_u32(out, p->len);
	for (uint32_t i = 0; i < p->len; i++) {
		buf_put_u64(out, p->runs[i].at_us);
		buf_put_u32(out, p->runs[i].count);
	}
}

bool
pace_get(struct pace *p, struct view *in, uint64_t now_us)
{
	struct view v = *in;
	uint32_t len = view_get_u32(&v);
	uint64_t before = 0;

	if (in->n < 4 || len > PACE_RUNS || v.n < (size_t)len * RUN_BYTES)
		return false;
	pace_free(p);
	p->runs = len ? x_calloc(PACE_RUNS, sizeof(*p->runs)) : NULL;
	for (uint32_t i = 0; i < len; i++) {
		uint64_t at = view_get_u64(&v);
		uint32_t count = view_get_u32(&v);
		if (at < before || count == 0 || count > UINT32_MAX - p->used) {
			pace_free(p);
			return false;
		}
		before = at;
		p->runs[p->len++] = (struct pace_run){ at < now_us ? at : now_us, count };
		p->used += count;
	}
	*in = v;
	return true;
}
