/* SPDX-License-Identifier: ISC */
/*
 * Leases: authd's answer to MAIL, good for further messages of the same session and sender without
 * another question. A session has at most one. It ends when it is used up, after LEASE_MS, with the
 * identity or the session, when authd says that something changed, and with authd itself; what was
 * stored on it is then told in one frame.
 */
#ifndef EKIDEN_SMTPD_LEASE_H
#define EKIDEN_SMTPD_LEASE_H

#include "smtpd/session.h"

struct ipc_mail_result;

/* A yes that came with a lease. */
void lease_take(struct session *s, struct view sender, const struct ipc_mail_result *m);
/* The transaction has what it needs of authd for this sender; false: it has to be asked. */
bool lease_use(struct session *s, struct view sender);
/* A message on a lease was stored; the lease may have ended meanwhile. */
void lease_count(struct session *s, uint32_t rcpts);
/* Idempotent. Before the session's identity changes. */
void lease_end(struct session *s);

#endif
