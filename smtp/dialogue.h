/* SPDX-License-Identifier: ISC */
/*
 * What the client says and how it takes the answers: one row for each step. The steps up to the
 * idle connection are in dialogue.c, those of a mail transaction in transaction.c.
 */
#ifndef EKIDEN_DIALOGUE_H
#define EKIDEN_DIALOGUE_H

#include "smtp/session.h"

struct step_info {
	const char *command; /* "RCPT TO", as in "(in reply to RCPT TO command)" */
	const char *doing;   /* "sending RCPT TO", as in "while sending RCPT TO" */
	uint8_t stage;	     /* enum smtp_stage */
	void (*reply)(struct session *s);
};

const struct step_info *step_info(enum step step);
/* A whole reply is in s->reply. */
void dialogue_reply(struct session *s);
/* The handshake is decided. */
void dialogue_secured(struct session *s, const struct err *e);

/* transaction.c */
/* Takes up the first job, which may have been sent ahead. There is one. */
void transaction_start(struct session *s);
/* A further job came: it may go ahead at once. */
void transaction_queued(struct session *s);
void transaction_rset(struct session *s);
void transaction_mail(struct session *s);
void transaction_rcpt(struct session *s);
void transaction_data(struct session *s);
void transaction_body(struct session *s);
void transaction_eod(struct session *s);
/*
 * Not all of the command (or the content) that the due reply would answer has left: nobody can have
 * taken what was not sent, so no such reply is a success.
 */
bool transaction_is_early(const struct session *s);
/* More of the content can go out. */
void transaction_pump(struct session *s);

#endif
