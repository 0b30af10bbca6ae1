/* SPDX-License-Identifier: ISC */
#include "qmgr/retry.h"

enum { US = 1000000 };

uint64_t
retry_wait_s(const struct retry_rule *r, uint32_t n)
{
	int64_t wait = r->a;

	if (n == 0)
		n = 1;
	if (r->method == RETRY_EXPONENTIAL)
		wait = r->a * n + r->b;
	else if (r->method == RETRY_STEPS && r->nsteps)
		wait = r->steps[n <= r->nsteps ? n - 1 : r->nsteps - 1];
	return wait < 1 ? 1 : (uint64_t)wait;
}

bool
retry_next(const struct retry_rule *r, uint32_t n, uint64_t now_us, uint64_t arrival_us,
    uint64_t *next_us)
{
	uint64_t next = now_us + retry_wait_s(r, n) * US;

	if (r->attempts && n >= r->attempts)
		return false;
	if (retry_expired(r, next, arrival_us))
		return false;
	*next_us = next;
	return true;
}

bool
retry_expired(const struct retry_rule *r, uint64_t now_us, uint64_t arrival_us)
{
	return now_us > arrival_us && now_us - arrival_us > r->period_s * US;
}

uint64_t
queue_clock_read(struct queue_clock *c, uint64_t wall_us, uint64_t mono_ms, int64_t *jump_s)
{
	*jump_s = 0;
	if (c->wall_us) {
		int64_t wall = (int64_t)(wall_us - c->wall_us);
		int64_t mono = (int64_t)(mono_ms - c->mono_ms) * 1000;
		int64_t jump = (wall - mono) / US;
		if (jump > CLOCK_JUMP_S || jump < -CLOCK_JUMP_S) {
			c->skew_us += wall - mono;
			*jump_s = jump;
		}
	}
	c->wall_us = wall_us;
	c->mono_ms = mono_ms;
	return wall_us - (uint64_t)c->skew_us;
}
