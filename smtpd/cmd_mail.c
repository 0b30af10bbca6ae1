/* SPDX-License-Identifier: ISC */

#include "lib/addr.h"
#include "lib/log.h"
#include "smtpd/command.h"
#include "smtpd/future.h"
#include "smtpd/lease.h"

static bool
refuse(struct verdict *v, uint16_t code, struct esc esc, const char *text)
{
	*v = (struct verdict){ code, esc, text };
	return false;
}

/* RFC 1870; up to 20 digits, of which more than 64 bits are just "too big". */
static bool
take_size(struct session *s, struct view value, bool has_value, struct verdict *v)
{
	uint64_t size = UINT64_MAX;
	bool digits = has_value && value.n <= 20;

	for (size_t i = 0; i < value.n; i++)
		digits &= value.p[i] >= '0' && value.p[i] <= '9';
	if (!digits)
		return refuse(v, 501, ESC(5, 5, 4), "Error: bad SIZE value");
	view_u64(value, UINT64_MAX, &size);
	if (size > session_limits(s)->message_size)
		return refuse(v, 552, ESC(5, 3, 4), "Message size exceeds fixed limit");
	s->txn.declared = size;
	return true;
}

static bool
take_body(struct session *s, struct view value, bool has_value, struct verdict *v)
{
	(void)has_value;
	if (view_iis(value, "8BITMIME"))
		s->txn.env.flags |= SEGMENT_8BITMIME;
	else if (view_iis(value, "BINARYMIME"))
		return refuse(v, 555, ESC(5, 5, 4), "Error: BINARYMIME is not offered");
	else if (!view_iis(value, "7BIT"))
		return refuse(v, 501, ESC(5, 5, 4), "Error: bad BODY value");
	return true;
}

/* RFC 4954, 5: parsed, and then taken as "<>", since nobody is trusted to vouch for another. */
static bool
take_auth(struct session *s, struct view value, bool has_value, struct verdict *v)
{
	struct buf text = BUF_INIT(ADDR_MAX);
	struct addr a;

	(void)s;
	bool good = has_value && (view_is(value, "<>") ||
	    (xtext_decode(value, ADDR_MAX, &text) && addr_parse(buf_view(&text), 0, &a, NULL) == 0));
	buf_free(&text);
	return good || refuse(v, 501, ESC(5, 5, 4), "Error: bad AUTH value");
}

static bool
auth_offered(const struct session *s)
{
	struct policy_facts f = session_facts(s);

	return policy_offers_auth(&s->listener->policy, &f);
}

bool
mail_future_offered(const struct session *s)
{
	return s->authenticated && s->may_future && session_limits(s)->future_release_max;
}

/* RFC 4865, 3: one of the two, and not beyond what EHLO said. */
static bool
not_twice(const struct session *s, struct verdict *v)
{
	return (s->txn.hold_s == 0 && s->txn.env.release_us == 0) ||
	    refuse(v, 501, ESC(5, 5, 4), "Error: HOLDFOR and HOLDUNTIL exclude each other");
}

static bool
not_too_late(const struct session *s, uint64_t ahead_us, struct verdict *v)
{
	return ahead_us <= session_limits(s)->future_release_max * 1000000 ||
	    refuse(v, 501, ESC(5, 5, 4), "Error: too far in the future");
}

static bool
take_holdfor(struct session *s, struct view value, bool has_value, struct verdict *v)
{
	uint64_t seconds;

	if (!has_value || !future_interval(value, &seconds))
		return refuse(v, 501, ESC(5, 5, 4), "Error: bad HOLDFOR value");
	if (!not_twice(s, v) || !not_too_late(s, seconds * 1000000, v))
		return false;
	s->txn.hold_s = seconds;
	return true;
}

/* A time that has passed is no error: the client's clock, or its way to us, was slow. */
static bool
take_holduntil(struct session *s, struct view value, bool has_value, struct verdict *v)
{
	uint64_t now = loop_wall_us(s->d->loop), at;

	if (!has_value || !future_time(value, &at))
		return refuse(v, 501, ESC(5, 5, 4), "Error: bad HOLDUNTIL value");
	if (!not_twice(s, v) || (at > now && !not_too_late(s, at - now, v)))
		return false;
	s->txn.env.release_us = at ? at : 1;
	return true;
}

static bool
priority_offered(const struct session *s)
{
	return s->authenticated;
}

/* RFC 6710, 3 */
static bool
take_priority(struct session *s, struct view value, bool has_value, struct verdict *v)
{
	int priority;

	if (!has_value || !priority_value(value, &priority))
		return refuse(v, 501, ESC(5, 5, 4), "Error: bad MT-PRIORITY value");
	s->txn.priority = (int8_t)priority;
	s->txn.prioritized = true;
	return true;
}

static const struct param params[] = { { "SIZE", take_size, NULL }, { "BODY", take_body, NULL },
	{ "AUTH", take_auth, auth_offered }, { "HOLDFOR", take_holdfor, mail_future_offered },
	{ "HOLDUNTIL", take_holduntil, mail_future_offered },
	{ "MT-PRIORITY", take_priority, priority_offered } };

struct verdict
check_mail(const struct session *s)
{
	struct policy_facts f = session_facts(s);
	enum right right;
	struct verdict v = policy_mail(&s->listener->policy, &f, &right);

	if (v.code)
		return v;
	if (s->mails >= session_limits(s)->messages_per_connection)
		return (struct verdict){ 421, ESC(4, 7, 0), "Error: too many messages in this connection" };
	if (spool_state(s->d->spool) == SPOOL_FULL)
		return (struct verdict){ 452, ESC(4, 3, 1), "Insufficient system storage" };
	return v;
}

/* Path and parameters into the transaction; false when it was answered. */
static bool
parse(struct session *s, struct view arg, struct view *sender)
{
	struct verdict v = { 501, ESC(5, 5, 4), "Syntax: MAIL FROM:<address>" };
	struct addr a;
	struct err e;

	if (!command_keyword(&arg, "FROM:")) {
		session_reply_verdict(s, &v);
		return false;
	}
	if (addr_path(&arg, ADDR_NULL, &a, &e) < 0) {
		session_reply(s, 501, e.esc, "%s", e.text);
		return false;
	}
	if (!command_params(s, arg, params, sizeof(params) / sizeof(params[0]), &v)) {
		session_reply_verdict(s, &v);
		return false;
	}
	*sender = addr_whole(&a);
	s->txn.params = arena_view(&s->txn.arena, arg);
	return true;
}

static void
take_sender(struct session *s)
{
	const struct txn *t = &s->txn;

	s->mails++;
	session_enter(s, ST_MAIL);
	if (t->prioritized && t->priority && !t->grant.may_priority)
		/* RFC 6710, 5: taken, at the priority that the text begins with. */
		session_reply(s, 250, ESC(2, 3, 6), "0 is its priority: this key has no right to another");
	else
		session_reply(s, 250, ESC(2, 1, 0), "Ok");
}

static void
refuse_sender(struct session *s, unsigned code, struct esc esc, struct view text)
{
	trace_reject(s, "MAIL", code, esc, text, s->txn.env.sender, NULL);
	txn_clear(&s->txn);
	if (code == 421) {
		session_end(s, code, esc, VIEW_FMT, VIEW_ARG(text));
		return;
	}
	session_enter(s, ST_READY);
	session_reply(s, code, esc, VIEW_FMT, VIEW_ARG(text));
}

static void
sender_judged(struct session *s, const struct verdict *v)
{
	if (v)
		refuse_sender(s, v->code, v->esc, view_str(v->text));
	else
		take_sender(s);
	session_settle(s);
}

/* As far as authd and we are concerned. */
static void
accept_sender(struct session *s)
{
	if (milters_ask(s, MILTER_MAIL, s->txn.env.sender, s->txn.params, sender_judged))
		session_enter(s, ST_MILTER);
	else
		take_sender(s);
}

/* As far as authd is concerned. */
static void
granted(struct session *s)
{
	const struct txn *t = &s->txn;

	if ((t->hold_s || t->env.release_us) && !t->grant.may_future)
		refuse_sender(s, 550, ESC(5, 7, 1), VIEW("Error: this key has no right to FUTURERELEASE"));
	else
		accept_sender(s);
}

void
run_mail(struct session *s, struct view arg, size_t rest)
{
	struct policy_facts f = session_facts(s);
	struct txn *t = &s->txn;
	struct view sender;

	(void)rest;
	txn_clear(t);
	if (!parse(s, arg, &sender)) {
		txn_clear(t);
		return;
	}
	policy_mail(&s->listener->policy, &f, &t->right);
	t->env.sender = arena_view(&t->arena, sender);
	t->env.arrival_us = loop_wall_us(s->d->loop);
	s->txns++;
	if (t->right == RIGHT_LOCAL) { /* authd knows which recipients are ours */
		accept_sender(s);
		return;
	}
	if (lease_use(s, t->env.sender)) {
		granted(s);
		return;
	}
	lease_end(s); /* what was used is told before the next question */
	session_enter(s, ST_CHECK);
	if (!peers_ask_mail(s, t->env.sender, t->declared))
		session_got_mail(s, NULL);
}

void
session_got_mail(struct session *s, const struct ipc_mail_result *m)
{
	struct txn *t = &s->txn;

	if (m && m->code == 250) {
		grant_take(&t->grant, &t->arena, m);
		lease_take(s, t->env.sender, m);
		granted(s);
	} else if (m && m->code >= 400 && m->code < 600) {
		refuse_sender(s, m->code, esc_unpack(m->esc), m->text);
	} else {
		refuse_sender(s, 451, ESC(4, 3, 0), VIEW("Temporary lookup failure"));
	}
	session_settle(s);
}
