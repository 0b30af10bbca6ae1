/* SPDX-License-Identifier: ISC */
#include "qmgr/backoff.h"

enum { US = 1000000, MINUTE_MS = 60000, PERCENT_DEFAULT = 50 };

static uint32_t
part(uint32_t x, uint32_t percent, uint32_t least)
{
	uint64_t n = (uint64_t)x * percent / 100;

	return n < least ? least : (uint32_t)n;
}

static void
begin(struct backoff *b, uint64_t now_us, uint32_t rate_per_min, uint32_t connections)
{
	b->since_us = now_us ? now_us : 1;
	b->percent = 100;
	b->normal_per_min = rate_per_min > BACKOFF_FLOOR_PER_MIN ? rate_per_min : BACKOFF_FLOOR_PER_MIN;
	b->normal_connections = connections ? connections : 1;
}

/* The limits that go with the percentage. */
static void
limit(struct backoff *b)
{
	b->cap = (struct pace_limit){ part(b->normal_per_min, b->percent, BACKOFF_FLOOR_PER_MIN), MINUTE_MS };
	b->connections = part(b->normal_connections, b->percent, 1);
}

bool
backoff_signal(struct backoff *b, const struct backoff_order *o, uint64_t now_us,
    uint32_t rate_per_min, uint32_t connections)
{
	uint32_t percent = o->percent ? o->percent : PERCENT_DEFAULT;
	uint64_t for_us = (uint64_t)(o->for_s ? o->for_s : BACKOFF_STEP_S) * US;

	if (backoff_active(b) && now_us - b->last_us < (uint64_t)BACKOFF_SETTLE_S * US &&
	    now_us >= b->last_us)
		return false;
	if (!backoff_active(b))
		begin(b, now_us, rate_per_min, connections);
	b->last_us = now_us;
	b->signals++;
	b->percent = part(b->percent, percent, 1);
	b->step_s = (uint32_t)(for_us / US);
	b->step_at_us = now_us + for_us;
	b->one |= o->action == BACKOFF_ONE;
	if (o->action == BACKOFF_PAUSE) {
		b->paused_until_us = now_us + for_us;
		b->step_at_us += for_us;
	}
	limit(b);
	return true;
}

bool
backoff_recover(struct backoff *b, uint64_t now_us)
{
	bool changed = false;

	if (b->paused_until_us && now_us >= b->paused_until_us) {
		b->paused_until_us = 0;
		changed = true;
	}
	while (b->step_at_us && now_us >= b->step_at_us) {
		changed = true;
		b->one = false;
		b->percent *= 2;
		b->step_at_us += (uint64_t)b->step_s * US;
		if (b->percent >= 100) {
			*b = (struct backoff){ 0 };
			break;
		}
		limit(b);
	}
	return changed;
}

uint64_t
backoff_next_us(const struct backoff *b)
{
	if (b->paused_until_us && b->paused_until_us < b->step_at_us)
		return b->paused_until_us;
	return b->step_at_us;
}

uint32_t
backoff_connections(const struct backoff *b, uint32_t max)
{
	if (!backoff_active(b))
		return max;
	if (b->one)
		return 1;
	return b->connections < max ? b->connections : max;
}

void
backoff_text(const struct backoff *b, uint64_t now_us, struct buf *out)
{
	if (!backoff_active(b))
		return;
	if (now_us < b->paused_until_us)
		buf_puts(out, "paused");
	else if (b->one)
		buf_puts(out, "one connection");
	else
		buf_printf(out, "%u%% (%u/min, %u connection%s)", b->percent, b->cap.n, b->connections,
		    b->connections == 1 ? "" : "s");
}
