/* SPDX-License-Identifier: ISC */
/*
 * The messages of SCRAM-SHA-256 (RFC 5802, RFC 7677) on the server's side: syntax and what is signed.
 * Keys and hashes stay in authd. No channel binding: it is not offered, and asked for it is refused.
 */
#ifndef EKIDEN_SMTPD_SCRAM_H
#define EKIDEN_SMTPD_SCRAM_H

#include "lib/buf.h"

enum { SCRAM_MESSAGE_MAX = 1280, SCRAM_NONCE_MAX = 256, SCRAM_PROOF = 32, SCRAM_NONCE_CHARS = 24 };

struct scram {
	struct buf user;     /* decoded */
	struct buf gs2;	     /* the gs2-header, as given: what c= must repeat */
	struct buf message;  /* AuthMessage, as far as it is known */
	struct buf nonce;    /* both parts */
	unsigned char proof[SCRAM_PROOF];
};

enum scram_result {
	SCRAM_GOOD,
	SCRAM_MALFORMED,
	SCRAM_REFUSED /* well-formed, but something that is not offered, or not what was said before */
};

void scram_init(struct scram *s);
void scram_free(struct scram *s);
/*
 * client-first-message. Fills user and the beginning of message. `nonce`: SCRAM_NONCE_CHARS printable
 * characters without comma, never used before.
 */
enum scram_result scram_first(struct scram *s, struct view v, const char *nonce);
/* Appends server-first-message to out, and to message. */
void scram_challenge(struct scram *s, struct view salt, uint32_t iterations, struct buf *out);
/* client-final-message: message is complete then, and proof set. */
enum scram_result scram_final(struct scram *s, struct view v);

#endif
