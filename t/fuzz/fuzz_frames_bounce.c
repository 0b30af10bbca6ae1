/* SPDX-License-Identifier: ISC */
/* bounce and a qmgr that reports, and gives segments and files (ATTACKS I12). */
#include "t/fuzz/frames.h"

#define main daemon_main
#include "bounce/bounce.c"
#undef main

void
fuzz_one(struct view in)
{
	static const uint16_t types[] = { 0x06, 0x0d, 0 };
	static const char *const folders[] = { NULL };
	static struct frames f = { .roles = { ROLE_QMGR }, .count = 1, .types = types };

	if (f.d.loop == NULL) {
		frames_folder(folders);
		frames_start(&f, &spec, "hostname fuzz.test\n");
	}
	frames_one(&f, in);
}
