/* SPDX-License-Identifier: ISC */
/* Private to smtpd/milter*.c: a milter's connections, its macros, its edits. */
#ifndef EKIDEN_SMTPD_MILTER_IMPL_H
#define EKIDEN_SMTPD_MILTER_IMPL_H

#include "smtpd/milter_proto.h"
#include "smtpd/session.h"

/* Connections (milter_pool.c). */

struct milter {
	unsigned refs;
	struct smtpd *d;
	char *name;
	enum conf_failure on_failure;
	uint64_t timeout_ms;
	struct milter_conn *idle; /* negotiated, between two sessions */
	unsigned idle_count;
};

struct milter_conn;
/* To the session that has the connection. */
struct milter_conn_ops {
	void (*open)(void *ctx);   /* negotiated: commands may be sent */
	void (*packet)(void *ctx, const struct milter_packet *p);
	void (*drained)(void *ctx); /* output that had to wait has left */
	void (*broken)(void *ctx, const char *why); /* it is of no use any more */
};
struct milter_conn {
	struct io io;
	struct milter *m; /* a reference */
	const struct milter_conn_ops *ops;
	void *ctx;	/* NULL: no session has it */
	uint64_t req;	/* what master was asked, 0: it has answered */
	bool ready;	/* negotiated */
	bool used;	/* by a session before this one */
	struct milter_terms terms; /* macros: owned */
	struct milter_conn *next;  /* in the list of those asked for, or of idle ones */
	struct loop_timer timer; /* told to quit: until the milter closes, or this */
	struct loop_reap reap;
};

struct milter *milter_ref(struct milter *m);
void milter_unref(struct milter **m);
/* An idle one (then `ready`), or a new one: open() follows, or broken(). NULL: master cannot be asked. */
struct milter_conn *milter_conn_get(struct milter *m, bool fresh, const struct milter_conn_ops *ops,
    void *ctx);
/*
 * Back: kept for another session if the milter knows of that and has just said "continue" to the end of a message,
 * else told to quit. (In other states libmilter does not take SMFIC_QUIT_NC, and is deaf from then on.)
 */
void milter_conn_put(struct milter_conn **c, bool ended);
/* Of no use any more; no callback follows. */
void milter_conn_drop(struct milter_conn **c);

/* Macros (milter_macro.c). */

/* The packet that goes before a command, with the macros of a stage (SMFIM_*) that have a value. */
void milter_put_macros(struct buf *out, const struct session *s, const struct milter_terms *t, int stage,
    char command, struct view rcpt);

/* Edits (milter_edit.c). */

struct milter_edits {
	struct buf packets; /* as they came, all but those of a body */
	struct buf body;
	bool replaces_body;
	unsigned count;
};
void milter_edits_init(struct milter_edits *e, const struct session *s);
void milter_edits_free(struct milter_edits *e);
/* false: too many, or too large. */
bool milter_edits_add(struct milter_edits *e, const struct milter_packet *p,
    const struct milter_response *r);
/*
 * Makes all of them. -1: one cannot be made; the message, which may have some of them now, must not be stored.
 */
int milter_edits_apply(const struct milter_edits *e, struct session *s, const struct milter_terms *t,
    struct err *err);

#endif
