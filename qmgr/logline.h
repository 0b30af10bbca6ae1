/* SPDX-License-Identifier: ISC */
/* The log lines and events of the queue manager, in the shapes that log readers know. */
#ifndef EKIDEN_QMGR_LOGLINE_H
#define EKIDEN_QMGR_LOGLINE_H

#include "lib/event.h"
#include "qmgr/message.h"

void logline_active(const struct message *m, uint32_t nrcpt);
void logline_removed(const struct message *m);
/* from=<a>, status=expired, returned to sender */
void logline_expired(const struct message *m);
/*
 * to=<b>, relay=none, ..., status=deferred|bounced (text): what no smtp process logged. `lane` may be
 * NULL.
 */
void logline_rcpt(const struct rcpt *r, const struct outcome *o, const char *status,
    const char *lane);
/* An event about one recipient. */
void event_rcpt(const struct rcpt *r, enum event_type type);
/* "<qid>: to=<b>: " and what happened. */
void logline_note(const struct rcpt *r, const char *what);

#endif
