/* SPDX-License-Identifier: ISC */
/*
 * The private keys of one configuration, by number, and what can be done with them. No I/O.
 *
 * Keys are parsed once; the signing contexts are kept, so that a signature costs the arithmetic
 * only. RSA is blinded (OpenSSL's default) and its result checked against faults by OpenSSL
 * itself.
 */
#ifndef EKIDEN_SIGND_KEYRING_H
#define EKIDEN_SIGND_KEYRING_H

#include "lib/err.h"

enum { KEYRING_KEYS_MAX = 4096, KEYRING_SIGNATURE_MAX = 1024, KEYRING_RSA_BITS_MIN = 1024 };

struct keyring;

struct keyring *keyring_new(void);
void keyring_free(struct keyring **r);
/*
 * Parses a PEM private key (RSA, or ECDSA on a named curve; not encrypted) as `number` (> 0); a
 * former key of that number is replaced. The caller wipes the PEM. 0 or -1.
 */
int keyring_add(struct keyring *r, uint32_t number, struct view pem, struct err *e);
bool keyring_has(const struct keyring *r, uint32_t number);
/* Drops the numbers above `last`. */
void keyring_trim(struct keyring *r, uint32_t last);

enum keyring_result { KEYRING_SIGNED, KEYRING_UNKNOWN, KEYRING_REFUSED };
/*
 * scheme: enum sign_scheme; RSA: `in` is as long as the modulus; ECDSA: a digest of 20 to 64 bytes.
 * pin: tls_key_pin() of the public half that the caller has, or 0. Another key than that one
 * under this number is KEYRING_UNKNOWN. The signature goes to out, its length to *len.
 */
enum keyring_result keyring_sign(struct keyring *r, uint32_t number, uint64_t pin, uint8_t scheme,
    struct view in, unsigned char out[static KEYRING_SIGNATURE_MAX], size_t *len);
/* As keyring_sign() for the key with this pin, whatever its number. */
enum keyring_result keyring_sign_pin(struct keyring *r, uint64_t pin, uint8_t scheme, struct view in,
    unsigned char out[static KEYRING_SIGNATURE_MAX], size_t *len);

#endif
