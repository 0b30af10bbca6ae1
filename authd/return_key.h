/* SPDX-License-Identifier: ISC */
/*
 * What return addresses are signed with (A17, lib/token.h). A new secret is made when the one in use is as
 * old as a token may become; the former ones stay good for what they signed. All are on disk: a
 * restart must not make the addresses of mail that is under way worthless.
 */
#ifndef EKIDEN_AUTHD_RETURN_KEY_H
#define EKIDEN_AUTHD_RETURN_KEY_H

#include "authd/policy.h"
#include "authd/store.h"
#include "lib/token.h"

struct return_keys {
	struct token_secret secrets[TOKEN_SECRETS]; /* the newest first */
	uint64_t made_us; /* the newest one; wall clock */
};

/* Those on disk. */
int return_keys_load(struct return_keys *k, struct authd_store *s, struct err *e);
/* Makes a new one when it is time. 1: it did; 0; -1: k is as it was. */
int return_keys_rotate(struct return_keys *k, struct authd_store *s, uint64_t now_us,
    uint64_t lifetime_s, struct err *e);
/* The one to sign with; NULL: none yet. */
const struct token_secret *return_keys_current(const struct return_keys *k);
/* Is this local part a return address of ours that is still good? 250 or 550. */
void return_keys_check(const struct return_keys *k, struct view local, uint64_t now_us,
    struct policy_reply *r);
void return_keys_wipe(struct return_keys *k);

#endif
