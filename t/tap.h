/* SPDX-License-Identifier: ISC */
/* TAP for unit tests: each test program is one translation unit that includes this once. */
#ifndef EKIDEN_TAP_H
#define EKIDEN_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

static int tap_count, tap_failed;

__attribute__((format(printf, 2, 0), unused)) static bool
tap_report(bool pass, const char *fmt, va_list ap)
{
	printf("%sok %d - ", pass ? "" : "not ", ++tap_count);
	vprintf(fmt, ap);
	printf("\n");
	if (!pass)
		tap_failed++;
	fflush(stdout);
	return pass;
}

__attribute__((format(printf, 2, 3), unused)) static bool
ok(bool pass, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_report(pass, fmt, ap);
	va_end(ap);
	return pass;
}

__attribute__((format(printf, 3, 4), unused)) static bool
is_int_(long long got, long long want, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_report(got == want, fmt, ap);
	va_end(ap);
	if (got != want)
		printf("#   got: %lld\n#  want: %lld\n", got, want);
	return got == want;
}

#define is_int(got, want, ...) is_int_((long long)(got), (long long)(want), __VA_ARGS__)

__attribute__((format(printf, 3, 4), unused)) static bool
is_view(struct view got, const char *want, const char *fmt, ...)
{
	va_list ap;
	bool same = view_is(got, want);

	va_start(ap, fmt);
	tap_report(same, fmt, ap);
	va_end(ap);
	if (!same)
		printf("#   got: %.*s\n#  want: %s\n", (int)got.n, got.p ? got.p : "(bad)", want);
	return same;
}

__attribute__((format(printf, 3, 4), unused)) static bool
is_str(const char *got, const char *want, const char *fmt, ...)
{
	va_list ap;
	bool same = got && want ? strcmp(got, want) == 0 : got == want;

	va_start(ap, fmt);
	tap_report(same, fmt, ap);
	va_end(ap);
	if (!same)
		printf("#   got: %s\n#  want: %s\n", got ? got : "(null)", want ? want : "(null)");
	return same;
}

__attribute__((format(printf, 2, 3), unused)) static void
skip(int count, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	while (count--)
		printf("ok %d # SKIP %s\n", ++tap_count, why);
}

/* Ends the run; main() returns it. */
__attribute__((unused)) static int
done_testing(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif
