/* SPDX-License-Identifier: ISC */
/* Frames of every channel: the first two bytes choose the message, the rest is its body (ATTACKS I12). */
#include "lib/ipc.h"
#include "t/fuzz/fuzz.h"

void
fuzz_one(struct view in)
{
	_Alignas(16) char m[4096];
	size_t count;
	const struct ipc_desc *const *all = ipc_all(&count);
	struct buf out = BUF_INIT(1 << 20);
	const struct ipc_desc *d = all[view_get_u16(&in) % count];

	if (!view_bad(in) && ipc_get(d, in, m)) {
		ipc_put(&out, d, m);
		REQUIRE(!out.bad && view_eq(buf_view(&out), in));
		buf_clear(&out);
		ipc_print(&out, d, m);
		for (size_t i = 0; i < buf_len(&out); i++)
			REQUIRE(buf_view(&out).p[i] >= 0x20 && buf_view(&out).p[i] < 0x7f);
	}
	if (!view_bad(in) && d->type == 0)
		while (ipc_next(d, &in, m))
			;
	buf_free(&out);
}
