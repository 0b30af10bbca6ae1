/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	fuzz_one(view_of(p, n));
	return 0;
}
