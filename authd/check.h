/* SPDX-License-Identifier: ISC */
/* The questions of smtpd: facts from the store, decisions by policy. */
#ifndef EKIDEN_AUTHD_CHECK_H
#define EKIDEN_AUTHD_CHECK_H

#include "authd/policy.h"
#include "authd/secret.h"
#include "authd/store.h"

struct check_identity {
	char tenant[NAME_BYTES + 1], user[NAME_BYTES + 1];
	uint32_t rights; /* RIGHT_* */
};

/* A log-in: who says what, from where, when. */
struct check_login {
	struct view user, client; /* client: an address in text */
	bool scram;
	struct view secret;  /* or SCRAM's ClientProof */
	struct view message; /* SCRAM's AuthMessage */
	uint64_t now_us;
	bool guessed;			       /* becomes true when the secret was wrong */
	unsigned char signature[DIGEST_BYTES]; /* becomes SCRAM's ServerSignature, when it was good */
};

/*
 * Is the secret of this user good? The same look-ups and the same hash operations for every question,
 * whether the user exists or not. `id` is set when r->code is 235, else empty.
 */
void check_auth(struct authd_store *s, struct hasher *h, struct check_login *login,
    struct check_identity *id, struct policy_reply *r);
/* For the challenge of SCRAM; a user who does not exist, or has no key any more, has one too. */
void check_salt(struct authd_store *s, struct hasher *h, struct view user,
    unsigned char salt[static SALT_BYTES], uint32_t *iterations);
/* Is the domain, in any form, a verified one of the tenant? 1, 0, -1: the store failed. */
int check_domain(struct authd_store *s, struct view tenant, struct view domain);
/* Is mail for it taken from anybody (G11)? As check_domain(). */
int check_hosted(struct authd_store *s, struct view domain);
/* What stands behind the last '@'. */
struct view check_domain_of(struct view addr);
/* Who wants to use which envelope sender. user empty: identified by network. */
struct check_sender {
	struct view tenant, user, client, sender;
	uint64_t now_us;
};
/* What the store says of it, as far as it was found; zeroes otherwise. */
struct check_records {
	struct record_tenant tenant;
	struct record_key key;
	struct record_domain domain;
};
/* May this tenant (and key) use this envelope sender? */
void check_mail(struct authd_store *s, const struct check_sender *q, struct check_records *found,
    struct policy_reply *r);
/* The address is in a list as it stands in a record; an empty list is no limit. */
bool check_network(const char *networks, struct view client);

#endif
