/* SPDX-License-Identifier: ISC */
/*
 * Where messages are read from: descriptors of segments and big files that qmgr sent, by number,
 * and a reader that turns one message into DATA (dots stuffed, CRLF at the end) with its checksum
 * on the way.
 */
#ifndef EKIDEN_CONTENT_H
#define EKIDEN_CONTENT_H

#include "lib/err.h"

enum { CONTENT_BUCKETS = 256, CONTENT_CHUNK = 128 << 10 };

struct content;
struct contents {
	struct content *bucket[CONTENT_BUCKETS];
};

/* Takes fd; replaces a former one of this number. */
void contents_add(struct contents *c, uint64_t number, int fd);
/* Closes; nothing happens when there is no such number. */
void contents_drop(struct contents *c, uint64_t number);
void contents_drop_all(struct contents *c);

struct reader {
	int fd[2];	  /* of front and of content; not owned */
	uint64_t at[2];	  /* offsets */
	uint64_t left[2]; /* bytes not yet read */
	uint32_t want_crc, crc;
	bool dots;	     /* stuffing is needed */
	bool line_start, cr; /* what the last byte was */
};

enum reader_result { READER_MORE, READER_END, READER_DAMAGED };

/*
 * front_len bytes at `offset` of content `number`, then content_len more behind them, or from the
 * start of content `big` when that is not 0. 0, or -1 when a number is not known.
 */
int reader_open(struct reader *r, const struct contents *c, uint64_t number, uint64_t offset,
    uint32_t front_len, uint64_t big, uint64_t content_len, struct err *e);
/*
 * Appends up to CONTENT_CHUNK bytes of the message as DATA. READER_END: that was the last of it, it
 * is what was stored, and the final dot is behind it. READER_DAMAGED: the checksum is wrong or the
 * bytes are not there, or ERR_TEMP they cannot be read now; the dot is not written.
 */
enum reader_result reader_read(struct reader *r, struct buf *out, struct err *e);

#endif
