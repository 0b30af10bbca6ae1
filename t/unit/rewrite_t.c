/* SPDX-License-Identifier: ISC */
/* Envelope senders: what may be written, and what comes out (C19-C22). */
#include "lib/rewrite.h"
#include "t/tap.h"

static void
test_parse(void)
{
	static const struct {
		const char *text;
		int mode; /* -1: refused */
		const char *to;
	} rows[] = {
	    {"keep", REWRITE_KEEP, ""},
	    {"@Example.JP", REWRITE_DOMAIN, "example.jp"},
	    {"bounce+x@Example.JP", REWRITE_FIXED, "bounce+x@example.jp"},
	    {"\"a b\"@example.jp", REWRITE_FIXED, "\"a b\"@example.jp"},
	    {"", -1, NULL},
	    {"Keep", -1, NULL},
	    {"@", -1, NULL},
	    {"a@", -1, NULL},
	    {"example.jp", -1, NULL},
	    {"a@b@c", -1, NULL},
	    {"@[192.0.2.1]", -1, NULL},
	    {"a@[192.0.2.1]", -1, NULL},
	    {"<a@example.jp>", -1, NULL},
	    {"a@example.jp ", -1, NULL},
	};
	struct buf back = BUF_INIT(ADDR_MAX);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rewrite r = {.mode = REWRITE_UNSET};
		bool good = rewrite_parse(view_str(rows[i].text), &r);
		ok(good == (rows[i].mode >= 0), "C19 C20 C22 \"%s\"", rows[i].text);
		if (!good)
			continue;
		ok((int)r.mode == rows[i].mode && !strcmp(r.to, rows[i].to), "is %s", r.to);
		buf_clear(&back);
		rewrite_print(r.mode, r.to, &back);
		struct rewrite again;
		ok(rewrite_parse(buf_view(&back), &again) && again.mode == r.mode &&
			!strcmp(again.to, r.to),
		    "and is written so that it is read: %s", buf_cstr(&back));
	}
	buf_free(&back);
}

static void
test_apply(void)
{
	static const struct {
		const char *rule, *sender, *want; /* NULL: kept */
	} rows[] = {
	    {"keep", "u@a.example", NULL},
	    {"b@c.example", "u@a.example", "b@c.example"},
	    {"@c.example", "u@a.example", "u@c.example"},
	    {"@c.example", "\"x@y\"@a.example", "\"x@y\"@c.example"},
	    {"@c.example", "postmaster", NULL},
	};
	struct buf out = BUF_INIT(4 * ADDR_MAX), longest = BUF_INIT(ADDR_MAX);
	struct rewrite r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(&out);
		ok(rewrite_parse(view_str(rows[i].rule), &r), "rule %s", rows[i].rule);
		bool changed = rewrite_apply(r.mode, r.to, view_str(rows[i].sender), &out);
		ok(changed == (rows[i].want != NULL) &&
			(!changed || view_is(buf_view(&out), rows[i].want)),
		    "C19 C20 C22 %s by %s: %s", rows[i].sender, rows[i].rule, buf_cstr(&out));
	}
	ok(!rewrite_apply(REWRITE_UNSET, "", VIEW("u@a.example"), &out), "nothing set: kept");
	for (int i = 0; i < 310; i++)
		buf_putc(&longest, 'l');
	buf_puts(&longest, "@a.jp");
	ok(!rewrite_apply(REWRITE_DOMAIN, "longer.example", buf_view(&longest), &out),
	    "too long: kept");
	buf_free(&out);
	buf_free(&longest);
}

int
main(void)
{
	test_parse();
	test_apply();
	return done_testing();
}
