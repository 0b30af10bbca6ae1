/* SPDX-License-Identifier: ISC */
/*
 * Regular expressions: the only caller of PCRE2. Case is ignored, '.' matches a newline, no UTF mode (any bytes
 * are input). A match looks at the first REGEX_TEXT bytes, and its work from each of them is limited (REGEX_STEPS,
 * REGEX_DEPTH): a pattern that backtracks without end is cut. No JIT: its writable code is what seccomp forbids.
 */
#ifndef EKIDEN_REGEX_H
#define EKIDEN_REGEX_H

#include "lib/err.h"

enum { REGEX_TEXT = 1024, REGEX_STEPS = 20000, REGEX_DEPTH = 500, REGEX_HEAP_KIB = 256 };

struct regex;

/* NULL with *e: what is wrong and at which byte. */
struct regex *regex_new(struct view pattern, struct err *e);
void regex_free(struct regex **r); /* NULL is fine */

/* For conf_regex_check: false, and why is filled. */
bool regex_check(struct view pattern, struct buf *why);

enum regex_result { REGEX_NO, REGEX_YES, REGEX_CUT };
enum regex_result regex_match(const struct regex *r, struct view text);

#endif
