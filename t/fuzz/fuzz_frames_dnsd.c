/* SPDX-License-Identifier: ISC */
/* dnsd and processes that ask; no server answers (ATTACKS I12). */
#include "t/fuzz/frames.h"

#define main daemon_main
#include "dnsd/dnsd.c"
#undef main

void
fuzz_one(struct view in)
{
	static const uint16_t types[] = { 0x09, 0 };
	static const char *const folders[] = { NULL };
	static struct frames f = { .roles = { ROLE_SMTP, ROLE_SMTPD, ROLE_AUTHD }, .count = 3, .types = types };

	if (f.d.loop == NULL) {
		frames_folder(folders);
		frames_start(&f, &spec, "hostname fuzz.test\nresolver { server 127.0.0.1:9; dnssec no; timeout 1s }\n");
	}
	frames_one(&f, in);
}
