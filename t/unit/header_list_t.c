/* SPDX-License-Identifier: ISC */
#include "lib/header.h"
#include "lib/loop.h"
#include "t/tap.h"

enum { LIST_MAX = 1 << 24 };

/* Lines as the scanner hands them over; without an empty line at the end the message ended there. */
static struct header_list
list_of(const char *text)
{
	struct header_list l;
	bool ended = false;

	header_list_init(&l, LIST_MAX);
	for (const char *p = text, *lf; *p; p = lf + 1) {
		lf = strchr(p, '\n');
		header_list_put(&l, p, (size_t)(lf + 1 - p));
		ended = header_list_line(&l);
	}
	if (!ended)
		header_list_end(&l);
	return l;
}

static void
is_written(const struct header_list *l, const char *want, const char *name)
{
	struct buf out = BUF_INIT(LIST_MAX);

	header_list_write(l, &out);
	is_view(buf_view(&out), want, "%s", name);
	buf_free(&out);
}

/* F1: how readers and servers were made to see different From fields (espoofer, "Composition Kills"). */
static void
test_names(void)
{
	static const struct {
		const char *what, *text, *names; /* names: of the fields, "?" for a malformed one */
		uint32_t from;
	} rows[] = {
		{ "one field", "From: a@b\r\n\r\n", "From;", 1 },
		{ "any letter case", "fROM: a@b\r\n\r\n", "fROM;", 1 },
		{ "two", "From: a@b\r\nFrom: c@d\r\n\r\n", "From;From;", 2 },
		{ "A8 a blank before the colon", "From : a@b\r\nFrom: c@d\r\n\r\n", "From;From;", 2 },
		{ "A8 a tab before the colon", "From\t: a@b\r\n\r\n", "From;", 1 },
		{ "A9 a fold before the colon", "From\r\n : a@b\r\nFrom: c@d\r\n\r\n", "From;From;", 2 },
		{ "A10 a blank before the first field", " From: a@b\r\nFrom: c@d\r\n\r\n", "From;From;", 2 },
		{ "A10 a tab before the first field", "\tFrom: a@b\r\n\r\n", "From;", 1 },
		{ "A10 a blank line of blanks first", " \r\n From: a@b\r\n\r\n", "From;", 1 },
		{ "a fold behind the first field", "X: y\r\n From: a@b\r\n\r\n", "X;", 0 },
		{ "garbage does not end the header", "X: y\r\ngarbage\r\nFrom: a@b\r\n\r\n", "X;?;From;", 1 },
		{ "mbox line", "From a@b Thu Nov 26 12:00:00 2026\r\nFrom: a@b\r\n\r\n", "?;From;", 1 },
		{ "no name", ": x\r\n\r\n", "?;", 0 },
		{ "a blank in the name", "Fr om: a@b\r\n\r\n", "?;", 0 },
		{ "a control byte in the name", "From\x01: a@b\r\n\r\n", "?;", 0 },
		{ "eight bits in the name", "Fr\xc3\xb6m: a@b\r\n\r\n", "?;", 0 },
		{ "only part of the name", "X-From: a@b\r\nFromage: x\r\n\r\n", "X-From;Fromage;", 0 },
		{ "no header", "\r\n", "", 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct header_list l = list_of(rows[i].text);
		struct buf names = BUF_INIT(1000);
		for (uint32_t k = 0; k < l.count; k++) {
			struct view name = header_list_name(&l, k);
			buf_putv(&names, name.n ? name : VIEW("?"));
			buf_putc(&names, ';');
		}
		is_view(buf_view(&names), rows[i].names, "atk-F1 %s: names", rows[i].what);
		is_int(l.counts[HEADER_FROM], rows[i].from, "atk-F1 E6 %s: From fields", rows[i].what);
		is_written(&l, rows[i].text, "nothing changed");
		buf_free(&names);
		header_list_free(&l);
	}
}

static void
test_values(void)
{
	struct header_list l = list_of("A: b\r\n c\r\nB:\r\n\r\n");

	is_view(header_list_value(&l, 0), " b\r\n c", "a value with its fold");
	is_view(header_list_raw(&l, 0), "A: b\r\n c\r\n", "a raw field");
	is_view(header_list_value(&l, 1), "", "an empty value");
	is_int(header_list_find_name(&l, VIEW("b"), 0), 1, "found by name");
	is_int(header_list_find_name(&l, VIEW("c"), 0), -1, "not found");
	is_int(header_list_find(&l, HEADER_FROM, 0), -1, "no From");
	header_list_free(&l);
	l = list_of("To: a\r\nSubject: x\r\nto: b\r\n\r\n");
	is_str(header_list_twice(&l), "To", "P26 a field that may be there once");
	header_list_delete(&l, 2);
	ok(header_list_twice(&l) == NULL, "P26 not any more");
	header_list_free(&l);
	l = list_of("Comments: a\r\nComments: b\r\nKeywords: c\r\nKeywords: d\r\nReceived: x\r\nReceived: y\r\n\r\n");
	ok(header_list_twice(&l) == NULL, "P26 fields that may be there more often");
	is_int(header_list_hops(&l), 2, "S38 hops");
	header_list_free(&l);
}

static void
test_changes(void)
{
	struct header_list l = list_of("A: 1\r\nReceived: x\r\n y\r\nB: 2\r\nrEceived: z\r\nC: 3\r\n\r\n");

	header_list_delete_all(&l, HEADER_RECEIVED);
	is_written(&l, "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", "C5 strip");
	is_int(l.counts[HEADER_RECEIVED], 0, "C5 none is left");
	ok(header_list_insert(&l, 0, VIEW("Date"), VIEW(" now")), "insert first");
	ok(header_list_insert(&l, 99, VIEW("Last"), VIEW(" 4\r\n more")), "insert behind all");
	ok(header_list_insert(&l, 3, VIEW("Mid"), VIEW("")), "insert in the middle");
	is_written(&l, "Date: now\r\nA: 1\r\nMid:\r\nB: 2\r\nC: 3\r\nLast: 4\r\n more\r\n\r\n", "inserted");
	is_int(l.counts[HEADER_DATE], 1, "and known");
	ptrdiff_t b = header_list_find_name(&l, VIEW("b"), 0);
	ok(header_list_change(&l, (uint32_t)b, VIEW(" two")), "change");
	ok(header_list_change(&l, 0, VIEW(" later")), "change what was inserted");
	is_written(&l, "Date: later\r\nA: 1\r\nMid:\r\nB: two\r\nC: 3\r\nLast: 4\r\n more\r\n\r\n", "changed");
	header_list_delete(&l, 0);
	header_list_delete(&l, 0);
	is_int(l.counts[HEADER_DATE], 0, "deleted once");
	ok(!header_list_change(&l, 0, VIEW(" x")), "a deleted one is not changed");
	ok(!header_list_added_dots(&l), "no dots");
	header_list_insert(&l, 0, VIEW(".x"), VIEW(""));
	ok(header_list_added_dots(&l), "a name that begins with a dot is told");
	header_list_free(&l);
	l = list_of("A: 1\r\n");
	is_written(&l, "A: 1\r\n", "no empty line where there was none");
	header_list_free(&l);
	header_list_init(&l, 10);
	ok(!header_list_insert(&l, 0, VIEW("Abc"), VIEW(" 12345")), "the limit holds");
	ok(header_list_insert(&l, 0, VIEW("Abc"), VIEW(" 123")), "what fits is put");
	ok(!l.bytes.bad, "and nothing is broken");
	header_list_free(&l);
}

/* Whoever asks for a change cannot end the header or smuggle a field in. */
static void
test_bad_changes(void)
{
	static const struct view names[] = { VIEW(""), VIEW("a b"), VIEW("a:"), VIEW("a\r\nb"), VIEW("\xc3\xa4") };
	static const struct view values[] = { VIEW(" a\r\nb: c"), VIEW(" a\r\n"), VIEW(" a\r\n\r\n b"), VIEW("a\nb"),
		VIEW("a\rb"), VIEW("a\0b"), VIEW("\r"), VIEW("a\n b") };
	struct header_list l = list_of("A: 1\r\n\r\n");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ok(!header_list_insert(&l, 0, names[i], VIEW(" x")), "bad name %zu", i);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		ok(!header_list_insert(&l, 0, VIEW("X"), values[i]), "bad value %zu", i);
		ok(!header_list_change(&l, 0, values[i]), "bad value %zu in a change", i);
	}
	is_written(&l, "A: 1\r\n\r\n", "nothing happened");
	header_list_free(&l);
}

/* J11: time is linear in the header: ten times the fields, about ten times as long. */
static void
test_linear(void)
{
	uint64_t us[2];

	for (int round = 0; round < 2; round++) {
		int fields = round ? 100000 : 10000;
		uint64_t start = clock_mono_us();
		struct header_list l;
		struct buf out = BUF_INIT(LIST_MAX);
		header_list_init(&l, LIST_MAX);
		for (int i = 0; i < fields; i++) {
			header_list_put(&l, "Received: x\r\n", 13);
			header_list_line(&l);
		}
		header_list_put(&l, "\r\n", 2);
		ok(header_list_line(&l), "complete");
		is_int(header_list_hops(&l), fields, "atk-J11 %d fields", fields);
		header_list_delete_all(&l, HEADER_RECEIVED);
		header_list_write(&l, &out);
		is_view(buf_view(&out), "\r\n", "all deleted");
		header_list_free(&l);
		buf_free(&out);
		us[round] = clock_mono_us() - start;
	}
	ok(us[1] < 100 * us[0] + 100000, "atk-J11 linear: %llu us, then %llu us", (unsigned long long)us[0],
	    (unsigned long long)us[1]);
}

int
main(void)
{
	test_names();
	test_values();
	test_changes();
	test_bad_changes();
	test_linear();
	return done_testing();
}
