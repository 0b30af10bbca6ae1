/* SPDX-License-Identifier: ISC */
/* Both messages of a SCRAM client, a line feed between them: what is signed is what was said. */
#include <string.h>

#include "lib/addr.h"
#include "smtpd/scram.h"
#include "t/fuzz/fuzz.h"

static const char nonce[] = "0123456789abcdefghijklmn";

static void
second(struct scram *s, struct view final)
{
	struct buf challenge = BUF_INIT(4096);
	size_t before = buf_len(&s->message);

	scram_challenge(s, VIEW("0123456789abcdef"), 4096, &challenge);
	REQUIRE(buf_len(&s->message) == before + 1 + buf_len(&challenge));
	size_t known = buf_len(&s->message);
	if (scram_final(s, final) == SCRAM_GOOD) {
		/* All of it but the proof is signed. */
		struct view added = view_skip(buf_view(&s->message), known + 1);
		REQUIRE(view_eq(added, view_first(final, added.n)));
		REQUIRE(view_starts(view_skip(final, added.n), ",p="));
	}
	buf_free(&challenge);
}

void
fuzz_one(struct view in)
{
	struct view final = in;
	struct view first = view_cut(&final, '\n');
	struct scram s;

	scram_init(&s);
	if (scram_first(&s, first, nonce) == SCRAM_GOOD) {
		struct view bare = buf_view(&s.message), whole = buf_view(&s.nonce);
		REQUIRE(buf_len(&s.gs2) + bare.n == first.n);
		REQUIRE(whole.n > SCRAM_NONCE_CHARS && whole.n <= SCRAM_NONCE_MAX + SCRAM_NONCE_CHARS);
		REQUIRE(view_is(view_skip(whole, whole.n - SCRAM_NONCE_CHARS), nonce));
		REQUIRE(memchr(buf_view(&s.user).p, '\0', buf_len(&s.user)) == NULL);
		second(&s, final);
	}
	scram_free(&s);
}
