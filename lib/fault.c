/* SPDX-License-Identifier: ISC */
#include "lib/fault.h"

#ifdef EKIDEN_FAULTS
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "name[:occurrence[:kill|EIO|ENOSPC]]"; test builds only, so the state may live here. */
static struct {
	int parsed;
	char name[64];
	unsigned long at, seen;
	int code; /* 0: kill */
} chosen;

static void
parse(void)
{
	const char *s = getenv("EKIDEN_FAULT");
	char action[16] = "kill";

	chosen.parsed = 1;
	chosen.at = 1;
	if (s == NULL || sscanf(s, "%63[^:]:%lu:%15s", chosen.name, &chosen.at, action) < 1)
		return;
	if (strcmp(action, "EIO") == 0)
		chosen.code = EIO;
	else if (strcmp(action, "ENOSPC") == 0)
		chosen.code = ENOSPC;
}

int
fault_point(const char *name)
{
	if (!chosen.parsed)
		parse();
	if (strcmp(name, chosen.name) != 0 || ++chosen.seen != chosen.at)
		return 0;
	if (chosen.code == 0) {
		raise(SIGKILL);
		_exit(137); /* where a sandbox keeps us from the signal */
	}
	return chosen.code;
}
#else
/* An empty translation unit is not ISO C. */
extern const int fault_points_compiled_in;
const int fault_points_compiled_in = 0;
#endif
