/* SPDX-License-Identifier: ISC */
/*
 * Canonical forms: however a message is cut into pieces, its hashes are those of the whole, in each form, and the
 * field that comes out is one well-formed field. The first bytes choose form and pieces.
 */
#include <string.h>

#include <openssl/evp.h>

#include "lib/dkim.h"
#include "t/fuzz/fuzz.h"

static void
body_hash(struct view v, enum dkim_canon canon, struct view cuts, uint8_t hash[static DKIM_HASH])
{
	struct dkim_body b;

	dkim_body_init(&b, canon);
	for (size_t i = 0; v.n; i++) {
		size_t step = cuts.n ? (unsigned char)cuts.p[i % cuts.n] % 40 + 1u : v.n;
		struct view piece = view_first(v, step);
		/* A copy of its own: reading beyond it is seen. */
		char *copy = x_malloc(piece.n);
		memcpy(copy, piece.p, piece.n);
		dkim_body_put(&b, view_of(copy, piece.n));
		free(copy);
		v = view_skip(v, piece.n);
	}
	REQUIRE(dkim_body_end(&b, hash));
}

/* The canonical form of a body is its own canonical form: blanks and line ends at the end do not count. */
static void
check_body(struct view body, struct view cuts)
{
	uint8_t whole[DKIM_HASH], parts[DKIM_HASH], more[DKIM_HASH];

	for (int canon = DKIM_SIMPLE; canon <= DKIM_RELAXED; canon++) {
		struct buf longer = BUF_INIT(1 << 20);
		body_hash(body, canon, VIEW(""), whole);
		body_hash(body, canon, cuts, parts);
		REQUIRE(memcmp(whole, parts, DKIM_HASH) == 0);
		buf_putv(&longer, body);
		if (body.n == 0 || body.p[body.n - 1] != '\r')
			buf_puts(&longer, "\r\n");
		else
			buf_puts(&longer, "\n");
		bool ended = body.n >= 1 && body.p[body.n - 1] == '\r';
		buf_puts(&longer, canon == DKIM_RELAXED ? " \t\r\n\r\n" : "\r\n\r\n");
		body_hash(buf_view(&longer), canon, cuts, more);
		REQUIRE(ended || memcmp(whole, more, DKIM_HASH) == 0);
		buf_free(&longer);
	}
}

static void
put_header(struct dkim_fields *f, struct view header)
{
	struct view fields[64];
	size_t n = 0;

	while (header.n && n < 64) {
		const char *end = memmem(header.p, header.n, "\r\n", 2);
		size_t len = end ? (size_t)(end + 2 - header.p) : header.n;
		fields[n++] = view_first(header, len);
		header = view_skip(header, len);
	}
	while (n--) {
		struct view rest = fields[n];
		dkim_fields_put(f, view_cut(&rest, ':'), fields[n]);
	}
}

/* Printable, folded by CRLF and a blank, CRLF at the end. */
static void
check_field(struct view v)
{
	REQUIRE(view_starts(v, "DKIM-Signature: v=1; a="));
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '\r')
			REQUIRE(i + 1 < v.n && v.p[i + 1] == '\n' &&
			    (i + 2 == v.n || v.p[i + 2] == ' ' || v.p[i + 2] == '\t'));
		else if (v.p[i] == '\n')
			REQUIRE(i && v.p[i - 1] == '\r');
	}
	REQUIRE(v.p[v.n - 1] == '\n');
	/* v a c d s t x h bh b: no more tags than ours. */
	size_t tags = 1;
	for (size_t i = 0; i < v.n; i++)
		tags += v.p[i] == ';';
	REQUIRE(tags == 10);
}

static void
check_header(struct view header, uint8_t choice)
{
	static const char *const over[] = { "from", "to", "subject" };
	struct dkim_rules r = { choice & 1, DKIM_SIMPLE, (choice & 2) != 0, { over, 1 }, { over, 3 }, 60 };
	struct dkim_signature s = { VIEW("a.test"), VIEW("s"), DKIM_RSA_SHA256, 1 };
	uint8_t hash[DKIM_HASH] = { 0 }, digest[DKIM_HASH], again[DKIM_HASH];
	struct buf out = BUF_INIT(DKIM_FIELD_MAX), twice = BUF_INIT(DKIM_FIELD_MAX);
	struct dkim_fields f;
	struct err e;

	dkim_fields_init(&f, &r);
	put_header(&f, header);
	if (dkim_fields_end(&f, &e) == 0) {
		REQUIRE(dkim_field_begin(&f, &s, hash, &out, digest, &e) == 0);
		/* The second algorithm starts from the same header. */
		REQUIRE(dkim_field_begin(&f, &s, hash, &twice, again, &e) == 0);
		REQUIRE(memcmp(digest, again, DKIM_HASH) == 0);
		dkim_field_end(&out, view_of(digest, sizeof(digest)));
		check_field(buf_view(&out));
	}
	dkim_fields_free(&f);
	buf_free(&out);
	buf_free(&twice);
}

void
fuzz_one(struct view in)
{
	if (in.n < 8)
		return;
	struct view cuts = view_skip(view_first(in, 8), 1), message = view_skip(in, 8);
	const char *empty = message.n ? memmem(message.p, message.n, "\r\n\r\n", 4) : NULL;
	size_t header = empty ? (size_t)(empty + 2 - message.p) : 0;

	check_header(view_first(message, header ? header : message.n), (uint8_t)in.p[0]);
	check_body(view_skip(message, header ? header + 2 : 0), cuts);
	check_body(message, cuts);
}
