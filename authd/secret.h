/* SPDX-License-Identifier: ISC */
/* Secrets of keys: made here, shown once, kept only as hashes. */
#ifndef EKIDEN_AUTHD_SECRET_H
#define EKIDEN_AUTHD_SECRET_H

#include "authd/record.h"
#include "lib/err.h"

enum {
	SECRET_CHARS = 40, /* base32: 200 random bits (A5 asks for 160) */
	/* More than this cannot be a secret of ours; it costs as much as one that can (see .c). */
	SECRET_TRY_MAX = 256,
	SCRAM_ITERATIONS = 4096
};

/* What a process that checks secrets keeps ready. */
struct hasher {
	struct evp_md_st *sha256;
	struct evp_md_ctx_st *ctx;
	struct record_key nobody; /* stands in for a user that does not exist */
	uint64_t checks;	  /* hash operations of secret_matches() */
};

int hasher_open(struct hasher *h, struct err *e);
/* Salts of users who do not exist stay the same over a restart, with the same seed. */
bool hasher_seed(struct hasher *h, uint64_t seed);
void hasher_close(struct hasher *h);

/* Up to 256 random bytes. */
int secret_bytes(void *p, size_t n, struct err *e);
/* `chars` (a multiple of 8) random characters of lower-case base32, and a NUL. */
int secret_text(char *out, size_t chars, struct err *e);
/*
 * Fills the hash fields of k, with salts of its own; beside a former secret that is still good, SCRAM
 * keeps that one's salt.
 */
int secret_derive(struct hasher *h, struct view secret, struct record_key *k, struct err *e);
/* The SCRAM-SHA-256 part of it, from k->scram_salt and k->scram_iterations. */
bool secret_derive_scram(struct hasher *h, struct view secret, struct record_key *k);
/*
 * Constant time; exactly two hash operations whatever comes in: against the secret and the one before
 * the last rotation, while that is still good. k NULL: an unknown user, always false.
 */
bool secret_matches(struct hasher *h, const struct record_key *k, struct view secret, uint64_t now_us);
/*
 * The same for a proof of SCRAM (RFC 5802, 3) over AuthMessage; `signature` becomes the ServerSignature
 * when it is true, else zeroes.
 */
bool secret_proves(struct hasher *h, const struct record_key *k, struct view message, struct view proof,
    uint64_t now_us, unsigned char signature[static DIGEST_BYTES]);
/* The salt that a user who does not exist has: always the same one. */
void secret_fake_salt(struct hasher *h, struct view user, unsigned char salt[static SALT_BYTES]);
/* Makes the hash fields of k unusable, those before a rotation as well. */
void secret_forget(struct record_key *k);

#endif
