/* SPDX-License-Identifier: ISC */
/* For targets with an open database: libdb finds its pages by offsets, which LeakSanitizer does not follow. */
#ifndef EKIDEN_FUZZ_LIBDB_H
#define EKIDEN_FUZZ_LIBDB_H

const char *__lsan_default_suppressions(void);

const char *
__lsan_default_suppressions(void)
{
	return "leak:libdb";
}

#endif
