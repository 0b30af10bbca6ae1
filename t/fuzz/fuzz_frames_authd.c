/* SPDX-License-Identifier: ISC */
/* authd, its clients, and a name server that answers what nobody asked (ATTACKS I12). */
#include "t/fuzz/frames.h"
#include "t/fuzz/libdb.h"

#define main daemon_main
#include "authd/authd.c"
#undef main

void
fuzz_one(struct view in)
{
	static const uint16_t types[] = { 0x03, 0x0a, 0x12, 0 };
	static const char *const folders[] = { NULL };
	static struct frames f = { .roles = { ROLE_SMTPD, ROLE_DNSD, ROLE_QMGR }, .count = 3, .types = types };

	if (f.d.loop == NULL) {
		frames_folder(folders);
		frames_start(&f, &spec, "hostname fuzz.test\n");
	}
	frames_one(&f, in);
}
