/* SPDX-License-Identifier: ISC */
#include "lib/fault.h"

#ifdef EKIDEN_FAULTS
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum action { ACT_KILL, ACT_ERROR, ACT_SHORT, ACT_TORN, ACT_AFTER, ACT_SKIP, ACT_LATE, ACT_MUTANT };

static const struct {
	const char *name;
	enum action action;
	int code;
} actions[] = {
	{ "kill", ACT_KILL, 0 }, { "EIO", ACT_ERROR, EIO }, { "ENOSPC", ACT_ERROR, ENOSPC },
	{ "short", ACT_SHORT, 0 }, { "torn", ACT_TORN, 0 }, { "after", ACT_AFTER, 0 },
	{ "skip", ACT_SKIP, 0 }, { "late", ACT_LATE, 0 }, { "mutant", ACT_MUTANT, 0 },
};

/* Test builds only, so the state may live here. */
static struct {
	bool parsed, cut, torn, after;
	char name[64];
	unsigned long at, seen;
	enum action action;
	int code;
} chosen;

static void
parse(void)
{
	const char *s = getenv("EKIDEN_FAULT");
	char action[16] = "kill";

	chosen.parsed = true;
	chosen.at = 1;
	if (s == NULL || sscanf(s, "%63[^:]:%lu:%15s", chosen.name, &chosen.at, action) < 1)
		return;
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(action, actions[i].name) != 0)
			continue;
		chosen.action = actions[i].action;
		chosen.code = actions[i].code;
	}
}

static void
die(void)
{
	raise(SIGKILL);
	_exit(137); /* where a sandbox keeps us from the signal */
}

/* Once in a process's life: a test needs to know that the point was reached, not how often. */
static void
tell(void)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "fault: %s:%lu\n", chosen.name, chosen.seen);

	if (chosen.seen <= 1 || chosen.at)
		while (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0 && errno == EINTR)
			continue;
}

static bool
hit(const char *name)
{
	if (!chosen.parsed)
		parse();
	if (strcmp(name, chosen.name) != 0)
		return false;
	chosen.seen++;
	if (chosen.at && chosen.seen != chosen.at)
		return false;
	tell();
	return true;
}

int
fault_before(const char *name)
{
	if (!hit(name))
		return 0;
	switch (chosen.action) {
	case ACT_KILL:
		die();
		return 0;
	case ACT_SHORT:
	case ACT_TORN:
		chosen.cut = true;
		return 0;
	case ACT_AFTER:
		chosen.after = true;
		return 0;
	case ACT_SKIP:
		return FAULT_SKIPPED;
	case ACT_LATE:
		return chosen.seen % 2 ? FAULT_SKIPPED : 0;
	case ACT_ERROR:
		return chosen.code;
	case ACT_MUTANT:
		return 0;
	}
	return 0;
}

int
fault_point(const char *name)
{
	int code = fault_before(name);

	return code > 0 ? code : 0;
}

void
fault_after(void)
{
	int kept = errno;

	if (chosen.after)
		die();
	errno = kept;
}

bool
fault_mutant(const char *name)
{
	return hit(name) && chosen.action == ACT_MUTANT;
}

size_t
fault_length(size_t n)
{
	if (chosen.torn)
		die();
	if (!chosen.cut || n < 2)
		return n;
	chosen.cut = false;
	chosen.torn = chosen.action == ACT_TORN;
	return n / 2;
}

/* EKIDEN_CLOCK="seconds[@when]": the wall clock is off by that from a time of CLOCK_MONOTONIC on. */
int64_t
fault_clock_us(void)
{
	static struct {
		bool parsed;
		long seconds, when;
	} jump;
	struct timespec now;

	if (!jump.parsed) {
		const char *s = getenv("EKIDEN_CLOCK");
		jump.parsed = true;
		if (s == NULL || sscanf(s, "%ld@%ld", &jump.seconds, &jump.when) < 1)
			jump.seconds = 0;
	}
	if (jump.seconds == 0 || clock_gettime(CLOCK_MONOTONIC, &now) < 0 || now.tv_sec < jump.when)
		return 0;
	return (int64_t)jump.seconds * 1000000;
}
#else
/* An empty translation unit is not ISO C. */
extern const int fault_points_compiled_in;
const int fault_points_compiled_in = 0;
#endif
