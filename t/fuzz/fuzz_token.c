/* SPDX-License-Identifier: ISC */
/* Return addresses: what is taken for good is what we made, character for character (but letter case). */
#include <ctype.h>

#include "lib/token.h"
#include "t/fuzz/fuzz.h"

void
fuzz_one(struct view in)
{
	static const struct token_secret secrets[] = { { 'a', 8, "testtest" }, { 1, 0, "" } };
	struct token t;
	enum token_result r = token_parse(secrets, 2, in, 100, &t);
	struct buf again = BUF_INIT(100);

	REQUIRE((r == TOKEN_MALFORMED) == !token_like(in));
	if (r == TOKEN_GOOD || r == TOKEN_EXPIRED) {
		token_make(&secrets[0], &t, &again);
		REQUIRE(view_ieq(buf_view(&again), in));
		REQUIRE((t.last_day < 100) == (r == TOKEN_EXPIRED));
	}
	/* What we make of any numbers comes back. */
	t = (struct token){ view_get_u64(&in), view_get_u32(&in), view_get_u32(&in), view_get_u16(&in) };
	struct token back;
	buf_clear(&again);
	token_make(&secrets[0], &t, &again);
	r = token_parse(secrets, 2, buf_view(&again), t.last_day, &back);
	REQUIRE(r == TOKEN_GOOD && back.qid == t.qid && back.rcpt == t.rcpt &&
	    back.key_serial == t.key_serial && back.last_day == t.last_day);
	buf_free(&again);
}
