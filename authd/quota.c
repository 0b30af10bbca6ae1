/* SPDX-License-Identifier: ISC */
/*
 * Encoded: for each unit and window u64 newest, u8 count of slots that are not zero, and for each of
 * these u8 how many slots before the newest, u32 value. Integers big-endian.
 */
#include <string.h>

#include "authd/quota.h"

static const struct {
	uint32_t slot_s, slots; /* slots cover one more than the window needs: the newest is not full */
	const char *name;
} windows[QUOTA_WINDOWS] = {
	[QUOTA_MINUTE] = { 1, 61, "a minute" },
	[QUOTA_HOUR] = { 60, 61, "an hour" },
	[QUOTA_DAY] = { 1800, 49, "in 24 hours" },
};
static const char *const units[QUOTA_UNITS] = { "messages", "recipients" };

static uint32_t *
slot_at(struct quota_ring *r, enum quota_window w, uint64_t number)
{
	return &r->slot[number % windows[w].slots];
}

/* Forgets what is older than the window. */
static struct quota_ring *
turn(struct quota *q, enum quota_unit unit, enum quota_window w, uint64_t now_s)
{
	struct quota_ring *r = &q->ring[unit][w];
	uint64_t now = now_s / windows[w].slot_s;

	/* The clock was set back: what is there ends within a window from now, in whatever order. */
	if (now < r->newest && r->newest - now > windows[w].slots)
		r->newest = now;
	if (now > r->newest && now - r->newest >= windows[w].slots) {
		memset(r->slot, 0, sizeof(r->slot));
		r->total = 0;
		r->newest = now;
	}
	while (r->newest < now) {
		uint32_t *oldest = slot_at(r, w, ++r->newest);
		r->total -= *oldest;
		*oldest = 0;
	}
	return r;
}

void
quota_add(struct quota *q, enum quota_unit unit, uint32_t n, uint64_t now_s)
{
	for (enum quota_window w = 0; w < QUOTA_WINDOWS; w++) {
		struct quota_ring *r = turn(q, unit, w, now_s);
		if (n > UINT32_MAX - r->total)
			n = UINT32_MAX - r->total;
		*slot_at(r, w, r->newest) += n;
		r->total += n;
	}
}

/* From the slot it was added to; what is not there any more (it left the window) is not taken. */
static void
take_away(struct quota_ring *r, enum quota_window w, uint32_t n, uint64_t then)
{
	uint64_t first = r->newest >= windows[w].slots ? r->newest - windows[w].slots + 1 : 0;

	for (uint64_t at = then < first ? first : then; n && at <= r->newest; at++) {
		uint32_t *slot = slot_at(r, w, at);
		uint32_t part = *slot < n ? *slot : n;
		*slot -= part;
		r->total -= part;
		n -= part;
	}
}

void
quota_give_back(struct quota *q, enum quota_unit unit, uint32_t n, uint64_t then_s, uint64_t now_s)
{
	for (enum quota_window w = 0; w < QUOTA_WINDOWS; w++) {
		struct quota_ring *r = turn(q, unit, w, now_s);
		uint64_t then = then_s / windows[w].slot_s;
		if (then + windows[w].slots > r->newest)
			take_away(r, w, n, then);
	}
}

uint32_t
quota_used(struct quota *q, enum quota_unit unit, enum quota_window w, uint64_t now_s)
{
	return turn(q, unit, w, now_s)->total;
}

uint64_t
quota_wait_s(struct quota *q, enum quota_unit unit, enum quota_window w, uint32_t max, uint32_t n,
    uint64_t now_s)
{
	struct quota_ring *r = turn(q, unit, w, now_s);
	uint32_t slots = windows[w].slots;
	uint64_t left = r->total;

	if (left + n <= max)
		return 0;
	for (uint32_t age = slots; age-- > 0;) {
		left -= *slot_at(r, w, r->newest + slots - age);
		if (left + n > max && age)
			continue;
		/* That slot is forgotten when time reaches its number + slots. */
		uint64_t end_s = (r->newest - age + slots) * windows[w].slot_s;
		return end_s > now_s ? end_s - now_s : 1;
	}
	return 0;
}

bool
quota_fits(struct quota *q, const struct quota_limits *limits, enum quota_unit unit, uint32_t n,
    uint64_t now_s, struct quota_lack *lack)
{
	bool fits = true;

	for (enum quota_window w = 0; w < QUOTA_WINDOWS; w++) {
		uint32_t max = limits->max[unit][w];
		uint64_t wait = max ? quota_wait_s(q, unit, w, max, n, now_s) : 0;
		if (wait && (fits || wait > lack->wait_s))
			*lack = (struct quota_lack){ unit, w, max, wait };
		fits = fits && wait == 0;
	}
	return fits;
}

bool
quota_limited(const struct quota_limits *limits, enum quota_unit unit)
{
	for (enum quota_window w = 0; w < QUOTA_WINDOWS; w++)
		if (limits->max[unit][w])
			return true;
	return false;
}

void
quota_name(enum quota_unit unit, enum quota_window w, struct buf *out)
{
	buf_printf(out, "%s %s", units[unit], windows[w].name);
}

static void
put_ring(const struct quota_ring *r, enum quota_window w, struct buf *out)
{
	uint32_t slots = windows[w].slots;
	uint8_t count = 0;

	for (uint32_t i = 0; i < slots; i++)
		if (r->slot[i])
			count++;
	buf_put_u64(out, r->newest);
	buf_put_u8(out, count);
	for (uint32_t age = 0; age < slots; age++) {
		uint32_t value = r->slot[(r->newest + slots - age) % slots];
		if (value == 0)
			continue;
		buf_put_u8(out, (uint8_t)age);
		buf_put_u32(out, value);
	}
}

static bool
get_ring(struct quota_ring *r, enum quota_window w, struct view *v)
{
	uint32_t slots = windows[w].slots;

	r->newest = view_get_u64(v);
	for (uint8_t count = view_get_u8(v); count; count--) {
		uint8_t age = view_get_u8(v);
		uint32_t value = view_get_u32(v);
		if (age >= slots || value > UINT32_MAX - r->total)
			return false;
		uint32_t *slot = slot_at(r, w, r->newest + slots - age);
		r->total += value - *slot;
		*slot = value;
	}
	return !view_bad(*v);
}

void
quota_put(const struct quota *q, struct buf *out)
{
	for (int unit = 0; unit < QUOTA_UNITS; unit++)
		for (int w = 0; w < QUOTA_WINDOWS; w++)
			put_ring(&q->ring[unit][w], w, out);
}

bool
quota_get(struct quota *q, struct view *v)
{
	*q = (struct quota){ 0 };
	for (int unit = 0; unit < QUOTA_UNITS; unit++)
		for (int w = 0; w < QUOTA_WINDOWS; w++)
			if (!get_ring(&q->ring[unit][w], w, v)) {
				*q = (struct quota){ 0 };
				return false;
			}
	return true;
}
