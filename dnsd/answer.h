/* SPDX-License-Identifier: ISC */
/*
 * DNS messages (RFC 1035, 4) as they come from the resolver, read without trust: every offset and
 * length is checked, compression pointers must go backwards, CNAME chains are bounded. Pure; linear
 * in the size of the message times the length of its CNAME chain.
 */
#ifndef EKIDEN_ANSWER_H
#define EKIDEN_ANSWER_H

#include "lib/buf.h"
#include "lib/ipc_schema.h"

enum { ANSWER_NAME_MAX = 255, ANSWER_CHAIN_MAX = 12 };
enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_PTR = 12, TYPE_MX = 15, TYPE_TXT = 16, TYPE_AAAA = 28 };

/*
 * A name as text: lower case, no trailing dot, "" for the root. Only names of letters, digits, '-'
 * and
 * '_' have a text; others are not host names and are refused as "bad".
 */
struct answer_name {
	char text[ANSWER_NAME_MAX + 1];
};

struct answer {
	/* DNS_OK: records follow. DNS_NXDOMAIN, DNS_NODATA. DNS_TEMP: SERVFAIL and the like, or
	 * malformed. */
	enum dns_status status;
	struct answer_name owner; /* end of the CNAME chain */
	uint32_t ttl_s;		  /* lowest on the way, of positive answers */
	/* private */
	struct view packet, rest;
	uint16_t type, left;
};

struct answer_record {
	struct view rdata; /* borrows from the packet */
};

/* Finds the records of `type` for the name in the question. The packet must live as long as *a. */
void answer_open(struct answer *a, struct view packet, uint16_t type);
/* The next of them; false at the end. */
bool answer_next(struct answer *a, struct answer_record *r);

/* MX: preference and exchange. false: malformed, or the exchange is no host name. */
bool answer_mx(const struct answer *a, const struct answer_record *r, uint16_t *pref,
    struct answer_name *host);
/* PTR */
bool answer_ptr(const struct answer *a, const struct answer_record *r, struct answer_name *host);
/* TXT: the strings joined; cut at out's limit (out->bad). */
bool answer_txt(const struct answer_record *r, struct buf *out);

/* Text in, canonical text out (a trailing dot is dropped). false: not a name that can be asked for.
 */
bool answer_name_parse(struct view text, struct answer_name *out);
/* "4.3.2.1.in-addr.arpa" or the ip6.arpa form; n is 4 or 16. */
void answer_reverse(const uint8_t *ip, size_t n, struct answer_name *out);

#endif
