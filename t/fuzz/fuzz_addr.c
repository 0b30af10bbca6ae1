/* SPDX-License-Identifier: ISC */
/* Paths, mailboxes, domains, xtext, base64, UTF-8: what is accepted is clean and reads back the same. */
#include <string.h>

#include "lib/addr.h"
#include "t/fuzz/fuzz.h"

static void
clean(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		REQUIRE((unsigned char)v.p[i] >= 0x20 && v.p[i] != 0x7f);
}

static void
path(struct view in, unsigned flags)
{
	struct addr a = { 0 }, again;
	struct view v = in;
	struct err e;

	if (addr_path(&v, flags, &a, &e) < 0)
		return;
	clean(addr_whole(&a));
	REQUIRE(a.local.n <= ADDR_LOCAL_MAX && a.domain.n <= ADDR_DOMAIN_MAX);
	if (a.local.n && a.domain.n) {
		REQUIRE(addr_parse(addr_whole(&a), flags, &again, &e) == 0);
		REQUIRE(view_eq(again.local, a.local) && view_eq(again.domain, a.domain));
	}
}

static void
codings(struct view in)
{
	struct buf a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20), c = BUF_INIT(1 << 20);

	base64_encode(in, &a);
	REQUIRE(base64_decode(buf_view(&a), &b) && view_eq(buf_view(&b), in));
	if (base64_decode(in, &c)) {
		buf_clear(&a);
		base64_encode(buf_view(&c), &a);
		REQUIRE(view_eq(buf_view(&a), in));
	}
	buf_clear(&a);
	if (xtext_decode(in, 1000, &a)) {
		clean(buf_view(&a));
		buf_clear(&b);
		buf_clear(&c);
		xtext_encode(buf_view(&a), &b);
		REQUIRE(xtext_decode(buf_view(&b), 1000, &c) && view_eq(buf_view(&c), buf_view(&a)));
	}
	buf_free(&a);
	buf_free(&b);
	buf_free(&c);
}

void
fuzz_one(struct view in)
{
	struct buf canon = BUF_INIT(1000), twice = BUF_INIT(1000);

	for (unsigned flags = 0; flags < 8; flags++)
		path(in, flags);
	codings(in);
	(void)utf8_valid(in);
	(void)domain_is_literal(in);
	if (domain_canonical(in, &canon)) {
		REQUIRE(domain_canonical(buf_view(&canon), &twice));
		REQUIRE(view_eq(buf_view(&canon), buf_view(&twice)));
		clean(buf_view(&canon));
	}
	buf_free(&canon);
	buf_free(&twice);
}
