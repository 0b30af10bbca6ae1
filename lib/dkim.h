/* SPDX-License-Identifier: ISC */
/*
 * DKIM signing (RFC 6376, 8301, 8463) up to the private-key operation: canonical forms, hashes that are
 * computed while a message streams, and the DKIM-Signature field. Pure: no keys, no clock, no I/O.
 *
 * The order of use for one message:
 *   dkim_body_*    the body, in pieces of any size;
 *   dkim_fields_*  the header fields from the last to the first, which is the order in which a verifier
 *                  takes those of one name (5.4.2);
 *   dkim_field_begin() for each key, whose `digest` is signed elsewhere; dkim_field_end().
 *
 * There is no l= tag: what is not signed could be exchanged (atk-F2). Domain and selector come from
 * the caller's keys, never from the message.
 */
#ifndef EKIDEN_DKIM_H
#define EKIDEN_DKIM_H

#include <openssl/types.h>

#include "lib/err.h"

enum dkim_canon { DKIM_SIMPLE, DKIM_RELAXED };
enum dkim_algorithm { DKIM_RSA_SHA256 = 1, DKIM_ED25519_SHA256 = 2 };

enum {
	DKIM_HASH = 32,
	DKIM_BLOCK = 1024,	  /* bytes that are hashed at a time */
	DKIM_NAMES_MAX = 16 << 10, /* the h= list; a longer one is refused */
	DKIM_FIELD_MAX = 64 << 10, /* a whole DKIM-Signature field */
	DKIM_DNS_NAME_MAX = 240	  /* SELECTOR._domainkey.DOMAIN */
};

/* "rsa-sha256"; NULL for a number that is none. */
const char *dkim_algorithm_name(enum dkim_algorithm a);
/* Also the short forms "rsa" and "ed25519"; false when it is none. */
bool dkim_algorithm_parse(struct view v, enum dkim_algorithm *out);

/* What is canonical goes through a block to the hash. */
struct dkim_sink {
	EVP_MD_CTX *md;
	size_t n;
	bool failed;
	char block[DKIM_BLOCK];
};

struct dkim_body {
	struct dkim_sink sink;
	enum dkim_canon canon;
	uint64_t ends; /* line ends that count only if something follows */
	bool blank, cr; /* the same for blanks, and a CR whose LF may come */
	bool any;	/* something was hashed */
};

void dkim_body_init(struct dkim_body *b, enum dkim_canon canon);
void dkim_body_put(struct dkim_body *b, struct view bytes);
/* The hash of the canonical body (3.4.3, 3.4.4). Frees; false: the library failed. */
bool dkim_body_end(struct dkim_body *b, uint8_t hash[static DKIM_HASH]);
/* Without a result; safe on zeroes and after dkim_body_end(). */
void dkim_body_free(struct dkim_body *b);

/* Field names, one may end in '*'. */
struct dkim_names {
	const char *const *v;
	size_t n;
};

struct dkim_rules {
	enum dkim_canon header, body;
	bool sign_default;	    /* the default list, and: */
	struct dkim_names sign;
	struct dkim_names oversign; /* of these one more than there are is signed: none can be added */
	uint64_t lifetime_s;	    /* x= behind t=; 0: no x= */
};

/* From and the List-Unsubscribe fields (A23) always are. */
bool dkim_signs(const struct dkim_rules *r, struct view name);
/* A field that may be in `sign` and `oversign`: not one that changes on the way, or a signature. */
bool dkim_may_sign(struct view name);
/* A field name, or with a star at its end the beginning of some. */
bool dkim_name_valid(struct view name);

struct dkim_fields {
	const struct dkim_rules *rules; /* outlives this */
	struct dkim_sink sink;
	struct buf names; /* the h= list */
	uint32_t from;	  /* From fields */
};

void dkim_fields_init(struct dkim_fields *f, const struct dkim_rules *r);
/* A field: its name without colon, and all of it with folds and last CRLF. Unsigned ones are ignored. */
void dkim_fields_put(struct dkim_fields *f, struct view name, struct view raw);
/* Behind the first field of the message. -1: there is not exactly one From, or too many fields. */
int dkim_fields_end(struct dkim_fields *f, struct err *e);
/* Safe on zeroes. */
void dkim_fields_free(struct dkim_fields *f);

struct dkim_signature {
	struct view domain, selector; /* A-labels */
	enum dkim_algorithm algorithm;
	uint64_t time_s; /* t= */
};

/*
 * Appends the field up to the empty b= to out, and computes what is to be signed: the SHA-256 over header
 * fields and this one. 0 or -1.
 */
int dkim_field_begin(const struct dkim_fields *f, const struct dkim_signature *s,
    const uint8_t body[static DKIM_HASH], struct buf *out, uint8_t digest[static DKIM_HASH],
    struct err *e);
/* Appends the signature, folded, and the field's CRLF. */
void dkim_field_end(struct buf *out, struct view signature);

/*
 * The key record (RFC 6376, 3.6.1; RFC 8463, 4) for a public key: of RSA its SubjectPublicKeyInfo, of
 * Ed25519 its 32 bytes. Plain, without quotes.
 */
void dkim_record(enum dkim_algorithm a, struct view public_key, struct buf *out);
/* "NAME. IN TXT ( "..." "..." )" with strings of at most 255 bytes. */
void dkim_record_zone(struct view name, struct view record, struct buf *out);

#endif
