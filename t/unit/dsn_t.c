/* SPDX-License-Identifier: ISC */
/*
 * The report writer. Here: what must hold for every report, whatever came in; and the encoders.
 * With "--emit DIR" the cases are written to files, which t/bounce/dsn.t reads back with another
 * parser.
 */
#include <stdint.h>

#include "bounce/dsn.h"
#include "bounce/encode.h"
#include "lib/segment.h"
#include "t/tap.h"

#define ORIGINAL                                                                                   \
	"Received: by mta1.example.jp; Sun, 22 Nov 2026 12:00:00 +0900\r\n"                        \
	"From: Alice <alice@example.jp>\r\nTo: bob@example.net\r\nSubject: hello\r\n"              \
	"Message-ID: <1@example.jp>\r\n\r\nDear Bob,\r\n.hidden\r\n--\r\nAlice\r\n"
#define EIGHT_BIT_BODY "From: a@example.jp\r\nSubject: hello\r\n\r\n\xe3\x81\x82\r\n"
#define EIGHT_BIT_HEADER "From: a@example.jp\r\nSubject: \xe3\x81\x82 = x \r\n\r\nbody\r\n"
#define UTF8_ADDR "\xe5\x95\x8f@example.jp"
#define LONG_WORD                                                                                  \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"

struct case_rcpt {
	const char *rcpt, *orcpt;
	uint16_t code;
	struct esc esc;
	const char *text;
	bool remote;
	const char *relay;
};

struct report_case {
	const char *name;
	uint8_t kind, ret;
	const char *sender, *envid, *original;
	size_t fill; /* so many bytes more of body */
	uint64_t size; /* of the original, when only a part is given */
	struct case_rcpt rcpts[4];
};

#define MX "mx.example.net[192.0.2.1]:25"
#define BOB { "bob@example.net", "", 550, { 5, 1, 1 }, "No such user", true, MX }

static const struct report_case cases[] = {
	{ "simple", REPORT_FAILED, 0, "alice@example.jp", "", ORIGINAL, 0, 0, { BOB } },
	{ "several", REPORT_FAILED, RET_FULL, "alice@example.jp", "QQ314159", ORIGINAL, 0, 0,
	    { BOB,
		{ "carol@example.org", "rfc822;Carol+x@Example.ORG", 0, { 5, 1, 2 },
		    "Host or domain name not found", false, "none" },
		{ "dave@example.com", "x400;/c=jp/", 554, { 0, 0, 0 }, "no", true, MX },
		{ "\"e e\"@example.com", "broken", 450, { 4, 2, 0 }, "later", true, "none" } } },
	{ "expired", REPORT_EXPIRED, 0, "alice@example.jp", "", ORIGINAL, 0, 0,
	    { { "bob@example.net", "", 452, { 4, 2, 2 }, "mailbox full", true, MX },
		{ "eve@example.net", "", 0, { 0, 0, 0 }, "", false, "none" } } },
	{ "delayed", REPORT_DELAYED, RET_FULL, "alice@example.jp", "", ORIGINAL, 0, 0,
	    { { "bob@example.net", "", 0, { 5, 4, 1 }, "Connection timed out", false, MX } } },
	{ "ret-hdrs", REPORT_FAILED, RET_HDRS, "alice@example.jp", "", ORIGINAL, 0, 0, { BOB } },
	{ "large", REPORT_FAILED, RET_FULL, "alice@example.jp", "", ORIGINAL, 50000, 50 << 20, { BOB } },
	{ "fits", REPORT_FAILED, RET_FULL, "alice@example.jp", "", ORIGINAL, 49000, 0, { BOB } },
	{ "header-only", REPORT_FAILED, 0, "alice@example.jp", "", "Subject: x\r\n", 0, 0, { BOB } },
	{ "no-original", REPORT_FAILED, 0, "alice@example.jp", "", "", 0, 1000, { BOB } },
	{ "no-header", REPORT_FAILED, RET_HDRS, "alice@example.jp", "", "\r\nbody\r\n", 0, 0, { BOB } },
	{ "eight-bit-body", REPORT_FAILED, 0, "alice@example.jp", "", EIGHT_BIT_BODY, 0, 0, { BOB } },
	{ "eight-bit-header", REPORT_FAILED, 0, "alice@example.jp", "", EIGHT_BIT_HEADER, 0, 0, { BOB } },
	{ "utf8-addresses", REPORT_FAILED, 0, UTF8_ADDR, "", ORIGINAL, 0, 0,
	    { { "\xe7\x94\xb0@example.net", "utf-8;\xe7\x94\xb0@example.net", 550, { 5, 1, 1 },
		"No such user", true, MX } } },
	{ "utf8-text", REPORT_FAILED, 0, "alice@example.jp", "", ORIGINAL, 0, 0,
	    { { "bob@example.net", "", 550, { 5, 1, 1 },
		"\xe3\x81\x9d\xe3\x81\xae\xe5\xae\x9b\xe5\x85\x88\xe3\x81\xaf\xe3\x81\x82\xe3\x82\x8a\xe3"
		"\x81\xbe\xe3\x81\x9b\xe3\x82\x93 = <x> ? \xe5\xae\x9b\xe5\x85\x88\xe4\xb8\x8d\xe6\x98\x8e",
		true, MX } } },
	{ "latin1-text", REPORT_FAILED, 0, "alice@example.jp", "", ORIGINAL, 0, 0,
	    { { "bob@example.net", "", 550, { 5, 1, 1 }, "Empf\xe4nger unbekannt", true, MX } } },
	{ "long-text", REPORT_FAILED, 0, "alice@example.jp", "", ORIGINAL, 0, 0,
	    { { "bob@example.net", "", 550, { 5, 7, 1 },
		"Message   rejected: see https://postmaster.example.net/" LONG_WORD LONG_WORD
		" for the reasons; what you sent looks like mail that people did not ask for",
		true, MX },
		{ "eve@example.net", "", 550, { 5, 7, 1 },
		    LONG_WORD LONG_WORD LONG_WORD LONG_WORD LONG_WORD LONG_WORD LONG_WORD LONG_WORD
			LONG_WORD LONG_WORD LONG_WORD,
		    true, MX } } },
	{ "injection", REPORT_FAILED, 0, "\"a\\\" b\"@example.jp", "x: y", 
	    "Subject: x\r\nContent-Type: multipart/report; boundary=\"b\"\r\n\r\n--b\r\n"
	    "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; evil\r\n\r\n"
	    "Final-Recipient: rfc822; evil@example.com\r\nAction: delivered\r\nStatus: 2.0.0\r\n"
	    "--=_B1C2D3F4G5H6J.6441efc6f6000.0--\r\n--b--\r\n",
	    0, 0,
	    { { "bob@example.net", "rfc822;b=?utf-8?Q?=0D=0AAction:_delivered?=@example.net", 550,
		{ 5, 1, 1 }, "=?utf-8?Q?=0D=0AStatus:_2.0.0?= --=_B1C2D3F4G5H6J.6441efc6f6000.1",
		true, MX } } },
	{ "odd-sender", REPORT_FAILED, 0, "a..b@docomo.example.jp", "", ORIGINAL, 0, 0, { BOB } },
	{ "no-domain", REPORT_FAILED, 0, "alice", "", ORIGINAL, 0, 0, { BOB } },
};

enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static void
put_rcpt(struct buf *b, uint32_t index, const struct case_rcpt *r)
{
	IPC_RECORD(b, report_rcpt, .index = index, .rcpt = view_str(r->rcpt), .orcpt = view_str(r->orcpt),
	    .code = r->code, .esc = esc_pack(r->esc), .text = view_str(r->text), .remote = r->remote,
	    .relay = view_str(r->relay), .last_attempt_us = 1763780000000000);
}

static struct dsn
dsn_base(void)
{
	return (struct dsn){ .kind = REPORT_FAILED, .hostname = VIEW("mta1.example.jp"),
		.postmaster = VIEW("postmaster@example.jp"), .qid = "B1C2D3F4G5H6J",
		.sender = VIEW("alice@example.jp"), .now_us = 0x6441efc6f6000,
		.arrival_us = 1763770000000000, .expires_us = 1763860000000000 };
}

static int
write_case(const struct report_case *c, struct dsn_text *t)
{
	struct buf rcpts = BUF_INIT(50000), original = BUF_INIT(1 << 20);
	struct dsn d = dsn_base();

	for (uint32_t i = 0; i < 4 && c->rcpts[i].rcpt; i++)
		put_rcpt(&rcpts, i, &c->rcpts[i]);
	buf_puts(&original, c->original);
	for (size_t i = 0; i < c->fill; i += 50)
		buf_puts(&original, "................................................\r\n");
	d.kind = c->kind;
	d.ret = c->ret;
	d.sender = view_str(c->sender);
	d.envid = view_str(c->envid);
	d.rcpts = buf_view(&rcpts);
	d.original_size = c->size ? c->size : buf_len(&original);
	d.original = view_first(buf_view(&original), DSN_ORIGINAL_MAX);
	int rc = dsn_write(&d, t);
	buf_free(&rcpts);
	buf_free(&original);
	return rc;
}

/*
 * Every report: 7 bits, CRLF only, no line too long, flags that tell the truth. NULL, or what is
 * wrong.
 */
static const char *
invariant(const struct dsn_text *t)
{
	struct view v = buf_view(&t->message);
	bool dots = false, start = true;
	size_t line = 0;

	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c == 0 || c >= 0x80)
			return "not 7-bit";
		if (start && c == '.')
			dots = true;
		start = c == '\n';
		if (c == '\n' && (i == 0 || v.p[i - 1] != '\r'))
			return "bare LF";
		if (c == '\r' && (i + 1 == v.n || v.p[i + 1] != '\n'))
			return "bare CR";
		line = c == '\n' ? 0 : line + 1;
		if (line > 999)
			return "line too long";
	}
	if (dots != ((t->flags & SEGMENT_DOTS) != 0))
		return "wrong SEGMENT_DOTS";
	return v.n >= 2 && v.p[v.n - 1] == '\n' ? NULL : "no last line end";
}

static void
test_cases(void)
{
	for (size_t i = 0; i < CASES; i++) {
		struct dsn_text t;
		dsn_text_init(&t);
		ok(write_case(&cases[i], &t) == 0, "%s is written", cases[i].name);
		const char *wrong = invariant(&t);
		ok(wrong == NULL, "D17 S01 %s: %s", cases[i].name, wrong ? wrong : "7-bit, CRLF, lines");
		dsn_text_free(&t);
	}
}

static size_t
count(struct view v, const char *what)
{
	size_t n = 0, len = strlen(what);

	for (; v.n >= len; v = view_skip(v, 1))
		n += memcmp(v.p, what, len) == 0;
	return n;
}

/* xorshift: the same bytes in every run. */
static uint32_t
dice(uint32_t below)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x % below;
}

/* Bytes that IPC lets through in a text: everything but controls. */
static struct view
noise(char *room, size_t max, bool any)
{
	static const char spice[] = "  =?_=\"\\<>()@;:,.-";
	size_t n = dice((uint32_t)max + 1);

	for (size_t i = 0; i < n; i++) {
		uint32_t c = dice(4);
		if (any && c == 0)
			room[i] = (char)dice(256);
		else if (c == 1)
			room[i] = spice[dice(sizeof(spice) - 1)];
		else if (c == 2)
			room[i] = (char)(0x80 + dice(128));
		else
			room[i] = (char)(0x21 + dice(0x5e));
		if (any && dice(40) == 0 && i + 1 < n) {
			room[i++] = '\r';
			room[i] = '\n';
		}
	}
	return view_of(room, n);
}

static void
test_noise(void)
{
	static char text[1024], orcpt[500], envid[100], original[20000], sender[200];
	unsigned bad = 0;

	for (int round = 0; round < 3000; round++) {
		struct buf rcpts = BUF_INIT(50000);
		struct dsn_text t;
		struct dsn d = dsn_base();
		uint32_t n = 1 + dice(5);
		for (uint32_t i = 0; i < n; i++)
			IPC_RECORD(&rcpts, report_rcpt, .rcpt = VIEW("bob@example.net"),
			    .orcpt = noise(orcpt, sizeof(orcpt), false), .code = (uint16_t)dice(700),
			    .esc = dice(1u << 24), .text = noise(text, sizeof(text), false),
			    .remote = dice(2), .relay = noise(orcpt, 300, false));
		d.kind = (uint8_t)(1 + dice(3));
		d.ret = (uint8_t)dice(3);
		d.sender = noise(sender, sizeof(sender), false);
		d.envid = noise(envid, sizeof(envid), false);
		d.rcpts = buf_view(&rcpts);
		d.original = noise(original, dice(20) ? 300 : sizeof(original), true);
		d.original_size = d.original.n;
		dsn_text_init(&t);
		/* Field names can stand at the start of a line only where the writer put them. */
		if (rcpts.bad || dsn_write(&d, &t) < 0 || invariant(&t) ||
		    count(buf_view(&t.message), "\r\nFinal-Recipient: ") != n ||
		    count(buf_view(&t.message), "\r\nAction: ") != n ||
		    count(buf_view(&t.message), "\r\nStatus: ") != n)
			bad++;
		dsn_text_free(&t);
		buf_free(&rcpts);
	}
	is_int(bad, 0, "atk-F7 3000 reports about noise keep their structure");
}

static void
test_refused(void)
{
	struct buf rcpts = BUF_INIT(50000);
	struct dsn_text t;
	struct dsn d = dsn_base();

	dsn_text_init(&t);
	ok(dsn_write(&d, &t) < 0, "no recipient, no report");
	put_rcpt(&rcpts, 0, &cases[0].rcpts[0]);
	d.rcpts = view_first(buf_view(&rcpts), buf_len(&rcpts) - 1);
	ok(dsn_write(&d, &t) < 0, "a damaged recipient, no report");
	d.rcpts = buf_view(&rcpts);
	for (uint8_t kind = 0; kind < 6; kind++) {
		d.kind = kind;
		ok((dsn_write(&d, &t) == 0) == (kind >= REPORT_FAILED && kind <= REPORT_DELAYED),
		    "kind %u", kind);
	}
	dsn_text_free(&t);
	buf_free(&rcpts);
}

static void
test_many(void)
{
	struct buf rcpts = BUF_INIT(50000);
	struct case_rcpt r = cases[0].rcpts[0];
	struct dsn_text t;
	struct dsn d = dsn_base();
	uint32_t n = 0;

	while (!rcpts.bad && buf_len(&rcpts) < 49800)
		put_rcpt(&rcpts, n++, &r);
	d.rcpts = buf_view(&rcpts);
	dsn_text_init(&t);
	ok(dsn_write(&d, &t) == 0 && invariant(&t) == NULL, "atk-H8 one report for %u recipients", n);
	ok(n > 300 && count(buf_view(&t.message), "\r\n\r\nFinal-Recipient: ") == n,
	    "D11 one group each, an empty line between them (%zu bytes)", buf_len(&t.message));
	dsn_text_free(&t);
	buf_free(&rcpts);
}

static void
test_mailbox(void)
{
	static const char *const rows[][2] = {
		{ "alice@example.jp", "alice@example.jp" },
		{ "a.b+c@[192.0.2.1]", "a.b+c@[192.0.2.1]" },
		{ "x@[IPv6:2001:db8::1]", "x@[IPv6:2001:db8::1]" },
		{ "\"a b\"@example.jp", "\"a b\"@example.jp" },
		{ "\"a@b\"@example.jp", "\"a@b\"@example.jp" },
		{ "a..b@example.jp", "\"a..b\"@example.jp" },
		{ ".a@example.jp", "\".a\"@example.jp" },
		{ "a,b@example.jp", "\"a,b\"@example.jp" },
		{ "a\"b@example.jp", "\"a\\\"b\"@example.jp" },
		{ "\"a\"b\"@example.jp", "\"\\\"a\\\"b\\\"\"@example.jp" },
		{ "\"a\\\"@example.jp", "\"\\\"a\\\\\\\"\"@example.jp" },
		{ "a(c)@example.jp", "\"a(c)\"@example.jp" },
		{ "alice", "=?utf-8?Q?alice?= :;" },
		{ "@example.jp", "=?utf-8?Q?=40example=2Ejp?= :;" },
		{ "a@b>,evil@example.jp", "\"a@b>,evil\"@example.jp" },
		{ "a@ex>ample.jp", "=?utf-8?Q?a=40ex=3Eample=2Ejp?= :;" },
		{ UTF8_ADDR, "=?utf-8?Q?=E5=95=8F=40example=2Ejp?= :;" },
		{ "", "=?utf-8?Q?=3F?= :;" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = BUF_INIT(4096);
		encode_mailbox(&b, view_str(rows[i][0]));
		is_view(buf_view(&b), rows[i][1], "To: of %zu", i);
		buf_free(&b);
	}
}

static void
test_text(void)
{
	struct buf b = BUF_INIT(65536);

	encode_quoted_printable(&b, VIEW(".a = b \r\n\tx\xff\r\r\n"));
	is_view(buf_view(&b), "=2Ea =3D b=20\r\n=09x=FF=0D\r\n", "quoted-printable");
	buf_clear(&b);
	encode_quoted_printable(&b, VIEW(LONG_WORD "\r\n"));
	is_int(view_index(buf_view(&b), '='), ENCODE_WIDTH - 1, "... soft line ends");
	buf_clear(&b);
	encode_field(&b, VIEW("a  b "), 10);
	is_view(buf_view(&b), "a b", "field text");
	buf_clear(&b);
	encode_field(&b, VIEW("aaaa " LONG_WORD), 10);
	is_view(buf_view(&b), "aaaa\r\n " LONG_WORD, "... folded");
	buf_clear(&b);
	encode_typed_addr(&b, VIEW("rfc822"), VIEW("\xe7\x94\xb0+\\=@x"));
	is_view(buf_view(&b), "utf-8; \\x{7530}\\x{2B}\\x{5C}\\x{3D}@x", "utf-8-addr-xtext");
	buf_free(&b);
}

static int
emit(const char *dir)
{
	for (size_t i = 0; i < CASES; i++) {
		struct dsn_text t;
		char path[4096];
		snprintf(path, sizeof(path), "%s/%s.eml", dir, cases[i].name);
		FILE *f = fopen(path, "w");
		dsn_text_init(&t);
		if (f == NULL || write_case(&cases[i], &t) < 0)
			return 1;
		struct view v = buf_view(&t.message);
		fwrite(v.p, 1, v.n, f);
		fclose(f);
		dsn_text_free(&t);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--emit") == 0)
		return emit(argv[2]);
	test_cases();
	test_noise();
	test_refused();
	test_many();
	test_mailbox();
	test_text();
	return done_testing();
}
