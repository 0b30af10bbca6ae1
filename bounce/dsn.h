/* SPDX-License-Identifier: ISC */
/*
 * Writes a report: RFC 6522 multipart/report with an RFC 3464 delivery status, in wire form
 * (CRLF), 7-bit clean. Bytes in, bytes out: no clock, no I/O.
 */
#ifndef EKIDEN_BOUNCE_DSN_H
#define EKIDEN_BOUNCE_DSN_H

#include "lib/ipc.h"

enum {
	/* Of the message that comes back; of a larger one its headers, up to as much. */
	DSN_ORIGINAL_MAX = 50 * 1024,
	/* Of the whole report: far above what a `report` frame can make. */
	DSN_MAX = 4 << 20
};

struct dsn {
	uint8_t kind; /* enum report_kind */
	struct view hostname, postmaster;
	const char *qid; /* of the message reported on */
	struct view sender;
	uint64_t now_us, arrival_us; /* wall clock */
	uint64_t expires_us;	     /* delayed only; 0: not known */
	struct view envid; /* decoded; empty: none was given */
	uint8_t ret;
	struct view rcpts;	/* report_rcpt records, at least one */
	struct view original;	/* the first DSN_ORIGINAL_MAX bytes of the message, or all */
	uint64_t original_size; /* of the whole message */
};

struct dsn_text {
	struct buf message;    /* owned by the caller */
	struct buf message_id; /* with its brackets */
	uint32_t flags;	       /* SEGMENT_DOTS, SEGMENT_UTF8 (of the sender) */
};

void dsn_text_init(struct dsn_text *t);
void dsn_text_free(struct dsn_text *t);
/* Fills t. 0; -1 when rcpts is not valid or the report would exceed DSN_MAX. */
int dsn_write(const struct dsn *d, struct dsn_text *t);

#endif
