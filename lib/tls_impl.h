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

/* The remote private key of a certificate. */
struct tls_key {
	struct tls_signer *signer;
	uint32_t number;
	uint64_t pin;
	RSA_METHOD *rsa; /* one of the two */
	EC_KEY_METHOD *ec;
};

/* A certificate with its issuers. */
struct tls_cert {
	X509 *leaf;
	STACK_OF(X509) *chain;
	EVP_PKEY *pkey; /* uses key */
	struct tls_key key;
};

/* lib/tls_ticket.c: one key of session tickets, cut up. */
enum { TICKET_NAME = 16, TICKET_SECRET = 32 };
struct tls_ticket {
	bool set;
	unsigned char name[TICKET_NAME], cipher[TICKET_SECRET], mac[TICKET_SECRET];
};

struct tls_ctx {
	unsigned refs;
	bool server, legacy;
	SSL_CTX *ssl;
	BIO_METHOD *bio;
	struct tls_signer *signer; /* NULL: no private key is used */
	/* Uses of the keys inside ssl come first at the end. Not moved: keys are known by address. */
	struct tls_cert *certs;
	size_t cert_count;
	unsigned char *alpn; /* as on the wire */
	unsigned alpn_len;
	struct tls_ticket ticket, former_ticket;
};

struct tls {
	struct tls_ctx *ctx;
	SSL *ssl;
	int fd;
	int io_errno; /* of the last socket call that failed */
	bool eof;     /* the socket's end was seen */
	bool clean, done, broken;
	bool by_name; /* the certificate was picked by the client's name */
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

/* lib/tls_cert.c */
/* Parses a chain and makes its remote key; cert starts as zeroes and is cleared by tls_cert_clear(). */
int tls_cert_load(struct tls_cert *cert, const struct tls_cert_conf *c, struct tls_signer *signer,
    struct err *e);
void tls_cert_clear(struct tls_cert *cert);
/* Makes ctx's certificates those of its SSL_CTX, and picks by the client's name. */
int tls_certs_use(struct tls_ctx *ctx, struct err *e);
/* The next certificate of a PEM text; NULL at its end, and also when damaged: then *bad. */
X509 *tls_next_cert(BIO *in, bool *bad);
BIO *tls_pem_open(struct view pem, const char *what, struct err *e);

/* lib/tls_ticket.c */
int tls_tickets_use(struct tls_ctx *ctx, const struct tls_server_conf *c, struct err *e);

/* "prefix: reason" from the OpenSSL error queue, which is emptied. Returns -1. */
int tls_error(struct err *e, enum err_class class, const char *prefix);

#endif
