/* SPDX-License-Identifier: ISC */
/*
 * The milter protocol, MTA side, versions 2 to 6, as libmilter/mfdef.h names it: packets of a u32 length, a
 * command byte and data. Pure: bytes in, bytes out. Whatever a milter sends is checked here; a packet over
 * MILTER_PACKET_MAX is refused by its length, before there is memory for it.
 */
#ifndef EKIDEN_SMTPD_MILTER_PROTO_H
#define EKIDEN_SMTPD_MILTER_PROTO_H

#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>

#include "lib/buf.h"
#include "lib/esc.h"

enum {
	MILTER_VERSION_MIN = 2,
	MILTER_VERSION = 6,
	MILTER_STAGES = SMFIM_LAST + 1,
	MILTER_PACKET_MAX = MILTER_CHUNK_SIZE + 1, /* command and data */
	MILTER_FRAME_MAX = MILTER_LEN_BYTES + MILTER_PACKET_MAX,
	MILTER_REPLY_MAX = 400 /* text of a reply, one line */
};

/* What we can do. Recipients that were refused are not shown (SMFIP_RCPT_REJ). */
#define MILTER_ACTIONS ((uint32_t)SMFI_CURR_ACTS)
#define MILTER_STEPS ((uint32_t)(SMFI_CURR_PROT & ~SMFIP_RCPT_REJ))

/* Commands. */

/* A packet of one piece. */
void milter_put(struct buf *out, char command, struct view data);
/* Piece by piece: begin, append the data to out, end with what begin returned. */
size_t milter_begin(struct buf *out, char command);
void milter_end(struct buf *out, size_t at);
/* A string with its NUL; it ends before a NUL of its own. */
void milter_put_str(struct buf *out, struct view v);
void milter_put_negotiate(struct buf *out);
/*
 * A header field: value as in the message, with the blank behind the colon. The blank stays with SMFIP_HDR_LEADSPC
 * in steps; folds are line feeds, as sendmail sends them. A milter sees as much of a value as fits into a packet;
 * the name is at most half of that.
 */
void milter_put_header(struct buf *out, uint32_t steps, struct view name, struct view value);

/* Responses. */

struct milter_packet {
	char command;
	struct view data;
};
enum milter_taken { MILTER_MORE, MILTER_TAKEN, MILTER_BROKEN };
/* One packet from the front of *in; its data borrows from there. */
enum milter_taken milter_take(struct view *in, struct milter_packet *p);

struct milter_terms {
	uint32_t version, actions, steps;
	struct view macros[MILTER_STAGES]; /* names that it wants; p NULL: the default */
};
/* The answer to the negotiation; false: not within what was offered. */
bool milter_terms_get(const struct milter_packet *p, struct milter_terms *t);

enum milter_meaning {
	MILTER_CONTINUE, MILTER_ACCEPT, MILTER_REJECT, MILTER_DISCARD, MILTER_TEMPFAIL, MILTER_SHUTDOWN,
	MILTER_REPLY,	 /* code, esc, text */
	MILTER_SKIP,	 /* no more of the body */
	MILTER_PROGRESS, /* it is at work: wait on */
	MILTER_EDIT	 /* a change of the message, at its end only; command says which */
};
struct milter_response {
	enum milter_meaning meaning;
	char command;	  /* SMFIR_* */
	uint32_t index;	  /* INSHEADER, CHGHEADER */
	struct view name; /* of a header field; address; reason; bytes of a body */
	struct view value; /* of a header field; ESMTP arguments */
	uint16_t code;
	struct esc esc;
	char text[MILTER_REPLY_MAX]; /* of a reply; lines joined by blanks */
};
/* false: unknown, malformed, or an edit outside of `actions`. */
bool milter_response_get(const struct milter_packet *p, uint32_t actions, struct milter_response *r);

#endif
