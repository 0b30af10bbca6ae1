/* SPDX-License-Identifier: ISC */
#include "smtpd/future.h"
#include "t/tap.h"

static void
test_time(void)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: none */
		uint32_t us;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0, 0 },
		{ "2000-02-29T12:00:00Z", 951825600, 0 },
		{ "2026-12-31T23:59:59Z", 1798761599, 0 },
		{ "2026-12-31T23:59:60Z", 1798761600, 0 },
		{ "2027-01-01T08:59:59+09:00", 1798761599, 0 },
		{ "2026-12-31T18:29:59-05:30", 1798761599, 0 },
		{ "2026-12-31t23:59:59z", 1798761599, 0 },
		{ "2026-12-31T23:59:59.5Z", 1798761599, 500000 },
		{ "2026-12-31T23:59:59.0000019Z", 1798761599, 1 },
		{ "9999-12-31T23:59:59Z", 253402300799, 0 },
		{ "1970-01-01T00:00:00+00:01", -1, 0 },
		{ "1969-12-31T23:59:59Z", -1, 0 },
		{ "1900-02-29T00:00:00Z", -1, 0 },
		{ "2100-02-29T00:00:00Z", -1, 0 },
		{ "2026-00-01T00:00:00Z", -1, 0 },
		{ "2026-13-01T00:00:00Z", -1, 0 },
		{ "2026-04-31T00:00:00Z", -1, 0 },
		{ "2026-04-00T00:00:00Z", -1, 0 },
		{ "2026-04-01T24:00:00Z", -1, 0 },
		{ "2026-04-01T00:60:00Z", -1, 0 },
		{ "2026-04-01T00:00:61Z", -1, 0 },
		{ "2026-04-01 00:00:00Z", -1, 0 },
		{ "2026-04-01T00:00:00", -1, 0 },
		{ "2026-04-01T00:00:00.Z", -1, 0 },
		{ "2026-04-01T00:00:00+24:00", -1, 0 },
		{ "2026-04-01T00:00:00+09", -1, 0 },
		{ "2026-04-01T00:00:00+0900", -1, 0 },
		{ "2026-04-01T00:00:00ZZ", -1, 0 },
		{ "2026-4-1T00:00:00Z", -1, 0 },
		{ "2026-04-01T00:00Z", -1, 0 },
		{ "+026-04-01T00:00:00Z", -1, 0 },
		{ "", -1, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t us = 0;
		bool good = future_time(view_str(rows[i].text), &us);
		is_int(good ? (int64_t)us : -1, rows[i].seconds < 0 ? -1 : rows[i].seconds * 1000000 + rows[i].us,
		    "RFC 3339: \"%s\"", rows[i].text);
	}
	char text[FUTURE_TIME_CHARS + 1];
	is_str(future_time_text(1798761599999999, text), "2026-12-31T23:59:59Z", "and written");
}

static void
test_numbers(void)
{
	uint64_t s;
	int p;

	ok(future_interval(VIEW("1"), &s) && s == 1, "RFC 4865: a second");
	ok(future_interval(VIEW("999999999"), &s) && s == 999999999, "RFC 4865: the longest interval");
	static const char *const bad[] = { "", "0", "01", "1000000000", "-1", "1 ", "1.5", "x" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!future_interval(view_str(bad[i]), &s), "RFC 4865: \"%s\" is no interval", bad[i]);
	unsigned good = 0;
	for (int want = -9; want <= 9; want++) {
		char text[8];
		snprintf(text, sizeof(text), "%d", want);
		good += priority_value(view_str(text), &p) && p == want;
	}
	is_int(good, 19, "RFC 6710: -9 to 9");
	static const char *const wrong[] = { "", "-", "-0", "+1", "10", "-10", "--1", "01", "a", "1 " };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ok(!priority_value(view_str(wrong[i]), &p), "RFC 6710: \"%s\" is no priority", wrong[i]);
}

int
main(void)
{
	test_time();
	test_numbers();
	return done_testing();
}
