/* SPDX-License-Identifier: ISC */
#include "lib/addr.h"
#include "lib/log.h"
#include "smtpd/command.h"

struct verdict
check_rcpt(const struct session *s)
{
	if (s->txn.env.nrcpt >= session_limits(s)->recipients_per_message)
		return (struct verdict){ 452, ESC(4, 5, 3), "Error: too many recipients" };
	return (struct verdict){ 0 };
}

static void
refuse(struct session *s, const struct verdict *v, struct view rcpt)
{
	struct buf text = BUF_INIT(ERR_TEXT_MAX + ADDR_MAX);

	buf_printf(&text, "<" VIEW_FMT ">: %s", VIEW_ARG(rcpt), v->text);
	trace_reject(s, "RCPT", v->code, v->esc, buf_view(&text), s->txn.env.sender, &rcpt);
	session_reply(s, v->code, v->esc, VIEW_FMT, VIEW_ARG(buf_view(&text)));
	buf_free(&text);
}

void
run_rcpt(struct session *s, struct view arg, size_t rest)
{
	struct verdict v = { 501, ESC(5, 5, 4), "Syntax: RCPT TO:<address>" };
	struct addr a;
	struct err e;

	(void)rest;
	if (!command_keyword(&arg, "TO:")) {
		session_reply_verdict(s, &v);
		return;
	}
	if (addr_path(&arg, ADDR_POSTMASTER, &a, &e) < 0) {
		session_reply(s, 501, e.esc, "%s", e.text);
		return;
	}
	if (!command_params(s, arg, NULL, 0, &v)) {
		session_reply_verdict(s, &v);
		return;
	}
	struct view rcpt = addr_whole(&a);
	v = policy_rcpt(s->txn.right, &rcpt, a.domain, s->listener->site->postmaster);
	if (v.code) {
		refuse(s, &v, rcpt);
		return;
	}
	txn_add_rcpt(&s->txn, rcpt);
	session_enter(s, ST_RCPT);
	session_reply(s, 250, ESC(2, 1, 5), "Ok");
}
