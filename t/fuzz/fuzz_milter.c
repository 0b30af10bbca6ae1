/* SPDX-License-Identifier: ISC */
/* What a milter sends: negotiation, then answers. Lengths hold, texts are clean, edits come with leave only (J16). */
#include <string.h>

#include "smtpd/milter_proto.h"
#include "t/fuzz/fuzz.h"

/* What is kept until the end of the message is what was taken. */
static void
kept(const struct milter_packet *p)
{
	struct buf b = BUF_INIT(MILTER_FRAME_MAX);
	struct milter_packet again;

	milter_put(&b, p->command, p->data);
	struct view v = buf_view(&b);
	REQUIRE(!b.bad && milter_take(&v, &again) == MILTER_TAKEN && v.n == 0);
	REQUIRE(again.command == p->command && view_eq(again.data, p->data));
	buf_free(&b);
}

static void
answered(const struct milter_packet *p, uint32_t actions)
{
	struct milter_response r;

	if (!milter_response_get(p, actions, &r))
		return;
	if (r.meaning == MILTER_EDIT) {
		REQUIRE(actions);
		REQUIRE(r.name.p && r.name.n <= p->data.n && r.value.n <= p->data.n);
	} else if (r.meaning == MILTER_REPLY) {
		REQUIRE(r.code >= 400 && r.code <= 599 && strlen(r.text) < MILTER_REPLY_MAX);
		REQUIRE(r.esc.class == 0 || r.esc.class == r.code / 100);
		for (const char *c = r.text; *c; c++)
			REQUIRE(*c >= 0x20 && *c < 0x7f);
	}
}

void
fuzz_one(struct view in)
{
	struct milter_terms t = { 0 };
	struct milter_packet p;

	for (bool first = true; milter_take(&in, &p) == MILTER_TAKEN; first = false) {
		REQUIRE(p.data.n < MILTER_PACKET_MAX);
		kept(&p);
		if (!first) {
			answered(&p, t.actions);
			continue;
		}
		if (!milter_terms_get(&p, &t))
			return;
		REQUIRE(t.version >= MILTER_VERSION_MIN && t.version <= MILTER_VERSION);
		REQUIRE(!(t.actions & ~MILTER_ACTIONS) && !(t.steps & ~MILTER_STEPS));
	}
}
