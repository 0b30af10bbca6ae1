/* SPDX-License-Identifier: ISC */
/* DNS answers as dnsd reads them (ATTACKS G10): the first byte chooses the type asked for. */
#include "dnsd/answer.h"
#include "t/fuzz/fuzz.h"

void
fuzz_one(struct view in)
{
	static const uint16_t types[] = { TYPE_A, TYPE_PTR, TYPE_MX, TYPE_TXT, TYPE_AAAA };
	uint16_t type = types[in.n ? (unsigned char)in.p[0] % 5u : 0], pref;
	struct answer_name name;
	struct answer_record r;
	struct answer a;

	answer_open(&a, view_skip(in, 1), type);
	while (answer_next(&a, &r)) {
		struct buf text = BUF_INIT(4096);
		if (type == TYPE_MX)
			(void)answer_mx(&a, &r, &pref, &name);
		if (type == TYPE_PTR)
			(void)answer_ptr(&a, &r, &name);
		if (type == TYPE_TXT)
			(void)answer_txt(&r, &text);
		buf_free(&text);
	}
	if (answer_name_parse(in, &name)) {
		struct answer_name again;
		REQUIRE(answer_name_parse(view_str(name.text), &again));
		REQUIRE(view_is(view_str(again.text), name.text));
	}
}
