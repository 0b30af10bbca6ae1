/* SPDX-License-Identifier: ISC */
/*
 * TLS on non-blocking sockets; the only caller of the OpenSSL SSL API.
 *
 * Private keys are not here: a context holds certificate chains, each with a public-key-only
 * EVP_PKEY whose private operation is a request to signd, made through `struct tls_signer`. While
 * signd works, the handshake is parked (SSL_MODE_ASYNC) and tls_handshake() returns TLS_WANT_ASYNC;
 * the signer's completion calls the session's `wake`, after which the handshake is called again.
 */
#ifndef EKIDEN_TLS_H
#define EKIDEN_TLS_H

#include "lib/err.h"

struct tls_ctx;
struct tls;

enum tls_result {
	TLS_DONE = 0,
	TLS_WANT_READ = -1,
	TLS_WANT_WRITE = -2,
	TLS_WANT_ASYNC = -3,
	TLS_CLOSED = -4, /* the peer closed; tls_clean() tells close_notify from a cut */
	TLS_FAILED = -5
};

/*
 * One private-key operation. `scheme` is RSA with the padding already applied (raw private
 * encrypt of `in`, as long as the modulus), or ECDSA on a digest. `done` is called exactly once,
 * later and never from within start(), with the signature (borrowed for the call), or with ok ==
 * false; after cancel() it is not called.
 */
struct tls_sign_op {
	uint32_t key;	/* signd's number of the key */
	uint64_t pin;	/* tls_key_pin() of the certificate: signd must hold that very key */
	uint8_t scheme; /* enum sign_scheme of lib/ipc_schema.h */
	struct view in; /* borrowed until done or cancel */
	void (*done)(struct tls_sign_op *op, bool ok, struct view signature);
	void *ctx;
	uint64_t ticket; /* the signer's */
};

/*
 * One for all server contexts of a process (lib/signer.h). Starts as zeroes but for the
 * functions.
 */
struct tls_signer {
	/* Starts op; 0, or -1 when signd cannot be asked (op->done is then not called). */
	int (*start)(struct tls_signer *s, struct tls_sign_op *op);
	void (*cancel)(struct tls_signer *s, struct tls_sign_op *op);
	/*
	 * Private to lib/tls.c: handshakes parked, and those that wait for a place
	 * (TLS_PARKED_MAX).
	 */
	struct tls *first_waiting, *last_waiting;
	unsigned parked;
	bool waking;
};

/* A parked handshake holds a 32 KiB stack, so their number has a limit; the others wait in line. */
enum { TLS_PARKED_MAX = 256, TLS_SIGNATURE_MAX = 1024, TLS_TICKET_KEY = 80 };

/* A certificate and the number of its private key in signd. */
struct tls_cert_conf {
	struct view chain_pem; /* leaf first */
	uint32_t key;
};

struct tls_server_conf {
	/*
	 * A client that asks for a name (SNI) is shown the first RSA and the first ECDSA certificate that are
	 * for it, whichever it can use; others the first of all, with the first of the other kind for the
	 * same name.
	 */
	const struct tls_cert_conf *certs;
	size_t cert_count;
	struct tls_signer *signer; /* not owned; outlives the context and its sessions */
	bool legacy;		   /* also TLS 1.0 and 1.1 (G4); default is 1.2 and 1.3 */
	bool only_1_3;
	const char *ciphers, *ciphersuites; /* of TLS 1.2 and of 1.3; NULL or "": ours */
	/* A client that offers application protocols, but none of these, is refused; none: no matter. */
	const char *const *alpn;
	size_t alpn_count;
	/* Of the listener: a session of one is never resumed on another, whatever its ticket (B9). */
	const char *name;
	/*
	 * TLS_TICKET_KEY bytes shared by the workers of this listener and by no other listener; empty: no
	 * resumption. The former one still opens tickets.
	 */
	struct view ticket_key, former_ticket_key;
};

struct tls_client_conf {
	struct view ca_pem; /* trust anchors; empty: TLS_VERIFY_NAME never succeeds */
	bool legacy;	    /* also TLS 1.0 and 1.1, and servers without secure renegotiation */
	/* Shown to servers that ask for one; chain_pem empty: none. */
	struct tls_cert_conf cert;
	struct tls_signer *signer;
};

/*
 * NONE: opportunistic (RFC 7435): any certificate does, none is judged, weak ones are better than
 * no TLS. NAME: the chain must lead to a trust anchor and a subjectAltName must match, or the
 * handshake fails.
 */
enum tls_verify { TLS_VERIFY_NONE, TLS_VERIFY_NAME };

/* What a finished handshake is, for logs and Received. Strings are static or live with the tls. */
struct tls_info {
	const char *version; /* "TLSv1.3" */
	const char *sni;     /* the name that the client asked for, as it came; NULL: none */
	bool by_name;	     /* ... and by which its certificate was picked */
	const char *cipher;
	int bits, alg_bits;
	bool verified; /* chain and name were checked and hold */
	bool resumed;
};

/*
 * Contexts are immutable and counted: sessions survive the free of their context. NULL and e on
 * error. Neither opens a file (openssl.cnf is not read), so both work behind the sandbox.
 */
struct tls_ctx *tls_server_ctx(const struct tls_server_conf *c, struct err *e);
struct tls_ctx *tls_client_ctx(const struct tls_client_conf *c, struct err *e);
void tls_ctx_free(struct tls_ctx **ctx);
/* Whether a server context could be made with these lists; NULL or "": ours. */
int tls_ciphers_check(const char *ciphers, const char *ciphersuites, struct err *e);
/* Server: tickets are made with this key from now on; the one so far becomes the former one. */
void tls_ctx_ticket_key(struct tls_ctx *ctx, struct view key);

/*
 * A session on a connected non-blocking fd (not owned). wake(arg) is called from the loop, when the
 * handshake has been parked and can go on; it may free the session.
 */
struct tls *tls_server(struct tls_ctx *ctx, int fd, void (*wake)(void *arg), void *arg);
/*
 * name: a host name (for SNI) or an address; with TLS_VERIFY_NAME what the certificate must be
 * for. wake as above, for a client certificate.
 */
struct tls *tls_client(struct tls_ctx *ctx, int fd, const char *name, enum tls_verify verify,
    void (*wake)(void *arg), void *arg);
/* No I/O: cancels a pending private-key operation and frees. Safe on NULL. */
void tls_free(struct tls **t);

/* TLS_CLOSED: the peer went away before the end. TLS_FAILED: *e tells why (class PEER, 4.7.5). */
enum tls_result tls_handshake(struct tls *t, struct err *e);
/* Bytes (> 0) or an enum tls_result (never TLS_DONE). A write may take less than n. */
ptrdiff_t tls_read(struct tls *t, void *p, size_t n, struct err *e);
ptrdiff_t tls_write(struct tls *t, const void *p, size_t n, struct err *e);
/* Sends close_notify once if that does not block; never waits for the peer's. */
void tls_bye(struct tls *t);
/* After TLS_CLOSED: the peer ended the stream with close_notify, so nothing was cut off. */
bool tls_clean(const struct tls *t);
/* errno of the socket call that ended the last operation; 0: none did. */
int tls_errno(const struct tls *t);
/*
 * Bytes that were read from the socket but not yet by the owner; 1 when their number is not known
 * yet.
 */
size_t tls_pending(const struct tls *t);
/* Only after TLS_DONE. */
void tls_info(const struct tls *t, struct tls_info *out);

/* Appends the SubjectPublicKeyInfo of the first certificate of a PEM chain. 0 or -1. */
int tls_chain_public_key(struct view chain_pem, struct buf *spki_der, struct err *e);
/* A short name of a public key, never 0: by it a signature is asked from the right private key. */
uint64_t tls_key_pin(struct view spki_der);

#endif
