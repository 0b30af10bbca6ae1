/* SPDX-License-Identifier: ISC */
/* The client's side of the dialogue: a handler per state is called with each complete reply. */
#include "bench/source_session.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef void reply_fn(struct session *s, int code);

static void
cmd_add(struct session *s, const char *a, const char *b, const char *c)
{
	s->cmd_len +=
	    (size_t)snprintf(s->cmd + s->cmd_len, s->cmd_cap - s->cmd_len, "%s%s%s\r\n", a, b, c);
}

static void
cmd_send(struct session *s, enum state next)
{
	conn_put(&s->c, s->cmd, s->cmd_len);
	s->cmd_len = 0;
	s->state = next;
}

static void
send_simple(struct session *s, const char *cmd, enum state next)
{
	cmd_add(s, cmd, "", "");
	cmd_send(s, next);
}

void
session_ehlo(struct session *s)
{
	send_simple(s, "EHLO mailsource.invalid", ST_EHLO);
}

static void
rcpt_add(struct session *s, unsigned i)
{
	char addr[SOURCE_ADDR_MAX + 16];

	source_address(s->src->opt.to, s->number * s->src->opt.recipients + i, addr);
	cmd_add(s, "RCPT TO:<", addr, ">");
}

static bool
pipelined(const struct session *s)
{
	return s->src->opt.pipelining && s->offers_pipelining;
}

static void
message_begin(struct session *s)
{
	struct source *src = s->src;
	unsigned i;

	s->number = src->next_message++;
	s->has_message = true;
	s->message_bad = false;
	s->rcpt_seen = s->rcpt_ok = 0;
	s->sent_here++;
	s->t_mail = net_now_ns();
	s->t_next = s->t_mail + (uint64_t)src->opt.interval_ms * 1000000u;
	s->t_data = 0;
	cmd_add(s, "MAIL FROM:<", src->opt.from, ">");
	if (pipelined(s)) {
		for (i = 0; i < src->opt.recipients; i++)
			rcpt_add(s, i);
		cmd_add(s, "DATA", "", "");
	}
	cmd_send(s, ST_MAIL);
}

/* Used up: this many messages are all that one connection takes. */
static bool
connection_full(const struct session *s)
{
	unsigned limit = s->src->opt.per_connection;

	if (s->mail_max != 0 && (limit == 0 || s->mail_max < limit))
		limit = s->mail_max;
	return limit != 0 && s->sent_here >= limit;
}

void
session_next(struct session *s)
{
	struct source *src = s->src;

	if (src->opt.idle > 0 || !src->go) {
		s->state = ST_IDLE;
		if (++src->idle_now == src->slots)
			src->t_idle = net_now_ns();
	} else if (src->next_message >= src->opt.messages && src->opt.gather) {
		session_rest(s);
	} else if (src->next_message >= src->opt.messages || connection_full(s)) {
		send_simple(s, "QUIT", ST_QUIT);
	} else if (src->opt.interval_ms > 0 && net_now_ns() < s->t_next) {
		s->state = ST_IDLE;
	} else {
		message_begin(s);
	}
}

static void
content_send(struct session *s)
{
	struct source *src = s->src;
	size_t len;

	s->state = ST_BODY;
	if (s->rcpt_ok == 0) {
		conn_put(&s->c, ".\r\n", 3);
		return;
	}
	len = source_header(src, s->number, s->t_mail, s->header);
	conn_put(&s->c, s->header, len);
	conn_put(&s->c, src->body, src->body_len);
	src->bytes += len + src->body_len - 3;
}

/* -- replies -- */

void
session_message_failed(struct session *s)
{
	if (s->has_message)
		s->src->failed++;
	s->has_message = false;
}

/* Counts a refusal; true when the reply was one. */
static bool
refused(struct session *s, int code)
{
	if (code < 400)
		return false;
	s->src->reply_errors[code]++;
	s->message_bad = true;
	return true;
}

static void
on_banner(struct session *s, int code)
{
	if (refused(s, code)) {
		session_lost(s, SOURCE_ERR_MAX);
		return;
	}
	hist_add(&s->src->banner, net_now_ns() - s->t_connect);
	session_ehlo(s);
}

static void
on_ehlo(struct session *s, int code)
{
	struct source *src = s->src;

	if (refused(s, code)) {
		session_lost(s, SOURCE_ERR_MAX);
	} else if (src->opt.starttls && !s->secured) {
		if (s->offers_tls)
			send_simple(s, "STARTTLS", ST_STARTTLS);
		else
			session_lost(s, SOURCE_ERR_PROTOCOL);
	} else if (src->auth_line != NULL) {
		conn_put(&s->c, src->auth_line, strlen(src->auth_line));
		s->state = ST_AUTH;
	} else {
		session_next(s);
	}
}

static void
on_starttls(struct session *s, int code)
{
	struct source *src = s->src;

	if (refused(s, code))
		session_lost(s, SOURCE_ERR_MAX);
	else if (conn_tls_start(&s->c, src->tls, false, src->opt.tls_resume ? src->ticket : NULL) ==
		 -1)
		session_lost(s, SOURCE_ERR_TLS);
}

static void
on_auth(struct session *s, int code)
{
	if (refused(s, code))
		session_lost(s, SOURCE_ERR_MAX);
	else
		session_next(s);
}

static void
on_mail(struct session *s, int code)
{
	bool bad = refused(s, code);

	if (bad && !pipelined(s)) {
		session_message_failed(s);
		send_simple(s, "RSET", ST_RSET);
		return;
	}
	s->state = ST_RCPT;
	if (!pipelined(s)) {
		rcpt_add(s, 0);
		cmd_send(s, ST_RCPT);
	}
}

static void
on_rcpt(struct session *s, int code)
{
	if (!refused(s, code))
		s->rcpt_ok++;
	if (++s->rcpt_seen < s->src->opt.recipients) {
		if (pipelined(s))
			return;
		rcpt_add(s, s->rcpt_seen);
		cmd_send(s, ST_RCPT);
	} else if (pipelined(s)) {
		s->state = ST_DATA;
	} else if (s->rcpt_ok > 0) {
		send_simple(s, "DATA", ST_DATA);
	} else {
		session_message_failed(s);
		send_simple(s, "RSET", ST_RSET);
	}
}

static void
on_data(struct session *s, int code)
{
	if (code == 354) {
		content_send(s);
		return;
	}
	refused(s, code);
	session_message_failed(s);
	send_simple(s, "RSET", ST_RSET);
}

static void
on_body(struct session *s, int code)
{
	struct source *src = s->src;
	uint64_t now = net_now_ns();

	if (!refused(s, code) && s->rcpt_ok > 0) {
		hist_add(&src->transaction, now - s->t_mail);
		if (s->t_data != 0)
			hist_add(&src->end_of_data, now - s->t_data);
		src->recipients_ok += s->rcpt_ok;
		src->t_last = now;
	}
	if (s->message_bad)
		session_message_failed(s);
	else
		src->accepted++;
	s->has_message = false;
	session_next(s);
}

static void
on_rset(struct session *s, int code)
{
	(void)code;
	session_next(s);
}

static void
on_quit(struct session *s, int code)
{
	(void)code;
	session_again(s);
}

static reply_fn *const on_reply[ST_MAX] = {
    [ST_BANNER] = on_banner,
    [ST_EHLO] = on_ehlo,
    [ST_STARTTLS] = on_starttls,
    [ST_AUTH] = on_auth,
    [ST_MAIL] = on_mail,
    [ST_RCPT] = on_rcpt,
    [ST_DATA] = on_data,
    [ST_BODY] = on_body,
    [ST_RSET] = on_rset,
    [ST_QUIT] = on_quit,
};

static void
note_limits(struct session *s, const char *list)
{
	const char *p;

	for (p = list; p != NULL; p = strchr(p + 1, ' ')) {
		if (strncasecmp(p, " MAILMAX=", 9) == 0)
			s->mail_max = (unsigned)strtoul(p + 9, NULL, 10);
	}
}

static void
note_extension(struct session *s, const char *word)
{
	if (strcasecmp(word, "PIPELINING") == 0)
		s->offers_pipelining = true;
	else if (strcasecmp(word, "STARTTLS") == 0)
		s->offers_tls = true;
	else if (strncasecmp(word, "LIMITS ", 7) == 0)
		note_limits(s, word + 6);
}

/* A reply to something that is still being sent; only a pipelined group may be answered in parts.
 */
static bool
reply_too_early(const struct session *s)
{
	return conn_unsent(&s->c) &&
	       !(pipelined(s) && (s->state == ST_MAIL || s->state == ST_RCPT));
}

void
session_line(struct session *s, const char *line, size_t len)
{
	int code;

	if (reply_too_early(s) || len < 3 || !isdigit((unsigned char)line[0]) ||
	    !isdigit((unsigned char)line[1]) || !isdigit((unsigned char)line[2])) {
		session_lost(s, SOURCE_ERR_PROTOCOL);
		return;
	}
	code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
	if (s->state == ST_EHLO && len > 4)
		note_extension(s, line + 4);
	if (len > 3 && line[3] == '-')
		return;
	if (code == 421 && s->state != ST_QUIT) {
		refused(s, code);
		session_lost(s, SOURCE_ERR_MAX);
	} else if (on_reply[s->state] != NULL) {
		on_reply[s->state](s, code);
	} else {
		session_lost(s, SOURCE_ERR_PROTOCOL);
	}
}
