/* SPDX-License-Identifier: ISC */
#include "lib/addr.h"
#include "t/tap.h"

static char big[1024];

/* n times c, in a buffer of this file. */
static const char *
times(char *at, char c, size_t n)
{
	memset(at, c, n);
	at[n] = '\0';
	return at;
}

struct path_row {
	const char *in;
	unsigned flags;
	const char *whole; /* NULL: refused */
	const char *rest;
	const char *name;
};

static void
test_paths(void)
{
	static const struct path_row rows[] = {
		{ "<a@b.example>", 0, "a@b.example", "", "plain" },
		{ "<A.b+c@Example.COM> SIZE=1", 0, "A.b+c@Example.COM", " SIZE=1", "S02 case is kept" },
		{ "<>", ADDR_NULL, "", "", "S08 null reverse-path" },
		{ "<>", 0, NULL, NULL, "null is not a recipient" },
		{ "<@r1.example,@r2.example:a@b.example>", 0, "a@b.example", "", "S10 source route" },
		{ "<@r1.example:a@b.example>", 0, "a@b.example", "", "S10 one hop" },
		{ "<@r1.example,:a@b.example>", 0, NULL, NULL, "route with an empty hop" },
		{ "<@:a@b.example>", 0, NULL, NULL, "route without a name" },
		{ "<@r1.example>", 0, NULL, NULL, "route without a mailbox" },
		{ "<\"a b\"@c.example>", 0, "\"a b\"@c.example", "", "S09 quoted blank" },
		{ "<\"a\\\"<>@ b\"@c.example>x", 0, "\"a\\\"<>@ b\"@c.example", "x", "S09 escapes" },
		{ "<\"\"@c.example>", 0, "\"\"@c.example", "", "empty quoted string" },
		{ "<\"a@c.example>", 0, NULL, NULL, "quote without end" },
		{ "<\"a\\", 0, NULL, NULL, "escape without end" },
		{ "<\"a\r\n\"@c.example>", 0, NULL, NULL, "atk-G3 CRLF in a quoted string" },
		{ "<a@[192.0.2.1]>", 0, "a@[192.0.2.1]", "", "S12 IPv4 literal" },
		{ "<a@[IPv6:2001:db8::1]>", 0, "a@[IPv6:2001:db8::1]", "", "S12 IPv6 literal" },
		{ "<a@[ipv6:::1]>", 0, "a@[ipv6:::1]", "", "S12 IPv6 tag in any case" },
		{ "<a@[192.0.2.256]>", 0, NULL, NULL, "S12 not an address" },
		{ "<a@[2001:db8::1]>", 0, NULL, NULL, "S12 IPv6 without tag" },
		{ "<a@[]>", 0, NULL, NULL, "S12 empty literal" },
		{ "<Postmaster>", ADDR_POSTMASTER, "Postmaster", "", "S11 postmaster" },
		{ "<postmaster>", 0, NULL, NULL, "postmaster only where allowed" },
		{ "<joe>", ADDR_POSTMASTER, NULL, NULL, "U03 no domain" },
		{ "<a@b.example", 0, NULL, NULL, "no closing bracket" },
		{ "a@b.example", 0, NULL, NULL, "no brackets" },
		{ "< a@b.example>", 0, NULL, NULL, "blank inside" },
		{ "<a@b.example >", 0, NULL, NULL, "blank before the bracket" },
		{ "<.a@b.example>", 0, NULL, NULL, "leading dot" },
		{ "<a.@b.example>", 0, NULL, NULL, "trailing dot" },
		{ "<a..b@b.example>", 0, NULL, NULL, "two dots" },
		{ "<a@b..example>", 0, NULL, NULL, "empty label" },
		{ "<a@b.example.>", 0, NULL, NULL, "dot at the end of the domain" },
		{ "<a@-b.example>", 0, NULL, NULL, "hyphen at the front" },
		{ "<a@b-.example>", 0, NULL, NULL, "hyphen at the end" },
		{ "<a@b@c.example>", 0, NULL, NULL, "two at signs" },
		{ "<a@b_c.example>", 0, NULL, NULL, "underscore" },
		{ "<\xc3\xa4@b.example>", 0, NULL, NULL, "P11 UTF-8 without the parameter" },
		{ "<\xc3\xa4@\xc3\xa4.example>", ADDR_UTF8, "\xc3\xa4@\xc3\xa4.example", "", "UTF-8" },
		{ "<\xc3@b.example>", ADDR_UTF8, NULL, NULL, "P11 atk-C21 invalid UTF-8" },
		{ "<${run{/bin/sh}}@b.example>", 0, "${run{/bin/sh}}@b.example", "", "atk-C4 just text" },
		{ "<;sh x;@b.example>", 0, NULL, NULL, "atk-E11 not an atom" },
		{ "<", 0, NULL, NULL, "one bracket" },
		{ "", 0, NULL, NULL, "nothing" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct path_row *r = &rows[i];
		struct view v = view_str(r->in);
		struct addr a;
		struct err e = { 0 };
		int rc = addr_path(&v, r->flags, &a, &e);
		if (r->whole == NULL) {
			ok(rc < 0 && e.esc.class == 5 && e.text[0], "path refused: %s", r->name);
			is_view(v, r->in, "input untouched: %s", r->name);
		} else {
			is_view(rc == 0 ? addr_whole(&a) : VIEW("(refused)"), r->whole, "path: %s", r->name);
			is_view(v, r->rest, "rest: %s", r->name);
		}
	}
}

static void
test_limits(void)
{
	char local[80], label[80];
	struct addr a;

	for (size_t n = 63; n <= 65; n++) {
		snprintf(big, sizeof(big), "%s@b.example", times(local, 'x', n));
		is_int(addr_parse(view_str(big), 0, &a, NULL), n <= 64 ? 0 : -1,
		    "S19 local part of %zu octets", n);
	}
	for (size_t n = 62; n <= 64; n++) {
		snprintf(big, sizeof(big), "%s.example", times(label, 'x', n));
		is_int(domain_valid(view_str(big), false), n <= 63, "label of %zu octets", n);
	}
	for (size_t n = 254; n <= 256; n++) {
		for (size_t i = 0; i < n; i++)
			big[i] = i % 50 == 49 ? '.' : 'x';
		is_int(domain_valid(view_of(big, n), false), n <= 255, "S19 domain of %zu octets", n);
	}
	for (size_t n = 255; n <= 258; n++) {
		snprintf(big, sizeof(big), "<%s@", times(local, 'x', 64));
		for (size_t i = strlen(big); i < n - 1; i++)
			big[i] = i % 50 == 49 ? '.' : 'x';
		big[n - 1] = '>';
		struct view v = view_of(big, n);
		is_int(addr_path(&v, 0, &a, NULL), n <= 256 ? 0 : -1, "S19 path of %zu octets", n);
	}
}

static void
test_canonical(void)
{
	static const struct {
		const char *in, *out;
	} rows[] = { { "Example.COM", "example.com" }, { "example.com.", "example.com" },
		{ "B\xc3\xbc" "cher.Example", "xn--bcher-kva.example" },
		{ "b\xc3\xbc" "cher.example", "xn--bcher-kva.example" },
		{ "XN--BCHER-KVA.example", "xn--bcher-kva.example" },
		{ "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.jp", "xn--wgv71a119e.jp" }, { "", NULL },
		{ ".", NULL }, { "a..b", NULL }, { "a..", NULL }, { "a b", NULL }, { "\xff.jp", NULL },
		{ "[192.0.2.1]", NULL } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = BUF_INIT(300);
		bool good = domain_canonical(view_str(rows[i].in), &b);
		if (rows[i].out)
			is_view(good ? buf_view(&b) : VIEW("(refused)"), rows[i].out, "atk-E5 canonical %zu", i);
		else
			ok(!good, "atk-E5 not a domain %zu", i);
		buf_free(&b);
	}
	struct buf b = BUF_INIT(300);
	ok(!domain_canonical(view_of("a\0b", 3), &b), "atk-E5 NUL in a domain");
	ok(!domain_canonical(view_of("\xc3\xa4\0b", 4), &b), "atk-E5 NUL behind 8-bit");
	buf_free(&b);
}

static void
test_xtext(void)
{
	static const struct {
		const char *in, *out;
	} rows[] = { { "abc", "abc" }, { "a+2Bb", "a+b" }, { "a+3Db@", "a=b@" }, { "", "" },
		{ "a+2", NULL }, { "a+", NULL }, { "+2b", NULL }, { "a b", NULL }, { "a=b", NULL },
		{ "a+0Ab", NULL }, { "a+0Db", NULL }, { "a+00b", NULL }, { "a+7F", NULL },
		{ "\xc3\xa4", NULL }, { "a+GG", NULL } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = BUF_INIT(100), back = BUF_INIT(100);
		bool good = xtext_decode(view_str(rows[i].in), 50, &b);
		if (rows[i].out)
			is_view(good ? buf_view(&b) : VIEW("(bad)"), rows[i].out, "A06 xtext %zu", i);
		else
			ok(!good, "atk-C7 atk-C9 xtext refused %zu", i);
		if (rows[i].out) {
			xtext_encode(buf_view(&b), &back);
			is_view(buf_view(&back), rows[i].in, "xtext encodes back %zu", i);
		}
		buf_free(&b);
		buf_free(&back);
	}
	struct buf b = BUF_INIT(100);
	ok(xtext_decode(view_str("abcde"), 5, &b) && !xtext_decode(view_str("abcdef"), 5, &b),
	    "the limit counts decoded octets");
	buf_free(&b);
}

static void
test_utf8(void)
{
	static const struct {
		const char *in;
		bool good;
	} rows[] = { { "plain", true }, { "\xc3\xa4", true }, { "\xe6\x97\xa5", true },
		{ "\xf0\x9f\x98\x80", true }, { "\xf4\x8f\xbf\xbf", true }, { "\xc0\x80", false },
		{ "\xc1\xbf", false }, { "\xe0\x80\x80", false }, { "\xed\xa0\x80", false },
		{ "\xf4\x90\x80\x80", false }, { "\xf5\x80\x80\x80", false }, { "\xf0\x80\x80\x80", false },
		{ "\x80", false }, { "\xc3", false }, { "\xe6\x97", false }, { "\xf0\x9f\x98", false },
		{ "\xc3\x28", false } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_int(utf8_valid(view_str(rows[i].in)), rows[i].good, "atk-C21 UTF-8 %zu", i);
}

/* Any bytes from this alphabet: no crash, the result stays inside the input, time is linear. */
static void
test_random(void)
{
	static const char alphabet[] = "a.@<>\"\\[]:, \t\r\n\0\xff\xc3\xa4IPv6-_1";
	uint32_t seed = 1;
	bool inside = true;

	for (int round = 0; round < 200000; round++) {
		size_t n = seed >> 8 & 31;
		char *p = x_malloc(n);
		for (size_t i = 0; i < n; i++) {
			seed = seed * 1664525u + 1013904223u;
			p[i] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
		}
		if (n)
			p[0] = '<';
		seed = seed * 1664525u + 1013904223u;
		struct view v = view_of(p, n);
		struct addr a;
		if (addr_path(&v, seed >> 20 & 7, &a, NULL) == 0) {
			struct view w = addr_whole(&a);
			inside &= w.n == 0 || (w.p > p && w.p + w.n < p + n);
			inside &= v.p + v.n == p + n;
		}
		free(p);
	}
	ok(inside, "atk-C18 random paths");
	for (size_t i = 0; i + 1 < sizeof(big); i += 2)
		memcpy(big + i, "<>", 2);
	struct view v = view_of(big, sizeof(big));
	struct addr a;
	ok(addr_path(&v, 0, &a, NULL) < 0, "atk-C18 <><><>");
}

int
main(void)
{
	test_paths();
	test_limits();
	test_canonical();
	test_xtext();
	test_utf8();
	test_random();
	return done_testing();
}
