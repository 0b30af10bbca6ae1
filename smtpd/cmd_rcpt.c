/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "lib/simulator.h"
#include "smtpd/command.h"
#include "smtpd/watch.h"

enum { LATE_MAX = 256 << 10, LATE_HIGH = 64 << 10 };

struct verdict
check_rcpt(const struct session *s)
{
	if (s->txn.env.nrcpt + s->txn.asks >= session_limits(s)->recipients_per_message)
		return (struct verdict){ 452, ESC(4, 5, 3), "Error: too many recipients" };
	return (struct verdict){ 0 };
}

static void
refuse(struct session *s, unsigned code, struct esc esc, struct view why, struct view rcpt)
{
	struct buf text = BUF_INIT(ERR_TEXT_MAX + ADDR_MAX);

	buf_printf(&text, "<" VIEW_FMT ">: " VIEW_FMT, VIEW_ARG(rcpt), VIEW_ARG(why));
	trace_reject(s, "RCPT", code, esc, buf_view(&text), s->txn.env.sender, &rcpt);
	session_reply(s, code, esc, VIEW_FMT, VIEW_ARG(buf_view(&text)));
	buf_free(&text);
}

static void
take(struct session *s, const struct rcpt_ask *a)
{
	txn_add_rcpt(&s->txn, a->addr, a->kind);
	session_reply(s, 250, ESC(2, 1, 5), "Ok");
}

static void
rcpt_judged(struct session *s, const struct verdict *v)
{
	struct rcpt_ask *a = &s->txn.judged;

	if (v && v->code == 421) {
		session_refuse(s, v);
		return;
	}
	if (v)
		refuse(s, v->code, v->esc, view_str(v->text), a->addr);
	else
		take(s, a);
	*a = (struct rcpt_ask){ 0 };
	session_enter(s, s->txn.env.nrcpt ? ST_RCPT : ST_MAIL);
	session_settle(s);
}

/* As far as authd and we are concerned: milters may have something to say. */
static void
offer(struct session *s, const struct rcpt_ask *a)
{
	struct txn *t = &s->txn;

	if (milters_ask(s, MILTER_RCPT, a->addr, VIEW(""), rcpt_judged))
		t->judged = (struct rcpt_ask){ .addr = arena_view(&t->arena, a->addr), .kind = a->kind };
	else
		take(s, a);
}

/* The state behind offer(). */
static enum session_state
behind(const struct session *s)
{
	return s->txn.judged.addr.p ? ST_MILTER : s->txn.env.nrcpt ? ST_RCPT : ST_MAIL;
}

/*
 * Recipients that authd has a say in are gathered as long as the client's pipeline goes on with RCPT,
 * and asked for in one frame. Other replies that come up meanwhile wait behind theirs, in order.
 */
static bool
pipeline_goes_on(struct session *s)
{
	struct view in = buf_view(&s->io.in);

	if (s->milters) /* they are asked about one at a time */
		return false;
	return s->txn.asks < ASKS_MAX && buf_len(&s->txn.late) < LATE_HIGH && view_istarts(in, "RCPT ") && memchr(in.p, '\n', in.n);
}

static void
put_questions(const struct txn *t, struct buf *b)
{
	for (uint32_t i = 0; i < t->asks; i++)
		IPC_RECORD(b, rcpt_name, .addr = t->ask[i].addr);
}

static void
gather(struct session *s, struct view rcpt, enum rcpt_kind kind)
{
	struct txn *t = &s->txn;

	if (t->ask == NULL) {
		t->ask = arena_alloc(&t->arena, ASKS_MAX * sizeof(*t->ask));
		buf_init(&t->late, LATE_MAX);
	}
	t->ask[t->asks++] =
	    (struct rcpt_ask){ .addr = arena_view(&t->arena, rcpt), .kind = kind,
		.late_at = buf_len(&t->late) };
}

void
rcpts_settle(struct session *s)
{
	struct txn *t = &s->txn;
	struct buf names = BUF_INIT(IPC_BULK_MAX);

	if (t->asks == 0 || pipeline_goes_on(s))
		return;
	session_enter(s, ST_RCPTS);
	put_questions(t, &names);
	if (names.bad || !peers_ask_rcpts(s, t->asks, buf_view(&names)))
		session_got_rcpts(s, NULL);
	buf_free(&names);
}

static void
answer(struct session *s, const struct rcpt_ask *a, const struct ipc_rcpt_verdict *v)
{
	if (v && v->code == 250) {
		s->txn.rcpts_reserved++;
		offer(s, a);
	} else if (v && v->code >= 400 && v->code < 600) {
		refuse(s, v->code, esc_unpack(v->esc), v->text, a->addr);
	} else {
		refuse(s, 451, ESC(4, 3, 0), VIEW("Temporary lookup failure"), a->addr);
	}
}

static void
put_late(struct session *s, struct view replies)
{
	buf_putv(io_out(&s->io), replies);
	watch_reply(s, replies);
}

/* All replies that waited, in the order of their commands; what `verdicts` lacks is answered 451. */
static void
answer_all(struct session *s, struct view verdicts)
{
	struct txn *t = &s->txn;
	struct view late = buf_view(&t->late);
	uint32_t count = t->asks;
	struct ipc_rcpt_verdict v;
	size_t at = 0;

	t->asks = 0; /* what is replied from here on goes out */
	for (uint32_t i = 0; i < count; i++) {
		const struct rcpt_ask *a = &t->ask[i];
		put_late(s, view_first(view_skip(late, at), a->late_at - at));
		at = a->late_at;
		answer(s, a, ipc_next(&ipc_desc_rcpt_verdict, &verdicts, &v) ? &v : NULL);
	}
	put_late(s, view_skip(late, at));
	buf_clear(&t->late);
}

void
session_got_rcpts(struct session *s, const struct ipc_rcpt_result *m)
{
	if (m && m->hold)
		s->txn.grant.hold = true;
	answer_all(s, m ? m->results : VIEW(""));
	session_enter(s, behind(s));
	session_settle(s);
}

void
rcpts_give_up(struct session *s)
{
	answer_all(s, VIEW(""));
}

static bool
is_domain(struct view domain, const char *name)
{
	return *name && view_iis(domain, name);
}

static bool
is_legacy_domain(const struct site *site, struct view domain)
{
	for (size_t i = 0; i < site->legacy.n; i++)
		if (is_domain(domain, site->legacy.v[i]))
			return true;
	return false;
}

/*
 * An address whose dots are misplaced is none (RFC 5321), but some carriers gave such out: where the
 * configuration says so it is taken, as the quoted string that it should be written as (P28).
 */
static int
parse_path(struct session *s, struct view *arg, struct addr *a, struct buf *quoted, struct err *e)
{
	const struct site *site = s->listener->site;
	struct view rest = *arg;

	if (addr_path(arg, ADDR_POSTMASTER, a, e) == 0)
		return 0;
	if (site->legacy.n == 0 || addr_path(&rest, ADDR_DOTS, a, NULL) < 0 ||
	    !is_legacy_domain(site, a->domain) || a->local.n > ADDR_LOCAL_MAX - 2)
		return -1;
	buf_printf(quoted, "\"" VIEW_FMT "\"@" VIEW_FMT, VIEW_ARG(a->local), VIEW_ARG(a->domain));
	*arg = rest;
	return addr_parse(buf_view(quoted), 0, a, e);
}

/* What becomes of it where it is not delivered as others; code 0: it may be taken. */
static struct verdict
kind_of(const struct session *s, const struct addr *a, enum rcpt_kind *kind)
{
	const struct site *site = s->listener->site;

	*kind = RCPT_NORMAL;
	if (is_domain(a->domain, site->bounce_domain)) {
		*kind = RCPT_RETURNED;
	} else if (s->txn.right == RIGHT_RELAY && is_domain(a->domain, site->simulator)) {
		*kind = RCPT_SIMULATOR;
		if (simulator_find(a->local) < 0)
			return (struct verdict){ 550, ESC(5, 1, 1),
				"Recipient address rejected: no such simulator address" };
	}
	return (struct verdict){ 0 };
}

static void
run_path(struct session *s, const struct addr *a)
{
	struct view rcpt = addr_whole(a);
	struct view domain = a->domain;
	enum rcpt_kind kind;
	struct verdict v = kind_of(s, a, &kind);

	/* <postmaster> is ours whoever writes to him (S11), also at the domain of return addresses. */
	if (kind == RCPT_RETURNED && view_iis(a->local, "postmaster")) {
		domain.n = 0;
		kind = RCPT_NORMAL;
	}
	if (v.code == 0)
		v = policy_rcpt(s->txn.right, &rcpt, domain, s->listener->site->postmaster);
	if (v.code) {
		refuse(s, v.code, v.esc, view_str(v.text), rcpt);
		return;
	}
	bool stranger = s->txn.right == RIGHT_LOCAL && domain.n;
	if (stranger || kind == RCPT_RETURNED || s->txn.grant.check_rcpts) {
		gather(s, rcpt, kind);
		return;
	}
	offer(s, &(struct rcpt_ask){ .addr = rcpt, .kind = kind });
	session_enter(s, behind(s));
}

void
run_rcpt(struct session *s, struct view arg, size_t rest)
{
	struct verdict v = { 501, ESC(5, 5, 4), "Syntax: RCPT TO:<address>" };
	struct buf quoted = BUF_INIT(ADDR_MAX);
	struct addr a;
	struct err e;

	(void)rest;
	if (!command_keyword(&arg, "TO:"))
		session_reply_verdict(s, &v);
	else if (parse_path(s, &arg, &a, &quoted, &e) < 0)
		session_reply(s, 501, e.esc, "%s", e.text);
	else if (!command_params(s, arg, NULL, 0, &v))
		session_reply_verdict(s, &v);
	else
		run_path(s, &a);
	buf_free(&quoted);
}
