/* SPDX-License-Identifier: ISC */
/*
 * The header of one message: its fields in order, raw, in one bounded buffer. The scanner fills it as
 * the message streams (header_list_line()); whoever changes the message (trace modes, tags, milters)
 * does so here, before the header is written out. A message without changes costs one copy.
 *
 * Views that are handed out borrow from the list and are good until its next change.
 */
#ifndef EKIDEN_HEADER_LIST_H
#define EKIDEN_HEADER_LIST_H

#include "lib/buf.h"

/*
 * N(id, name, once): fields that somebody asks for by id. once: RFC 5322, 3.6, allows one in a
 * header.
 */
#define HEADER_NAMES(N)                                                                            \
	N(FROM, "From", 1) N(SENDER, "Sender", 1) N(REPLY_TO, "Reply-To", 1) N(TO, "To", 1)        \
	N(CC, "Cc", 1) N(BCC, "Bcc", 1) N(MESSAGE_ID, "Message-ID", 1)                             \
	N(IN_REPLY_TO, "In-Reply-To", 1) N(REFERENCES, "References", 1)                            \
	N(SUBJECT, "Subject", 1) N(DATE, "Date", 1) N(RECEIVED, "Received", 0)                     \
	N(HOPS, HEADER_HOPS_FIELD, 0) N(DKIM, "DKIM-Signature", 0)

/* Loop guard for relays that leave no Received field (C6): its value counts as that many hops. */
#define HEADER_HOPS_FIELD "X-Relay-Hops"

#define HEADER_ID_OF(id, name, once) HEADER_##id,
enum header_id {
	HEADER_MALFORMED, /* not "name:" with a name of printable ASCII */
	HEADER_OTHER,
	HEADER_NAMES(HEADER_ID_OF) HEADER_IDS
};

struct header_field {
	uint32_t at, n;	  /* raw: with folds and the last CRLF */
	uint32_t name_at; /* of the name without blanks around it; 0 bytes when malformed */
	uint16_t name_n;
	uint8_t id; /* enum header_id */
	bool deleted;
};

struct header_list {
	struct buf bytes;
	struct header_field *fields;
	uint32_t count, cap;
	uint32_t counts[HEADER_IDS]; /* of fields that are not deleted */
	bool ended; /* the empty line was there */
	/* private */
	uint32_t line_at; /* the line being taken, in bytes */
	bool open;	  /* the last field may have folds to come */
	bool dots;
};

/* Which field a well-formed name is; of any letter case. */
enum header_id header_id(struct view name);

/* max: bytes of the header as it comes and of all that is put into it later; at most 2 GiB. */
void header_list_init(struct header_list *l, size_t max);
/* Also one that is all zero. It is all zero afterwards. */
void header_list_free(struct header_list *l);

/* Filling: bytes of a line, CRLF at the end of a whole one. Over the limit bytes.bad is set. */
static inline void
header_list_put(struct header_list *l, const char *p, size_t n)
{
	buf_put(&l->bytes, p, n);
}
/* The line is whole. True: it was empty, the header is complete. */
bool header_list_line(struct header_list *l);
/* The message ended without an empty line. */
void header_list_end(struct header_list *l);

/* Reading. */
struct view header_list_raw(const struct header_list *l, uint32_t i);
struct view header_list_name(const struct header_list *l, uint32_t i);
/* Behind the colon, with folds and the blank before it, without the last CRLF; empty when malformed. */
struct view header_list_value(const struct header_list *l, uint32_t i);
/* The first one at or behind index `from` that is not deleted; -1: none. */
ptrdiff_t header_list_find(const struct header_list *l, enum header_id id, uint32_t from);
ptrdiff_t header_list_find_name(const struct header_list *l, struct view name, uint32_t from);
/* Received fields and the largest loop guard. */
uint32_t header_list_hops(const struct header_list *l);
/* RFC 5322, 3.6: the first field that may be there once and is there twice; NULL: none. */
const char *header_list_twice(const struct header_list *l);

/*
 * Changes. Name and value must make one well-formed field: a name of printable ASCII without colon, a
 * value (with its leading blank) in which line ends are folds, CRLF and a blank. false: they do not,
 * or the limit is reached; nothing was changed.
 */
bool header_list_insert(struct header_list *l, uint32_t before, struct view name, struct view value);
bool header_list_change(struct header_list *l, uint32_t i, struct view value);
void header_list_delete(struct header_list *l, uint32_t i);
/* All of an id. */
void header_list_delete_all(struct header_list *l, enum header_id id);
/* A field that was put in by a change begins with a dot: sending needs stuffing. */
static inline bool
header_list_added_dots(const struct header_list *l)
{
	return l->dots;
}

/* Appends the fields as they are now, and the empty line if there was one. */
void header_list_write(const struct header_list *l, struct buf *out);

#endif
