/* SPDX-License-Identifier: ISC */
/* The questions of smtpd: facts from the store, decisions by policy. */
#ifndef EKIDEN_AUTHD_CHECK_H
#define EKIDEN_AUTHD_CHECK_H

#include "authd/policy.h"
#include "authd/secret.h"
#include "authd/store.h"

struct check_identity {
	char tenant[NAME_BYTES + 1], user[NAME_BYTES + 1];
};

/*
 * Is the secret of this user good? The same look-ups and the same one hash operation for every
 * question, whether the user exists or not. `id` is set when r->code is 235, else empty.
 */
void check_auth(struct authd_store *s, struct hasher *h, struct view user, struct view secret,
    struct check_identity *id, struct policy_reply *r);
/* May this tenant (and key; empty: identified by network) use this envelope sender? */
void check_mail(struct authd_store *s, struct view tenant, struct view user, struct view sender,
    struct policy_reply *r);

#endif
