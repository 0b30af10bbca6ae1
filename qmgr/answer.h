/* SPDX-License-Identifier: ISC */
/* What the commands that explain have in common. */
#ifndef EKIDEN_QMGR_ANSWER_H
#define EKIDEN_QMGR_ANSWER_H

#include "lib/ctl.h"
#include "qmgr/lane.h"
#include "qmgr/stop.h"
#include "qmgr/walk.h"

/* --limit, or `usual`; false: it is no number, and the call's end is set. */
bool limit_get(struct ctl_call *call, uint64_t usual, uint64_t *limit);
/* Fields waits_for (`what`), used, limit, per_s, until: of the stop, or else this wall clock (0: none). */
void answer_stop(struct ctl_call *call, const char *what, const struct stop *why, uint64_t until_us);
/* Field reason: the last reply as one text. */
void answer_reason(struct ctl_call *call, const struct seen *s);
const char *tls_policy_word(uint8_t policy);

#endif
