/* SPDX-License-Identifier: ISC */
/*
 * SMTP replies (RFC 5321, 4.2), as a client reads them. The parser takes whole lines from a
 * server's bytes and leaves an incomplete one where it is, with limits (REPLY_LINE_MAX a line,
 * REPLY_LINES_MAX lines, REPLY_BYTES_MAX in all; ATTACKS G1, G2). It tolerates what real servers
 * do: missing text, bare LF, unknown second and third digits, codes of one class that differ from
 * line to line (the last one counts). A buffer that is to hold the input needs REPLY_LINE_MAX bytes
 * at least.
 */
#ifndef EKIDEN_REPLY_H
#define EKIDEN_REPLY_H

#include "lib/err.h"

enum { REPLY_LINE_MAX = 4096, REPLY_LINES_MAX = 100, REPLY_BYTES_MAX = 10240 };

struct reply {
	uint16_t code; /* 200..599; 0: no line seen yet */
	struct esc
	    esc; /* of the last line that carried one with the class of the code; else none */
	struct buf text; /* lines without codes, separated by '\n'; control bytes replaced by '?' */
	unsigned lines;
	size_t bytes; /* taken for this reply, line ends included */
};

enum reply_result { REPLY_MORE, REPLY_DONE, REPLY_BAD };

void reply_init(struct reply *r);
void reply_free(struct reply *r);
/* Starts anew for the next reply. */
void reply_clear(struct reply *r);
/*
 * Takes lines from the front of *in up to the end of one reply. REPLY_MORE: what is left in *in is
 * an incomplete line, shorter than REPLY_LINE_MAX. REPLY_BAD: not SMTP, or over a limit; *e tells.
 */
enum reply_result reply_parse(struct reply *r, struct view *in, struct err *e);

/* All text on one line (lines joined by a blank), for logs and reports. */
void reply_flat(const struct reply *r, struct buf *out);

enum reply_at { REPLY_AT_RCPT, REPLY_ELSEWHERE };

/*
 * What a reply means for the recipient (E9): ERR_NONE for 2xx; ERR_TEMP for 4xx, for anything that
 * is no answer to the command (3xx, unknown), and for 5xx that are known to be temporary (full
 * mailbox: X.2.2, or 552 with such a text; reply_too_many() at RCPT); ERR_PERM for the other 5xx.
 * `esc` receives the code to record, its class made to agree.
 */
enum err_class reply_class(
    uint16_t code, struct esc given, enum reply_at at, struct view text, struct esc *esc);
/*
 * The refusal means "too many recipients in this transaction", not this recipient (RFC 5321,
 * 4.5.3.1.10): 452 or 552 with X.5.3, with such words, or with neither a code nor words of a full
 * mailbox or a full disk.
 */
bool reply_too_many(uint16_t code, struct esc given, struct view text);

#endif
