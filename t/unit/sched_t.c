/* SPDX-License-Identifier: ISC */
#include "lib/loop.h"
#include "qmgr/sched.h"
#include "t/tap.h"

struct thing {
	struct sched_item item;
	char tenant;
	int number;
};

static const char names[] = "abcdefghij"; /* tenants, by address */

static void
put(struct sched *s, struct thing *t, char tenant, int number, bool retry)
{
	*t = (struct thing){ .item = { .retry = retry, .cost = 1, .level = LEVEL_NORMAL }, .tenant = tenant,
		.number = number };
	sched_put(s, &names[tenant - 'a'], &t->item);
}

static struct thing *
take(struct sched *s)
{
	struct sched_item *i = sched_take(s);
	return i ? CONTAINER(i, struct thing, item) : NULL;
}

static void
order(struct sched *s, struct buf *out)
{
	for (struct thing *t; (t = take(s)) != NULL;)
		buf_printf(out, "%c%d%s ", t->tenant, t->number, t->item.retry ? "r" : "");
}

static void
test_round_robin(void)
{
	struct sched s = { 0 };
	static struct thing bulk[1000], one, two[2];
	struct buf out = BUF_INIT(65536);

	for (int i = 0; i < 1000; i++)
		put(&s, &bulk[i], 'a', i, false);
	take(&s);
	put(&s, &one, 'b', 0, false);
	put(&s, &two[0], 'c', 0, false);
	put(&s, &two[1], 'c', 1, false);
	is_int(s.waiting, 1002, "all wait");
	for (int i = 0; i < 6; i++) {
		struct thing *t = take(&s);
		buf_printf(&out, "%c%d ", t->tenant, t->number);
	}
	is_view(buf_view(&out), "a1 b0 c0 a2 c1 a3 ",
	    "a bulk tenant delays another one's message by one turn");
	while (take(&s))
		;
	is_int(s.waiting, 0, "empty in the end");
	ok(sched_take(&s) == NULL && sched_any(&s) == NULL, "nothing to take");
	buf_free(&out);
}

static void
test_retries(void)
{
	struct sched s = { 0 };
	struct thing f[10], r[3];
	struct buf out = BUF_INIT(65536);

	for (int i = 0; i < 3; i++)
		put(&s, &r[i], 'a', i, true);
	for (int i = 0; i < 10; i++)
		put(&s, &f[i], 'a', i, false);
	order(&s, &out);
	is_view(buf_view(&out), "a0 a1 a2 a3 a0r a4 a5 a6 a7 a1r a8 a9 a2r ",
	    "fresh before retries, which do not starve");
	buf_free(&out);
}

static void
test_back_and_remove(void)
{
	struct sched s = { 0 };
	struct thing f[3], g;
	struct buf out = BUF_INIT(65536);

	for (int i = 0; i < 3; i++)
		put(&s, &f[i], 'a', i, false);
	put(&s, &g, 'b', 7, false);
	struct thing *t = take(&s);
	sched_put_back(&s, &names[0], &t->item);
	sched_remove(&s, &f[1].item);
	ok(f[1].item.tenant == NULL && s.waiting == 3, "removed from the middle");
	order(&s, &out);
	is_view(buf_view(&out), "b7 a0 a2 ", "what came back untried is first again");
	buf_free(&out);
}

/* Random puts, takes and removes against counts per tenant. */
static void
test_random(void)
{
	enum { THINGS = 500, TENANTS = 10, STEPS = 200000 };
	static struct thing things[THINGS];
	struct sched s = { 0 };
	size_t in[TENANTS] = { 0 }, total = 0, wrong = 0;
	unsigned seed = 12345;

	for (int step = 0; step < STEPS; step++) {
		seed = seed * 1103515245u + 12345u;
		struct thing *t = &things[(seed >> 8) % THINGS];
		unsigned act = (seed >> 24) % 4;
		if (t->item.tenant == NULL && act < 2) {
			put(&s, t, (char)('a' + (seed >> 16) % TENANTS), step, act);
			in[t->tenant - 'a']++;
			total++;
		} else if (t->item.tenant && act == 2) {
			sched_remove(&s, &t->item);
			in[t->tenant - 'a']--;
			total--;
		} else if (act == 3 && (t = take(&s)) != NULL) {
			wrong += t->item.tenant != NULL || in[t->tenant - 'a'] == 0;
			in[t->tenant - 'a']--;
			total--;
		}
		wrong += s.waiting != total;
	}
	is_int(wrong, 0, "random use: counts hold");
	/* From here every tenant that waits has exactly one turn in each round. */
	size_t tenants = 0;
	for (int i = 0; i < TENANTS; i++)
		tenants += in[i] > 0;
	unsigned seen = 0;
	for (size_t i = 0; i < tenants; i++)
		seen |= 1u << (take(&s)->tenant - 'a');
	is_int(__builtin_popcount(seen), tenants, "each waiting tenant has one turn a round");
	while (take(&s))
		;
}

static uint32_t
wanted(size_t waiting, uint32_t opening, uint32_t open, uint32_t window, uint32_t room)
{
	const struct sched_want w = { .waiting = waiting, .opening = opening, .open = open,
		.window = window, .room = room, .total = 1000, .proven = true };

	return sched_connections(&w);
}

static bool
count_item(void *ctx, struct sched_item *item)
{
	size_t *n = ctx;

	(void)item;
	return ++*n < 5;
}

static void
test_each_item(void)
{
	static struct sched s;
	static struct sched_item items[6];
	size_t n = 0, some = 0;

	for (size_t i = 0; i < 6; i++) {
		items[i] = (struct sched_item){ .cost = 1, .level = (uint8_t)(i % SCHED_LEVELS), .retry = i & 1 };
		sched_put(&s, &items[i % 2], &items[i]);
	}
	sched_remove(&s, &items[0]);
	sched_remove(&s, &items[1]);
	sched_each_item(&s, count_item, &n);
	ok(n == 4, "each item is met once, whatever its tenant, level and kind");
	sched_put(&s, &items[0], &items[0]);
	sched_put(&s, &items[1], &items[1]);
	sched_each_item(&s, count_item, &some);
	ok(some == 5, "until the visitor has enough");
	while (sched_take(&s))
		;
}

static void
test_window(void)
{
	struct window w = { 0 };

	is_int(window_size(&w, 20), WINDOW_FIRST, "a lane starts with a small window");
	is_int(window_size(&w, 2), 2, "J5: never over its limit");
	for (int i = 0; i < 100; i++)
		window_good(&w, 20);
	is_int(window_size(&w, 20), 20, "success opens it to the limit");
	window_bad(&w);
	is_int(window_size(&w, 20), 10, "a refusal halves it");
	for (int i = 0; i < 10; i++)
		window_bad(&w);
	is_int(window_size(&w, 20), 1, "down to one connection");
	is_int(wanted(3, 0, 0, 5, 100), 3, "one connection for each waiting message");
	is_int(wanted(30, 0, 2, 5, 100), 3, "within the window");
	is_int(wanted(30, 4, 2, 5, 100), 0, "also when the window shrank below");
	is_int(wanted(3, 2, 0, 5, 100), 1, "connections being opened count");
	is_int(wanted(3, 3, 0, 5, 100), 0, "enough are being opened");
	is_int(wanted(3, 0, 0, 5, 1), 1, "J5: the limit over all destinations");
	struct sched_want want = { .waiting = 30, .window = 5, .room = 100, .total = 100, .total_used = 10 };
	is_int(sched_connections(&want), 3, "a host that has done no job yet gets half of its window");
	want.total_used = 51;
	is_int(sched_connections(&want), 1, "and one connection when these become few");
	want.total_used = 75;
	is_int(sched_connections(&want), 0, "the last quarter is for those that work");
	want.proven = true;
	is_int(sched_connections(&want), 5, "one that works gets all of it");
}

static uint64_t clock_ms;

static bool
slowed(void *ctx, const void *tenant)
{
	(void)ctx;
	return *(const char *)tenant == 'a' && !sched_share_now(25, clock_ms);
}

static void
test_slowed(void)
{
	struct sched s = { .stopped = slowed };
	static struct thing slow[100], fast[2];
	int taken = 0, gap = 0, longest = 0, odd = 0;

	for (int i = 0; i < 100; i++)
		put(&s, &slow[i], 'a', i, false);
	/* One item a turn, a turn each 160 ms. */
	for (clock_ms = 0; clock_ms < 4 * SCHED_PERIOD_MS; clock_ms += 160) {
		struct sched_item *ready = sched_peek(&s), *i = sched_take(&s);
		odd += ready != i;
		taken += i != NULL;
		gap = i ? 0 : gap + 160;
		longest = gap > longest ? gap : longest;
	}
	is_int(taken, 28, "A28 a slowed tenant, alone: a quarter of 100 turns, full ones of each period");
	is_int(odd, 0, "A28 who is ready is taken");
	ok(longest < SCHED_PERIOD_MS, "A28 it is slowed, never stopped");
	clock_ms = SCHED_PERIOD_MS - 1;
	put(&s, &fast[0], 'b', 0, false);
	struct sched_item *i = sched_take(&s);
	ok(i && CONTAINER(i, struct thing, item)->tenant == 'b', "A28 others go on at any time");
	ok(sched_take(&s) == NULL && s.waiting > 0, "A28 and it waits");
	is_int(sched_period_left_ms(clock_ms), 1, "until the next period");
	s.stopped = NULL;
	ok(sched_take(&s) != NULL, "A28 recovered");
	while (take(&s))
		;
}

int
main(void)
{
	test_slowed();
	test_round_robin();
	test_retries();
	test_back_and_remove();
	test_random();
	test_each_item();
	test_window();
	return done_testing();
}
