/* SPDX-License-Identifier: ISC */
/*
 * The `struct tls_signer` of a process that serves TLS or signs mail: requests by number over its
 * channels to the signd processes, batched by the channel, answered in any order. When a channel ends,
 * what is pending on it fails (the handshakes with it); without any, start() refuses until master
 * hands over a new one.
 */
#ifndef EKIDEN_SIGNER_H
#define EKIDEN_SIGNER_H

#include "lib/channel.h"
#include "lib/tls.h"

/* Requests in flight; above it start() refuses. TLS_PARKED_MAX keeps TLS far below. */
enum { SIGNER_PENDING_MAX = 4096 };

struct signer;

struct signer *signer_new(struct loop *l);
/* What pends fails first. Not from within a callback of the signer. */
void signer_free(struct signer **s);
/* What tls_server_ctx() takes; lives as long as the signer. */
struct tls_signer *signer_tls(struct signer *s);
/* Takes over fd, one end of a channel to that signd; a former channel to it is closed. 0 or -1. */
int signer_attach(struct signer *s, int fd, uint32_t instance);
/* That signd is gone (peer_gone); harmless when the channel has ended already. */
void signer_detach(struct signer *s, uint32_t instance);
bool signer_attached(const struct signer *s);
/* As the functions of struct tls_signer, for what is no handshake. */
int signer_start(struct signer *s, struct tls_sign_op *op);
void signer_cancel(struct signer *s, struct tls_sign_op *op);

#endif
