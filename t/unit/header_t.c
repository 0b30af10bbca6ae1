/* SPDX-License-Identifier: ISC */
#include <time.h>

#include "lib/header.h"
#include "lib/loop.h"
#include "t/tap.h"

enum { LINE_LIMIT = 1000, HEADER_LIMIT = 65536, OUT_MAX = 1 << 24 };

/* What a scan came to, as comparable values. */
struct outcome {
	bool end;
	enum header_fault fault;
	uint64_t size;
	uint32_t hops, dkim;
	bool dots, eight_bit, eight_bit_header;
	size_t rest; /* bytes behind the end of the data */
	struct buf out, fields; /* header and body; names and values of the well-formed fields */
};

static void
free_outcome(struct outcome *o)
{
	buf_free(&o->out);
	buf_free(&o->fields);
}

static void
put_field(struct buf *b, struct view name, struct view value)
{
	buf_putv(b, name);
	buf_putc(b, '=');
	buf_putv(b, value);
	buf_putc(b, ';');
}

static void
read_list(struct header_list *l, bool strip, struct outcome *o)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->fields[i].id != HEADER_MALFORMED)
			put_field(&o->fields, header_list_name(l, i), header_list_value(l, i));
	o->hops = header_list_hops(l);
	o->dkim = l->counts[HEADER_DKIM];
	if (strip)
		header_list_delete_all(l, HEADER_RECEIVED);
	header_list_write(l, &o->out);
}

/* Scans data, cut at the given places (ascending). Each piece is a copy of its own, of its exact size. */
static void
scan(struct view data, const size_t *cuts, size_t ncuts, bool strip, struct outcome *o)
{
	struct buf body = BUF_INIT(OUT_MAX);
	struct header_list l;
	struct header_scan h;
	size_t from = 0;

	*o = (struct outcome){ .out = BUF_INIT(OUT_MAX), .fields = BUF_INIT(OUT_MAX) };
	header_list_init(&l, HEADER_LIMIT + LINE_LIMIT);
	header_scan_init(&h, LINE_LIMIT, HEADER_LIMIT, &l);
	for (size_t i = 0; i <= ncuts && !o->end; i++) {
		size_t to = i < ncuts ? cuts[i] : data.n;
		char *piece = x_malloc(to - from);
		memcpy(piece, data.p + from, to - from);
		struct view v = view_of(piece, to - from);
		o->end = header_scan_data(&h, &v, &body) == SCAN_END;
		o->rest = v.n + data.n - to;
		free(piece);
		from = to;
	}
	read_list(&l, strip, o);
	buf_putv(&o->out, buf_view(&body));
	o->fault = h.fault;
	o->size = h.size;
	o->dots = h.dots;
	o->eight_bit = h.eight_bit;
	o->eight_bit_header = h.eight_bit_header;
	header_list_free(&l);
	buf_free(&body);
}

static bool
same(const struct outcome *a, const struct outcome *b)
{
	if (a->end != b->end || a->fault != b->fault || a->rest != b->rest)
		return false;
	if (a->fault != HEADER_GOOD)
		return true;
	return a->size == b->size && a->hops == b->hops && a->dkim == b->dkim && a->dots == b->dots &&
	    a->eight_bit == b->eight_bit && a->eight_bit_header == b->eight_bit_header &&
	    view_eq(buf_view(&a->out), buf_view(&b->out)) &&
	    view_eq(buf_view(&a->fields), buf_view(&b->fields));
}

/* Every cut at one place, every cut at two places, and single bytes give what one piece gives. */
static bool
splits_agree(struct view data, bool strip)
{
	struct outcome whole, parts;
	size_t cuts[4096];
	bool good = true;

	scan(data, NULL, 0, strip, &whole);
	for (size_t i = 0; i <= data.n && good; i++) {
		for (size_t j = i; j <= data.n && good; j += data.n > 200 ? 17 : 1) {
			scan(data, (size_t[]){ i, j }, 2, strip, &parts);
			good &= same(&whole, &parts);
			free_outcome(&parts);
		}
	}
	for (size_t i = 0; i < data.n; i++)
		cuts[i] = i + 1;
	scan(data, cuts, data.n, strip, &parts);
	good &= same(&whole, &parts);
	free_outcome(&parts);
	free_outcome(&whole);
	return good;
}

/* In one piece, many bytes are looked at together; one by one, none are. */
static bool
bytes_agree(struct view data)
{
	struct outcome whole, single;
	size_t *cuts = x_calloc(data.n, sizeof(*cuts));

	for (size_t i = 0; i < data.n; i++)
		cuts[i] = i + 1;
	scan(data, NULL, 0, false, &whole);
	scan(data, cuts, data.n, false, &single);
	bool good = same(&whole, &single);
	free_outcome(&whole);
	free_outcome(&single);
	free(cuts);
	return good;
}

#define H "From: a@b.example\r\n\r\n"
#define SECOND "MAIL FROM:<x@y>\r\nRCPT TO:<z@w>\r\nDATA\r\nsmuggled\r\n.\r\n"
#define PAYLOAD(s) VIEW(H "one\r\ntwo" s SECOND)

/* The terminators that some server or client was fooled with; none may end the data here. */
static const struct {
	const char *name;
	struct view data;
} smuggling[] = {
	{ "atk-A1 LF . CRLF", PAYLOAD("\n.\r\n") },
	{ "atk-A2 CRLF . LF", PAYLOAD("\r\n.\n") },
	{ "atk-A8 LF . LF", PAYLOAD("\n.\n") },
	{ "atk-A8 CR . CR", PAYLOAD("\r.\r") },
	{ "atk-A8 CR . CRLF", PAYLOAD("\r.\r\n") },
	{ "atk-A8 CRLF . CR", PAYLOAD("\r\n.\r") },
	{ "atk-A8 LF . CR LF without CR before", PAYLOAD("\n\n.\r\n") },
	{ "atk-A5 CR NUL LF . CRLF", PAYLOAD("\r\0\n.\r\n") },
	{ "atk-A5 NUL CRLF . CRLF", PAYLOAD("\0\r\n.\r\n") },
	{ "atk-A5 CRLF . CR NUL LF", PAYLOAD("\r\n.\r\0\n") },
	{ "atk-A5 CRLF . NUL CRLF", PAYLOAD("\r\n.\0\r\n") },
	{ "atk-A5 CRLF NUL . CRLF", PAYLOAD("\r\n\0.\r\n") },
	{ "atk-A6 CRLF . CR CR LF", PAYLOAD("\r\n.\r\r\n") },
	{ "atk-A6 CR CR LF . CR CR LF", PAYLOAD("\r\r\n.\r\r\n") },
	{ "atk-A6 CR CR LF . CRLF", PAYLOAD("\r\r\n.\r\n") },
	{ "atk-A1 CR LF CR . CRLF", PAYLOAD("\r\n\r.\r\n") },
	{ "atk-A1 LF CR . CRLF", PAYLOAD("\n\r.\r\n") },
	{ "atk-A1 LF CR LF . CRLF", PAYLOAD("\n\r\n.\r\n") },
	{ "atk-A1 CRLF . CRLF in a header", VIEW("Sub\nject: x\r\n.\r\n" SECOND) },
	{ "atk-A1 first byte is LF", VIEW("\n.\r\n" SECOND) },
	{ "atk-A1 first byte is CR", VIEW("\r.\r\n" SECOND) },
	{ "atk-A5 first byte is NUL", VIEW("\0\r\n.\r\n" SECOND) },
};

/* Bytes behind the first CRLF.CRLF, found without the scanner. */
static size_t
rest_behind_end(struct view data)
{
	const char *end = memmem(data.p, data.n, "\r\n.\r\n", 5);

	return end ? (size_t)(data.p + data.n - end) - 5 : data.n;
}

static void
test_smuggling(void)
{
	for (size_t i = 0; i < sizeof(smuggling) / sizeof(smuggling[0]); i++) {
		struct outcome o;
		scan(smuggling[i].data, NULL, 0, false, &o);
		ok(o.fault == HEADER_FRAMING, "S01 %s: refused", smuggling[i].name);
		ok(o.end, "%s: the end is found", smuggling[i].name);
		is_int((long long)o.rest, (long long)rest_behind_end(smuggling[i].data),
		    "S01 %s: only CRLF.CRLF ends", smuggling[i].name);
		free_outcome(&o);
		ok(splits_agree(smuggling[i].data, false), "%s: every split", smuggling[i].name);
	}
}

static void
test_content(void)
{
	static const struct {
		const char *name;
		struct view in;
		const char *out;
		size_t rest;
		bool dots;
	} rows[] = {
		{ "empty", VIEW(".\r\nQUIT\r\n"), "", 6, false },
		{ "plain", VIEW(H "text\r\n.\r\n"), H "text\r\n", 0, false },
		{ "S18 stuffed", VIEW(H "..text\r\n...\r\n.\r\nX"), H ".text\r\n..\r\n", 1, true },
		{ "S18 only dots", VIEW(H "..\r\n.\r\n"), H ".\r\n", 0, true },
		{ "a dot that was not stuffed", VIEW(H ".text\r\n.\r\n"), H "text\r\n", 0, false },
		{ "no header end", VIEW("A: b\r\n.\r\n"), "A: b\r\n", 0, false },
		{ "folds", VIEW("A: b\r\n c\r\nB: d\r\n\r\nx\r\n.\r\n"), "A: b\r\n c\r\nB: d\r\n\r\nx\r\n", 0,
		    false },
		{ "no body", VIEW("A: b\r\n\r\n.\r\n"), "A: b\r\n\r\n", 0, false },
		{ "dot inside", VIEW(H "a.\r\n b.\r\n.\r\n"), H "a.\r\n b.\r\n", 0, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct outcome o;
		scan(rows[i].in, NULL, 0, false, &o);
		ok(o.end && o.fault == HEADER_GOOD, "%s: good", rows[i].name);
		is_view(buf_view(&o.out), rows[i].out, "%s: content", rows[i].name);
		is_int((long long)o.rest, (long long)rows[i].rest, "%s: rest", rows[i].name);
		is_int((long long)o.size, (long long)strlen(rows[i].out), "%s: size", rows[i].name);
		is_int(o.dots, rows[i].dots, "%s: dots flag", rows[i].name);
		free_outcome(&o);
		ok(splits_agree(rows[i].in, false), "%s: every split", rows[i].name);
	}
}

static void
test_fields(void)
{
	struct view in = VIEW("received: one\r\nRECEIVED:\r\n two\r\nFrom: a@b\r\nX-Relay-Hops: 3\r\n"
			      "X-relay-hops: 2\r\nDkim-Signature : v=1\r\ngarbage\r\nMessage-Id: <x>\r\n"
			      "Date: x\r\nSubject: \xe3\x81\x82\r\n\r\nReceived: in the body\r\n.\r\n");
	struct outcome o;

	scan(in, NULL, 0, false, &o);
	is_int(o.hops, 5, "S38 hops: two Received and a guard of 3");
	is_int((int)o.dkim, 1, "A19 a DKIM-Signature of any letter case is seen");
	ok(o.eight_bit && o.eight_bit_header, "eight bit header");
	is_view(buf_view(&o.fields),
	    "received= one;RECEIVED=\r\n two;From= a@b;X-Relay-Hops= 3;X-relay-hops= 2;"
	    "Dkim-Signature= v=1;Message-Id= <x>;Date= x;Subject= \xe3\x81\x82;",
	    "fields with folds, garbage passed over");
	free_outcome(&o);
	ok(splits_agree(in, false), "every split");
	scan(in, NULL, 0, true, &o);
	is_view(view_first(buf_view(&o.out), 39), "From: a@b\r\nX-Relay-Hops: 3\r\nX-relay-hop",
	    "C5 strip removes Received, folded and in any case");
	ok(memmem(buf_view(&o.out).p, buf_len(&o.out), "\r\n\r\nReceived: in the body\r\n", 25) != NULL,
	    "C5 not in the body");
	free_outcome(&o);
	ok(splits_agree(in, true), "C5 every split");
	in = VIEW("A: \xff\r\n.\r\n");
	scan(in, NULL, 0, true, &o);
	is_view(buf_view(&o.out), "A: \xff\r\n", "C5 a header without end");
	free_outcome(&o);
	scan(VIEW(H "b\xc3\xa4\r\n.\r\n"), NULL, 0, false, &o);
	ok(o.eight_bit && !o.eight_bit_header, "eight bit body");
	free_outcome(&o);
}

/* One line of n octets without CRLF, in the header or in the body. */
static void
put_line(struct buf *b, const char *start, size_t n)
{
	buf_puts(b, start);
	for (size_t i = strlen(start); i < n; i++)
		buf_putc(b, 'x');
	buf_puts(b, "\r\n");
}

static void
test_limits(void)
{
	for (size_t n = 997; n <= 1000; n++) {
		for (int dot = 0; dot < 2; dot++) {
			struct buf b = BUF_INIT(OUT_MAX);
			struct outcome o;
			buf_puts(&b, H);
			put_line(&b, dot ? ".." : "", n + (size_t)dot);
			buf_puts(&b, "more\r\n.\r\n");
			scan(buf_view(&b), NULL, 0, false, &o);
			is_int(o.fault, n <= 998 ? HEADER_GOOD : HEADER_LINE, "A27 S21 %zu+CRLF%s", n,
			    dot ? " behind a stuffed dot" : "");
			ok(o.end && o.rest == 0, "A27 the end is found");
			free_outcome(&o);
			if (n > 998)
				ok(splits_agree(buf_view(&b), false), "A27 every split");
			buf_free(&b);
		}
	}
	struct buf b = BUF_INIT(OUT_MAX);
	struct outcome o;
	for (int i = 0; i < 70; i++)
		put_line(&b, "A: ", 934 + (i == 0) * 2);
	size_t room = HEADER_LIMIT - buf_len(&b);
	put_line(&b, "B: ", room - 4);
	buf_puts(&b, "\r\nbody\r\n.\r\n");
	scan(buf_view(&b), NULL, 0, false, &o);
	is_int(o.fault, HEADER_GOOD, "atk-J11 header at the limit");
	free_outcome(&o);
	buf_clear(&b);
	for (int i = 0; i < 200; i++)
		put_line(&b, i ? " " : "A: ", 900);
	buf_puts(&b, "\r\nbody\r\n.\r\n");
	scan(buf_view(&b), NULL, 0, false, &o);
	is_int(o.fault, HEADER_TOO_LARGE, "atk-J11 one folded field over the limit");
	ok(o.end, "atk-J11 the end is found");
	free_outcome(&o);
	buf_clear(&b);
	put_line(&b, "A: ", 2000);
	buf_puts(&b, "a\nb\r\n.\r\n");
	scan(buf_view(&b), NULL, 0, false, &o);
	is_int(o.fault, HEADER_FRAMING, "the worst fault is the one reported");
	free_outcome(&o);
	buf_free(&b);
}

static void
test_random(void)
{
	static const char alphabet[] = "\r\n..\0a :\xff";
	uint32_t seed = 7;
	bool good = true;

	for (int round = 0; round < 3000 && good; round++) {
		char data[40];
		size_t n = 0;
		while (n < sizeof(data)) {
			seed = seed * 1664525u + 1013904223u;
			/* Mostly proper line ends, so that deep states are reached. */
			if (seed >> 28 < 9 && n + 2 <= sizeof(data)) {
				memcpy(data + n, "\r\n", 2);
				n += 2;
			} else {
				data[n++] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
			}
		}
		good = splits_agree(view_of(data, n), round & 1);
	}
	ok(good, "random data: every split");
}

/* One byte at each place of a body is another one: all that is special meets every edge of a block. */
static void
test_blocks(void)
{
	static const char others[] = { '\0', '\r', '\n', '.', 'x', '\x80' };
	struct buf b = BUF_INIT(OUT_MAX);
	size_t wrong = 0;

	buf_puts(&b, H);
	for (size_t line = 0; line < 90; line += 7)
		put_line(&b, "", line);
	buf_puts(&b, ".\r\n");
	char *p = x_malloc(buf_len(&b));
	struct view all = buf_view(&b), data = view_of(p, all.n);
	for (size_t at = sizeof(H) - 1; at < all.n; at++) {
		for (size_t i = 0; i < sizeof(others); i++) {
			memcpy(p, all.p, all.n);
			p[at] = others[i];
			wrong += !bytes_agree(data);
		}
	}
	is_int(wrong, 0, "atk-A1 atk-A8 a body by blocks: each byte in each place");
	free(p);
	for (size_t line = LINE_LIMIT - 70; line < LINE_LIMIT + 70; line++) {
		buf_clear(&b);
		buf_puts(&b, H);
		put_line(&b, "", 100);
		put_line(&b, "", line);
		put_line(&b, "", 100);
		buf_puts(&b, ".\r\n");
		wrong += !bytes_agree(buf_view(&b));
	}
	is_int(wrong, 0, "a body by blocks: lines up to the limit and beyond");
	buf_free(&b);
}

struct mailboxes {
	struct buf first;
	unsigned count;
};

static void
meet(void *ctx, const struct addr *a)
{
	struct mailboxes *m = ctx;

	if (m->count++ == 0)
		buf_putv(&m->first, addr_whole(a));
}

static void
test_from(void)
{
	static const struct {
		const char *in, *first; /* NULL: not valid */
		unsigned count;
	} rows[] = {
		{ " a@b.example", "a@b.example", 1 },
		{ " <a@b.example>", "a@b.example", 1 },
		{ " A B <a@b.example>", "a@b.example", 1 },
		{ " \"A, B\" <a@b.example>", "a@b.example", 1 },
		{ " John Q. Public <a@b.example>", "a@b.example", 1 },
		{ " =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= <a@b.example>", "a@b.example", 1 },
		{ "\r\n a@b.example (c (d) \\) e)", "a@b.example", 1 },
		{ " (c) a (c)@ (c) b.example", "a@b.example", 1 },
		{ " \"a b\"@b.example", "\"a b\"@b.example", 1 },
		{ " a@[192.0.2.1]", "a@[192.0.2.1]", 1 },
		{ " a@b.example, C <d@e.example>", "a@b.example", 2 },
		{ " \xe6\x97\xa5 <a@b.example>", "a@b.example", 1 },
		{ "", NULL, 0 }, { " ", NULL, 0 }, { " John", NULL, 0 }, { " <>", NULL, 0 },
		{ " a@", NULL, 0 }, { " @b.example", NULL, 0 }, { " a b@c.example", NULL, 0 },
		{ " <a@b.example", NULL, 0 }, { " a@b.example>", NULL, 1 }, { " <a@b.example> x", NULL, 1 },
		{ " (a@b.example", NULL, 0 }, { " a@b..example", NULL, 0 }, { " a..b@c.example", NULL, 0 },
		{ " a@b.example,", NULL, 1 }, { " , a@b.example", NULL, 0 }, { " G: a@b.example;", NULL, 0 },
		{ " <@r.example:a@b.example>", NULL, 0 }, { " \"a@b.example", NULL, 0 },
		{ " <<a@b.example>>", NULL, 0 }, { " a@b.example a@c.example", NULL, 1 },
		{ " a@b.example <c@d.example>", NULL, 1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mailboxes met = { .first = BUF_INIT(400) };
		bool good = header_from_read(view_str(rows[i].in), meet, &met);
		is_int(good, rows[i].first != NULL, "A22 From:%s", i == 6 ? " (folded)" : rows[i].in);
		if (rows[i].first)
			is_view(buf_view(&met.first), rows[i].first, "A22 address");
		is_int(met.count, rows[i].count, "A22 count");
		buf_free(&met.first);
	}
	struct buf deep = BUF_INIT(OUT_MAX);
	for (int i = 0; i < 1000000; i++)
		buf_putc(&deep, '(');
	ok(!header_from_read(buf_view(&deep), NULL, NULL), "atk-C18 deep comments");
	buf_free(&deep);
}

static void
test_values(void)
{
	char text[40];

	is_view(header_msgid(view_str(" \r\n <a@b>\t")), "<a@b>", "message id");
	static char long_id[2000];
	memset(long_id, 'x', sizeof(long_id));
	is_int((long long)header_msgid(view_of(long_id, sizeof(long_id))).n, 998, "message id is cut");
	/* It goes into the envelope, whose readers refuse control bytes. */
	is_view(header_msgid(view_str("<a@b>\r\n (added later)")), "<a@b>", "atk-J8 message id before a fold");
	is_view(header_msgid(view_str("\r\n\t<a@b> \033[31m\r\n")), "<a@b>", "atk-J8 message id before a control byte");
	is_view(header_msgid(view_str("<a\tb>")), "<a", "atk-J8 message id with a tab");
	is_view(header_msgid(view_str("\177")), "", "atk-J8 message id of a control byte");
	setenv("TZ", "JST-9", 1);
	tzset();
	is_str(header_date(1795316400u * 1000000ull, text), "Sun, 22 Nov 2026 12:00:00 +0900", "date");
	setenv("TZ", "NST3:30", 1);
	tzset();
	is_str(header_date(1795316400u * 1000000ull, text), "Sat, 21 Nov 2026 23:30:00 -0330", "date");
}

/* The budget is 2 us for 4 KiB; the bound here leaves room for a loaded machine and sanitizers. */
static void
test_speed(void)
{
	struct buf b = BUF_INIT(OUT_MAX), out = BUF_INIT(OUT_MAX);
	enum { ROUNDS = 200 };

	buf_puts(&b, "From: a@b.example\r\nTo: c@d.example\r\nSubject: speed\r\nMessage-ID: <1@b>\r\n"
		     "Date: Sun, 22 Nov 2026 12:00:00 +0900\r\nMIME-Version: 1.0\r\n\r\n");
	while (buf_len(&b) < 4096)
		put_line(&b, "", 76);
	buf_puts(&b, ".\r\n");
	double best = 1e9;
	for (int batch = 0; batch < 100; batch++) { /* the best one was not disturbed */
		uint64_t start = clock_mono_us();
		for (int i = 0; i < ROUNDS; i++) {
			struct header_list l;
			struct header_scan h;
			struct view v = buf_view(&b);
			header_list_init(&l, HEADER_LIMIT);
			header_scan_init(&h, LINE_LIMIT, HEADER_LIMIT, &l);
			buf_clear(&out);
			header_scan_data(&h, &v, &out);
			header_list_free(&l);
		}
		double us = (double)(clock_mono_us() - start) / ROUNDS;
		best = us < best ? us : best;
	}
	ok(best < 100, "4 KiB scanned in %.2f us", best);
	buf_free(&b);
	buf_free(&out);
}

int
main(void)
{
	test_smuggling();
	test_content();
	test_fields();
	test_limits();
	test_random();
	test_blocks();
	test_from();
	test_values();
	test_speed();
	return done_testing();
}
