/* SPDX-License-Identifier: ISC */
/*
 * DKIM private keys as PEM text: made by mtactl, checked by master, used by signd. RSA for rsa-sha256,
 * Ed25519 for ed25519-sha256; never encrypted. No I/O.
 */
#ifndef EKIDEN_DKIM_KEY_H
#define EKIDEN_DKIM_KEY_H

#include "lib/dkim.h"

/* RFC 8301, 3.2: verifiers must not accept less than 1024, signers use 2048. Above 4096 none need to. */
enum { DKIM_RSA_BITS_LEAST = 1024, DKIM_RSA_BITS = 2048, DKIM_RSA_BITS_MOST = 4096 };
enum { DKIM_PEM_MAX = 16384 };

/* A new key, appended as PEM (PKCS#8); the caller wipes it. bits is for RSA. */
int dkim_key_make(enum dkim_algorithm a, unsigned bits, struct buf *pem, struct err *e);
/* NULL and e: no PEM private key, encrypted, of another kind, or RSA below bits_min. Owned by the caller. */
EVP_PKEY *dkim_key_parse(struct view pem, enum dkim_algorithm a, unsigned bits_min, struct err *e);
void dkim_key_free(EVP_PKEY *key);
/*
 * What a key's owner may show: the bytes for dkim_record(), and tls_key_pin() of the public half, by which
 * signd is asked. Either may be NULL.
 */
int dkim_key_public(const EVP_PKEY *key, enum dkim_algorithm a, struct buf *bytes, uint64_t *pin,
    struct err *e);
unsigned dkim_key_bits(const EVP_PKEY *key);

/* A key ready to sign; starts as zeroes. Its contexts are made once and used again. */
struct dkim_key {
	enum dkim_algorithm algorithm;
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *rsa;
	EVP_MD_CTX *ed;
};

enum { DKIM_SIGNATURE_MAX = DKIM_RSA_BITS_MOST / 8 };

/* Takes pkey, also when it fails. */
int dkim_key_open(struct dkim_key *k, enum dkim_algorithm a, EVP_PKEY *pkey, struct err *e);
/* Wipes what is private. Safe on zeroes. */
void dkim_key_close(struct dkim_key *k);
/* The signature of a SHA-256 digest; its length, 0 when it failed. */
size_t dkim_key_sign(struct dkim_key *k, const uint8_t digest[static DKIM_HASH],
    unsigned char out[static DKIM_SIGNATURE_MAX]);

#endif
