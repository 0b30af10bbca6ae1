/* SPDX-License-Identifier: ISC */
/*
 * DKIM signatures on mail of clients that may relay: the body is hashed while it streams, the final header
 * at the end of the message; signd signs the digests. Which keys sign is decided by the domain of the header
 * From and the keys that master named, by nothing else in the message (A18, atk-F5).
 */
#ifndef EKIDEN_SMTPD_SIGN_H
#define EKIDEN_SMTPD_SIGN_H

#include "lib/conf.h"
#include "lib/dkim.h"
#include "smtpd/stage.h"

struct smtpd;
struct signing; /* of one message */

/* The settings of one configuration. */
struct sign_rules {
	bool on;
	struct dkim_rules dkim;
	enum conf_unsigned without_key;
	bool organizational;
	char *default_domain; /* canonical, or NULL */
};
void sign_rules_init(struct sign_rules *r, const struct conf_dkim *c);
void sign_rules_clear(struct sign_rules *r);

/* Which domain signs with which keys; starts as zeroes. */
struct sign_key {
	char *domain, *selector;
	enum dkim_algorithm algorithm;
	uint64_t pin;
};
struct sign_keys {
	struct sign_key *v; /* by domain */
	size_t n, cap;
};
/* A frame dkim_name or dkim_apply; false: not valid. */
bool sign_material(struct smtpd *d, uint16_t type, struct view body);
void sign_keys_clear(struct sign_keys *k);
/* The first key of a domain, or NULL; the others follow it. */
const struct sign_key *sign_keys_find(const struct sign_keys *k, struct view domain);
/*
 * The domain whose keys sign for mail from this domain: itself, the one it is registered under, the default;
 * NULL: none has a key.
 */
const struct sign_key *sign_keys_for(const struct sign_keys *k, const struct sign_rules *r,
    struct view from_domain);

/* DATA begins: sees the body from here on, if this message may be signed. */
void sign_begin(struct session *s);
/* A milter has replaced the body: what was seen so far is forgotten. */
void sign_body_again(struct txn *t);
/* The step behind the last change of the message. */
step_fn sign_message;
/* Appends the signature fields. */
void sign_put(const struct txn *t, struct buf *out);
/* Says in the log what became of it. */
void sign_trace(const struct session *s, uint64_t qid);
/* Part of txn_clear(): asks for nothing any more. */
void sign_clear(struct txn *t);

#endif
