/* SPDX-License-Identifier: ISC */
/*
 * A connection that an admin asked for: the command "dialogue". It goes as far as where mail could flow, without
 * MAIL, then ends with QUIT; each of its lines goes to the admin's call.
 */
#ifndef EKIDEN_SMTP_PROBE_H
#define EKIDEN_SMTP_PROBE_H

#include "smtp/session.h"

/* For the session: in place of conn_closed. v: why it came to nothing, or NULL. */
void probe_result(struct session *s, const struct verdict *v);
/* The session is going away. */
void probe_end(struct session *s);

#endif
