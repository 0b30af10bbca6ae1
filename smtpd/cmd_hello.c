/* SPDX-License-Identifier: ISC */
/* EHLO and HELO, and the commands that move no mail. */
#include <stdlib.h>

#include "lib/addr.h"
#include "smtpd/command.h"
#include "smtpd/future.h"

/* Both take the client's name as it is: a bad one is no reason to refuse mail (RFC 5321, 4.1.4). */
static bool
take_name(struct session *s, struct view arg, bool esmtp)
{
	if (arg.n > ADDR_DOMAIN_MAX) {
		session_reply(s, 501, ESC(5, 5, 4), "Error: host name too long");
		return false;
	}
	free(s->helo);
	s->helo = x_strndup(arg);
	s->esmtp = esmtp;
	txn_clear(&s->txn);
	session_enter(s, ST_READY);
	return true;
}

/*
 * A client that sends on before it knows what we can do is a zombie, or stands behind something that
 * plays back commands. Pipelining begins after the reply (RFC 2920, 3.1).
 */
static bool
out_of_turn(struct session *s, size_t rest)
{
	if (rest == 0 || s->helo || !policy_strict_order(&s->listener->policy))
		return false;
	trace_odd(s, "improper command pipelining after EHLO", VIEW(""));
	session_end(s, 554, ESC(5, 5, 0), "Error: commands sent before the reply to EHLO");
	return true;
}

/* What only some keys may do. RFC 4865, 3: the longest time, and the latest. */
static void
reply_rights(struct session *s)
{
	uint64_t max_s = session_limits(s)->future_release_max;
	char latest[FUTURE_TIME_CHARS + 1];

	if (mail_future_offered(s))
		session_reply_more(s, 250, "FUTURERELEASE %llu %s", (unsigned long long)max_s,
		    future_time_text(loop_wall_us(s->d->loop) + max_s * 1000000, latest));
	if (s->may_priority)
		session_reply_more(s, 250, "MT-PRIORITY");
}

static void
reply_ehlo(struct session *s)
{
	const struct site *site = s->listener->site;
	const struct policy *p = &s->listener->policy;
	struct policy_facts f = session_facts(s);

	session_reply_more(s, 250, "%s", site->hostname);
	session_reply_more(s, 250, "PIPELINING");
	session_reply_more(s, 250, "SIZE %llu", (unsigned long long)site->limits.message_size);
	session_reply_more(s, 250, "8BITMIME");
	session_reply_more(s, 250, "ENHANCEDSTATUSCODES");
	if (policy_offers_tls(p, &f))
		session_reply_more(s, 250, "STARTTLS");
	if (policy_offers_auth(p, &f))
		session_reply_more(s, 250, "AUTH PLAIN LOGIN SCRAM-SHA-256");
	reply_rights(s);
	session_reply(s, 250, ESC(0, 0, 0), "LIMITS MAILMAX=%llu RCPTMAX=%llu",
	    (unsigned long long)site->limits.messages_per_connection,
	    (unsigned long long)site->limits.recipients_per_message);
}

static void
reply_hello(struct session *s)
{
	if (s->esmtp)
		reply_ehlo(s);
	else
		session_reply(s, 250, ESC(0, 0, 0), "%s", s->listener->site->hostname);
}

static void
hello_judged(struct session *s, const struct verdict *v)
{
	if (v == NULL) {
		session_enter(s, ST_READY);
		reply_hello(s);
	} else {
		trace_reject(s, command_name(s->verb), v->code, v->esc, view_str(v->text), VIEW(""), NULL);
		session_forget_hello(s);
		session_enter(s, ST_HELLO);
		session_refuse(s, v);
	}
	session_settle(s);
}

static void
hello(struct session *s, struct view arg, size_t rest, bool esmtp)
{
	if (out_of_turn(s, rest) || !take_name(s, arg, esmtp))
		return;
	if (milters_ask(s, MILTER_HELO, view_str(s->helo), VIEW(""), hello_judged))
		session_enter(s, ST_MILTER);
	else
		reply_hello(s);
}

void
run_ehlo(struct session *s, struct view arg, size_t rest)
{
	hello(s, arg, rest, true);
}

void
run_helo(struct session *s, struct view arg, size_t rest)
{
	hello(s, arg, rest, false);
}

void
run_noop(struct session *s, struct view arg, size_t rest)
{
	(void)arg, (void)rest;
	session_reply(s, 250, ESC(2, 0, 0), "Ok");
}

void
run_rset(struct session *s, struct view arg, size_t rest)
{
	(void)arg, (void)rest;
	txn_clear(&s->txn);
	if (s->state != ST_HELLO)
		session_enter(s, ST_READY);
	session_reply(s, 250, ESC(2, 0, 0), "Ok");
}

void
run_vrfy(struct session *s, struct view arg, size_t rest)
{
	(void)arg, (void)rest;
	session_reply(s, 252, ESC(2, 0, 0), "Cannot VRFY user, but will take mail and attempt delivery");
}

void
run_help(struct session *s, struct view arg, size_t rest)
{
	(void)arg, (void)rest;
	session_reply(s, 214, ESC(2, 0, 0),
	    "EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY HELP QUIT");
}

void
run_quit(struct session *s, struct view arg, size_t rest)
{
	(void)arg, (void)rest;
	session_end(s, 221, ESC(2, 0, 0), "Bye");
}
