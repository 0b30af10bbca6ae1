/* SPDX-License-Identifier: ISC */
/* The header fields that this host puts in front of a message. */
#ifndef EKIDEN_SMTPD_RECEIVED_H
#define EKIDEN_SMTPD_RECEIVED_H

#include "smtpd/session.h"

/*
 * Appends the trace field of the site's mode (C1-C6), then Date and Message-ID when the message has
 * none and the client is one whose mail we complete (RFC 6409, 8). The header is complete now. Fills
 * env.message_id when it makes one.
 */
void received_put(struct session *s, struct txn *t, struct buf *out);

#endif
