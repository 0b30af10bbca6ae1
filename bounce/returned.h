/* SPDX-License-Identifier: ISC */
/* Mail that came to one of our return addresses. */
#ifndef EKIDEN_BOUNCE_RETURNED_H
#define EKIDEN_BOUNCE_RETURNED_H

#include "lib/ipc.h"
#include "lib/token.h"

/* Log line and `late_bounce` event: which message, which of its recipients, sent with which key (A17). */
void returned_note(const struct ipc_returned *m, const struct token *t);

#endif
