/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "smtp/connect.h"
#include "smtp/dialogue.h"
#include "smtp/probe.h"
#include "smtp/report.h"
#include "smtp/watch.h"

struct session *
session_find(struct smtp *p, uint64_t conn)
{
	struct session *s = p->by_conn[conn % SESSION_BUCKETS];

	while (s && s->conn != conn)
		s = s->conn_next;
	return s;
}

/* qmgr's number for it is free again. */
static void
forget_conn(struct session *s)
{
	struct session **at = &s->smtp->by_conn[s->conn % SESSION_BUCKETS];

	while (*at && *at != s)
		at = &(*at)->conn_next;
	if (*at)
		*at = s->conn_next;
}

enum step
session_step(const struct session *s)
{
	if (s->ready && s->jobs && s->jobs->started)
		return s->jobs->await;
	return s->step;
}

void
session_expect(struct session *s)
{
	const struct conf_delivery *c = &session_conf(s)->delivery;
	uint64_t seconds = c->reply_timeout;

	if (session_step(s) == STEP_EOD)
		seconds = c->end_of_data_timeout;
	else if (session_step(s) == STEP_CONNECT)
		seconds = c->connect_timeout;
	loop_timer_set(session_loop(s), &s->reply_timer, seconds * 1000);
}

static void
link_reaped(struct loop_reap *r)
{
	free(CONTAINER(r, struct link, reap));
}

void
session_unlink(struct session *s)
{
	struct link *l = s->link;

	s->link = NULL;
	if (l == NULL)
		return;
	l->session = NULL;
	io_close(&l->io);
	l->reap.free = link_reaped;
	loop_reap(session_loop(s), &l->reap);
	loop_timer_cancel(session_loop(s), &s->reply_timer);
	reply_free(&s->reply);
	s->tls_on = false;
	s->tls_text[0] = '\0';
}

static void
session_reaped(struct loop_reap *r)
{
	struct session *s = CONTAINER(r, struct session, reap);

	for (struct job *j; (j = s->jobs) != NULL;) {
		s->jobs = j->next;
		job_free(j);
	}
	free(s->targets);
	free(s->last);
	free(s->nexthop);
	free(s->source);
	free(s->source6);
	free(s->group);
	free(s->helo);
	free(s->auth);
	free(s);
}

void
session_drop(struct session *s)
{
	struct smtp *p = s->smtp;

	if (s->dying)
		return;
	s->dying = true;
	session_unlink(s);
	loop_timer_cancel(p->daemon->loop, &s->total_timer);
	loop_unpost(p->daemon->loop, &s->pump);
	loop_unpost(p->daemon->loop, &s->pumped);
	if (!s->told)
		forget_conn(s);
	if (s->probe)
		probe_end(s);
	*(s->prev ? &s->prev->next : &p->sessions) = s->next;
	if (s->next)
		s->next->prev = s->prev;
	s->reap.free = session_reaped;
	loop_reap(p->daemon->loop, &s->reap);
	if (p->daemon->draining && p->sessions == NULL)
		daemon_exit(p->daemon);
}

static void
tell(struct session *s, enum conn_why why, const struct verdict *v)
{
	if (s->told)
		return;
	s->told = true;
	forget_conn(s);
	if (s->probe) {
		probe_result(s, v);
		return;
	}
	/* The text has the reply in it, so no code goes beside it. */
	IPC_SEND(session_qmgr(s), conn_closed, .conn = s->conn, .why = (uint8_t)why,
	    .esc = v ? esc_pack(v->esc) : 0, .text = view_str(v ? v->text : ""),
	    .relay = view_str(s->relay), .stage = v ? v->stage : STAGE_NONE,
	    .event = v ? v->event : CONN_EVENT_NONE, .throttle = view_str(v ? v->throttle : ""));
}

void
session_end(struct session *s, enum conn_why why, const struct verdict *v)
{
	tell(s, why, v);
	session_drop(s);
}

void
session_quit(struct session *s)
{
	tell(s, CONN_IDLE, NULL);
	s->ready = false;
	s->step = STEP_QUIT;
	loop_timer_cancel(session_loop(s), &s->total_timer);
	loop_timer_set(session_loop(s), &s->reply_timer, SESSION_QUIT_MS);
	size_t before = buf_len(io_out(&s->link->io));
	buf_puts(io_out(&s->link->io), "QUIT\r\n");
	watch_sent(s, NULL, before);
}

/*
 * The first job's recipients get v unless the server had not reacted to it at all and had taken
 * messages before: then the connection was dead already, which costs the message nothing (C14).
 */
void
session_broken(struct session *s, const struct verdict *v)
{
	struct job *j = s->jobs;
	struct verdict last = *v;

	if (s->step == STEP_QUIT) {
		session_drop(s);
		return;
	}
	if (!v->remote) /* else it was seen */
		watch_note(s, v->text);
	if (!s->ready) {
		connect_next(s, v);
		return;
	}
	if (j && j->started && (j->answered || j->use <= 1)) {
		if (job_decide_rest(j, v, false))
			last.throttle[0] = '\0'; /* told */
		job_report(j, s, v->event);
		last.event = CONN_EVENT_NONE;
		s->jobs = j->next;
		job_free(j);
	}
	session_end(s, CONN_IDLE, &last);
}

/*
 * Until mail flows there is one reply for one command, so bytes behind a reply answer nothing that
 * was asked (ATTACKS B3, B4).
 */
static bool
babbles(const struct session *s, const struct io *io)
{
	return !s->ready && s->step != STEP_QUIT && s->reply.code != 421 && buf_len(&io->in) > 0;
}

static void
protocol_error(struct session *s, const char *what)
{
	const struct step_info *info = step_info(session_step(s));
	struct verdict v;

	verdict_set(&v, ERR_TEMP, info->stage, ESC(4, 5, 0), "protocol error from %s while %s: %s",
	    s->relay, info->doing, what);
	if (!s->ready)
		log_warn("%s", v.text);
	session_broken(s, &v);
}

/* What a server says while the content goes out is about the content, however early (S29: and 421). */
static bool
answers_nothing(const struct session *s)
{
	enum step step = session_step(s);

	return step != STEP_BODY && step != STEP_EOD && s->reply.code != 421 && transaction_is_early(s);
}

static void
link_input(struct io *io)
{
	struct link *l = CONTAINER(io, struct link, io);
	struct session *s;
	struct err e;

	while ((s = l->session) != NULL && buf_len(&io->in)) {
		struct view in = buf_view(&io->in);
		size_t before = in.n;
		enum reply_result got = reply_parse(&s->reply, &in, &e);
		watch_received(s, view_first(buf_view(&io->in), before - in.n));
		buf_consume(&io->in, before - in.n);
		if (got == REPLY_MORE)
			return;
		if (got == REPLY_BAD) {
			protocol_error(s, e.text);
			return;
		}
		if (babbles(s, io)) {
			protocol_error(s, "data behind the reply");
			return;
		}
		if (answers_nothing(s)) {
			protocol_error(s, "a reply before its command");
			return;
		}
		dialogue_reply(s);
		if (l->session)
			reply_clear(&s->reply);
	}
}

static void
link_drained(struct io *io)
{
	struct session *s = CONTAINER(io, struct link, io)->session;

	if (s)
		loop_post(session_loop(s), LOOP_COMMIT, &s->pump);
}

static void
link_closed(struct io *io, const struct err *e)
{
	struct session *s = CONTAINER(io, struct link, io)->session;
	struct verdict v;

	(void)e;
	if (s == NULL)
		return;
	verdict_lost(s, session_step(s), io->error, &v);
	session_broken(s, &v);
}

static void
link_secured(struct io *io, const struct err *e)
{
	struct session *s = CONTAINER(io, struct link, io)->session;

	if (s)
		dialogue_secured(s, e);
}

static void
link_connected(struct io *io, const struct err *e)
{
	struct session *s = CONTAINER(io, struct link, io)->session;

	if (s)
		connect_done(s, e);
}

int
session_link(struct session *s, const struct target *to, const struct target *local, struct err *e)
{
	static const struct io_ops ops = { .input = link_input,
		.drained = link_drained,
		.connected = link_connected,
		.secured = link_secured,
		.closed = link_closed };
	struct link *l = x_calloc(1, sizeof(*l));

	int rc = io_connect(&l->io, session_loop(s), &ops, &to->addr.sa, to->len,
	    local ? &local->addr.sa : NULL, local ? local->len : 0, SESSION_IN_MAX, SESSION_OUT_MAX, e);
	if (rc < 0) {
		errno = l->io.error;
		free(l);
		return rc;
	}
	l->session = s;
	s->link = l;
	s->step = STEP_CONNECT;
	reply_init(&s->reply);
	session_expect(s);
	return 0;
}

static void
reply_overdue(struct loop_timer *t)
{
	struct session *s = CONTAINER(t, struct session, reply_timer);
	struct verdict v;

	if (session_step(s) == STEP_IDLE) {
		session_quit(s);
	} else if (session_step(s) == STEP_CONNECT) {
		connect_timed_out(s);
	} else {
		verdict_timeout(s, session_step(s), &v);
		session_broken(s, &v);
	}
}

/* G4: however steadily the server drips, one message or one set-up has its end. */
static void
total_overdue(struct loop_timer *t)
{
	struct session *s = CONTAINER(t, struct session, total_timer);
	struct verdict v;

	if (s->link) {
		verdict_timeout(s, session_step(s), &v);
	} else {
		verdict_set(&v, ERR_TEMP, STAGE_DNS, ESC(4, 4, 3),
		    "Host or domain name not found. Name service error for name=%s: no answer in "
		    "time",
		    s->nexthop);
	}
	if (s->ready)
		session_broken(s, &v);
	else
		session_end(s, CONN_FAILED, &v);
}

static void
pump_run(struct loop_task *t)
{
	transaction_pump(CONTAINER(t, struct session, pump));
}

/* The turn's output is written: if all of it went, there is room for more in the next turn. */
static void
pumped_run(struct loop_task *t)
{
	struct session *s = CONTAINER(t, struct session, pumped);

	if (s->link && buf_len(&s->link->io.out) == 0)
		loop_post(session_loop(s), LOOP_COMMIT, &s->pump);
}

void
session_ready(struct session *s)
{
	s->ready = true;
	s->step = STEP_IDLE;
	s->setup_us = loop_wall_us(session_loop(s)) - s->opened_us;
	if (s->probe == NULL)
		IPC_SEND(session_qmgr(s), conn_ready, .conn = s->conn,
		    .relay = view_str(s->relay), .max_rcpts = s->caps.rcpts_max,
		    .max_mails = s->caps.mails_max);
	session_idle(s);
}

void
session_idle(struct session *s)
{
	if (s->jobs) {
		transaction_start(s);
	} else if (s->close_wanted || (s->caps.mails_max && s->uses >= s->caps.mails_max)) {
		session_quit(s);
	} else {
		loop_timer_cancel(session_loop(s), &s->total_timer);
		loop_timer_set(session_loop(s), &s->reply_timer, s->idle_ms);
	}
}

void
session_deliver(struct session *s, const struct ipc_deliver *m)
{
	struct job *j = job_new(m);

	if (j == NULL) {
		log_error("job %llu has no valid recipients", (unsigned long long)m->job);
		return;
	}
	bool idle = s->ready && s->jobs == NULL;
	*s->jobs_end = j;
	s->jobs_end = &j->next;
	if (idle)
		transaction_start(s);
	else if (s->ready)
		transaction_queued(s);
}

/* Without a result for any of its recipients: none of them was tried. */
static void
return_untried(struct session *s, struct job **at)
{
	struct job *j = *at;

	*at = j->next;
	if (s->jobs_end == &j->next)
		s->jobs_end = at;
	IPC_SEND(session_qmgr(s), job_done, .conn = s->conn, .job = j->id);
	job_free(j);
}

void
session_recall(struct session *s, uint64_t job)
{
	struct job **at = &s->jobs;
	struct verdict v;

	while (*at && (*at)->id != job)
		at = &(*at)->next;
	if (*at == NULL)
		return;
	if (!(*at)->started) {
		return_untried(s, at);
	} else if (*at == s->jobs && (*at)->await != STEP_EOD) {
		verdict_set(&v, ERR_TEMP, STAGE_NONE, ESC(4, 4, 7),
		    "delivery time expired during the dialogue with %s", s->relay);
		session_broken(s, &v);
	}
}

void
session_close_soon(struct session *s)
{
	s->close_wanted = true;
	if (s->ready && s->jobs == NULL)
		session_quit(s);
	else if (!s->ready && s->jobs == NULL)
		session_end(s, CONN_IDLE, NULL);
}

/* Owned. In the form that the DNS knows; what has none stays as it is, and will not be found. */
static char *
dns_form(struct view nexthop)
{
	struct buf b = BUF_INIT(ADDR_DOMAIN_MAX);
	bool ascii = true;

	for (size_t i = 0; i < nexthop.n; i++)
		ascii = ascii && (unsigned char)nexthop.p[i] < 0x80;
	char *s = x_strndup(!ascii && domain_canonical(nexthop, &b) ? buf_view(&b) : nexthop);
	buf_free(&b);
	return s;
}

struct session *
session_new(struct smtp *p, const struct ipc_conn_open *m)
{
	struct session *s = x_calloc(1, sizeof(*s));

	*s = (struct session){ .smtp = p,
		.conn = m->conn,
		.nexthop = dns_form(m->nexthop),
		.source = x_strndup(m->source),
		.source6 = x_strndup(m->source6),
		.group = x_strndup(m->group),
		.helo = x_strndup(m->helo),
		.auth = x_strndup(m->auth),
		.mx = m->mx,
		.port = m->port,
		.policy = m->tls,
		.idle_ms = (uint64_t)m->idle_s * 1000,
		.opened_us = loop_wall_us(p->daemon->loop) };
	if (s->port == 0)
		s->port = (uint16_t)p->daemon->conf->delivery.port;
	s->last = x_calloc(1, sizeof(*s->last));
	s->jobs_end = &s->jobs;
	s->reply_timer.fire = reply_overdue;
	s->total_timer.fire = total_overdue;
	s->pump.run = pump_run;
	s->pumped.run = pumped_run;
	s->next = p->sessions;
	if (s->next)
		s->next->prev = s;
	p->sessions = s;
	s->conn_next = p->by_conn[s->conn % SESSION_BUCKETS];
	p->by_conn[s->conn % SESSION_BUCKETS] = s;
	loop_timer_set(
	    p->daemon->loop, &s->total_timer, p->daemon->conf->delivery.session_timeout * 1000);
	return s;
}

void
session_open(struct smtp *p, const struct ipc_conn_open *m)
{
	connect_start(session_new(p, m), m);
}
