/* SPDX-License-Identifier: ISC */
/* Rows of the queue database: there and back, and as former versions of this program wrote them. */
#include "qmgr/segments.h"
#include "qmgr/store.h"
#include "t/tap.h"

static struct segment seg = { .gen = 77 };

static struct message
sample(struct tenant *t)
{
	return (struct message){ .qid = 5, .seg = &seg, .offset = 4096, .rec = { .length = 640, .front_len = 20 },
		.size = 99, .arrival_us = 1, .received_us = 2, .base_us = 3, .sender = VIEW("a@x.example"),
		.user = VIEW("app"), .tag = VIEW("t"), .envid = VIEW("E"), .sender_original = VIEW("o@x.example"),
		.return_domain = VIEW("b.example"), .batch = VIEW("B"), .label = VIEW("L"), .key_serial = 7,
		.priority = 4, .header_from = VIEW("from@x.example"), .release_us = 1800000000000000,
		.mt_priority = 12, .retry = VIEW("slow"), .pool = VIEW("warm"),
		.tenant = t, .total = 3, .ret = RET_FULL };
}

/* Bytes that the fields take which were added second: two texts, 8 and 1. */
static size_t
second_group(const struct message *m)
{
	return 4 + m->header_from.n + 8 + 1 + 4 + m->retry.n;
}

static void
test_message(void)
{
	struct tenant *t = x_calloc(1, sizeof(*t) + 8);
	struct message m = sample(t);
	struct message_row row;
	struct buf b = BUF_INIT(4096);

	row_put_message(&b, &m);
	struct view v = buf_view(&b);
	ok(row_get_message(5, v, &row), "a row is read back");
	is_view(row.header_from, "from@x.example", "J9 header From");
	is_view(row.retry, "slow", "C11 retry schedule");
	is_int(row.release_us, 1800000000000000, "RFC 4865: time of release");
	is_int(row.mt_priority, 12, "RFC 6710: priority");
	is_int(row.priority, 4, "priority of the key");
	is_view(row.pool, "warm", "P24 pool by hand");
	v.n -= 4 + m.pool.n;
	ok(row_get_message(5, v, &row) && row.pool.n == 0 && row.retry.n, "a row from before pools by hand is read");
	v.n -= second_group(&m);
	ok(row_get_message(5, v, &row), "a row of before is read");
	ok(row.release_us == 0 && row.mt_priority == 0 && row.retry.n == 0 && row.header_from.n == 0,
	    "what it lacks is empty");
	is_view(row.label, "L", "what it has is there");
	v.n -= 4 + 11 + 4 + 9 + 4 + 1 + 4 + 1 + 4 + 1; /* the first additions */
	ok(row_get_message(5, v, &row) && row.key_serial == 0, "and one of the first version");
	is_view(row.envid, "E", "up to its last field");
	size_t bad = 0;
	for (size_t n = 0; n < v.n; n++)
		bad += !row_get_message(5, view_first(v, n), &row);
	is_int(bad, v.n, "a row that was cut is none");
	buf_free(&b);
	free(t);
}

static void
test_rcpt(void)
{
	struct tenant *t = x_calloc(1, sizeof(*t) + 8);
	struct message m = sample(t);
	struct rcpt r = { .m = &m, .addr = VIEW("b@y.example"), .orcpt = VIEW(""), .state = R_WAIT, .due_us = 9,
		.scheduled = true };
	struct buf key = BUF_INIT(64), b = BUF_INIT(4096);
	struct rcpt_row row;

	row_key_rcpt(&key, 5, 2);
	row_put_rcpt(&b, &r);
	ok(row_get_rcpt(buf_view(&key), buf_view(&b), &row) && row.due_us == 9 && row.index == 2, "a recipient");
	ok(row.scheduled && !row.held && !row.remote && !row.paused, "RFC 4865: scheduled");
	r.scheduled = false;
	r.paused = true;
	buf_clear(&b);
	row_put_rcpt(&b, &r);
	ok(row_get_rcpt(buf_view(&key), buf_view(&b), &row) && row.paused && !row.scheduled, "paused");
	r.paused = false;
	buf_clear(&b);
	row_put_rcpt(&b, &r);
	ok(row_get_rcpt(buf_view(&key), buf_view(&b), &row) && !row.scheduled && !row.paused, "deferred");
	buf_free(&key);
	buf_free(&b);
	free(t);
}

int
main(void)
{
	test_message();
	test_rcpt();
	return done_testing();
}
