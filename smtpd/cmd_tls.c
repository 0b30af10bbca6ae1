/* SPDX-License-Identifier: ISC */
#include "lib/log.h"
#include "smtpd/command.h"

struct verdict
check_starttls(const struct session *s)
{
	struct policy_facts f = session_facts(s);

	if (policy_offers_tls(&s->listener->policy, &f))
		return (struct verdict){ 0 };
	if (s->tls)
		return (struct verdict){ 503, ESC(5, 5, 1), "Error: TLS already active" };
	return (struct verdict){ 502, ESC(5, 5, 1), "Error: command not implemented" };
}

void
run_starttls(struct session *s, struct view arg, size_t rest)
{
	(void)arg;
	/* Plain text behind the command would be run as if it had come encrypted (CVE-2011-0411). */
	if (rest) {
		trace_odd(s, "plain text behind STARTTLS", VIEW(""));
		session_end(s, 554, ESC(5, 5, 0), "Error: commands sent behind STARTTLS");
		return;
	}
	struct tls *t = tls_server(s->listener->tls, io_fd(&s->io), io_tls_wake, &s->io);
	if (t == NULL) {
		session_reply(s, 454, ESC(4, 7, 0), "TLS not available due to local problem");
		return;
	}
	session_reply(s, 220, ESC(2, 0, 0), "Ready to start TLS");
	session_enter(s, ST_HANDSHAKE);
	io_tls(&s->io, t);
}

void
tls_secured(struct session *s, const struct err *e)
{
	if (e) {
		trace_tls_failed(s, e);
		trace_lost(s, "lost connection");
		session_close(s);
		return;
	}
	s->tls = true;
	trace_tls(s);
	session_forget_hello(s);
	session_enter(s, ST_HELLO);
	if (s->refusal)
		session_turn_away(s);
	else if (s->listener->policy.tls == CONF_TLS_implicit)
		session_reply(s, 220, ESC(0, 0, 0), "%s ESMTP", s->listener->site->hostname);
}
