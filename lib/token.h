/* SPDX-License-Identifier: ISC */
/*
 * Return addresses: the local part of an envelope sender that leads back to one recipient of one message
 * (VERP), and that nobody else can make (A17). Pure but for HMAC-SHA256.
 *
 * "b-" and 50 characters of base32 (RFC 4648, lower case, no padding) of 31 bytes: number of the secret
 * (1), queue id (8), index of the recipient (4), serial of the key that sent it (4), last day on which
 * it is good (2, days since 1970), and the first 12 bytes of the MAC over all that. Of any letter case
 * on its way back: hosts change it.
 */
#ifndef EKIDEN_TOKEN_H
#define EKIDEN_TOKEN_H

#include "lib/buf.h"

enum {
	TOKEN_SECRET_MAX = 64,
	TOKEN_SECRETS = 4, /* that are good at a time */
	TOKEN_CHARS = 52,
	TOKEN_MAC = 12
};

struct token_secret {
	uint8_t id;
	uint8_t n; /* bytes of key; 0: none */
	unsigned char key[TOKEN_SECRET_MAX];
};

struct token {
	uint64_t qid;
	uint32_t rcpt;	     /* index in the message */
	uint32_t key_serial; /* 0: not sent with a key */
	uint16_t last_day;
};

enum token_result {
	TOKEN_GOOD,
	TOKEN_MALFORMED, /* no token at all */
	TOKEN_FORGED,	 /* the MAC is wrong, or its secret is not known (any more) */
	TOKEN_EXPIRED	 /* ours, but too old */
};

/* Days since 1970 of a wall-clock time. */
static inline uint16_t
token_day(uint64_t wall_us)
{
	return (uint16_t)(wall_us / 86400000000u);
}
/* Appends TOKEN_CHARS characters. */
void token_make(const struct token_secret *secret, const struct token *t, struct buf *out);
/* Whether the text has the form of a token; says nothing of who made it. */
bool token_like(struct view local);
/* secrets: those with n 0 are passed over. *t is filled unless MALFORMED. Constant time in the MAC. */
enum token_result token_parse(const struct token_secret *secrets, unsigned count, struct view local,
    uint16_t today, struct token *t);

#endif
