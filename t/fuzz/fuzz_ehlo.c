/* SPDX-License-Identifier: ISC */
/* What a server says to EHLO, and the commands that are made for it (ATTACKS G3, G14). */
#include "lib/reply.h"
#include "smtp/ehlo.h"
#include "smtp/verb.h"
#include "t/fuzz/fuzz.h"

/* One line, ended by CRLF, without another control byte. */
static void
is_command(const struct buf *b, bool made)
{
	struct view v = buf_view(b);

	if (!made) {
		REQUIRE(v.n == 0);
		return;
	}
	REQUIRE(v.n >= 2 && v.n <= VERB_MAX + 2u && v.p[v.n - 2] == '\r' && v.p[v.n - 1] == '\n');
	for (size_t i = 0; i + 2 < v.n; i++)
		REQUIRE((unsigned char)v.p[i] >= 0x20 && v.p[i] != 0x7f);
}

static void
capabilities(struct view in)
{
	struct reply r;
	struct caps c;
	struct err e;

	ehlo_parse(in, &c); /* as it never comes: with control bytes in it */
	reply_init(&r);
	if (reply_parse(&r, &in, &e) == REPLY_DONE)
		ehlo_parse(buf_view(&r.text), &c);
	reply_free(&r);
}

static void
commands(struct view in)
{
	struct view a = view_cut(&in, '|'), b = view_cut(&in, '|'), c = in;
	struct buf out = BUF_INIT(1 << 20);

	is_command(&out, verb_arg(&out, "EHLO", a));
	buf_clear(&out);
	is_command(&out, verb_mail(&out, &(struct verb_mail){ .sender = a, .envid = b, .size_given = true,
					     .eight_bit = true, .utf8 = true, .ret = 1 }));
	buf_clear(&out);
	is_command(&out, verb_rcpt(&out, &(struct verb_rcpt){ .rcpt = a, .orcpt = b, .notify = 7 }));
	buf_clear(&out);
	is_command(&out, verb_auth_plain(&out, a, c));
	buf_clear(&out);
	is_command(&out, verb_auth_text(&out, c));
	buf_free(&out);
}

void
fuzz_one(struct view in)
{
	capabilities(in);
	commands(in);
}
