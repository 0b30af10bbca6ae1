/* SPDX-License-Identifier: ISC */
/*
 * Mailboxes and paths (RFC 5321, 4.1.2 and 4.1.3), domains, and xtext (RFC 3461, 4). Pure: views in,
 * views out; linear time. Limits: local part 64, domain 255, path 256 octets.
 */
#ifndef EKIDEN_ADDR_H
#define EKIDEN_ADDR_H

#include "lib/err.h"

enum { ADDR_LOCAL_MAX = 64, ADDR_DOMAIN_MAX = 255, ADDR_MAX = 320 };

struct addr {
	struct view local;  /* as given: a dot-atom, or a quoted string with its quotes */
	struct view domain; /* name or [literal]; empty for <postmaster> */
};

enum addr_flags {
	ADDR_UTF8 = 1,	    /* SMTPUTF8 was given: UTF-8 is allowed, and must be valid */
	ADDR_NULL = 2,	    /* "<>" is allowed */
	ADDR_POSTMASTER = 4, /* "<postmaster>" is allowed */
	ADDR_DOTS = 8	    /* dots in the local part may stand anywhere: not RFC 5321 (P28) */
};

/*
 * Takes a path "<...>" from the front of *v; a source route is skipped (S10). What follows stays in *v.
 * `out` is empty for "<>". 0, or -1 with the SMTP enhanced code and a text fit for the reply.
 */
int addr_path(struct view *v, unsigned flags, struct addr *out, struct err *e);
/* A whole mailbox without brackets. */
int addr_parse(struct view v, unsigned flags, struct addr *out, struct err *e);
/* local@domain as one view, when both parts are neighbours in the source (they are after parsing). */
struct view addr_whole(const struct addr *a);
/* RFC 5321 Domain: labels 1-63 of letters, digits, hyphen (inside), no trailing dot; or 8-bit if utf8. */
bool domain_valid(struct view v, bool utf8);
/* [1.2.3.4] or [IPv6:...] */
bool domain_is_literal(struct view v);
/*
 * Canonical form for comparing and storing: A-labels in lower case (libidn2), no trailing dot. false
 * when it is not a domain.
 */
bool domain_canonical(struct view v, struct buf *out);

/* xtext: false on bad coding, or when a control byte or NUL comes out (ATTACKS C7, C9). */
bool xtext_decode(struct view v, size_t max, struct buf *out);
void xtext_encode(struct view v, struct buf *out);
bool utf8_valid(struct view v);
/* RFC 4648 base64, strict (canonical padding, no blanks). false when malformed or over out's limit. */
bool base64_decode(struct view v, struct buf *out);
void base64_encode(struct view v, struct buf *out);

#endif
