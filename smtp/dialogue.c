/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "smtp/connect.h"
#include "smtp/dialogue.h"
#include "smtp/report.h"
#include "smtp/verb.h"
#include "smtp/watch.h"

static void greeting_reply(struct session *s);
static void ehlo_reply(struct session *s);
static void helo_reply(struct session *s);
static void starttls_reply(struct session *s);
static void auth_reply(struct session *s);
static void auth_user_reply(struct session *s);
static void auth_secret_reply(struct session *s);
static void idle_reply(struct session *s);
static void quit_reply(struct session *s);

static const struct step_info steps[] = {
	[STEP_CONNECT] = { "CONNECT", "connecting", STAGE_CONNECT, idle_reply },
	[STEP_GREETING] = { "CONNECT", "receiving the initial server greeting", STAGE_GREETING,
	    greeting_reply },
	[STEP_EHLO] = { "EHLO", "performing the EHLO handshake", STAGE_EHLO, ehlo_reply },
	[STEP_HELO] = { "HELO", "performing the HELO handshake", STAGE_EHLO, helo_reply },
	[STEP_STARTTLS] = { "STARTTLS", "sending STARTTLS", STAGE_TLS, starttls_reply },
	[STEP_TLS] = { "STARTTLS", "performing the TLS handshake", STAGE_TLS, idle_reply },
	[STEP_AUTH] = { "AUTH", "sending AUTH", STAGE_AUTH, auth_reply },
	[STEP_AUTH_USER] = { "AUTH", "sending AUTH", STAGE_AUTH, auth_user_reply },
	[STEP_AUTH_SECRET] = { "AUTH", "sending AUTH", STAGE_AUTH, auth_secret_reply },
	[STEP_IDLE] = { "no", "waiting for work", STAGE_NONE, idle_reply },
	[STEP_RSET] = { "RSET", "sending RSET", STAGE_RSET, transaction_rset },
	[STEP_MAIL] = { "MAIL FROM", "sending MAIL FROM", STAGE_MAIL, transaction_mail },
	[STEP_RCPT] = { "RCPT TO", "sending RCPT TO", STAGE_RCPT, transaction_rcpt },
	[STEP_DATA] = { "DATA", "sending DATA command", STAGE_DATA, transaction_data },
	[STEP_BODY] = { "DATA", "sending message body", STAGE_DATA, transaction_body },
	[STEP_EOD] = { "end of DATA", "sending end of data -- message may be sent more than once",
	    STAGE_EOD, transaction_eod },
	[STEP_QUIT] = { "QUIT", "sending QUIT", STAGE_NONE, quit_reply },
};
_Static_assert(sizeof(steps) / sizeof(steps[0]) == STEPS, "a step has no row");

const struct step_info *
step_info(enum step step)
{
	return &steps[step];
}

/* S29: 421 ends the session wherever it comes. */
void
dialogue_reply(struct session *s)
{
	enum step step = session_step(s);
	struct verdict v;

	if (s->reply.code == 421 && step != STEP_QUIT && step != STEP_IDLE) {
		verdict_reply(s, step, &v);
		session_broken(s, &v);
		return;
	}
	steps[step].reply(s);
}

static bool
positive(const struct session *s)
{
	return s->reply.code >= 200 && s->reply.code < 300;
}

/* The server's answer rules this address out for this connection: nobody's mail was refused. */
static void
refused(struct session *s)
{
	struct verdict v;

	verdict_reply(s, session_step(s), &v);
	v.class = ERR_TEMP;
	v.esc.class = 4;
	connect_next(s, &v);
}

/* The command stands at the end of the output. */
static void
say(struct session *s, enum step step, bool written)
{
	struct verdict v;

	if (!written) {
		verdict_set(&v, ERR_TEMP, steps[step].stage, ESC(4, 3, 5),
		    "%s cannot be sent: bad text", steps[step].command);
		connect_next(s, &v);
		return;
	}
	s->step = (uint8_t)step;
	watch_command(s);
	session_expect(s);
}

static void
say_ehlo(struct session *s)
{
	s->caps = (struct caps){ 0 };
	say(s, STEP_EHLO, verb_arg(io_out(&s->link->io), "EHLO", view_str(session_helo(s))));
}

/* RFC 5321, 5.1: a host that MX names and that greets with our name is ourselves. */
static bool
greets_as_ourselves(const struct session *s)
{
	struct view text = buf_view(&s->reply.text), name = view_cut(&text, ' ');

	return s->mx && *session_conf(s)->hostname && view_iis(name, session_conf(s)->hostname);
}

static void
greeting_reply(struct session *s)
{
	struct verdict v;

	s->greeted++;
	if (!positive(s)) {
		refused(s);
	} else if (greets_as_ourselves(s)) {
		verdict_set(&v, ERR_PERM, STAGE_GREETING, ESC(5, 4, 6),
		    "mail for %s loops back to myself", s->nexthop);
		session_end(s, CONN_REFUSED, &v);
	} else {
		say_ehlo(s);
	}
}

static bool
needs_tls(const struct session *s)
{
	return s->policy == TLS_POLICY_ENCRYPT || s->policy == TLS_POLICY_VERIFY;
}

static void
no_tls(struct session *s, const char *why)
{
	char host[TARGET_TEXT_MAX];
	struct verdict v;

	target_text(session_target(s), false, host);
	verdict_set(
	    &v, ERR_TEMP, STAGE_TLS, ESC(4, 7, 4), "TLS is required, but %s host %s", why, host);
	connect_next(s, &v);
}

static void
no_auth(struct session *s, struct esc esc, const char *why)
{
	struct verdict v;

	verdict_set(&v, ERR_TEMP, STAGE_AUTH, esc, "SASL authentication to %s: %s", s->relay, why);
	session_end(s, CONN_FAILED, &v);
}

static void
say_auth(struct session *s)
{
	const struct secret *c = smtp_secret(s->smtp, s->auth);
	struct buf *out = io_out(&s->link->io);

	if (c == NULL) {
		no_auth(s, ESC(4, 7, 0), "no credentials are configured");
	} else if (!s->tls_on && !target_is_loopback(session_target(s))) {
		no_auth(s, ESC(4, 7, 0), "refused, the connection is not encrypted");
	} else if (s->caps.flags & CAP_AUTH_PLAIN) {
		say(s, STEP_AUTH, verb_auth_plain(out, view_str(c->user), buf_view(&c->secret)));
	} else if (s->caps.flags & CAP_AUTH_LOGIN) {
		say(s, STEP_AUTH_USER, verb_arg(out, "AUTH", VIEW("LOGIN")));
	} else {
		no_auth(s, ESC(4, 7, 0), "the server offers neither PLAIN nor LOGIN");
	}
}

/* Capabilities are known; what is left before mail can flow? */
static void
after_ehlo(struct session *s)
{
	bool want = !s->tls_on && !s->no_tls && s->policy != TLS_POLICY_NONE;

	if (want && (s->caps.flags & CAP_STARTTLS) && s->smtp->tls)
		say(s, STEP_STARTTLS, verb_word(io_out(&s->link->io), "STARTTLS"));
	else if (!s->tls_on && needs_tls(s))
		no_tls(s, "was not offered by");
	else if (*s->auth)
		say_auth(s);
	else
		session_ready(s);
}

static void
ehlo_reply(struct session *s)
{
	if (positive(s)) {
		ehlo_parse(buf_view(&s->reply.text), &s->caps);
		after_ehlo(s);
	} else if (s->reply.code >= 500 && !s->tls_on && !needs_tls(s)) {
		say(s, STEP_HELO, verb_arg(io_out(&s->link->io), "HELO", view_str(session_helo(s))));
	} else {
		refused(s);
	}
}

static void
helo_reply(struct session *s)
{
	if (positive(s))
		after_ehlo(s);
	else
		refused(s);
}

/* T02, ATTACKS B3: nothing came in plain behind the 220, the reader of replies saw to that. */
static void
starttls_reply(struct session *s)
{
	if (!positive(s) && needs_tls(s)) {
		no_tls(s, "was refused by");
	} else if (!positive(s)) {
		s->no_tls = true;
		after_ehlo(s);
	} else {
		enum tls_verify verify =
		    s->policy == TLS_POLICY_VERIFY ? TLS_VERIFY_NAME : TLS_VERIFY_NONE;
		struct io *io = &s->link->io;
		s->step = STEP_TLS;
		session_expect(s);
		io_tls(io, tls_client(s->smtp->tls, io_fd(io), session_target(s)->host, verify,
			       io_tls_wake, io));
	}
}

/* G8: all that was known of the server before is forgotten. */
void
dialogue_secured(struct session *s, const struct err *e)
{
	struct tls_info info;
	struct verdict v;

	if (e == NULL) {
		tls_info(s->link->io.tls, &info);
		s->tls_on = true;
		snprintf(s->tls_text, sizeof(s->tls_text), "%s", info.version);
		report_tls(s, &info);
		watch_note(s, s->tls_text);
		say_ehlo(s);
		return;
	}
	log_info("TLS with %s failed: %s", s->relay, e->text);
	watch_note(s, e->text);
	if (!needs_tls(s) && !*s->auth) {
		connect_retry_plain(s);
		return;
	}
	verdict_set(&v, ERR_TEMP, STAGE_TLS, ESC(4, 7, 5), "Cannot start TLS with %s: %s", s->relay,
	    e->text);
	connect_next(s, &v);
}

/* E8: wrong credentials are the admin's to mend; mail waits. */
static void
auth_refused(struct session *s)
{
	struct verdict v;

	verdict_reply(s, session_step(s), &v);
	v.class = ERR_TEMP;
	v.esc.class = 4;
	log_warn("SASL authentication failed: %s", v.text);
	session_end(s, CONN_FAILED, &v);
}

static void
auth_reply(struct session *s)
{
	if (positive(s))
		session_ready(s);
	else
		auth_refused(s);
}

static void
auth_user_reply(struct session *s)
{
	const struct secret *c = smtp_secret(s->smtp, s->auth);

	if (s->reply.code != 334 || c == NULL)
		auth_refused(s);
	else
		say(s, STEP_AUTH_SECRET, verb_auth_text(io_out(&s->link->io), view_str(c->user)));
}

static void
auth_secret_reply(struct session *s)
{
	const struct secret *c = smtp_secret(s->smtp, s->auth);

	if (s->reply.code != 334 || c == NULL)
		auth_refused(s);
	else
		say(s, STEP_AUTH, verb_auth_text(io_out(&s->link->io), buf_view(&c->secret)));
}

/* Nothing was asked: the server says good-bye, or is out of step. */
static void
idle_reply(struct session *s)
{
	struct verdict v;

	verdict_reply(s, session_step(s), &v);
	session_broken(s, &v);
}

static void
quit_reply(struct session *s)
{
	session_drop(s);
}
