/* SPDX-License-Identifier: ISC */
#include "lib/reply.h"
#include "t/tap.h"

struct legal {
	const char *bytes;
	unsigned code;
	const char *esc, *text;
	unsigned lines;
};

static const struct legal legals[] = {
	{ "220 mx.example ESMTP\r\n", 220, "", "mx.example ESMTP", 1 },
	{ "250\r\n", 250, "", "", 1 },
	{ "250 \r\n", 250, "", "", 1 },
	{ "250-\r\n250\r\n", 250, "", "\n", 2 },
	{ "550 5.7.2\r\n", 550, "5.7.2", "", 1 },
	{ "550 5.1.1 <a@b>: no such user\r\n", 550, "5.1.1", "<a@b>: no such user", 1 },
	{ "550-5.1.1 one\r\n550-5.1.1\r\n550 two\r\n", 550, "5.1.1", "one\n\ntwo", 3 },
	{ "451-4.3.0 first\r\n451 4.4.2 last\r\n", 451, "4.4.2", "first\nlast", 2 },
	{ "250 5.1.1 wrong class\r\n", 250, "", "5.1.1 wrong class", 1 },
	{ "299 unknown digits\r\n", 299, "", "unknown digits", 1 },
	{ "250 bare lf\n", 250, "", "bare lf", 1 },
	{ "250-a\n250 b\r\n", 250, "", "a\nb", 2 },
	{ "250-x\r\n251 y\r\n", 251, "", "x\ny", 2 },
	{ "354\tgo\r\n", 354, "", "go", 1 },
	{ "250 a\rb\001c\177d\te\r\n", 250, "", "a?b?c?d e", 1 },
	{ "421 4.7.0 8bit \303\251\r\n", 421, "4.7.0", "8bit \303\251", 1 },
};

static void
check_reply(struct reply *r, const struct legal *l, const char *how)
{
	char esc[ESC_TEXT_MAX];

	is_int(r->code, l->code, "%s: code of %u", how, l->code);
	is_str(esc_text(r->esc, esc), l->esc, "%s: enhanced code", how);
	is_view(buf_view(&r->text), l->text, "%s: text", how);
	is_int(r->lines, l->lines, "%s: lines", how);
}

/* atk-C16: every prefix of a legal reply asks for more, from memory that ends where the prefix
 * ends. */
static void
test_prefixes(void)
{
	struct reply r;
	struct err e;

	reply_init(&r);
	for (size_t i = 0; i < sizeof(legals) / sizeof(legals[0]); i++) {
		const struct legal *l = &legals[i];
		size_t n = strlen(l->bytes), bad = 0;
		for (size_t cut = 0; cut < n; cut++) {
			char *copy = x_strndup(view_of(l->bytes, cut));
			char *tight = x_malloc(cut);
			if (cut)
				memcpy(tight, copy, cut);
			struct view in = { tight, cut };
			reply_clear(&r);
			if (reply_parse(&r, &in, &e) != REPLY_MORE)
				bad++;
			free(tight);
			free(copy);
		}
		is_int((long long)bad, 0, "atk-C16: all prefixes of reply %zu wait", i);
	}
	reply_free(&r);
}

static void
test_whole_and_split(void)
{
	struct reply r;
	struct err e;
	char store[512];

	reply_init(&r);
	for (size_t i = 0; i < sizeof(legals) / sizeof(legals[0]); i++) {
		const struct legal *l = &legals[i];
		struct view in = view_str(l->bytes);
		reply_clear(&r);
		is_int(reply_parse(&r, &in, &e), REPLY_DONE, "reply %zu in one piece", i);
		is_int((long long)in.n, 0, "nothing is left of reply %zu", i);
		check_reply(&r, l, "whole");

		/* The same a byte at a time, the unread rest kept as a connection keeps it. */
		enum reply_result got = REPLY_MORE;
		size_t kept = 0;
		reply_clear(&r);
		for (const char *p = l->bytes; *p; p++) {
			store[kept++] = *p;
			in = view_of(store, kept);
			got = reply_parse(&r, &in, &e);
			memmove(store, store + (kept - in.n), in.n);
			kept = in.n;
		}
		is_int(got, REPLY_DONE, "reply %zu byte by byte", i);
		check_reply(&r, l, "split");
	}
	reply_free(&r);
}

/* atk-C17: nothing of a longer reply survives in the shorter one after it. */
static void
test_stale(void)
{
	struct reply r;
	struct err e;
	struct view in =
	    VIEW("550-5.1.1 a long first line\r\n550 5.1.1 second\r\n250\r\n354 go\r\n");

	reply_init(&r);
	is_int(reply_parse(&r, &in, &e), REPLY_DONE, "long reply");
	reply_clear(&r);
	is_int(reply_parse(&r, &in, &e), REPLY_DONE, "short reply behind it");
	is_int(r.code, 250, "atk-C17: code is its own");
	is_int(r.esc.class, 0, "atk-C17: no stale enhanced code");
	is_view(buf_view(&r.text), "", "atk-C17: no stale text");
	reply_clear(&r);
	is_int(reply_parse(&r, &in, &e), REPLY_DONE, "S16: replies in one read stay apart");
	is_int(r.code, 354, "third code");
	reply_free(&r);
}

static void
test_bad(void)
{
	static const char *const bads[] = { "hello\r\n", "\r\n", "99 x\r\n", "25\r\n", "150 no\r\n",
		"650 no\r\n", "250x\r\n", "2500\r\n", "250-a\r\n550 b\r\n", "250-a\r\nb\r\n",
		" 250 a\r\n", "+OK\r\n", "HTTP/1.1 400 Bad Request\r\n", "25\xb2 x\r\n" };
	struct reply r;
	struct err e;

	reply_init(&r);
	for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		struct view in = view_str(bads[i]);
		reply_clear(&r);
		is_int(reply_parse(&r, &in, &e), REPLY_BAD, "not SMTP: %zu", i);
		is_int(e.class, ERR_PEER, "the peer's fault: %zu", i);
	}
	struct view nul = view_of("250 a\0b\r\n", 9);
	reply_clear(&r);
	is_int(reply_parse(&r, &nul, &e), REPLY_DONE, "NUL in the text is survived");
	is_view(buf_view(&r.text), "a?b", "and replaced");
	reply_free(&r);
}

static enum reply_result
feed(struct reply *r, struct buf *in)
{
	struct view v = buf_view(in);
	struct err e;

	return reply_parse(r, &v, &e);
}

static void
test_limits(void)
{
	struct reply r;
	struct buf in = BUF_INIT(1 << 21);

	reply_init(&r);
	for (size_t i = 0; i < REPLY_LINE_MAX - 1; i++)
		buf_putc(&in, i < 3 ? '2' : i == 3 ? ' ' : 'x');
	is_int(feed(&r, &in), REPLY_MORE, "atk-G2: a line below the limit waits");
	buf_putc(&in, 'x');
	reply_clear(&r);
	is_int(feed(&r, &in), REPLY_BAD, "atk-G2: a line without end is cut");
	buf_truncate(&in, REPLY_LINE_MAX - 1);
	buf_putc(&in, '\n');
	reply_clear(&r);
	is_int(feed(&r, &in), REPLY_DONE, "a line of exactly the limit passes");

	buf_clear(&in);
	for (int i = 0; i < REPLY_LINES_MAX - 1; i++)
		buf_puts(&in, "250-x\r\n");
	size_t mark = buf_len(&in);
	buf_puts(&in, "250 x\r\n");
	reply_clear(&r);
	is_int(feed(&r, &in), REPLY_DONE, "atk-G1: the allowed number of lines");
	is_int(r.lines, REPLY_LINES_MAX, "all of them counted");
	buf_truncate(&in, mark);
	buf_puts(&in, "250-x\r\n250 x\r\n");
	reply_clear(&r);
	is_int(feed(&r, &in), REPLY_BAD, "atk-G1: endless continuation is cut");

	buf_clear(&in);
	for (int i = 0; i < 20; i++) {
		buf_puts(&in, "250-");
		for (int k = 0; k < 600; k++)
			buf_putc(&in, 'y');
		buf_puts(&in, "\r\n");
	}
	reply_clear(&r);
	is_int(feed(&r, &in), REPLY_BAD, "atk-G1: bytes in all are capped");
	buf_free(&in);
	reply_free(&r);
}

static void
test_flat(void)
{
	struct reply r;
	struct err e;
	struct buf out = BUF_INIT(1024);
	struct view in = VIEW("550-5.1.1 one\r\n550 5.1.1 two\r\n");

	reply_init(&r);
	reply_parse(&r, &in, &e);
	reply_flat(&r, &out);
	is_view(buf_view(&out), "one two", "flat text is one line");
	buf_free(&out);
	reply_free(&r);
}

static void
test_class(void)
{
	static const struct {
		unsigned code;
		struct esc given;
		enum reply_at at;
		const char *text;
		enum err_class class;
		const char *esc;
	} t[] = {
		{ 250, ESC(2, 1, 5), REPLY_AT_RCPT, "Ok", ERR_NONE, "2.1.5" },
		{ 251, { 0 }, REPLY_AT_RCPT, "will forward", ERR_NONE, "2.0.0" },
		{ 450, { 0 }, REPLY_AT_RCPT, "busy", ERR_TEMP, "4.0.0" },
		{ 450, ESC(4, 2, 1), REPLY_AT_RCPT, "receiving mail too quickly", ERR_TEMP,
		    "4.2.1" },
		{ 450, ESC(5, 1, 1), REPLY_AT_RCPT, "liar", ERR_TEMP, "4.1.1" },
		{ 452, ESC(4, 2, 2), REPLY_AT_RCPT, "over quota", ERR_TEMP, "4.2.2" },
		{ 452, { 0 }, REPLY_AT_RCPT, "Too many recipients", ERR_TEMP, "4.5.3" },
		{ 550, ESC(5, 1, 1), REPLY_AT_RCPT, "no such user", ERR_PERM, "5.1.1" },
		{ 550, { 0 }, REPLY_AT_RCPT, "no such user", ERR_PERM, "5.0.0" },
		{ 550, ESC(5, 2, 2), REPLY_AT_RCPT, "whatever", ERR_TEMP, "4.2.2" },
		{ 554, ESC(5, 2, 2), REPLY_ELSEWHERE, "whatever", ERR_TEMP, "4.2.2" },
		{ 552, { 0 }, REPLY_ELSEWHERE, "Too much mail data <a@b>", ERR_TEMP, "4.2.2" },
		{ 552, { 0 }, REPLY_AT_RCPT, "Mailbox full", ERR_TEMP, "4.2.2" },
		{ 552, { 0 }, REPLY_AT_RCPT, "too many recipients", ERR_TEMP, "4.5.3" },
		{ 552, { 0 }, REPLY_AT_RCPT, "", ERR_TEMP, "4.5.3" },
		{ 552, { 0 }, REPLY_ELSEWHERE, "message too big", ERR_PERM, "5.0.0" },
		{ 552, ESC(5, 3, 4), REPLY_AT_RCPT, "size exceeds quota", ERR_PERM, "5.3.4" },
		{ 552, ESC(5, 3, 4), REPLY_ELSEWHERE, "too big", ERR_PERM, "5.3.4" },
		{ 354, { 0 }, REPLY_AT_RCPT, "huh", ERR_TEMP, "4.0.0" },
		{ 421, ESC(4, 7, 28), REPLY_ELSEWHERE, "rate", ERR_TEMP, "4.7.28" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct esc esc;
		char text[ESC_TEXT_MAX];
		enum err_class got = reply_class(
		    (uint16_t)t[i].code, t[i].given, t[i].at, view_str(t[i].text), &esc);
		is_int(got, t[i].class, "E9 row %zu: %u %s", i, t[i].code, t[i].text);
		is_str(esc_text(esc, text), t[i].esc, "E9 row %zu: enhanced code", i);
	}
	ok(reply_too_many(452, (struct esc){ 0 }, VIEW("Too many recipients")),
	    "S23: 452 by words");
	ok(reply_too_many(552, ESC(5, 5, 3), VIEW("")), "S23: legacy 552 by code");
	ok(reply_too_many(452, (struct esc){ 0 }, VIEW("")), "S23: bare 452");
	ok(!reply_too_many(452, ESC(4, 2, 2), VIEW("full")), "S23: not a full mailbox");
	ok(!reply_too_many(452, ESC(4, 3, 1), VIEW("Insufficient system storage")),
	    "S23: not a disk");
	ok(!reply_too_many(452, (struct esc){ 0 }, VIEW("insufficient storage")),
	    "S23: nor by words");
	ok(!reply_too_many(450, ESC(4, 5, 3), VIEW("")), "S23: only 452 and 552");
}

int
main(void)
{
	test_prefixes();
	test_whole_and_split();
	test_stale();
	test_bad();
	test_limits();
	test_flat();
	test_class();
	return done_testing();
}
