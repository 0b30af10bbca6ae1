/* SPDX-License-Identifier: ISC */
/* Sites from answers of DNS; choice by weight; days of a warm-up. */
#include "lib/conf.h"
#include "lib/ipc.h"
#include "qmgr/pace.h"
#include "qmgr/site.h"
#include "qmgr/warmup.h"
#include "t/tap.h"

/* "10 a,10 b,20 c" as records. */
static void
put_hosts(struct buf *b, const char *text)
{
	struct view rest = view_str(text);

	while (rest.n) {
		struct view one = view_cut(&rest, ',');
		uint64_t pref;
		view_u64(view_cut(&one, ' '), 65535, &pref);
		IPC_RECORD(b, mx_host, .pref = (uint16_t)pref, .name = one, .v4 = VIEW("\x7f\0\0\1"));
	}
}

static void
test_describe(void)
{
	static const struct {
		const char *hosts, *key, *name, *what;
	} rows[] = {
		{ "10 a.x", "a.x", "a.x", "one host" },
		{ "10 b.x,10 a.x,20 c.x", "a.x=b.x>c.x", "a.x+2", "equal ones are sorted: rotation of an answer is no change" },
		{ "5 a.x,5 b.x,7 c.x", "a.x=b.x>c.x", "a.x+2", "numbers do not matter, their order does" },
		{ "5 a.x,6 b.x,7 c.x", "a.x>b.x>c.x", "a.x+2", "equal is not better" },
		{ "", "", "", "no host is no site" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf hosts = BUF_INIT(IPC_BULK_MAX), kept = BUF_INIT(SITE_BYTES_MAX), key = BUF_INIT(SITE_BYTES_MAX),
			   name = BUF_INIT(SITE_NAME_MAX);
		put_hosts(&hosts, rows[i].hosts);
		bool found = site_describe(buf_view(&hosts), &kept, &key, &name);
		ok(found == (*rows[i].hosts != '\0') && view_is(buf_view(&key), rows[i].key) &&
			view_is(buf_view(&name), rows[i].name) && view_eq(buf_view(&kept), buf_view(&hosts)),
		    "%s", rows[i].what);
		buf_free(&hosts);
		buf_free(&kept);
		buf_free(&key);
		buf_free(&name);
	}
}

/* A hostile answer: as many hosts and addresses as a frame takes. */
static void
test_bounds(void)
{
	struct buf hosts = BUF_INIT(IPC_BULK_MAX), kept = BUF_INIT(SITE_BYTES_MAX), key = BUF_INIT(SITE_BYTES_MAX),
		   name = BUF_INIT(SITE_NAME_MAX);
	static const char addresses[16 * 64];
	struct ipc_mx_host h;
	char host[250];
	size_t n = 0;

	memset(host, 'x', sizeof(host));
	for (uint16_t i = 0; i < 40; i++) {
		host[0] = (char)('a' + i % 26);
		IPC_RECORD(&hosts, mx_host, .pref = i, .name = view_of(host, sizeof(host)),
		    .v4 = view_of(addresses, 4 * 64), .v6 = view_of(addresses, 16 * 64));
	}
	ok(site_describe(buf_view(&hosts), &kept, &key, &name) && !kept.bad && !key.bad && !name.bad &&
		buf_len(&kept) <= SITE_BYTES_MAX, "what is kept of an answer is bounded");
	for (struct view v = buf_view(&kept); ipc_next(&ipc_desc_mx_host, &v, &h); n++)
		;
	ok(n >= 1 && n <= SITE_HOSTS_MAX && ipc_records_ok(&ipc_desc_mx_host, buf_view(&kept)), "and whole");
	buf_free(&hosts);
	buf_free(&kept);
	buf_free(&key);
	buf_free(&name);
}

static void
test_weights(void)
{
	static const uint32_t weights[] = { 1, 3, 0, 4 }, none[] = { 0, 0 };
	uint32_t n[4] = { 0 };

	for (uint64_t i = 0; i < 8000; i++)
		n[choose_weighted(weights, 4, i)]++;
	ok(n[0] == 1000 && n[1] == 3000 && n[2] == 0 && n[3] == 4000, "shares follow the weights; weight 0 has none");
	ok(choose_weighted(none, 2, 7) == 2 && choose_weighted(NULL, 0, 7) == 0, "nobody can be taken");
	ok(choose_weighted(weights, 4, 123456789) == choose_weighted(weights, 4, 123456789), "the same each time");
}

static void
test_warmup(void)
{
	static uint32_t daily[] = { 50, 100, 200 };
	struct warmup_plan p = { daily, 3, 20000 }, none = { NULL, 0, 0 };
	const uint64_t noon = 20000ull * 86400 * 1000000 + 43200ull * 1000000;
	uint32_t day;

	ok(warmup_cap(&p, 19999) == 0 && warmup_cap(&p, 20000) == 50 && warmup_cap(&p, 20002) == 200 &&
		warmup_cap(&p, 20003) == WARMUP_ALL && warmup_cap(&none, 5) == WARMUP_ALL,
	    "P24 each day its number, none before, all behind the plan");
	ok(warmup_day(noon, 0) == 20000 && warmup_day(noon, 12 * 3600) == 20001 && warmup_day(noon, -13 * 3600) == 19999,
	    "P24 days are those of the host's calendar");
	ok(warmup_day(warmup_next_us(20000, 9 * 3600), 9 * 3600) == 20001 &&
		warmup_day(warmup_next_us(20000, 9 * 3600) - 1000000, 9 * 3600) == 20000, "P24 the next day begins at its midnight");
	ok(conf_parse_date(VIEW("1970-01-01"), &day) && day == 0, "the first day");
	ok(conf_parse_date(VIEW("2024-10-04"), &day) && day == 20000, "a day");
	ok(conf_parse_date(VIEW("2024-02-29"), &day) && day == 19782 && !conf_parse_date(VIEW("2026-02-29"), &day), "leap years");
	ok(!conf_parse_date(VIEW("2026-13-01"), &day) && !conf_parse_date(VIEW("2026-1-01x"), &day) &&
		!conf_parse_date(VIEW("2026-00-10"), &day) && !conf_parse_date(VIEW(""), &day), "no days");
}

int
main(void)
{
	test_describe();
	test_bounds();
	test_weights();
	test_warmup();
	return done_testing();
}
