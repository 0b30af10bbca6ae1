/* SPDX-License-Identifier: ISC */
/* smtp, a qmgr that opens connections and delivers, a dnsd that answers (ATTACKS I12). */
#include "t/fuzz/frames.h"

#define main daemon_main
#include "smtp/smtp.c"
#undef main

void
fuzz_one(struct view in)
{
	static const uint16_t types[] = { 0x07, 0x0a, 0 };
	static const char *const folders[] = { NULL };
	static struct frames f = { .roles = { ROLE_QMGR, ROLE_DNSD }, .count = 2, .types = types };

	if (f.d.loop == NULL) {
		frames_folder(folders);
		frames_start(&f, &spec, "hostname fuzz.test\ndelivery { port 9; deny 0.0.0.0/0 ::/0 }\n");
	}
	frames_one(&f, in);
}
