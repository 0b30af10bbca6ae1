/* SPDX-License-Identifier: ISC */
/* The values of HOLDFOR and HOLDUNTIL (RFC 4865) and of MT-PRIORITY (RFC 6710). Pure. */
#ifndef EKIDEN_SMTPD_FUTURE_H
#define EKIDEN_SMTPD_FUTURE_H

#include "lib/buf.h"

enum { FUTURE_TIME_CHARS = 20, PRIORITY_BIAS = 10 /* of envelope.mt_priority */ };

/* future-release-interval: 1 to 999999999 seconds. */
bool future_interval(struct view v, uint64_t *seconds);
/* date-time of RFC 3339, 5.6, from 1970 on. A leap second is the first of the next minute. */
bool future_time(struct view v, uint64_t *wall_us);
/* As such a date-time, in UTC and whole seconds. */
const char *future_time_text(uint64_t wall_us, char out[static FUTURE_TIME_CHARS + 1]);
/* -9 to 9. */
bool priority_value(struct view v, int *priority);

#endif
