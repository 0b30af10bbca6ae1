/* SPDX-License-Identifier: ISC */
/*
 * What follows from how mail fares: a tenant whose failures are many is slowed (A28), a key that is out
 * of its usual ways is frozen, and its queued mail held, when the settings say so.
 */
#ifndef EKIDEN_AUTHD_CONTAIN_H
#define EKIDEN_AUTHD_CONTAIN_H

#include "authd/authd.h"
#include "authd/live.h"

/* n more messages of the key would be an unusual volume. */
bool contain_near(struct authd *d, struct usage *u, uint32_t n, uint64_t now_s);
/* True when the key is frozen for its volume just now. */
bool contain_volume(struct authd *d, struct view user, struct usage *u, uint64_t now_s);
/* What qmgr counted. */
void contain_outcome(struct authd *d, const struct ipc_outcome *o);
/* Slowed tenants recover by time alone: to be called every few seconds. */
void contain_look(struct authd *d);
/* A new qmgr knows nothing yet. */
void contain_tell_all(struct authd *d);
/* For the admin's commands. */
void contain_live(struct authd *d, struct live *live);

#endif
