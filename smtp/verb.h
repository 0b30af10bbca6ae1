/* SPDX-License-Identifier: ISC */
/*
 * The one encoder of SMTP commands. A command with a byte below 0x20 or 0x7f in it, from wherever
 * it came, is not written at all (ATTACKS G3); nor is one longer than VERB_MAX or an address with
 * angle brackets outside quotes.
 */
#ifndef EKIDEN_VERB_H
#define EKIDEN_VERB_H

#include "lib/buf.h"

enum { VERB_MAX = 12288 + 32 };

struct verb_mail {
	struct view sender;
	bool size_given, eight_bit, utf8;
	uint64_t size;
	struct view envid; /* as it was decoded; empty: none */
	uint8_t ret;	   /* RET_* */
	uint8_t priority;  /* RFC 6710: value + 10; 0: none */
};

struct verb_rcpt {
	struct view rcpt;
	struct view orcpt; /* "rfc822;user@example", decoded; empty: none */
	uint8_t notify;	   /* NOTIFY_* bits; 0: not given */
};

/* Each appends a whole line with CRLF, or nothing and returns false. */
bool verb_word(struct buf *out, const char *verb); /* no argument */
bool verb_arg(
    struct buf *out, const char *verb, struct view arg); /* arg may be empty: AUTH's lines */
bool verb_mail(struct buf *out, const struct verb_mail *m);
bool verb_rcpt(struct buf *out, const struct verb_rcpt *r);
/* Lines of AUTH; secrets reach no other buffer than out. */
bool verb_auth_plain(struct buf *out, struct view user, struct view secret);
bool verb_auth_text(struct buf *out, struct view text); /* base64 of text alone */

#endif
