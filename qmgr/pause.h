/* SPDX-License-Identifier: ISC */
/*
 * Mail that the admin keeps back: of a tenant, to a domain or site, by a source. It leaves memory and waits in the
 * database, as deferred mail does, so that a pause of millions costs nothing; attempts are not counted, its age is.
 * Pauses are durable; those with an end go by themselves.
 */
#ifndef EKIDEN_QMGR_PAUSE_H
#define EKIDEN_QMGR_PAUSE_H

#include "qmgr/way.h"

struct rcpt;
struct pause;

/* The pause that holds r back on its way; NULL: none. */
const struct pause *pause_find(const struct rcpt *r, const struct way *way);
/* r waits until the pause is over. */
void pause_wait(struct rcpt *r, const struct pause *p);
/* "domain example.jp, by uid 0: maintenance": for people; appended. */
void pause_text(const struct pause *p, struct buf *out);
/* The store is open. */
int pauses_load(struct qmgr *q, struct err *e);
/* Ends those whose time has come. */
void pauses_sweep(struct qmgr *q);
void pauses_free(struct qmgr *q);
/* mtactl resume: the pause that the call names ends. false: there is none, and the call's end is set. */
struct ctl_call;
bool pause_end(struct ctl_call *call);

#endif
