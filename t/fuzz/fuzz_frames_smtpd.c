/* SPDX-License-Identifier: ISC */
/* smtpd and its helpers (ATTACKS I12). */
#include "t/fuzz/frames.h"

#define main daemon_main
#include "smtpd/smtpd.c"
#undef main

void
fuzz_one(struct view in)
{
	static const uint16_t types[] = { 0x04, 0x06, 0x0c, 0x0a, 0 };
	static const char *const folders[] = { NULL };
	static struct frames f = { .roles = { ROLE_AUTHD, ROLE_QMGR, ROLE_SIGND, ROLE_DNSD }, .count = 4, .types = types };

	if (f.d.loop == NULL) {
		frames_folder(folders);
		frames_start(&f, &spec, "hostname fuzz.test\n");
	}
	frames_one(&f, in);
}
