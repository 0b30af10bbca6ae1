/* SPDX-License-Identifier: ISC */
/* The steps at the end of a message, in the order of the table in finish.c. */
#ifndef EKIDEN_SMTPD_STEPS_H
#define EKIDEN_SMTPD_STEPS_H

#include "smtpd/policy.h"
#include "smtpd/stage.h"

/* judge.c */
step_fn step_content; /* framing, limits, hops */
step_fn step_header;  /* From, duplicates; asks authd for the domains of From */
/* edit.c */
step_fn step_edit;     /* what we take out of the header and put into it */
step_fn step_envelope; /* sender rewriting, copies, what the record says of the message */

/* Fills *v; returns STEP_REFUSE. text: as long as the transaction. */
enum step_result step_refuse(struct verdict *v, uint16_t code, struct esc esc, const char *text);

#endif
