/* SPDX-License-Identifier: ISC */
/* Private to the two halves of a client session: its connection, and its dialogue. */
#ifndef BENCH_SOURCE_SESSION_H
#define BENCH_SOURCE_SESSION_H

#include "bench/source.h"

enum state {
	ST_CLOSED,
	ST_CONNECT,
	ST_BANNER,
	ST_EHLO,
	ST_STARTTLS,
	ST_AUTH,
	ST_MAIL,
	ST_RCPT,
	ST_DATA,
	ST_BODY,
	ST_RSET,
	ST_QUIT,
	ST_IDLE, /* stands: for good (idle), until the go, or until t_next */
	ST_REST, /* gather mode: all is sent, the connection stays */
	ST_MAX,
};

struct session {
	struct source *src;
	struct conn c;
	enum state state;
	bool secured, offers_pipelining, offers_tls, has_message, message_bad;
	unsigned sent_here, mail_max; /* messages on this connection, and the peer's limit */
	unsigned rcpt_seen, rcpt_ok;
	uint64_t number; /* of the message in hand */
	uint64_t t_connect, t_mail, t_data;
	uint64_t t_next; /* interval mode: earliest next MAIL */
	char *cmd;
	size_t cmd_len, cmd_cap;
	char header[SOURCE_HEADER_MAX];
};

/* Connects; the outcome comes as an event. */
void session_open(struct session *s);
/* Closes; connects anew while there is work, ends the slot otherwise. */
void session_again(struct session *s);
/* The session's slot has no more to do; its connection may stay. */
void session_rest(struct session *s);
/* A connection that broke; SOURCE_ERR_MAX when the cause has been counted already. */
void session_lost(struct session *s, enum source_error why);

/* One reply line without its line end.  May close or reopen the connection. */
void session_line(struct session *s, const char *line, size_t len);
/* The message in hand, if any, was not accepted. */
void session_message_failed(struct session *s);
void session_ehlo(struct session *s);
/* The next message, or QUIT, or rest. */
void session_next(struct session *s);

#endif
