/* SPDX-License-Identifier: ISC */
/* Texts of failures, in the words of Postfix, and the delivery lines of the log. */
#ifndef EKIDEN_REPORT_H
#define EKIDEN_REPORT_H

#include "smtp/session.h"

/* What s->reply means for a recipient, or for the connection: class, code and text. */
void verdict_reply(const struct session *s, enum step step, struct verdict *v);
/* The bare reply, for a delivery: "250 2.0.0 Ok". */
void verdict_sent(const struct session *s, struct verdict *v);
/* What an errno says of a TCP connection. */
uint8_t event_of(int error); /* enum conn_event */
/* error: errno, 0: the peer closed. "lost connection with ... while ...", "conversation with ... timed out while ..." */
void verdict_lost(const struct session *s, enum step step, int error, struct verdict *v);
void verdict_timeout(const struct session *s, enum step step, struct verdict *v);
/* Our own finding. */
void verdict_set(struct verdict *v, enum err_class class, uint8_t stage, struct esc esc,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void verdict_err(struct verdict *v, uint8_t stage, const struct err *e);

/* The line "QID: to=<...>, relay=..., ... status=..." of a decided recipient, and its event. */
void report_rcpt(const struct session *s, const struct job *j, const struct rcpt *r);
void report_tls(const struct session *s, const struct tls_info *info);
/* A duration with two significant digits: "0.012", "1.2", "34". */
void report_delay(struct buf *out, uint64_t us);

#endif
