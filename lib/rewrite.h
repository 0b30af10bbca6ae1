/* SPDX-License-Identifier: ISC */
/* Rewriting of envelope senders as it is written in the configuration and on domains (C19-C22). */
#ifndef EKIDEN_REWRITE_H
#define EKIDEN_REWRITE_H

#include "lib/addr.h"

/* Values on disk (authd/record.h); 0: nothing was said, the next wider rule decides. */
enum rewrite_mode {
	REWRITE_UNSET = 0,
	REWRITE_KEEP = 1,   /* "keep": explicitly as it is */
	REWRITE_FIXED = 2,  /* "account@domain" */
	REWRITE_DOMAIN = 3, /* "@domain": the local part stays */
	REWRITE_MODES
};

struct rewrite {
	enum rewrite_mode mode;
	char to[ADDR_MAX + 1]; /* fixed: the address; domain: the domain; in A-labels */
};

/* false: none of the three. */
bool rewrite_parse(struct view v, struct rewrite *out);
/* As rewrite_parse() reads it; "default" for what is not set. */
void rewrite_print(uint32_t mode, const char *to, struct buf *out);
/*
 * Appends the sender that takes the place of `sender` (a mailbox, not the null sender). false: it is
 * kept, or the result would be longer than an address.
 */
bool rewrite_apply(uint32_t mode, const char *to, struct view sender, struct buf *out);

#endif
