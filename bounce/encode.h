/* SPDX-License-Identifier: ISC */
/*
 * Text from anywhere into the grammars of a report. Whatever comes in, what goes out is printable
 * ASCII that stays inside its field or part: nothing here can begin a new line of the caller's
 * (ATTACKS F7).
 */
#ifndef EKIDEN_BOUNCE_ENCODE_H
#define EKIDEN_BOUNCE_ENCODE_H

#include "lib/buf.h"

enum { ENCODE_WIDTH = 76 };

/* Printable ASCII; every other byte becomes '?'. */
void encode_plain(struct buf *out, struct view v);
/* UTF-8 text without control bytes, for a part that is encoded as a whole; bad bytes become '?'. */
void encode_utf8(struct buf *out, struct view v);
/*
 * Unstructured text of a header field (RFC 5322, 2.2.1), folded; `column` characters of the line
 * are taken. Non-ASCII becomes encoded words (RFC 2047); runs of blanks become one.
 */
void encode_field(struct buf *out, struct view v, size_t column);
/*
 * An envelope address as a mailbox of a header: a local part that is no dot-atom is quoted; what
 * ASCII cannot say becomes an empty group that shows the address (RFC 6857, 3.2).
 */
void encode_mailbox(struct buf *out, struct view addr);
/*
 * "type; address" of a delivery-status field; a non-ASCII address has the type utf-8 and is
 * written as utf-8-addr-xtext (RFC 6533, 3).
 */
void encode_typed_addr(struct buf *out, struct view type, struct view addr);
/* Lines ended by CRLF, as quoted-printable (RFC 2045, 6.7); all other control bytes are encoded. */
void encode_quoted_printable(struct buf *out, struct view v);
bool encode_is_ascii(struct view v);

#endif
