/* SPDX-License-Identifier: ISC */
/* The retry schedule on a virtual clock. */
#include "lib/conf.h"
#include "qmgr/retry.h"
#include "t/tap.h"

#define S(x) ((uint64_t)(x) * 1000000)
static const uint64_t arrival = S(1700000000);

static void
test_exponential(void)
{
	static const uint64_t elapsed[] = { 240, 960, 2160, 3840, 6000, 8640, 11760, 15360, 19440,
		24000, 29040, 34560, 40560, 47040, 54000, 61440, 69360, 77760 };
	const struct retry_rule r = { RETRY_EXPONENTIAL, 480, -240, NULL, 0, 86400, 0 };
	uint64_t now = arrival, next = 0;
	uint32_t n = 0;

	while (retry_next(&r, n + 1, now, arrival, &next)) {
		n++;
		is_int((next - arrival) / S(1), n <= 18 ? elapsed[n - 1] : 0,
		    "C7 C9: failure %u is retried %u s after the message came", n,
		    (unsigned)((next - arrival) / S(1)));
		now = next;
	}
	is_int(n, 18, "C10: the defaults give 18 retries");
	is_int((now - arrival) / S(1), 77760, "C10: the 19th failure, at 77760 s, is a retry timeout");
	is_int(retry_wait_s(&r, 18), 8400, "C9: the last wait is 8400 s");
}

static void
test_limit(void)
{
	const struct retry_rule linear = { RETRY_LINEAR, 300, 77, NULL, 0, 3600, 0 };
	uint64_t next = 0;

	ok(retry_next(&linear, 1, arrival + S(3300), arrival, &next) && next == arrival + S(3600),
	    "C8: linear waits a; a next attempt exactly at the period is made");
	ok(!retry_next(&linear, 1, arrival + S(3300) + 1, arrival, &next),
	    "C11: one microsecond more is given up, at the failure");
	is_int(retry_wait_s(&linear, 1000), 300, "C8: b has no part in linear");
	const struct retry_rule capped = { RETRY_LINEAR, 10, 0, NULL, 0, 3600, 3 };
	ok(retry_next(&capped, 2, arrival, arrival, &next), "C11: cap of 3 attempts: the second fails");
	ok(!retry_next(&capped, 3, arrival, arrival, &next), "C11: the third is the last");
}

static void
test_steps(void)
{
	static const uint32_t steps[] = { 60, 300, 900 };
	const struct retry_rule r = { RETRY_STEPS, 480, 0, steps, 3, 86400, 0 };

	is_int(retry_wait_s(&r, 1), 60, "C11: steps: the first");
	is_int(retry_wait_s(&r, 3), 900, "C11: the third");
	is_int(retry_wait_s(&r, 50), 900, "C11: the last one repeated");
}

static void
test_strange(void)
{
	/* The configuration refuses these (C12); the core still never waits for nothing or for ever. */
	const struct retry_rule negative = { RETRY_EXPONENTIAL, 1, -100, NULL, 0, 86400, 0 };
	const struct retry_rule none = { RETRY_STEPS, 0, 0, NULL, 0, 86400, 0 };

	is_int(retry_wait_s(&negative, 1), 1, "C12: never less than a second");
	is_int(retry_wait_s(&none, 0), 1, "C12: nor without any steps");
	const struct retry_rule r = { RETRY_EXPONENTIAL, 480, -240, NULL, 0, 86400, 0 };
	uint64_t next = 0;
	ok(retry_next(&r, 4000000000u, arrival, arrival, &next) == false,
	    "an absurd number of failures is given up, not wrapped");
	ok(!retry_expired(&r, arrival - S(86400 * 10), arrival),
	    "atk-J7: a message from the future is not expired");
	ok(retry_next(&r, 1, arrival - S(86400), arrival, &next) && next == arrival - S(86400) + S(240),
	    "atk-J7: with the clock set back a day it is tried again after its wait");
}

static void
test_clock(void)
{
	struct queue_clock c = { 0 };
	int64_t jump;

	is_int(queue_clock_read(&c, S(1000), 5000, &jump), S(1000), "queue time is the wall clock");
	is_int(queue_clock_read(&c, S(1010), 15000, &jump), S(1010), "and goes with it");
	is_int(queue_clock_read(&c, S(1110), 16000, &jump), S(1110), "small steps are followed");
	is_int(jump, 0, "in silence");
	is_int(queue_clock_read(&c, S(1111 + 864000), 17000, &jump), S(1111),
	    "atk-J7: ten days forward: queue time goes on");
	is_int(jump, 864000, "atk-J7: and the jump is told");
	is_int(queue_clock_read(&c, S(1121 + 864000), 27000, &jump), S(1121), "and goes on");
	is_int(queue_clock_read(&c, S(1122 - 86400), 28000, &jump), S(1122),
	    "atk-J7: back by more than that: queue time goes on");
	is_int(jump, -950400, "atk-J7: told again");
	is_int(queue_clock_read(&c, S(1132 - 86400), 38000, &jump), S(1132), "and goes on");
}

/* C12 belongs to the configuration: what it lets through is what the core is given. */
static void
test_config(void)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{ "retry { method linear; a 1; period 60; }", true },
		{ "retry { method linear; a 0; }", false },
		{ "retry { method linear; a 86400; period 86400; }", false },
		{ "retry { method exponential; a 480; b -480; }", false },
		{ "retry { method exponential; a 0; b 10; }", true },
		{ "retry { method exponential; a 480; b -240; period 240; }", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf errors = BUF_INIT(65536), text = BUF_INIT(65536);
		buf_printf(&text, "hostname mta.test\n%s\n", rows[i].text);
		struct conf *c = conf_read_text(buf_view(&text), "test", &errors);
		ok((c != NULL) == rows[i].good, "C12: %s is %s", rows[i].text,
		    rows[i].good ? "accepted" : "refused");
		conf_free(&c);
		buf_free(&errors);
		buf_free(&text);
	}
}

int
main(void)
{
	test_exponential();
	test_limit();
	test_steps();
	test_strange();
	test_clock();
	test_config();
	return done_testing();
}
