/* SPDX-License-Identifier: ISC */
/* What a server offers in its reply to EHLO. Pure; nonsense is ignored (ATTACKS G14). */
#ifndef EKIDEN_EHLO_H
#define EKIDEN_EHLO_H

#include "lib/buf.h"

enum {
	CAP_PIPELINING = 1,
	CAP_8BITMIME = 2,
	CAP_SMTPUTF8 = 4,
	CAP_STARTTLS = 8,
	CAP_DSN = 16,
	CAP_SIZE = 32,
	CAP_AUTH_PLAIN = 64,
	CAP_AUTH_LOGIN = 128,
	CAP_MT_PRIORITY = 256
};

struct caps {
	unsigned flags;
	uint64_t size_max;	       /* of a message; 0: none told */
	uint32_t mails_max, rcpts_max; /* RFC 9422; 0: none told */
};

/* text: the lines of the reply, as in struct reply; the first one is the server's name. */
void ehlo_parse(struct view text, struct caps *out);

#endif
