/* SPDX-License-Identifier: ISC */
/* The header fields that this host puts before those of a message. */
#ifndef EKIDEN_SMTPD_RECEIVED_H
#define EKIDEN_SMTPD_RECEIVED_H

#include "smtpd/session.h"

/*
 * Puts Date and Message-ID at the top of the header when the message has none (RFC 6409, 8): only for
 * a client whose mail we complete. Fills env.message_id when it makes one.
 */
void received_complete(struct session *s, struct txn *t);
/* What log lines and Received fields call this message before it has a queue id. */
void received_put_id(const struct session *s, struct buf *b);
/* Appends the trace field of the site's mode (C1-C6). */
void received_put(struct session *s, struct txn *t, struct buf *out);

#endif
