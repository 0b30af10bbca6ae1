/* SPDX-License-Identifier: ISC */
#include <ctype.h>

#include "lib/addr.h"
#include "lib/token.h"
#include "t/tap.h"

static const struct token_secret secrets[TOKEN_SECRETS] = { { 7, 32, "seven seven seven seven seven 77" },
	{ 0, 0, "" }, { 200, 32, "two hundred two hundred two hun." } };
static const struct token example = { .qid = 0x0123456789abcdefu, .rcpt = 70000, .key_serial = 42,
	.last_day = 20800 };

static enum token_result
parse(struct view v, uint16_t today, struct token *t)
{
	return token_parse(secrets, TOKEN_SECRETS, v, today, t);
}

static void
test_round(void)
{
	struct buf b = BUF_INIT(100);
	struct token t = { 0 };
	struct addr a;

	token_make(&secrets[2], &example, &b);
	is_int((long long)buf_len(&b), TOKEN_CHARS, "A17 its length");
	ok(buf_len(&b) <= ADDR_LOCAL_MAX, "A17 fits a local part (RFC 5321, 4.5.3.1.1)");
	ok(token_like(buf_view(&b)), "looks like one");
	is_int(parse(buf_view(&b), 20800, &t), TOKEN_GOOD, "A17 good on its last day");
	ok(t.qid == example.qid && t.rcpt == example.rcpt && t.key_serial == example.key_serial &&
	    t.last_day == example.last_day, "A17 leads back to message, recipient and key");
	is_int(parse(buf_view(&b), 20801, &t), TOKEN_EXPIRED, "A17 expired the day after");
	buf_puts(&b, "@bounce.example");
	ok(addr_parse(buf_view(&b), 0, &a, NULL) == 0, "a valid mailbox");
	buf_truncate(&b, TOKEN_CHARS);
	for (size_t i = 0; i < TOKEN_CHARS; i++)
		b.p[b.off + i] = (char)toupper((unsigned char)b.p[b.off + i]);
	is_int(parse(buf_view(&b), 1, &t), TOKEN_GOOD, "A17 in capitals, as some hosts send it back");
	is_int(token_parse(secrets, 1, buf_view(&b), 1, &t), TOKEN_FORGED, "A17 a secret that is gone");
	buf_free(&b);
}

/* Any other character anywhere makes it another token, and nobody's. */
static void
test_forged(void)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyz234567";
	struct buf b = BUF_INIT(100);
	struct token t;
	unsigned good = 0, tried = 0;

	token_make(&secrets[0], &example, &b);
	for (size_t i = 0; i < TOKEN_CHARS; i++) {
		char was = b.p[b.off + i];
		for (const char *c = chars; *c; c++) {
			if (*c == was)
				continue;
			b.p[b.off + i] = *c;
			tried++;
			good += parse(buf_view(&b), 1, &t) == TOKEN_GOOD;
		}
		b.p[b.off + i] = was;
	}
	is_int(good, 0, "A17 none of %u changed tokens is good", tried);
	is_int(parse(buf_view(&b), 1, &t), TOKEN_GOOD, "the unchanged one is");
	static const char *const texts[] = { "", "b-", "postmaster", "b-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1",
		"c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "b-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"b-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		is_int(parse(view_str(texts[i]), 1, &t), TOKEN_MALFORMED, "malformed: \"%s\"", texts[i]);
	is_int(parse(VIEW("b-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 1, &t), TOKEN_FORGED,
	    "A17 well-formed, but made by nobody");
	struct token other = example;
	struct buf c = BUF_INIT(100);
	other.rcpt++;
	token_make(&secrets[0], &other, &c);
	ok(!view_eq(buf_view(&b), buf_view(&c)), "A17 each recipient has its own");
	buf_free(&b);
	buf_free(&c);
}

int
main(void)
{
	test_round();
	test_forged();
	return done_testing();
}
