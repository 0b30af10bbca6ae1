/* SPDX-License-Identifier: ISC */
/* Paces, hours and back-off: tables, and random use on a virtual clock against plain models. */
#include "qmgr/backoff.h"
#include "qmgr/hours.h"
#include "t/tap.h"

#define S 1000000ull

static uint32_t seed = 20261126;

static uint32_t
random_below(uint32_t n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % n;
}

static void
test_j11(void)
{
	struct pace p = { 0 };
	const struct pace_limit l = { 10, 60000 }, none = { 0, 0 };
	struct buf at = BUF_INIT(256);
	uint32_t left = 25;

	for (uint64_t now = 1000 * S; left; now = pace_next_us(&p, &l, now)) {
		uint32_t n = pace_room(&p, &l, now);
		n = n < left ? n : left;
		pace_take(&p, &l, now, n);
		left -= n;
		buf_printf(&at, "%u at %llu, ", n, (unsigned long long)(now / S - 1000));
	}
	is_view(buf_view(&at), "10 at 0, 10 at 60, 5 at 120, ", "J11 25 recipients at 10/60s leave at 0, 60 and 120 s");
	ok(pace_room(&p, &none, 0) == PACE_ALL, "J5 no limit: all may go");
	pace_free(&p);
	buf_free(&at);
}

/* Every stretch of T in a list of all that went holds at most N. */
static void
test_never_over(void)
{
	enum { ROUNDS = 300, STEPS = 300 };
	static struct {
		uint64_t at;
		uint32_t n;
	} went[STEPS];
	unsigned over = 0, stuck = 0, restarts = 0;

	for (int round = 0; round < ROUNDS; round++) {
		const struct pace_limit l = { 1 + random_below(50), 1 + random_below(5000) };
		struct pace p = { 0 };
		uint64_t now = 1000 * S;
		for (int i = 0; i < STEPS; i++) {
			now += random_below(4) ? random_below(l.per_ms * 200) : 0;
			uint32_t room = pace_room(&p, &l, now);
			if (room == 0) {
				uint64_t next = pace_next_us(&p, &l, now);
				stuck += next <= now || pace_room(&p, &l, next) == 0;
				now = next;
				room = pace_room(&p, &l, now);
			}
			went[i].at = now;
			went[i].n = 1 + random_below(room);
			pace_take(&p, &l, now, went[i].n);
			if (random_below(20) == 0) { /* a restart in between */
				struct buf b = BUF_INIT(4096);
				pace_put(&p, &b);
				struct view v = buf_view(&b);
				pace_free(&p);
				restarts += pace_get(&p, &v, now) && v.n == 0;
				buf_free(&b);
			}
			uint64_t sum = 0;
			for (int k = i; k >= 0 && now - went[k].at < l.per_ms * 1000ull; k--)
				sum += went[k].n;
			over += sum > l.n;
		}
		pace_free(&p);
	}
	is_int(over, 0, "J5 never more than N in any stretch of T");
	is_int(stuck, 0, "J11 what it says about when is true");
	ok(restarts > 1000, "J11 and what it keeps survives a restart");
}

static void
test_pace_bytes(void)
{
	const struct pace_limit l = { 10, 1000 };
	struct pace p = { 0 };
	struct view junk = VIEW("\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\1");

	ok(!pace_get(&p, &junk, 0), "short bytes are no pace");
	pace_take(&p, &l, 100 * S, 10);
	is_int(pace_room(&p, &l, 50 * S), 0, "J11 a clock set back frees nothing");
	is_int(pace_room(&p, &l, 51 * S), 10, "and holds nothing longer than T");
	pace_take(&p, &l, 60 * S, 4);
	pace_give_back(&p, 3);
	is_int(pace_room(&p, &l, 60 * S), 9, "what came back untried has room again");
	pace_free(&p);
}

static bool
naive_closed(const struct hours *h, uint64_t local_s)
{
	uint64_t minute = local_s / 60 % 1440, into = local_s % 3600;

	for (size_t i = 0; i < h->nquiet; i++) {
		uint64_t from = h->quiet[i].from_min, to = h->quiet[i].to_min;
		if (from < to ? minute >= from && minute < to : minute >= from || minute < to)
			return true;
	}
	return into < h->full_hour_s || into >= 3600 - h->full_hour_s;
}

static void
test_hours(void)
{
	const struct conf_span quiet[] = { { 22 * 60, 7 * 60 }, { 12 * 60, 12 * 60 + 45 } };
	const struct hours h = { quiet, 2, 180, 9 * 3600 }, always = { 0 };
	unsigned wrong = 0;
	const uint64_t start = 1764115200; /* a midnight, UTC */

	for (uint64_t s = start; s < start + 7 * 86400; s += 60) {
		uint64_t open = hours_open_at(&h, s * S) / S;
		bool closed = naive_closed(&h, s + 9 * 3600);
		wrong += closed != (open != s) || naive_closed(&h, open + 9 * 3600);
		for (uint64_t t = s; t < open; t += 60)
			wrong += !naive_closed(&h, t + 9 * 3600);
	}
	is_int(wrong, 0, "each minute of a week: open or not, and when it opens next");
	ok(hours_open_at(&always, 5 * S) == 5 * S, "without hours it is open");
}

static void
test_backoff(void)
{
	unsigned wrong = 0, quiet = 0, changed = 0;
	struct backoff b = { 0 };
	const struct backoff_order slow = { BACKOFF_SLOW, 50, 100 }, pause = { BACKOFF_PAUSE, 0, 60 };

	ok(backoff_signal(&b, &slow, 1000 * S, 60, 8), "P2 a signal slows");
	ok(b.cap.n == 30 && b.cap.per_ms == 60000 && backoff_connections(&b, 20) == 4, "P2 to half of what it did");
	ok(!backoff_signal(&b, &slow, 1005 * S, 60, 8), "P2 answers to what was on its way change nothing");
	ok(backoff_signal(&b, &slow, 1020 * S, 60, 8) && b.cap.n == 15, "P2 a later one halves again");
	ok(backoff_recover(&b, 1120 * S) && b.cap.n == 30, "P2 recovery in steps");
	ok(backoff_recover(&b, 1220 * S) && !backoff_active(&b), "P2 to all of it");
	ok(backoff_signal(&b, &pause, 2000 * S, 60, 8) && b.paused_until_us == 2060 * S, "a pause");
	is_int(backoff_next_us(&b) / S, 2060, "ends first");
	for (int round = 0; round < 2000; round++) {
		b = (struct backoff){ 0 };
		uint64_t now = 1000 * S;
		uint32_t rate = random_below(1000), conns = random_below(20);
		for (int i = 0; i < 20; i++) {
			const struct backoff_order o = { random_below(3), random_below(100), random_below(900) };
			now += random_below(600) * S;
			changed += backoff_recover(&b, now);
			backoff_signal(&b, &o, now, rate, conns);
			wrong += b.cap.n < BACKOFF_FLOOR_PER_MIN || b.cap.n > (rate > 1 ? rate : 1);
			wrong += backoff_connections(&b, 20) < 1 || backoff_connections(&b, 20) > (conns ? conns : 1);
		}
		for (int i = 0; i < 20 && backoff_active(&b); i++)
			backoff_recover(&b, backoff_next_us(&b));
		quiet += !backoff_active(&b);
	}
	is_int(wrong, 0, "P2 never faster than before, never nothing");
	is_int(quiet, 2000, "P2 without further signals it always recovers");
	ok(changed > 0, "with steps in between");
}

int
main(void)
{
	test_j11();
	test_never_over();
	test_pace_bytes();
	test_hours();
	test_backoff();
	return done_testing();
}
