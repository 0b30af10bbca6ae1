/* SPDX-License-Identifier: ISC */
/* One SMTP server session of the sink: a command table, and a search for the final dot. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem, memrchr */
#endif
#include "bench/sink.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
	INPUT_BUFFER = 32768,
	REPLY_BUFFER = 8192,
	REPLY_ROOM = 512, /* more than any one reply */
	HEAD_KEEP = 4096, /* of a tracked message: more than its header */
};

enum data_state { DATA_NONE, DATA_FIRST, DATA_MORE };

struct sink_session {
	struct sink_worker *w;
	struct conn c;
	enum data_state data;
	bool have_mail, closing, start_tls;
	unsigned rcpts;
	uint64_t bytes;
	struct sink_record *record; /* only with --log */
	bool tracked;		    /* a recipient matched --track */
	char *head;		    /* start of the content, only with --track */
	size_t head_len;
	uint64_t held_until; /* --delay: when the end of data is answered; 0: nothing held */
	struct sink_session *held_next;
	size_t reply_len;
	char reply[REPLY_BUFFER];
};

typedef void command_fn(struct sink_session *s, const char *arg, size_t len);

static void
count(atomic_uint_least64_t *v, uint64_t n)
{
	/* One writer: a plain add that readers never see torn. */
	atomic_store_explicit(
	    v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

static void
reply(struct sink_session *s, const char *text)
{
	size_t len = strlen(text);

	memcpy(s->reply + s->reply_len, text, len);
	s->reply_len += len;
}

static void
transaction_clear(struct sink_session *s)
{
	s->have_mail = false;
	s->rcpts = 0;
	s->bytes = 0;
	s->tracked = false;
	s->head_len = 0;
	if (s->record != NULL)
		sink_record_begin(s->record);
}

static void
cmd_ehlo(struct sink_session *s, const char *arg, size_t len)
{
	(void)arg;
	(void)len;
	transaction_clear(s);
	reply(s, s->w->sink->tls != NULL && s->c.ssl == NULL ? s->w->ehlo_tls : s->w->ehlo_plain);
}

static void
cmd_helo(struct sink_session *s, const char *arg, size_t len)
{
	(void)arg;
	(void)len;
	transaction_clear(s);
	reply(s, "250 mailsink.invalid\r\n");
}

static void
cmd_mail(struct sink_session *s, const char *arg, size_t len)
{
	(void)arg;
	(void)len;
	if (s->have_mail) {
		reply(s, "503 5.5.1 Nested MAIL\r\n");
		return;
	}
	s->have_mail = true;
	reply(s, "250 2.1.0 Ok\r\n");
}

static bool
contains(const char *text, size_t len, const char *pattern, size_t pattern_len)
{
	size_t i;

	for (i = 0; i + pattern_len <= len; i++) {
		if (strncasecmp(text + i, pattern, pattern_len) == 0)
			return true;
	}
	return false;
}

static const struct sink_rule *
rule_for(const struct sink_options *opt, const char *addr, size_t len)
{
	unsigned i;

	for (i = 0; i < opt->rules; i++) {
		if (contains(addr, len, opt->rule[i].pattern, opt->rule[i].len))
			return &opt->rule[i];
	}
	return NULL;
}

static void
cmd_rcpt(struct sink_session *s, const char *arg, size_t len)
{
	const struct sink_rule *rule;
	const char *end;
	char text[64];

	if (!s->have_mail || len < 5 || strncasecmp(arg, "TO:<", 4) != 0) {
		reply(s, "503 5.5.1 Need MAIL, or bad RCPT\r\n");
		return;
	}
	arg += 4;
	len -= 4;
	end = memrchr(arg, '>', len);
	if (end != NULL)
		len = (size_t)(end - arg);
	rule = rule_for(&s->w->sink->opt, arg, len);
	if (rule != NULL) {
		count(&s->w->cell->refused, 1);
		snprintf(text, sizeof(text), "%d %s Refused by rule\r\n", rule->code,
		    rule->code < 500 ? "4.2.0" : "5.1.1");
		reply(s, text);
		return;
	}
	s->rcpts++;
	if (s->head != NULL &&
	    contains(arg, len, s->w->sink->opt.track, strlen(s->w->sink->opt.track)))
		s->tracked = true;
	if (s->record != NULL)
		sink_record_rcpt(s->record, arg, len);
	reply(s, "250 2.1.5 Ok\r\n");
}

static void
cmd_data(struct sink_session *s, const char *arg, size_t len)
{
	(void)arg;
	(void)len;
	if (s->rcpts == 0) {
		reply(s, "503 5.5.1 No recipients\r\n");
		return;
	}
	s->data = DATA_FIRST;
	reply(s, "354 End with a dot\r\n");
}

static void
cmd_rset(struct sink_session *s, const char *arg, size_t len)
{
	(void)arg;
	(void)len;
	transaction_clear(s);
	reply(s, "250 2.0.0 Ok\r\n");
}

static void
cmd_noop(struct sink_session *s, const char *arg, size_t len)
{
	(void)arg;
	(void)len;
	reply(s, "250 2.0.0 Ok\r\n");
}

static void
cmd_starttls(struct sink_session *s, const char *arg, size_t len)
{
	(void)arg;
	(void)len;
	if (s->w->sink->tls == NULL || s->c.ssl != NULL) {
		reply(s, "503 5.5.1 TLS not available\r\n");
		return;
	}
	transaction_clear(s);
	s->start_tls = true;
	reply(s, "220 2.0.0 Ready\r\n");
}

static void
cmd_quit(struct sink_session *s, const char *arg, size_t len)
{
	(void)arg;
	(void)len;
	s->closing = true;
	reply(s, "221 2.0.0 Bye\r\n");
}

static const struct {
	const char *verb;
	command_fn *run;
} commands[] = {
    {"MAIL", cmd_mail},
    {"RCPT", cmd_rcpt},
    {"DATA", cmd_data},
    {"EHLO", cmd_ehlo},
    {"HELO", cmd_helo},
    {"RSET", cmd_rset},
    {"NOOP", cmd_noop},
    {"QUIT", cmd_quit},
    {"STARTTLS", cmd_starttls},
};

static void
command(struct sink_session *s, const char *line, size_t len)
{
	size_t verb = strcspn(line, " "), skip, i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strlen(commands[i].verb) != verb ||
		    strncasecmp(line, commands[i].verb, verb) != 0)
			continue;
		skip = verb + (line[verb] == ' ');
		commands[i].run(s, line + skip, len - skip);
		return;
	}
	reply(s, "500 5.5.2 Unknown command\r\n");
}

static void
head_keep(struct sink_session *s, const char *data, size_t len)
{
	if (len > HEAD_KEEP - s->head_len)
		len = HEAD_KEEP - s->head_len;
	memcpy(s->head + s->head_len, data, len);
	s->head_len += len;
}

/* Time since the MAIL that the header tells of; nothing when it tells none. */
static void
end_to_end_note(struct sink_session *s, uint64_t now)
{
	static const char field[] = "\r\n" NET_SENT_FIELD;
	const char *p = memmem(s->head, s->head_len, field, sizeof(field) - 1);
	char digits[21] = "";
	uint64_t sent;

	if (p == NULL || (size_t)(s->head + s->head_len - p) < sizeof(field) - 1 + 20)
		return;
	memcpy(digits, p + sizeof(field) - 1, 20);
	sent = strtoull(digits, NULL, 10);
	if (sent != 0 && sent <= now)
		hist_add(&s->w->cell->end_to_end, now - sent);
}

static void
content(struct sink_session *s, size_t n)
{
	if (s->record != NULL)
		sink_record_content(s->record, s->c.in + s->c.in_pos, n);
	if (s->tracked)
		head_keep(s, s->c.in + s->c.in_pos, n);
	s->bytes += n;
	s->c.in_pos += n;
}

static void
message_answer(struct sink_session *s)
{
	struct sink_cell *cell = s->w->cell;
	uint64_t now = net_now_ns();

	if (s->tracked)
		end_to_end_note(s, now);
	if (s->record != NULL)
		sink_record_write(s->record, s->bytes, s->w->sink->log_fd);
	count(&cell->messages, 1);
	count(&cell->recipients, s->rcpts);
	count(&cell->bytes, s->bytes);
	atomic_store_explicit(&cell->last_message, now, memory_order_relaxed);
	transaction_clear(s);
	reply(s, "250 2.0.0 Ok\r\n");
}

/* All delays are equal, so the list is in the order of its times. */
static void
message_hold(struct sink_session *s)
{
	struct sink_worker *w = s->w;

	s->held_until = net_now_ns() + (uint64_t)w->sink->opt.delay_ms * 1000000u;
	s->held_next = NULL;
	if (w->held_last != NULL)
		w->held_last->held_next = s;
	else
		w->held_first = s;
	w->held_last = s;
}

static void
message_done(struct sink_session *s)
{
	s->data = DATA_NONE;
	if (s->w->sink->opt.delay_ms > 0)
		message_hold(s);
	else
		message_answer(s);
}

/* false: needs more input.  Keeps the last four bytes, which may begin the end mark. */
static bool
data_input(struct sink_session *s)
{
	const char *p = s->c.in + s->c.in_pos, *end;
	size_t n = s->c.in_len - s->c.in_pos;

	if (s->data == DATA_FIRST) {
		if (n < 3)
			return false;
		s->data = DATA_MORE;
		if (memcmp(p, ".\r\n", 3) == 0) {
			s->c.in_pos += 3;
			message_done(s);
			return true;
		}
	}
	end = memmem(p, n, "\r\n.\r\n", 5);
	if (end != NULL) {
		content(s, (size_t)(end - p) + 2);
		s->c.in_pos += 3;
		message_done(s);
		return true;
	}
	if (n > 4)
		content(s, n - 4);
	return false;
}

static void
session_free(struct sink_session *s)
{
	conn_free(&s->c);
	sink_record_free(s->record);
	free(s->head);
	free(s);
}

/* 1: all sent, 0: blocked, -1: broken. */
static int
replies_flush(struct sink_session *s)
{
	int rc;

	if (!conn_unsent(&s->c) && s->reply_len > 0)
		conn_put(&s->c, s->reply, s->reply_len);
	rc = conn_flush(&s->c);
	if (rc == 1)
		s->reply_len = 0;
	return rc;
}

/* Answers all input that is there.  1: go on, 0: blocked, -1: the session is over. */
static int
input(struct sink_session *s)
{
	size_t len;
	char *line;
	int rc;

	for (;;) {
		if (s->closing || s->start_tls || sizeof(s->reply) - s->reply_len < REPLY_ROOM) {
			rc = replies_flush(s);
			if (rc != 1)
				return rc;
		}
		if (s->closing)
			return -1;
		if (s->held_until != 0)
			return replies_flush(s) == -1 ? -1 : 0;
		if (s->start_tls) {
			s->start_tls = false;
			return conn_tls_start(&s->c, s->w->sink->tls, true, NULL) == -1 ? -1 : 1;
		}
		if (s->data != DATA_NONE) {
			if (!data_input(s))
				break;
			continue;
		}
		line = conn_line(&s->c, &len);
		if (line == NULL)
			break;
		command(s, line, len);
	}
	if (s->data == DATA_NONE && conn_line_too_long(&s->c))
		return -1;
	return replies_flush(s);
}

static int
session_step(struct sink_session *s)
{
	ssize_t n;
	int rc;

	if (s->c.handshaking) {
		rc = conn_handshake(&s->c);
		if (rc != 1)
			return rc;
		count(&s->w->cell->handshakes, 1);
	}
	if (conn_unsent(&s->c)) {
		rc = replies_flush(s);
		if (rc != 1)
			return rc;
		rc = input(s);
		if (rc != 1)
			return rc;
	}
	do {
		n = conn_read(&s->c);
		if (n <= 0)
			return (int)n;
		rc = input(s);
		if (rc != 1 || s->c.handshaking)
			return rc;
	} while (conn_more(&s->c));
	return 0;
}

/* A held session stays, and gets no events, until its message has been answered. */
static void
session_after(struct sink_session *s, int rc)
{
	if (s->held_until != 0)
		conn_disarm(&s->c, s->w->ep);
	else if (rc == -1)
		session_free(s);
	else
		conn_arm(&s->c, s->w->ep, s);
}

void
sink_session_event(struct sink_session *s)
{
	session_after(s, session_step(s));
}

int
sink_held_step(struct sink_worker *w)
{
	struct sink_session *s;
	uint64_t now;
	int rc;

	if (w->held_first == NULL)
		return -1;
	now = net_now_ns();
	while ((s = w->held_first) != NULL && s->held_until <= now) {
		w->held_first = s->held_next;
		if (w->held_first == NULL)
			w->held_last = NULL;
		s->held_until = 0;
		message_answer(s);
		rc = input(s);
		session_after(s, rc == 1 ? session_step(s) : rc);
	}
	return s == NULL ? -1 : (int)((s->held_until - now) / 1000000) + 1;
}

void
sink_session_open(struct sink_worker *w, int fd)
{
	struct sink_session *s = calloc(1, sizeof(*s));
	struct sink_cell *cell = w->cell;

	if (s == NULL)
		abort();
	s->w = w;
	conn_init(&s->c, INPUT_BUFFER);
	conn_open(&s->c, fd);
	if (w->sink->log_fd != -1)
		s->record = sink_record_new();
	if (w->sink->opt.track != NULL && (s->head = malloc(HEAD_KEEP)) == NULL)
		abort();
	transaction_clear(s);
	count(&cell->connections, 1);
	if (atomic_load_explicit(&cell->first_connect, memory_order_relaxed) == 0)
		atomic_store_explicit(&cell->first_connect, net_now_ns(), memory_order_relaxed);
	reply(s, "220 mailsink.invalid ESMTP\r\n");
	if (replies_flush(s) == -1)
		session_free(s);
	else
		conn_arm(&s->c, w->ep, s);
}
