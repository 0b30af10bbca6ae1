/* SPDX-License-Identifier: ISC */
/*
 * One error value from the place that fails to the SMTP reply, the queue record and the report.
 * Functions that can fail return 0 or -1 and fill a struct err that the caller owns.
 */
#ifndef EKIDEN_ERR_H
#define EKIDEN_ERR_H

#include "lib/esc.h"

enum err_class {
	ERR_NONE,
	ERR_TEMP, /* may work later */
	ERR_PERM, /* will not work with this input */
	ERR_PEER, /* the other side broke its protocol */
	ERR_BUG,  /* ours */
	ERR_DAMAGED /* what is on disk is not what was written there */
};

enum { ERR_TEXT_MAX = 512 };

struct err {
	enum err_class class;
	struct esc esc;
	char text[ERR_TEXT_MAX]; /* one line, without the enhanced code */
};

/* Fills *e (NULL is allowed) and returns -1.  The text is cut at the limit. */
int err_set(struct err *e, enum err_class class, struct esc esc, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* As err_set() with ERR_TEMP 4.3.0, with ": " and strerror(errno) behind the text. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " in front of the text: the context grows on the way up. Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
