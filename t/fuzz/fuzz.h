/* SPDX-License-Identifier: ISC */
/*
 * A fuzz target is one file with fuzz_one(): built against libFuzzer (`make fuzz`), and against
 * t/fuzz/replay.c, which feeds it the corpus as a TAP test. A broken property calls abort().
 */
#ifndef EKIDEN_FUZZ_H
#define EKIDEN_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "lib/buf.h"

void fuzz_one(struct view in);

/* Up to n bytes from the front of what is left; nothing when a read went past the end. */
static inline struct view
fuzz_take(struct view *in, size_t n)
{
	if (view_bad(*in))
		return VIEW("");
	struct view v = view_first(*in, n);
	*in = view_skip(*in, v.n);
	return v;
}

#define REQUIRE(x)                                                                                 \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif
