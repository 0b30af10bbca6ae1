/* SPDX-License-Identifier: ISC */
/*
 * From the name of a next hop to a connection: what DNS says, address after address, what is known
 * to be dead. The outcome is a session that waits for a greeting, or session_end().
 */
#ifndef EKIDEN_CONNECT_H
#define EKIDEN_CONNECT_H

#include "smtp/session.h"

void connect_start(struct session *s, const struct ipc_conn_open *m);
/* Asks dnsd for what is not known yet; again when its channel is new. */
void connect_ask(struct session *s);
/* dnsd's answer; frame is the message as it came, to be remembered. */
void connect_answered(struct session *s, const struct ipc_mx_answer *m, struct view frame);
/* The outcome of connect(); e == NULL: connected. */
void connect_done(struct session *s, const struct err *e);
void connect_timed_out(struct session *s);
/* This address will not do: the next one, or the end. v is copied. */
void connect_next(struct session *s, const struct verdict *v);
/* The same address once more, without TLS (T04). */
void connect_retry_plain(struct session *s);

#endif
