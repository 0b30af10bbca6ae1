/* SPDX-License-Identifier: ISC */
/* The configuration: no input crashes the parser; what is accepted prints as text that reads back equal. */
#include "lib/conf.h"
#include "t/fuzz/fuzz.h"

void
fuzz_one(struct view in)
{
	struct buf errors = BUF_INIT(1 << 20), once = BUF_INIT(1 << 20), twice = BUF_INIT(1 << 20);
	struct conf *c = conf_read_text(view_first(in, 65536), "fuzz", &errors);

	if (c) {
		conf_print(c, true, &once);
		buf_clear(&errors);
		struct conf *d = conf_read_text(buf_view(&once), "printed", &errors);
		REQUIRE(d != NULL);
		conf_print(d, true, &twice);
		REQUIRE(view_eq(buf_view(&once), buf_view(&twice)));
		conf_free(&d);
	} else {
		REQUIRE(buf_len(&errors) > 0);
	}
	conf_free(&c);
	buf_free(&errors);
	buf_free(&once);
	buf_free(&twice);
}
