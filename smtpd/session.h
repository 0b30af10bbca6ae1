/* SPDX-License-Identifier: ISC */
/*
 * One SMTP session. Its life: session_new() by an accept; input, replies and answers of other daemons
 * drive it through the states; session_end() (with a last reply) or session_close() end it. It frees
 * itself at the end of the turn.
 */
#ifndef EKIDEN_SMTPD_SESSION_H
#define EKIDEN_SMTPD_SESSION_H

#include <netinet/in.h>

#include "lib/io.h"
#include "smtpd/smtpd.h"
#include "smtpd/txn.h"

enum session_state {
	ST_CONNECT,   /* the client's name is looked up */
	ST_ADMIT,     /* authd says whether there is room for the client */
	ST_GREET,     /* milters judge the connection */
	ST_HANDSHAKE, /* TLS */
	ST_HELLO,     /* greeted; EHLO is due */
	ST_READY,     /* MAIL may come */
	ST_AUTH,      /* the client owes a line of an AUTH exchange */
	ST_VERIFY,    /* authd judges a key or looks its salt up, or a refusal is delayed */
	ST_CHECK,     /* authd judges a sender */
	ST_MAIL,      /* transaction without recipients */
	ST_RCPT,      /* transaction with recipients */
	ST_RCPTS,     /* authd judges recipients */
	ST_MILTER,    /* milters judge a command or the message */
	ST_DATA,      /* content is taken */
	ST_FILE,      /* content waits for its file */
	ST_FINISH,    /* a step at the end of the message waits for another process */
	ST_STORE,     /* the spool makes it durable */
	ST_CLOSE,     /* the last reply is on its way */
	STATES
};

/* What another daemon is asked (peers.c). */
enum question {
	ASK_NAME, ASK_CONNECT, ASK_AUTH, ASK_SALT, ASK_MAIL, ASK_RCPTS, ASK_FROM
};

enum { COMMAND_COUNT_MAX = 24, IP_TEXT_MAX = 46 };

struct auth; /* cmd_auth.c */
struct lease; /* lease.c */
struct ipc_from_result;

struct session {
	struct io io;
	struct smtpd *d;
	struct listener *listener; /* a reference */
	struct gate *gate;	   /* a reference */
	struct loop_timer timer;
	struct loop_task after_flush; /* goes on when large output has left */
	struct loop_reap reap;
	uint32_t slot, asked; /* asked: number of the request under way, 0: none */
	uint8_t state, question;
	bool counted; /* authd has a place taken for this client */
	bool esmtp, tls, trusted, authenticated;
	bool may_future, may_priority; /* rights of the key that logged in */
	bool verb_failed, closed;
	int8_t verb; /* index of the last command, -1: none yet */
	uint64_t serial;
	char ip[IP_TEXT_MAX];
	const char *name_static; /* "unknown", "localhost", or NULL: name */
	char *name, *helo, *tenant, *user;
	const char *method; /* of AUTH; static */
	struct auth *auth;  /* an exchange under way */
	struct milters *milters; /* NULL: none */
	struct lease *lease;	 /* NULL: none */
	uint8_t back;	    /* the state that a command came in which milters judge */
	void (*got_from)(struct session *s, const struct ipc_from_result *m); /* peers_ask_from() */
	char *refusal;	    /* 421 for a client that must first do its TLS handshake */
	uint32_t mails, errors, idle_commands, auth_failures, txns;
	struct {
		uint32_t good, all;
	} count[COMMAND_COUNT_MAX];
	struct txn txn;
};

/* Takes fd, a connected non-blocking socket. */
void session_new(struct smtpd *d, struct listener *l, struct gate *g, int fd,
    const struct sockaddr *sa);
/* The only way into a state: checks the edge, arms the state's deadline, stops or starts input. */
void session_enter(struct session *s, enum session_state to);
/* What follows a finished command: budgets, drain. */
void session_settle(struct session *s);

/* One reply line; with a class in esc the enhanced code is written. Errors are counted. */
void session_reply(struct session *s, unsigned code, struct esc esc, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A line of a reply with more lines behind it. */
void session_reply_more(struct session *s, unsigned code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void session_reply_verdict(struct session *s, const struct verdict *v);
/* The same; 421 ends the session. */
void session_refuse(struct session *s, const struct verdict *v);
/* The last reply, then close. */
void session_end(struct session *s, unsigned code, struct esc esc, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Ends it with s->refusal. */
void session_turn_away(struct session *s);
/* Without a word: replies to what came before still leave (P01), then close. */
void session_hang_up(struct session *s);
/* At once. */
void session_close(struct session *s);
/* Ends the session with 421 if it is between messages; otherwise session_settle() does it later. */
void session_drain(struct session *s);
/* What the client said before TLS, or before EHLO, counts no more. */
void session_forget_hello(struct session *s);

struct policy_facts session_facts(const struct session *s);
const char *session_name(const struct session *s);
void session_put_client(const struct session *s, struct buf *b); /* NAME[IP] */
void session_put_id(const struct session *s, struct buf *b); /* unique among all sessions ever */
const char *session_proto(const struct session *s); /* RFC 3848: SMTP, ESMTP, ESMTPSA... */
static inline const struct conf_limits *
session_limits(const struct session *s)
{
	return &s->listener->site->limits;
}

/* Answers of other daemons, from peers.c; NULL or empty where the daemon went away. */
void session_got_name(struct session *s, struct view name);
struct ipc_connect_result;
struct ipc_auth_result;
struct ipc_scram_salt;
struct ipc_mail_result;
struct ipc_rcpt_result;
void session_got_connect(struct session *s, const struct ipc_connect_result *m);
void session_got_auth(struct session *s, const struct ipc_auth_result *m);
void session_got_salt(struct session *s, const struct ipc_scram_salt *m);
void session_got_mail(struct session *s, const struct ipc_mail_result *m);
void session_got_rcpts(struct session *s, const struct ipc_rcpt_result *m);
/* No answer is waited for any more. */
static inline void
session_forget(struct session *s)
{
	s->asked = 0;
}

/* trace.c: log lines and events. */
void trace_connect(const struct session *s);
void trace_disconnect(const struct session *s);
void trace_lost(const struct session *s, const char *how); /* "lost connection", "timeout" */
void trace_tls(const struct session *s);
void trace_tls_failed(const struct session *s, const struct err *e);
void trace_auth_failed(const struct session *s, const char *method, struct view user, struct view why);
/* Refused by policy. rcpt may be NULL; `text` is the reply without code. */
void trace_reject(const struct session *s, const char *verb, unsigned code, struct esc esc,
    struct view text, struct view sender, const struct view *rcpt);
void trace_stored(const struct session *s, uint64_t qid);
void trace_odd(const struct session *s, const char *what, struct view input);

#endif
