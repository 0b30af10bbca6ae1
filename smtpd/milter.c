/* SPDX-License-Identifier: ISC */
/*
 * The milters of one session, asked one after the other. At any time at most one of them has a question; the
 * others are between two of them.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/throttle.h"
#include "smtpd/milter.h"
#include "smtpd/milter_impl.h"

enum {
	PROGRESS_TIMES = 10, /* the time-out, for one that says it makes progress */
	OUT_HIGH = 256 << 10 /* what waits for a milter to read it */
};

static void advance(struct milters *c);
static void on_open(void *ctx);
static void on_packet(void *ctx, const struct milter_packet *p);
static void on_drained(void *ctx);
static void on_broken(void *ctx, const char *why);

static const struct event {
	char command;
	uint8_t version; /* in which it came */
	int8_t stage;	 /* of its macros, -1: none */
	uint32_t no, no_reply;
} events[] = {
	[MILTER_CONNECT] = { SMFIC_CONNECT, 2, SMFIM_CONNECT, SMFIP_NOCONNECT, SMFIP_NR_CONN },
	[MILTER_HELO] = { SMFIC_HELO, 2, SMFIM_HELO, SMFIP_NOHELO, SMFIP_NR_HELO },
	[MILTER_MAIL] = { SMFIC_MAIL, 2, SMFIM_ENVFROM, SMFIP_NOMAIL, SMFIP_NR_MAIL },
	[MILTER_RCPT] = { SMFIC_RCPT, 2, SMFIM_ENVRCPT, SMFIP_NORCPT, SMFIP_NR_RCPT },
	[MILTER_DATA] = { SMFIC_DATA, 4, SMFIM_DATA, SMFIP_NODATA, SMFIP_NR_DATA },
	[MILTER_UNKNOWN] = { SMFIC_UNKNOWN, 3, -1, SMFIP_NOUNKNOWN, SMFIP_NR_UNKN },
};

/* Waiting, and its end. */

static void
wait_for(struct milters *c, bool reply_due)
{
	uint64_t ms = c->link[c->at].m->timeout_ms;

	c->waiting = true;
	c->reply_due = reply_due;
	c->end_ms = loop_now_ms(c->s->d->loop) + ms * PROGRESS_TIMES;
	loop_timer_set(c->s->d->loop, &c->timer, ms);
}

static void
go_on(struct milters *c)
{
	c->waiting = c->reply_due = false;
	loop_timer_cancel(c->s->d->loop, &c->timer);
}

static void
next(struct milters *c)
{
	c->at++;
	c->part = PART_HEADER;
	c->field = 0;
	c->body_at = 0;
	milter_edits_free(&c->edits);
}

static void
stop(struct milters *c)
{
	go_on(c);
	c->busy = false;
	loop_unpost(c->s->d->loop, &c->begin);
	loop_unpost(c->s->d->loop, &c->flushed);
	milter_edits_free(&c->edits);
	buf_free(&c->chunk);
}

/* The answer of all of them. */
static void
finish(struct milters *c, const struct verdict *v)
{
	struct session *s = c->s;

	stop(c);
	if (!c->message)
		c->done(s, v);
	else if (s->txn.discard) /* the queue went away meanwhile */
		finish_continue(s, &s->txn.refused);
	else
		finish_continue(s, v);
}

void
milter_refuse(struct milters *c, uint16_t code, struct esc esc, const char *text)
{
	struct verdict v = { code, esc, text };

	finish(c, &v);
}

/* Failure. */

static bool
has_turn(const struct milter_link *l)
{
	const struct milters *c = l->all;

	return c->busy && c->at < c->n && &c->link[c->at] == l;
}

static void
fail(struct milter_link *l, const char *why)
{
	static const char *const then[] = { [CONF_FAILURE_tempfail] = "mail is deferred",
		[CONF_FAILURE_accept] = "mail goes on without it", [CONF_FAILURE_reject] = "mail is refused" };

	log_warn("milter %s: %s: %s", l->m->name, why, then[l->m->on_failure]);
	milter_conn_drop(&l->conn);
	l->failed = true;
	l->off = l->m->on_failure == CONF_FAILURE_accept;
	if (has_turn(l))
		go_on(l->all);
}

static void
refuse_failed(struct milters *c, const struct milter_link *l)
{
	if (l->m->on_failure == CONF_FAILURE_reject)
		milter_refuse(c, 550, ESC(5, 7, 1), "Service unavailable");
	else
		milter_refuse(c, 451, ESC(4, 7, 1), "Service unavailable - try again later");
}

static void
on_broken(void *ctx, const char *why)
{
	struct milter_link *l = ctx;

	/* A connection that was kept from another session may have ended in its sleep. */
	if (l->conn && l->conn->used && !l->heard && l->said <= (has_turn(l) && l->all->reply_due)) {
		milter_conn_drop(&l->conn);
		l->fresh = true;
		l->said = l->introduced = 0;
		if (has_turn(l))
			go_on(l->all);
	} else {
		fail(l, why);
	}
	advance(l->all);
}

static void
on_timer(struct loop_timer *t)
{
	struct milters *c = CONTAINER(t, struct milters, timer);

	on_broken(&c->link[c->at], c->reply_due ? "no answer in time" : "no connection in time");
}

/* Saying. */

void
milter_said(struct milters *c, struct milter_link *l, uint32_t no_reply)
{
	l->said++;
	l->ended = false;
	if (!(milter_steps(l) & no_reply))
		wait_for(c, true);
}

/* Family, port and address of the client. */
static void
put_client(const struct session *s, struct buf *b)
{
	bool v6 = strchr(s->ip, ':') != NULL;
	struct sockaddr_storage sa = { 0 };
	const struct sockaddr_in *in = (const void *)&sa; /* the port is where it is in sockaddr_in6 */
	socklen_t len = sizeof(sa);

	if (getpeername(io_fd(&s->io), (struct sockaddr *)&sa, &len) < 0)
		sa.ss_family = AF_UNSPEC;
	milter_put_str(b, view_str(session_name(s)));
	buf_putc(b, v6 ? SMFIA_INET6 : SMFIA_INET);
	buf_put_u16(b, sa.ss_family == AF_UNSPEC ? 0 : ntohs(in->sin_port));
	milter_put_str(b, view_str(s->ip));
}

/* Whose mail it is, as far as it is known. */
static struct view
tenant_of(const struct session *s)
{
	return view_str(s->authenticated ? s->tenant : s->trusted ? s->listener->policy.tenant : "");
}

/* Of one with tenants: that is said before MAIL which the others have heard when it happened. */
static bool
to_introduce(const struct milters *c, const struct milter_link *l)
{
	return !c->message && l->m->tenants.n && l->introduced < 2;
}

/* Whether the question is one for it. */
static bool
takes_part(const struct milters *c, const struct milter_link *l)
{
	if (l->off || l->pass)
		return false;
	if (l->m->tenants.n == 0)
		return true;
	return (c->message || c->event == MILTER_MAIL || l->in_message) &&
	    glob_list_match(&l->m->tenants, tenant_of(c->s));
}

static void
introduce(struct milters *c, struct milter_link *l)
{
	enum milter_event event = l->introduced == 0 ? MILTER_CONNECT : MILTER_HELO;
	const struct event *e = &events[event];
	struct buf args = BUF_INIT(MILTER_CHUNK_SIZE);

	if (milter_steps(l) & e->no || (event == MILTER_HELO && *c->s->helo == '\0')) {
		l->introduced++;
		return;
	}
	if (event == MILTER_CONNECT)
		put_client(c->s, &args);
	else
		milter_put_str(&args, view_str(c->s->helo));
	milter_put_macros(milter_out(l), c->s, &l->conn->terms, e->stage, e->command, VIEW(""));
	milter_put(milter_out(l), e->command, buf_view(&args));
	milter_said(c, l, e->no_reply);
	if (!c->waiting)
		l->introduced++;
	buf_free(&args);
}

static void
say_event(struct milters *c, struct milter_link *l)
{
	const struct event *e = &events[c->event];
	struct view args = buf_view(&c->args), rcpt = VIEW("");

	if (to_introduce(c, l)) {
		introduce(c, l);
		return;
	}
	l->in_message |= c->event == MILTER_MAIL;
	if (milter_steps(l) & e->no || l->conn->terms.version < e->version) {
		next(c);
		return;
	}
	if (c->event == MILTER_RCPT) {
		rcpt = view_first(args, (size_t)view_index(args, '\0'));
		rcpt = view_first(view_skip(rcpt, 1), rcpt.n - 2);
	}
	milter_put_macros(milter_out(l), c->s, &l->conn->terms, e->stage, e->command, rcpt);
	milter_put(milter_out(l), e->command, args);
	milter_said(c, l, e->no_reply);
	if (!c->waiting)
		next(c);
}

static void
say(struct milters *c, struct milter_link *l)
{
	if (buf_len(&l->conn->io.out) > OUT_HIGH) {
		wait_for(c, false);
		loop_post(c->s->d->loop, LOOP_AFTER, &c->flushed);
	} else if (c->message) {
		milter_say_part(c, l);
	} else {
		say_event(c, l);
	}
}

static void
meet(struct milters *c, struct milter_link *l)
{
	static const struct milter_conn_ops ops = { on_open, on_packet, on_drained, on_broken };

	l->conn = milter_conn_get(l->m, l->fresh, &ops, l);
	if (l->conn == NULL)
		fail(l, "no connection: master is gone");
	else if (!l->conn->ready)
		wait_for(c, false);
}

/* As far as it goes without anybody else. */
static void
advance(struct milters *c)
{
	while (c->busy && !c->waiting) {
		struct milter_link *l = &c->link[c->at];
		if (c->at == c->n)
			finish(c, NULL);
		else if (!takes_part(c, l))
			next(c);
		else if (l->failed)
			refuse_failed(c, l);
		else if (l->conn == NULL)
			meet(c, l);
		else
			say(c, l);
	}
}

/* Hearing. */

static void
discard(struct milters *c, const struct milter_link *l)
{
	log_info("milter %s: %s from %s[%s] is discarded", l->m->name, c->message ? "message" : "mail",
	    session_name(c->s), c->s->ip);
	c->discard = true;
	if (c->message)
		milter_refuse(c, 250, ESC(2, 0, 0), "Ok");
	else
		finish(c, NULL);
}

/* Its last word about the message was a good one. */
static void
accept_message(struct milters *c, struct milter_link *l)
{
	struct err e;

	if (milter_edits_apply(&c->edits, c->s, &l->conn->terms, &e) < 0) {
		log_warn("milter %s: %s: mail is deferred", l->m->name, e.text);
		milter_refuse(c, 451, ESC(4, 3, 0), "Error: message cannot be changed, try again later");
	} else if (c->s->txn.env.nrcpt == 0) {
		discard(c, l); /* nobody is left to get it */
	} else {
		next(c);
	}
}

static void
take_good(struct milters *c, struct milter_link *l, bool accept)
{
	if (c->message && c->part == PART_END) {
		accept_message(c, l);
	} else if (accept) {
		bool all = !c->message && (c->event <= MILTER_HELO || to_introduce(c, l));
		*(all ? &l->off : &l->pass) = true;
	} else if (to_introduce(c, l)) {
		l->introduced++;
	} else if (!c->message) {
		next(c);
	}
}

/* It wants nothing of a connection that goes on: the next MAIL is a new one to it. */
static void
part(struct milter_link *l)
{
	milter_conn_drop(&l->conn);
	l->said = l->introduced = 0;
	l->heard = false;
	l->fresh = true;
}

static void
take_answer(struct milters *c, struct milter_link *l, const struct milter_response *r)
{
	bool good = r->meaning == MILTER_CONTINUE || r->meaning == MILTER_ACCEPT;

	if (to_introduce(c, l) && !good && r->meaning != MILTER_DISCARD)
		part(l);
	switch (r->meaning) {
	case MILTER_CONTINUE:
	case MILTER_ACCEPT:
		take_good(c, l, r->meaning == MILTER_ACCEPT);
		break;
	case MILTER_REJECT:
		milter_refuse(c, 550, ESC(5, 7, 1), "Command rejected");
		break;
	case MILTER_TEMPFAIL:
		milter_refuse(c, 451, ESC(4, 7, 1), "Service unavailable - try again later");
		break;
	case MILTER_SHUTDOWN:
		milter_refuse(c, c->message ? 451 : 421, ESC(4, 7, 0), "Service unavailable - try again later");
		break;
	case MILTER_REPLY:
		memcpy(c->text, r->text, sizeof(c->text));
		milter_refuse(c, c->message && r->code == 421 ? 451 : r->code, r->esc, c->text);
		break;
	case MILTER_DISCARD:
		if (!c->message && (c->event <= MILTER_HELO || c->event == MILTER_UNKNOWN))
			fail(l, "it discards where there is no message");
		else
			discard(c, l);
		break;
	case MILTER_SKIP:
		if (c->message && c->part == PART_BODY)
			c->part = PART_END;
		else
			fail(l, "it skips what is not a body");
		break;
	default:
		break;
	}
}

/* More is to come: it has its time again, within all patience. */
static void
wait_on(struct milters *c, struct milter_link *l)
{
	uint64_t now = loop_now_ms(c->s->d->loop), ms = l->m->timeout_ms;

	if (now >= c->end_ms)
		fail(l, "it makes progress, but no end");
	else
		loop_timer_set(c->s->d->loop, &c->timer, c->end_ms - now < ms ? c->end_ms - now : ms);
}

static void
on_packet(void *ctx, const struct milter_packet *p)
{
	struct milter_link *l = ctx;
	struct milters *c = l->all;
	struct milter_response r;

	l->heard = true;
	if (!has_turn(l) || !c->reply_due) {
		fail(l, "it speaks out of turn");
	} else if (!milter_response_get(p, l->conn->terms.actions, &r)) {
		fail(l, "an answer that is not valid");
	} else if (r.meaning == MILTER_PROGRESS) {
		wait_on(c, l);
	} else if (r.meaning == MILTER_EDIT) {
		if (!c->message || c->part != PART_END)
			fail(l, "it changes a message before its end");
		else if (!milter_edits_add(&c->edits, p, &r))
			fail(l, "it changes too much");
		else
			wait_on(c, l);
	} else {
		go_on(c);
		if (c->message && c->part == PART_END) {
			l->in_message = false;
			l->ended = r.meaning == MILTER_CONTINUE;
		}
		take_answer(c, l, &r);
	}
	advance(c);
}

static void
on_open(void *ctx)
{
	struct milter_link *l = ctx;

	if (has_turn(l)) {
		go_on(l->all);
		advance(l->all);
	}
}

static void
on_drained(void *ctx)
{
	struct milter_link *l = ctx;

	if (has_turn(l) && l->all->waiting && !l->all->reply_due)
		on_open(l);
}

/* The turn's output was written, or waits for the milter: then on_drained() comes. */
static void
on_flushed(struct loop_task *t)
{
	struct milters *c = CONTAINER(t, struct milters, flushed);
	struct milter_link *l = &c->link[c->at];

	if (l->conn && buf_len(&l->conn->io.out) == 0)
		on_drained(l);
}

/* Asking. */

static void
on_begin(struct loop_task *t)
{
	struct milters *c = CONTAINER(t, struct milters, begin);

	c->waiting = false;
	advance(c);
}

/* Starts behind the caller, so that the answer does not come while it asks. */
static void
begin(struct milters *c, bool message)
{
	c->at = 0;
	c->message = message;
	c->busy = c->waiting = true;
	c->part = PART_HEADER;
	c->field = 0;
	c->body_at = 0;
	milter_edits_init(&c->edits, c->s);
	loop_post(c->s->d->loop, LOOP_WORK, &c->begin);
}

static bool
anybody(const struct milters *c)
{
	for (size_t i = 0; c && !c->discard && i < c->n; i++)
		if (takes_part(c, &c->link[i]))
			return true;
	return false;
}

bool
milters_ask(struct session *s, enum milter_event event, struct view arg, struct view params, milters_done *done)
{
	struct milters *c = s->milters;

	if (c == NULL)
		return false;
	c->event = event;
	c->message = false;
	for (size_t i = 0; event == MILTER_HELO && i < c->n; i++)
		if (c->link[i].introduced)
			c->link[i].introduced = 1; /* it hears of this one before the next MAIL */
	if (!anybody(c))
		return false;
	buf_clear(&c->args);
	if (event == MILTER_CONNECT) {
		put_client(s, &c->args);
	} else if (event == MILTER_MAIL || event == MILTER_RCPT) {
		buf_printf(&c->args, "<" VIEW_FMT ">", VIEW_ARG(arg));
		buf_putc(&c->args, '\0');
		while ((params = view_trim(params)).n)
			milter_put_str(&c->args, view_cut(&params, ' '));
	} else if (event != MILTER_DATA) {
		milter_put_str(&c->args, arg);
	}
	c->done = done;
	begin(c, false);
	return true;
}

enum step_result
milters_message(struct session *s, struct verdict *v)
{
	struct milters *c = s->milters;

	if (c && c->discard) {
		*v = (struct verdict){ 250, ESC(2, 0, 0), "Ok" };
		return STEP_REFUSE;
	}
	if (c)
		c->message = true;
	if (!anybody(c))
		return STEP_GO_ON;
	begin(c, true);
	return STEP_FILTER;
}

/* Their life. */

static void
free_milters(struct loop_reap *r)
{
	struct milters *c = CONTAINER(r, struct milters, reap);

	buf_free(&c->args);
	free(c);
}

void
milters_begin(struct session *s)
{
	const struct milter_list *list = &s->listener->milters;

	if (list->n == 0)
		return;
	struct milters *c = x_calloc(1, sizeof(*c) + list->n * sizeof(c->link[0]));
	c->s = s;
	c->n = list->n;
	c->begin.run = on_begin;
	c->flushed.run = on_flushed;
	c->timer.fire = on_timer;
	buf_init(&c->args, MILTER_CHUNK_SIZE);
	for (size_t i = 0; i < c->n; i++)
		c->link[i] = (struct milter_link){ .all = c, .m = list->v[i] };
	s->milters = c;
}

static void
abort_message(struct milter_link *l)
{
	milter_put(milter_out(l), SMFIC_ABORT, VIEW(""));
	l->ended = false;
}

void
milters_reset(struct session *s)
{
	struct milters *c = s->milters;

	if (c == NULL)
		return;
	if (c->busy) {
		struct milter_link *l = &c->link[c->at];
		bool owes = c->reply_due;
		stop(c);
		if (owes) { /* its answer would be taken for that to another question */
			milter_conn_drop(&l->conn);
			l->failed = true;
			l->off = l->m->on_failure == CONF_FAILURE_accept;
		}
	}
	for (size_t i = 0; i < c->n; i++) {
		struct milter_link *l = &c->link[i];
		if (l->in_message && l->conn && l->conn->ready)
			abort_message(l);
		l->in_message = l->pass = false;
	}
	c->discard = false;
}

void
milters_end(struct session *s)
{
	struct milters *c = s->milters;

	if (c == NULL)
		return;
	milters_reset(s);
	s->milters = NULL;
	for (size_t i = 0; i < c->n; i++)
		if (c->link[i].conn)
			milter_conn_put(&c->link[i].conn, c->link[i].ended);
	c->reap.free = free_milters;
	loop_reap(s->d->loop, &c->reap);
}
