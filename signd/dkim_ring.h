/* SPDX-License-Identifier: ISC */
/*
 * The DKIM keys of this process, found by the pin of their public half. There may be tens of thousands,
 * few of them in use: a key is kept as the PEM text that master checked, and parsed when it first signs.
 */
#ifndef EKIDEN_SIGND_DKIM_RING_H
#define EKIDEN_SIGND_DKIM_RING_H

#include "lib/dkim_key.h"

enum { DKIM_RING_MAX = 32768 };

struct dkim_ring;

struct dkim_ring *dkim_ring_new(void);
void dkim_ring_free(struct dkim_ring **r);
/* A copy of the PEM, which the caller wipes. -1: too many, or a number that is no algorithm. */
int dkim_ring_add(struct dkim_ring *r, uint64_t pin, uint8_t algorithm, struct view pem, struct err *e);
/* All are added: what `former` (may be NULL) has parsed already comes over, and former is freed. */
void dkim_ring_ready(struct dkim_ring *r, struct dkim_ring **former);
/* The length of the signature of a digest (DKIM_HASH bytes); 0: no such key, or not for that. */
size_t dkim_ring_sign(struct dkim_ring *r, uint64_t pin, enum dkim_algorithm a, struct view digest,
    unsigned char out[static DKIM_SIGNATURE_MAX], struct err *e);

#endif
