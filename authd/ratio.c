/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "authd/ratio.h"

enum { DAY_S = 86400, WEEK_DAYS = 7, SLOTS = RATIO_SLOTS + 1 };

static void
turn(struct ratio *r, const struct ratio_settings *set, uint64_t now_s)
{
	uint32_t slot_s = set->window_s / RATIO_SLOTS;

	slot_s = slot_s ? slot_s : 1;
	uint64_t now = now_s / slot_s;
	/* Other slots than before, a long silence, a clock set back: what was is not comparable. */
	if (r->slot_s != slot_s || now < r->newest || now - r->newest >= SLOTS) {
		*r = (struct ratio){ .newest = now, .slot_s = slot_s };
		return;
	}
	while (r->newest < now) {
		r->newest++;
		r->sent[r->newest % SLOTS] = r->failed[r->newest % SLOTS] = 0;
	}
}

void
ratio_add(struct ratio *r, const struct ratio_settings *set, uint32_t sent, uint32_t failed,
    uint64_t now_s)
{
	turn(r, set, now_s);
	r->sent[r->newest % SLOTS] += sent;
	r->failed[r->newest % SLOTS] += failed;
}

struct ratio_state
ratio_look(struct ratio *r, const struct ratio_settings *set, uint64_t now_s)
{
	struct ratio_state s = { false, 0, 0, 0 };

	turn(r, set, now_s);
	for (uint64_t age = SLOTS; age-- > 0;) {
		uint64_t at = (r->newest + SLOTS - age) % SLOTS;
		s.failed += r->failed[at];
		s.total += (uint64_t)r->failed[at] + r->sent[at];
		if (r->failed[at] && s.until_s == 0)
			s.until_s = (r->newest - age + SLOTS) * r->slot_s;
	}
	s.bad = set->threshold && s.total && s.total >= set->sample &&
	    s.failed * 100 > s.total * set->threshold;
	return s;
}

static void
volume_turn(struct volume *v, uint64_t now_s)
{
	uint64_t day = now_s / DAY_S;

	if (v->day == 0 || day < v->day) /* the clock was set back: this day goes on */
		v->day = day;
	/* After some weeks of silence nothing is left of the mean. */
	if (day - v->day > 8 * WEEK_DAYS) {
		*v = (struct volume){ .day = day };
		return;
	}
	for (; v->day < day; v->day++) {
		uint32_t weight = v->days < WEEK_DAYS ? ++v->days : WEEK_DAYS;
		uint64_t today_x8 = (uint64_t)v->today * 8;
		uint64_t sum = (uint64_t)v->usual_x8 * (weight - 1) + today_x8;
		uint64_t mean = sum / weight;
		v->usual_x8 = mean < UINT32_MAX ? (uint32_t)mean : UINT32_MAX;
		v->today = 0;
	}
}

void
volume_add(struct volume *v, uint32_t n, uint64_t now_s)
{
	volume_turn(v, now_s);
	v->today += n < UINT32_MAX - v->today ? n : UINT32_MAX - v->today;
}

uint32_t
volume_usual(struct volume *v, uint64_t now_s)
{
	volume_turn(v, now_s);
	return v->usual_x8 / 8;
}

bool
volume_unusual(struct volume *v, uint32_t used_24h, uint32_t factor, uint32_t floor,
    uint64_t now_s)
{
	uint64_t most = (uint64_t)volume_usual(v, now_s) * factor;

	return factor && used_24h > floor && used_24h > most;
}
