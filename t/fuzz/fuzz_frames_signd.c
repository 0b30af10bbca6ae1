/* SPDX-License-Identifier: ISC */
/* signd and smtpd processes that ask for signatures (ATTACKS I12). */
#include "t/fuzz/frames.h"

#define main daemon_main
#include "signd/signd.c"
#undef main

void
fuzz_one(struct view in)
{
	static const uint16_t types[] = { 0x0b, 0 };
	static const char *const folders[] = { NULL };
	static struct frames f = { .roles = { ROLE_SMTPD, ROLE_SMTPD }, .count = 1, .types = types };

	if (f.d.loop == NULL) {
		frames_folder(folders);
		frames_start(&f, &spec, "hostname fuzz.test\n");
	}
	frames_one(&f, in);
}
