/* SPDX-License-Identifier: ISC */
/* What the files of lib/tls share; nobody else includes it. */
#ifndef EKIDEN_TLS_IMPL_H
#define EKIDEN_TLS_IMPL_H

#include <openssl/ssl.h>

#include "lib/tls.h"

/* A private-key operation under way; on the stack of the parked handshake. */
struct tls_park {
	struct tls_sign_op op;
	bool decided, ok;
	size_t len;
	unsigned char signature[TLS_SIGNATURE_MAX];
};

/* The remote private key of a server context. */
struct tls_key {
	struct tls_signer *signer;
	uint32_t number;
	uint64_t pin;
	RSA_METHOD *rsa; /* one of the two */
	EC_KEY_METHOD *ec;
};

struct tls_ctx {
	unsigned refs;
	bool server, legacy;
	SSL_CTX *ssl;
	BIO_METHOD *bio;
	struct tls_key key; /* server only; used by keys inside ssl, so it goes after it */
};

struct tls {
	struct tls_ctx *ctx;
	SSL *ssl;
	int fd;
	int io_errno; /* of the last socket call that failed */
	bool eof;     /* the socket's end was seen */
	bool clean, done, broken;
	bool unsigned_; /* signd did not give the signature */
	struct tls_park *park;
	void (*wake)(void *arg);
	void *arg;
	/* In line for a place among the parked handshakes. */
	bool waiting;
	struct tls *next, *prev;
};

/* lib/tls_bio.c: a socket BIO whose data is the struct tls. NULL when out of memory. */
BIO_METHOD *tls_bio_method(void);

/*
 * lib/tls_key.c: a key that has the public half of `pub` and asks k->signer for the private
 * operation. RSA and ECDSA only. NULL and e on error. tls_key_clear() comes after the last use of
 * the key.
 */
EVP_PKEY *tls_key_new(struct tls_key *k, EVP_PKEY *pub, struct err *e);
void tls_key_clear(struct tls_key *k);

/* "prefix: reason" from the OpenSSL error queue, which is emptied. Returns -1. */
int tls_error(struct err *e, enum err_class class, const char *prefix);

#endif
