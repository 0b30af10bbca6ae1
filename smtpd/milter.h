/* SPDX-License-Identifier: ISC */
/*
 * Milters: filters of other programs that are shown a session command by command and its messages whole, and
 * may refuse either or change the message (milter_proto.h). Those of a listener are asked one after the other,
 * each seeing what the one before it made of the message. Their changes are collected and made when the milter
 * has said its last word about the message, all or none (J16).
 *
 * Descriptors come from master. A milter that fails (no connection, no answer in time, a broken packet, an edit
 * it has not asked leave for) is done with for this session; its on-failure setting says what that means.
 */
#ifndef EKIDEN_SMTPD_MILTER_H
#define EKIDEN_SMTPD_MILTER_H

#include "lib/conf.h"
#include "smtpd/stage.h"

struct smtpd;
struct milter;	/* one of a configuration, with its idle connections (milter_pool.c) */
struct milters; /* those of a session (milter.c) */

/* Of a listener; starts as zeroes. */
struct milter_list {
	struct milter **v; /* references */
	size_t n;
};
void milter_list_init(struct milter_list *l, struct smtpd *d, const struct conf *c,
    const struct conf_list *names);
void milter_list_clear(struct milter_list *l);

/* A session begins: it has milters if its listener has. */
void milters_begin(struct session *s);
/* It ends. Idempotent. */
void milters_end(struct session *s);
/* The transaction is over, or given up, also in the middle of a question. */
void milters_reset(struct session *s);

enum milter_event { MILTER_CONNECT, MILTER_HELO, MILTER_MAIL, MILTER_RCPT, MILTER_DATA, MILTER_UNKNOWN };
/*
 * Asks them about a command. arg: its argument; params: words behind it (MAIL and RCPT). false: nobody to ask.
 * Else done() is called, from the loop, exactly once, unless milters_reset() comes first: v NULL: go on; else
 * the command is refused (v lives during the call; 421 ends the session).
 */
typedef void milters_done(struct session *s, const struct verdict *v);
bool milters_ask(struct session *s, enum milter_event event, struct view arg, struct view params,
    milters_done *done);
/* The step at the end of the message: header, body and what follows from it. */
step_fn milters_message;
/* A body that took the place of a smaller one needs a file. */
step_fn milters_file;

/* A frame of master; false: not valid. */
bool milters_frame(struct smtpd *d, struct view body, int *fd);

#endif
