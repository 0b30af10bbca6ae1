/* SPDX-License-Identifier: ISC */
/* The commands, declared in one table (command.c); cmd_*.c carry them out. */
#ifndef EKIDEN_SMTPD_COMMAND_H
#define EKIDEN_SMTPD_COMMAND_H

#include "smtpd/session.h"

/*
 * Takes one line (without CRLF) from a client in a state that takes commands; parses, checks state
 * and rights, runs. `rest`: bytes that already wait behind the line.
 */
void command_line(struct session *s, struct view line, size_t rest);
/* "RCPT"; "CONNECT" when there was none. */
const char *command_name(int verb);
size_t command_count(void);
/* The line begins with the name of a command, carried out or not. */
bool command_known(struct view line);
/* Longest line with CRLF: of a command that begins as `line`, of a line in an AUTH exchange. */
size_t command_line_max(struct view line);
enum { AUTH_LINE_MAX = 12288 + 64 };

/* NAME or NAME=VALUE behind a path: the table of what a command knows. */
struct param {
	const char *name;
	/* false: refused, *v says how. */
	bool (*take)(struct session *s, struct view value, bool has_value, struct verdict *v);
	bool (*offered)(const struct session *s); /* NULL: always */
};
/* All of them, in `v`; each at most once. */
bool command_params(struct session *s, struct view v, const struct param *known, size_t count,
    struct verdict *bad);
/* "FROM:" or "TO:" with blanks behind it, as many clients write. */
bool command_keyword(struct view *arg, const char *keyword);

/* HOLDFOR and HOLDUNTIL may be given with MAIL. */
bool mail_future_offered(const struct session *s);

struct verdict check_auth(const struct session *s);
struct verdict check_mail(const struct session *s);
struct verdict check_rcpt(const struct session *s);
struct verdict check_starttls(const struct session *s);

void run_ehlo(struct session *s, struct view arg, size_t rest);
void run_helo(struct session *s, struct view arg, size_t rest);
void run_noop(struct session *s, struct view arg, size_t rest);
void run_rset(struct session *s, struct view arg, size_t rest);
void run_vrfy(struct session *s, struct view arg, size_t rest);
void run_help(struct session *s, struct view arg, size_t rest);
void run_quit(struct session *s, struct view arg, size_t rest);
void run_starttls(struct session *s, struct view arg, size_t rest);
void run_auth(struct session *s, struct view arg, size_t rest);
void run_mail(struct session *s, struct view arg, size_t rest);
void run_rcpt(struct session *s, struct view arg, size_t rest);
void run_data(struct session *s, struct view arg, size_t rest);

/* A line of an AUTH exchange. */
void auth_line(struct session *s, struct view line);
/* The delay of a refusal is over. */
void auth_delayed(struct session *s);
void auth_free(struct auth **a);
/* The name of a mechanism that we have. */
bool auth_mechanism(struct view name);
/* Asks authd for the recipients gathered, when the client's pipeline does not go on with RCPT. */
void rcpts_settle(struct session *s);
/* Recipients that wait for authd's word are answered without it. */
void rcpts_give_up(struct session *s);
/* Content bytes wait in the io. */
void data_input(struct session *s);
void data_deadline(struct session *s);
/* The spool did not answer with a file in time. */
void data_no_file(struct session *s);
/* qmgr is gone, and with it what it knew of the file that this content goes to. */
void data_lost_queue(struct session *s);
void tls_secured(struct session *s, const struct err *e);

#endif
