/* SPDX-License-Identifier: ISC */
/* Private to smtpd/milter*.c: a milter's connections, its macros, its edits, and who has its turn. */
#ifndef EKIDEN_SMTPD_MILTER_IMPL_H
#define EKIDEN_SMTPD_MILTER_IMPL_H

#include "smtpd/milter.h"
#include "smtpd/milter_proto.h"
#include "smtpd/session.h"

/* Connections (milter_pool.c). */

struct milter {
	unsigned refs;
	struct smtpd *d;
	char *name;
	enum conf_failure on_failure;
	uint64_t timeout_ms;
	struct conf_list tenants; /* n 0: all mail */
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

/* The milters of a session (milter.c). */

/* The parts of a message, in order. */
enum part { PART_HEADER, PART_EOH, PART_BODY, PART_END };

struct milter_link {
	struct milters *all;
	struct milter *m;	  /* of the listener, which the session has a reference to */
	struct milter_conn *conn; /* NULL: not yet, or not any more */
	uint8_t introduced;	  /* of one with tenants: it was told of the connection (1), of HELO (2) */
	unsigned said;		  /* commands on this connection in this session */
	bool heard;	 /* it has answered on it in this session */
	bool fresh;	 /* a connection that was kept did not live any more: take a new one */
	bool off;	 /* has accepted the whole connection, or failed and does not matter */
	bool failed;
	bool pass;	 /* has accepted this message */
	bool in_message; /* has seen MAIL and not answered about the end */
	bool ended;	 /* the last between us was the end of a message, and its "continue" */
};

struct milters {
	struct session *s;
	struct loop_task begin, flushed;
	struct loop_timer timer;
	struct loop_reap reap;
	size_t n, at;	/* whose turn it is */
	bool busy;	/* a question is under way */
	bool waiting;	/* and somebody else has to act */
	bool reply_due; /* namely the milter, with an answer */
	bool message;	/* the question is a message, else `event` */
	bool discard;	/* one of them wants the message to vanish */
	enum milter_event event;
	struct buf args; /* data of the event's command */
	milters_done *done;
	enum part part;
	uint32_t field;
	uint64_t body_at;
	struct buf chunk;
	uint64_t end_ms; /* of all patience with the answer */
	struct milter_edits edits;
	char text[MILTER_REPLY_MAX];
	struct milter_link link[];
};

/* Output to the milter, and what was agreed on (SMFIP_*). */
static inline struct buf *
milter_out(const struct milter_link *l)
{
	return io_out(&l->conn->io);
}
static inline uint32_t
milter_steps(const struct milter_link *l)
{
	return l->conn->terms.steps;
}
/* Behind what was said: wait for the answer, unless there will be none. */
void milter_said(struct milters *c, struct milter_link *l, uint32_t no_reply);
/* The answer of all of them. */
void milter_refuse(struct milters *c, uint16_t code, struct esc esc, const char *text);
/* The next command of the message (milter_say.c). */
void milter_say_part(struct milters *c, struct milter_link *l);

#endif
