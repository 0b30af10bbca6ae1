/* SPDX-License-Identifier: ISC */
/*
 * Whether an address takes clients (A10). A gate belongs to the address, not to a configuration: it
 * outlives reloads, and sessions know the one that they came through.
 */
#ifndef EKIDEN_SMTPD_GATE_H
#define EKIDEN_SMTPD_GATE_H

#include "smtpd/smtpd.h"

struct gate {
	unsigned refs;
	struct gate *next;
	char *address;
	uint8_t state; /* enum listener_state */
};

/* The gate of an address, made when it is new: a reference. */
struct gate *gate_take(struct smtpd *d, struct view address);
struct gate *gate_ref(struct gate *g);
void gate_unref(struct smtpd *d, struct gate **g);
/* Drained: its sessions end, at once or behind the message that they are at. */
void gate_set(struct smtpd *d, struct gate *g, uint8_t state);
/* The one of this address, if there is one. */
struct gate *gate_find(const struct smtpd *d, struct view address);

#endif
