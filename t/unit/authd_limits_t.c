/* SPDX-License-Identifier: ISC */
/* What authd decides by numbers and a clock: quotas, back-off, failure ratios, connection counts. */
#include <stdlib.h>

#include "authd/brute.h"
#include "authd/counts.h"
#include "authd/quota.h"
#include "authd/ratio.h"
#include "authd/record.h"
#include "t/tap.h"

enum { T0 = 1800000000 };

static struct quota_limits
limit(enum quota_unit unit, enum quota_window w, uint32_t max)
{
	struct quota_limits l = { 0 };

	l.max[unit][w] = max;
	return l;
}

static void
test_windows(void)
{
	static const struct {
		enum quota_window w;
		uint32_t seconds, slot_s;
		const char *name;
	} rows[] = {
		{ QUOTA_MINUTE, 60, 1, "messages a minute" },
		{ QUOTA_HOUR, 3600, 60, "messages an hour" },
		{ QUOTA_DAY, 86400, 1800, "messages in 24 hours" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct quota_limits l = limit(QUOTA_MESSAGES, rows[i].w, 3);
		struct quota q = { 0 };
		struct quota_lack lack;
		struct buf name = BUF_INIT(64);
		uint64_t t = T0 + 7;

		for (int n = 0; n < 3; n++) {
			ok(quota_fits(&q, &l, QUOTA_MESSAGES, 1, t, &lack), "A29 G18 %s: %d of 3",
			    rows[i].name, n + 1);
			quota_add(&q, QUOTA_MESSAGES, 1, t);
		}
		ok(!quota_fits(&q, &l, QUOTA_MESSAGES, 1, t, &lack), "the fourth is not");
		ok(lack.unit == QUOTA_MESSAGES && lack.window == rows[i].w && lack.max == 3,
		    "P20 which quota it is");
		quota_name(lack.unit, lack.window, &name);
		is_str(buf_cstr(&name), rows[i].name, "P20 its name");
		ok(lack.wait_s >= rows[i].seconds && lack.wait_s <= rows[i].seconds + rows[i].slot_s,
		    "P20 it frees after the window: %llu s", (unsigned long long)lack.wait_s);
		ok(!quota_fits(&q, &l, QUOTA_MESSAGES, 1, t + lack.wait_s - 1, &lack),
		    "not a second before");
		quota_fits(&q, &l, QUOTA_MESSAGES, 1, t, &lack);
		ok(quota_fits(&q, &l, QUOTA_MESSAGES, 3, t + rows[i].seconds + rows[i].slot_s, &lack),
		    "then all of it");
		ok(quota_fits(&q, &l, QUOTA_RCPTS, 1000, t, &lack), "recipients are another matter");
		buf_free(&name);
	}
}

/* Any stretch as long as the window holds at most the limit, however the load comes. */
static void
test_rolling(enum quota_window w, unsigned window_s)
{
	enum { SECONDS = 20000 };
	struct quota_limits l = limit(QUOTA_MESSAGES, w, 10);
	static uint32_t taken[SECONDS];
	struct quota q = { 0 };
	struct quota_lack lack;
	uint32_t worst = 0, sum = 0;

	memset(taken, 0, sizeof(taken));
	srand(1);
	for (unsigned s = 0; s < SECONDS; s++) {
		for (int tries = rand() % 5; tries--;)
			if (quota_fits(&q, &l, QUOTA_MESSAGES, 1, T0 + s, &lack)) {
				quota_add(&q, QUOTA_MESSAGES, 1, T0 + s);
				taken[s]++;
			}
		sum += taken[s];
		if (s >= window_s)
			sum -= taken[s - window_s];
		if (sum > worst)
			worst = sum;
	}
	is_int(worst, 10, "A29 rolling: the worst %u seconds of %d held the limit", window_s, SECONDS);
}

static void
test_give_back(void)
{
	struct quota_limits l = limit(QUOTA_MESSAGES, QUOTA_HOUR, 2);
	struct quota_lack lack;
	struct quota q = { 0 };

	quota_add(&q, QUOTA_MESSAGES, 1, T0);
	quota_add(&q, QUOTA_MESSAGES, 1, T0 + 100);
	quota_give_back(&q, QUOTA_MESSAGES, 1, T0 + 100, T0 + 200);
	is_int(quota_used(&q, QUOTA_MESSAGES, QUOTA_HOUR, T0 + 200), 1, "what came to nothing is free");
	is_int(quota_used(&q, QUOTA_MESSAGES, QUOTA_MINUTE, T0 + 200), 0,
	    "and was over for the minute anyhow");
	ok(quota_fits(&q, &l, QUOTA_MESSAGES, 1, T0 + 200, &lack), "so another one fits");
	quota_add(&q, QUOTA_MESSAGES, 1, T0 + 200);
	quota_give_back(&q, QUOTA_MESSAGES, 5, T0 - 90000, T0 + 201);
	is_int(quota_used(&q, QUOTA_MESSAGES, QUOTA_HOUR, T0 + 201), 2,
	    "what left the window long ago is not given back again");
	quota_give_back(&q, QUOTA_MESSAGES, 50, T0, T0 + 201);
	is_int(quota_used(&q, QUOTA_MESSAGES, QUOTA_HOUR, T0 + 201), 0, "never below zero");
}

static void
test_clock(void)
{
	struct quota q = { 0 };

	quota_add(&q, QUOTA_MESSAGES, 4, T0);
	quota_add(&q, QUOTA_MESSAGES, 3, T0 - 5);
	is_int(quota_used(&q, QUOTA_MESSAGES, QUOTA_MINUTE, T0), 7, "atk-J7 a step back counts on");
	is_int(quota_used(&q, QUOTA_MESSAGES, QUOTA_HOUR, T0 - 86400), 7,
	    "atk-J7 the clock set back by a day: nothing is forgotten");
	is_int(quota_used(&q, QUOTA_MESSAGES, QUOTA_HOUR, T0 - 86400 + 3700), 0,
	    "atk-J7 and an hour later it is over");
	struct quota f = { 0 };
	quota_add(&f, QUOTA_MESSAGES, 4, T0);
	quota_add(&f, QUOTA_MESSAGES, 1, T0 + 10 * 86400);
	is_int(quota_used(&f, QUOTA_MESSAGES, QUOTA_DAY, T0 + 10 * 86400), 1, "atk-J7 a jump forward");
}

static void
test_trail(void)
{
	struct quota q = { 0 }, back;
	struct buf b = BUF_INIT(QUOTA_BYTES);
	int same = 1, bad = 0;

	srand(2);
	for (int i = 0; i < 5000; i++)
		quota_add(&q, (enum quota_unit)(rand() % QUOTA_UNITS), (uint32_t)(rand() % 9),
		    (uint64_t)(T0 + i * 20));
	quota_put(&q, &b);
	ok(!b.bad, "G18 a full one fits: %zu bytes", buf_len(&b));
	struct view v = buf_view(&b);
	ok(quota_get(&back, &v) && v.n == 0, "and is read back whole");
	for (int u = 0; u < QUOTA_UNITS; u++)
		for (int w = 0; w < QUOTA_WINDOWS; w++)
			same &= quota_used(&q, (enum quota_unit)u, (enum quota_window)w, T0 + 100000) ==
			    quota_used(&back, (enum quota_unit)u, (enum quota_window)w, T0 + 100000);
	ok(same, "G18 every window is what it was");
	for (size_t n = 0; n < buf_len(&b); n++) {
		v = view_first(buf_view(&b), n);
		bad += quota_get(&back, &v) && !view_bad(v);
	}
	is_int(bad, 0, "a shorter one is damaged");
	buf_free(&b);
}

static void
test_brute(void)
{
	const struct brute_settings set = { .failures = 3, .backoff_s = 10, .backoff_max_s = 100 };
	struct view here = VIEW("192.0.2.1"), near = VIEW("192.0.2.2"), far = VIEW("198.51.100.7");
	struct view app = VIEW("app"), other = VIEW("other");
	uint32_t wait = 0, t = T0;
	struct brute b;

	brute_init(&b, 42);
	for (int i = 0; i < 2; i++)
		brute_failed(&b, &set, here, app, t);
	ok(brute_login(&b, &set, here, app, t, &wait) == NULL, "atk-E1 two failures are free");
	brute_failed(&b, &set, here, app, t);
	is_str(brute_login(&b, &set, here, other, t, &wait), "address in back-off",
	    "atk-E1 the third is not, for any user");
	is_int(wait, 10, "atk-E1 the first wait");
	is_str(brute_connect(&b, &set, here, t, &wait), "address in back-off", "and at connect");
	ok(brute_login(&b, &set, near, app, t, &wait) == NULL, "a neighbour is free");
	ok(brute_login(&b, &set, far, app, t, &wait) == NULL, "atk-E1 so is the user elsewhere");
	ok(brute_login(&b, &set, here, app, t + 10, &wait) == NULL, "and everybody after the wait");
	for (int i = 0; i < 6; i++)
		brute_failed(&b, &set, here, other, t + 10);
	brute_login(&b, &set, here, app, t + 10, &wait);
	is_int(wait, 100, "atk-E1 it doubles up to the longest");
	brute_good(&b, here, app, t + 200);
	ok(brute_connect(&b, &set, here, t + 200, &wait) == NULL, "a good log-in forgives");
	brute_free(&b);

	/* Many addresses of one network. */
	char text[64];
	brute_init(&b, 42);
	brute_good(&b, VIEW("192.0.2.77"), app, t);
	for (int i = 0; i < 12; i++) {
		snprintf(text, sizeof(text), "192.0.2.%d", i + 1);
		brute_failed(&b, &set, view_str(text), other, t);
	}
	is_str(brute_connect(&b, &set, VIEW("192.0.2.200"), t, &wait), "network in back-off",
	    "atk-E1 a /24 full of guessers");
	ok(brute_connect(&b, &set, VIEW("192.0.2.77"), t, &wait) == NULL,
	    "atk-E1 who has shown a secret there is let in");
	ok(brute_connect(&b, &set, VIEW("192.0.3.1"), t, &wait) == NULL, "the next /24 is free");
	for (int i = 0; i < 12; i++) {
		snprintf(text, sizeof(text), "2001:db8:1:2::%x", i + 1);
		brute_failed(&b, &set, view_str(text), VIEW("v6"), t);
	}
	is_str(brute_connect(&b, &set, VIEW("2001:db8:1:2:ffff::1"), t, &wait), "network in back-off",
	    "atk-E1 a /64 likewise");
	ok(brute_connect(&b, &set, VIEW("2001:db8:1:3::1"), t, &wait) == NULL, "the next /64 is free");
	brute_free(&b);

	/* One user from everywhere. */
	brute_init(&b, 42);
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "10.%d.0.1", i);
		brute_failed(&b, &set, view_str(text), app, t);
	}
	is_str(brute_login(&b, &set, VIEW("10.3.0.1"), app, t, &wait), "user in back-off",
	    "atk-E1 one failure each, but all for one user: they wait");
	ok(brute_login(&b, &set, VIEW("203.0.113.9"), app, t, &wait) == NULL,
	    "atk-E1 the legitimate user, who did nothing wrong, is not locked out");
	ok(brute_login(&b, &set, VIEW("10.3.0.1"), other, t, &wait) == NULL, "other users may");
	ok(brute_login(&b, &set, VIEW("10.3.0.1"), app, t + 100000, &wait) == NULL, "it is forgotten");

	/* The table is full: no more memory, and the one that guesses on is still known. */
	for (int i = 0; i < 3 * BRUTE_SETS * BRUTE_WAYS; i++) {
		snprintf(text, sizeof(text), "u%d", i);
		brute_failed(&b, &set, VIEW("203.0.113.66"), view_str(text), t + 200000);
	}
	ok(brute_connect(&b, &set, VIEW("203.0.113.66"), t + 200000, &wait) != NULL,
	    "atk-E1 invented names do not wash the table clean of their source");
	brute_free(&b);
	const struct brute_settings off = { .failures = 0 };
	brute_init(&b, 1);
	brute_failed(&b, &off, here, app, t);
	ok(brute_login(&b, &off, here, app, t, &wait) == NULL, "switched off");
	brute_free(&b);
}

static void
test_ratio(void)
{
	const struct ratio_settings set = { .window_s = 1200, .sample = 20, .threshold = 10 };
	struct ratio r = { 0 };
	struct ratio_state s;

	ratio_add(&r, &set, 10, 9, T0);
	ok(!ratio_look(&r, &set, T0).bad, "A28 19 recipients say nothing");
	ratio_add(&r, &set, 1, 0, T0);
	s = ratio_look(&r, &set, T0);
	ok(s.bad && s.failed == 9 && s.total == 20, "A28 9 of 20 are too many");
	ok(s.until_s > T0 && s.until_s <= T0 + 1400, "A28 it says until when at most");
	ok(!ratio_look(&r, &set, s.until_s).bad, "A28 then it recovered by itself");
	ratio_add(&r, &set, 90, 10, T0 + 5000);
	ok(!ratio_look(&r, &set, T0 + 5000).bad, "A28 10 of 100 are not over 10 percent");
	ratio_add(&r, &set, 0, 1, T0 + 5000);
	ok(ratio_look(&r, &set, T0 + 5000).bad, "A28 11 of 101 are");
	ratio_add(&r, &set, 100, 0, T0 + 5100);
	ok(!ratio_look(&r, &set, T0 + 5100).bad, "A28 deliveries make up for it");
	ratio_add(&r, &set, 0, 500, T0 + 5200);
	ok(!ratio_look(&r, &set, T0 - 90000).bad, "atk-J7 a clock set back: it begins anew");
	const struct ratio_settings never = { .window_s = 1200, .sample = 1 };
	struct ratio n = { 0 };
	ratio_add(&n, &never, 0, 100, T0);
	ok(!ratio_look(&n, &never, T0).bad, "switched off");
}

static void
test_volume(void)
{
	struct volume v = { 0 };
	uint64_t t = T0;

	ok(!volume_unusual(&v, 500, 10, 500, t), "containment: the floor is never too much");
	ok(volume_unusual(&v, 501, 10, 500, t), "a new key over the floor is");
	for (int day = 0; day < 10; day++, t += 86400)
		volume_add(&v, 1000, t);
	is_int(volume_usual(&v, t), 1000, "ten days of 1000");
	ok(!volume_unusual(&v, 10000, 10, 500, t), "ten times that is as set");
	ok(volume_unusual(&v, 10001, 10, 500, t), "one more is too much");
	ok(!volume_unusual(&v, 1000000, 0, 500, t), "switched off");
	t += 86400;
	ok(volume_usual(&v, t) < 1000 && volume_usual(&v, t) > 800, "a day off weighs a seventh");
	is_int(volume_usual(&v, t + 100 * 86400), 0, "after a long silence nothing is usual");
	is_int(volume_usual(&v, t), 0, "atk-J7 nor when the clock comes back");
}

static void
test_counts(void)
{
	struct counts whole = { { 0 } }, one = { { 0 } }, two = { { 0 } };
	struct view a = VIEW("192.0.2.1"), b = VIEW("2001:db8::1");

	for (int i = 0; i < 6; i++) {
		counts_add(&one, a, 1);
		counts_add(&whole, a, 1);
	}
	counts_add(&two, a, 1);
	is_int(counts_add(&whole, a, 1), 7, "A30 over both workers");
	counts_add(&one, b, 1);
	is_int(counts_add(&whole, b, 1), 1, "A30 each address for itself");
	counts_give_back(&whole, &one);
	is_int(counts_add(&whole, a, 1), 2, "A30 a dead worker gave its places back");
	is_int((long long)whole.table.count, 1, "an address without connections takes no memory");
	is_int(counts_sub(&whole, a, 1), 1, "A30 closing one frees one");
	is_int(counts_sub(&whole, b, 5), 0, "never below zero");
	counts_free(&whole);
	counts_free(&two);
}

int
main(void)
{
	test_windows();
	test_rolling(QUOTA_MINUTE, 60);
	test_rolling(QUOTA_HOUR, 3600);
	test_give_back();
	test_clock();
	test_trail();
	test_brute();
	test_ratio();
	test_volume();
	test_counts();
	return done_testing();
}
