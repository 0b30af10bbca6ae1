/* SPDX-License-Identifier: ISC */
/*
 * What is done with a message beside storing it: observers of its body while it streams, and steps at
 * its end (finish.c), some of which wait for another process.
 */
#ifndef EKIDEN_SMTPD_STAGE_H
#define EKIDEN_SMTPD_STAGE_H

#include "lib/buf.h"

struct session;
struct txn;
struct verdict;

/*
 * Is called with each piece of the body as it will be stored, in order, from the first byte behind the
 * empty line; not any more once the message is sure to be refused. Owned by whoever adds it; it must
 * live as long as the transaction (its arena will do).
 */
struct body_observer {
	void (*body)(void *ctx, struct view bytes);
	void *ctx;
	struct body_observer *next;
};
/* Shows them some of it: what the scanner found, or a body that took the place of that. */
void stage_show(const struct txn *t, struct view bytes);
/* Before the first byte of content. Observers are called in the order in which they were added. */
void stage_observe(struct txn *t, struct body_observer *o);

/*
 * A step at the end of the message: GO_ON, REFUSE with *v, or WAIT, having asked somebody. Then the
 * session is in ST_FINISH, and exactly one finish_continue() takes it further, unless the session
 * ends or its deadline passes first: who answers must find the session in ST_FINISH.
 */
enum step_result {
	STEP_GO_ON,
	STEP_REFUSE,
	STEP_WAIT,
	STEP_FILTER /* as WAIT, in ST_MILTER, for as long as milters may take */
};
typedef enum step_result step_fn(struct session *s, struct verdict *v);

/* The end of the data was seen and the body is where it belongs: the first step. */
void finish_message(struct session *s);
/* The answer that a step waited for; v NULL: go on, else the message is refused. */
void finish_continue(struct session *s, const struct verdict *v);
/* The answer did not come in time. */
void finish_deadline(struct session *s);
/* A refusal at the end of the data; the scanner's fault may end the session. */
void finish_refuse(struct session *s, const struct verdict *v);

#endif
