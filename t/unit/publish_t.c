/* SPDX-License-Identifier: ISC */
/* DNS records to publish, as a zone file has them (A11, G9, G10, G12, J14). */
#include <stdio.h>

#include "mtactl/publish.h"
#include "t/tap.h"

static void
on_record(void *ctx, const char *purpose, const char *name, const char *type, const char *data,
    const char *only_if)
{
	buf_printf(ctx, "[%s] ", purpose);
	publish_zone_line(name, type, data, only_if, ctx);
}

static bool
has(const struct buf *b, const char *text)
{
	struct buf copy = BUF_INIT(1 << 20);

	buf_putv(&copy, buf_view(b));
	bool found = strstr(buf_cstr(&copy), text) != NULL;
	buf_free(&copy);
	return found;
}

static void
test_records(void)
{
	struct buf out = BUF_INIT(1 << 20);
	struct publish p = {.hostname = "mx.example.jp",
	    .spf_name = "_spf.example.jp",
	    .ctx = &out,
	    .record = on_record};
	struct publish_domain d = {
	    .name = "a.example", .txt_name = "_c.a.example", .txt_value = "v=\"1\\2\""};

	ok(publish_add_address(&p, VIEW("192.0.2.7")) &&
		publish_add_address(&p, VIEW("2001:db8::25")),
	    "addresses");
	ok(!publish_add_address(&p, VIEW("192.0.2.0/24")) &&
		!publish_add_address(&p, VIEW("mx.example")) && !publish_add_address(&p, VIEW("")),
	    "nothing else");
	publish_domain(&p, &d);
	publish_host(&p);
	ok(has(&out, "[verification] _c.a.example. IN TXT \"v=\\\"1\\\\2\\\"\"\n"),
	    "G2 quotes are escaped");
	ok(has(&out, "[spf] a.example. IN TXT \"v=spf1 include:_spf.example.jp ~all\"\n"),
	    "A11 G9 the include form");
	ok(has(&out, "[spf-narrow] ; if ") &&
		has(&out, "\n; a.example. IN TXT \"v=spf1 ip4:192.0.2.7 ip6:2001:db8::25 ~all\"\n"),
	    "A11 J14 the narrow form, as a comment: two SPF records are an error (RFC 7208, 4.5)");
	ok(has(&out, "[mx] ; if ") && has(&out, "; a.example. IN MX 10 mx.example.jp.\n"),
	    "G10 MX is conditional");
	ok(has(&out, "[dmarc] _dmarc.a.example. IN TXT \"v=DMARC1; p=none; "), "G12 DMARC");
	ok(has(&out, "[spf-included] _spf.example.jp. IN TXT \"v=spf1 ip4:192.0.2.7 "
		     "ip6:2001:db8::25 -all\"\n"),
	    "A11 what is included");
	ok(has(&out, "[ptr] 7.2.0.192.in-addr.arpa. IN PTR mx.example.jp.\n") &&
		has(&out,
		    "[ptr] "
		    "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. "
		    "IN PTR mx.example.jp.\n"),
	    "G12 J14 PTR");
	ok(has(&out, "[host] mx.example.jp. IN A 192.0.2.7\n") &&
		has(&out, "[host] mx.example.jp. IN AAAA 2001:db8::25\n"),
	    "the addresses of the name");
	buf_clear(&out);
	d.hosted = true;
	*d.txt_name = '\0';
	publish_domain(&p, &d);
	ok(has(&out, "[mx] a.example. IN MX 10 mx.example.jp.\n"), "G10 MX of a hosted domain");
	ok(!has(&out, "verification"), "G2 a verified domain needs no more proof");
	buf_free(&out);
}

static void
test_long_text(void)
{
	struct buf out = BUF_INIT(1 << 16);
	char text[700];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	text[255] = 'y';
	publish_zone_line("k._domainkey.a.example", "TXT", text, "", &out);
	ok(has(&out, "x\" \"yx"), "a string holds 255 bytes (RFC 1035, 3.3.14)");
	ok(has(&out, " IN TXT ( \"x") && has(&out, "x\" )\n"), "several are in parentheses");
	struct view rest = buf_view(&out);
	size_t strings = 0, longest = 0;
	for (view_cut(&rest, '"'); rest.n; view_cut(&rest, '"'), strings++) {
		size_t n = view_cut(&rest, '"').n;
		longest = n > longest ? n : longest;
	}
	ok(strings == 3 && longest == 255, "%zu strings of up to %zu", strings, longest);
	text[255] = '\0';
	buf_clear(&out);
	publish_zone_line("n.example", "TXT", text, "", &out);
	ok(!has(&out, "("), "255 bytes are one string");
	struct publish p = {.hostname = ""};
	for (int i = 0; i < PUBLISH_ADDRESSES_MAX; i++)
		publish_add_address(&p, VIEW("192.0.2.1"));
	ok(!publish_add_address(&p, VIEW("192.0.2.1")), "the number of addresses has a limit");
	buf_free(&out);
}

int
main(void)
{
	test_records();
	test_long_text();
	return done_testing();
}
