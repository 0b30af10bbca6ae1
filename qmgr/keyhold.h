/* SPDX-License-Identifier: ISC */
/*
 * Containment: what is queued in the name of a frozen key is held, released or deleted as authd says,
 * a few recipients a turn. While a key is frozen, nothing of it becomes active.
 */
#ifndef EKIDEN_QMGR_KEYHOLD_H
#define EKIDEN_QMGR_KEYHOLD_H

#include "qmgr/message.h"

/* user empty: all keys of the tenant. act: enum key_hold_act. false: there is no such act. */
bool keyhold_order(struct qmgr *q, struct view tenant, struct view user, uint8_t act);
/* The message may not become active now. */
bool keyhold_frozen(const struct message *m);
/* Holds it with the reason that keyhold_order() releases by. Out of its lane before. */
void keyhold_hold(struct rcpt *r);
void keyhold_stop(struct qmgr *q);

#endif
