/* SPDX-License-Identifier: ISC */
#include "lib/log.h"
#include "lib/segment.h"
#include "smtp/dialogue.h"
#include "smtp/report.h"
#include "smtp/verb.h"
#include "smtp/watch.h"

static bool
has(const struct session *s, unsigned cap)
{
	return s->caps.flags & cap;
}

/* The first job is over: it is told of, and its successor's turn comes. */
static void
finish(struct session *s)
{
	struct job *j = s->jobs;

	job_report(j, s, CONN_EVENT_NONE);
	s->jobs = j->next;
	if (s->jobs == NULL)
		s->jobs_end = &s->jobs;
	job_free(j);
	session_idle(s);
}

/* Recipients that only were too many get their turn in another transaction, if this one had any. */
static void
settle_surplus(struct job *j)
{
	for (uint32_t i = 0; i < j->count; i++)
		if (j->rcpts[i].too_many && j->rcpts[i].status == 0)
			j->rcpts[i].status = j->accepted ? RCPT_AGAIN : RCPT_DEFERRED;
}

static int
open_content(const struct session *s, struct job *j, struct err *e)
{
	if (reader_open(&j->reader, &s->smtp->contents, j->content, j->offset, j->front_len, j->big,
		j->content_len, e) < 0)
		return -1;
	j->reader.want_crc = j->crc;
	j->reader.dots = j->flags & SEGMENT_DOTS;
	return 0;
}

/* What this server cannot take at all is not sent. */
static bool
is_acceptable(const struct session *s, const struct job *j, struct verdict *v)
{
	char host[TARGET_TEXT_MAX];
	uint64_t size = job_size(j);

	target_text(session_target(s), false, host);
	if (s->caps.size_max && size > s->caps.size_max)
		verdict_set(v, ERR_PERM, STAGE_MAIL, ESC(5, 3, 4),
		    "message size %llu exceeds size limit %llu of server %s",
		    (unsigned long long)size, (unsigned long long)s->caps.size_max, host);
	else if ((j->flags & SEGMENT_8BIT) && !has(s, CAP_8BITMIME))
		verdict_set(v, ERR_PERM, STAGE_MAIL, ESC(5, 6, 3),
		    "8BITMIME is required, but was not offered by host %s", host);
	else if (!has(s, CAP_SMTPUTF8) &&
		 (((j->flags & SEGMENT_UTF8) && (j->flags & SEGMENT_8BIT_HEADER)) ||
		     job_needs_utf8(j)))
		verdict_set(v, ERR_PERM, STAGE_MAIL, ESC(5, 6, 7),
		    "SMTPUTF8 is required, but was not offered by host %s", host);
	else
		return true;
	return false;
}

/* The reply that is due answers what was put last: before that is written, none can be. */
static void
asks(const struct session *s, struct job *j)
{
	j->asked_at = io_queued(&s->link->io);
}

static bool
put_mail(const struct session *s, const struct job *j, struct buf *out)
{
	return verb_mail(out, &(struct verb_mail){ .sender = j->sender,
				  .size_given = has(s, CAP_SIZE),
				  .size = job_size(j),
				  .eight_bit = j->flags & SEGMENT_8BIT,
				  .utf8 = (j->flags & SEGMENT_UTF8) && has(s, CAP_SMTPUTF8),
				  .priority = has(s, CAP_MT_PRIORITY) ? j->mt_priority : 0,
				  .envid = has(s, CAP_DSN) ? j->envid : VIEW(""),
				  .ret = has(s, CAP_DSN) ? j->ret : 0 });
}

static bool
put_rcpt(const struct session *s, const struct rcpt *r, struct buf *out)
{
	return verb_rcpt(out, &(struct verb_rcpt){ .rcpt = r->addr,
				  .orcpt = has(s, CAP_DSN) ? r->orcpt : VIEW(""),
				  .notify = has(s, CAP_DSN) ? r->notify : 0 });
}

/* The next recipient to be sent, or count. Addresses that make no command are decided on the way.
 */
static uint32_t
next_rcpt(struct session *s, struct job *j, uint32_t from, struct buf *out)
{
	struct verdict v;

	for (uint32_t i = from; i < j->count; i++) {
		struct rcpt *r = &j->rcpts[i];
		if (r->status)
			continue;
		if (put_rcpt(s, r, out)) {
			r->sent = true;
			return i;
		}
		verdict_set(&v, ERR_PERM, STAGE_RCPT, ESC(5, 1, 3), "bad recipient address syntax");
		job_decide(j, r, &v);
	}
	return j->count;
}

/* RCPTMAX (RFC 9422): what is over it waits for another transaction. */
static void
limit_rcpts(struct session *s, struct job *j)
{
	struct verdict v = { .class = ERR_TEMP, .stage = STAGE_RCPT, .esc = ESC(4, 5, 3) };

	if (s->caps.rcpts_max)
		for (uint32_t i = s->caps.rcpts_max; i < j->count; i++)
			job_set(j, &j->rcpts[i], RCPT_AGAIN, &v);
}

static void
put_group(struct session *s, struct job *j, struct buf *out)
{
	uint32_t at = 0;

	while ((at = next_rcpt(s, j, at, out)) < j->count)
		at++;
	verb_word(out, "DATA");
}

/*
 * Sends the envelope: with PIPELINING all of it (RFC 2920), else its first command. false: the job
 * was decided without a word to the server.
 */
static bool
start(struct session *s, struct job *j)
{
	struct buf *out = io_out(&s->link->io);
	size_t before = buf_len(out);
	bool rset = s->need_rset;
	struct verdict v;
	struct err e;

	if (open_content(s, j, &e) < 0) {
		verdict_err(&v, STAGE_NONE, &e);
	} else if (is_acceptable(s, j, &v)) {
		if (rset)
			verb_word(out, "RSET");
		if (put_mail(s, j, out)) {
			asks(s, j);
			j->started = true;
			j->started_us = loop_wall_us(session_loop(s));
			j->use = ++s->uses;
			j->await = rset ? STEP_RSET : STEP_MAIL;
			s->need_rset = false;
			limit_rcpts(s, j);
			if (has(s, CAP_PIPELINING))
				put_group(s, j, out);
			watch_sent(s, j, before);
			return true;
		}
		/* An RSET alone does no harm, but its reply would be out of step. */
		if (rset)
			buf_truncate(out, buf_len(out) - sizeof("RSET\r\n") + 1);
		verdict_set(&v, ERR_PERM, STAGE_MAIL, ESC(5, 1, 7), "bad sender address syntax");
	}
	job_decide_rest(j, &v, false);
	return false;
}

static bool
may_send_more(const struct session *s)
{
	return s->caps.mails_max == 0 || s->uses < s->caps.mails_max;
}

void
transaction_start(struct session *s)
{
	struct job *j = s->jobs;

	if (!j->started && !may_send_more(s)) {
		session_quit(s);
		return;
	}
	if (!j->started && !start(s, j)) {
		finish(s);
		return;
	}
	loop_timer_set(
	    session_loop(s), &s->total_timer, session_conf(s)->delivery.session_timeout * 1000);
	session_expect(s);
}

/* Behind the content of the first job: the envelope of the second, in the same write. */
static void
start_ahead(struct session *s)
{
	struct job *next = s->jobs->next;
	struct verdict v;

	if (next == NULL || next->started || !has(s, CAP_PIPELINING) || !may_send_more(s))
		return;
	/* What is refused without a command waits until it is the first. */
	if (is_acceptable(s, next, &v))
		(void)start(s, next);
}

void
transaction_queued(struct session *s)
{
	if (s->jobs->started && s->jobs->await == STEP_EOD)
		start_ahead(s);
}

void
transaction_rset(struct session *s)
{
	struct verdict v;

	if (s->reply.code / 100 != 2) {
		verdict_reply(s, STEP_RSET, &v);
		session_broken(s, &v);
		return;
	}
	s->jobs->await = STEP_MAIL;
	session_expect(s);
}

/* The first recipient from `from` on whose reply is due, or count. */
static uint32_t
sent_rcpt(const struct job *j, uint32_t from)
{
	while (from < j->count && !j->rcpts[from].sent)
		from++;
	return from;
}

/* Without PIPELINING: one command for one reply. */
static void
next_command(struct session *s, struct job *j)
{
	struct buf *out = io_out(&s->link->io);
	size_t before = buf_len(out);

	if (j->mail_refused) {
		finish(s); /* no transaction was begun */
		return;
	}
	if (j->await == STEP_RCPT) {
		j->rcpt_at = next_rcpt(s, j, j->rcpt_at, out);
		if (j->rcpt_at < j->count) {
			watch_sent(s, j, before);
			asks(s, j);
			session_expect(s);
			return;
		}
		if (j->accepted == 0) {
			settle_surplus(j);
			s->need_rset = true;
			finish(s);
			return;
		}
		j->await = STEP_DATA;
		verb_word(out, "DATA");
		watch_sent(s, j, before);
		asks(s, j);
	}
	session_expect(s);
}

/* All commands are sent already: only what is waited for moves on. */
static void
next_reply(struct session *s, struct job *j)
{
	if (j->await == STEP_RCPT) {
		j->rcpt_at = sent_rcpt(j, j->rcpt_at);
		if (j->rcpt_at == j->count)
			j->await = STEP_DATA;
	}
	session_expect(s);
}

static void
advance(struct session *s, struct job *j)
{
	j->answered = true;
	if (has(s, CAP_PIPELINING))
		next_reply(s, j);
	else
		next_command(s, j);
}

void
transaction_mail(struct session *s)
{
	struct job *j = s->jobs;
	struct verdict v;

	if (s->reply.code / 100 != 2) {
		verdict_reply(s, STEP_MAIL, &v);
		job_decide_rest(j, &v, false);
		j->mail_refused = true;
	}
	j->await = STEP_RCPT;
	j->rcpt_at = 0;
	advance(s, j);
}

void
transaction_rcpt(struct session *s)
{
	struct job *j = s->jobs;
	struct rcpt *r = &j->rcpts[j->rcpt_at++];
	struct verdict v;

	if (s->reply.code / 100 == 2) {
		r->accepted = r->status == 0;
		j->accepted += r->accepted;
	} else {
		verdict_reply(s, STEP_RCPT, &v);
		if (v.too_many && v.class == ERR_TEMP && r->status == 0) {
			r->too_many = true;
			job_note(j, r, &v);
		} else {
			job_decide(j, r, &v);
		}
	}
	advance(s, j);
}

/* A disk that cannot be read now may be read later; what it gave and was wrong stays wrong. */
static void
unreadable(struct session *s, struct job *j, const struct err *e)
{
	enum rcpt_status status = e->class == ERR_TEMP ? RCPT_DEFERRED : RCPT_DAMAGED;
	char qid[QID_CHARS + 1];
	struct verdict v;

	log_error("%s: %s", qid_text(j->qid, qid), e->text);
	verdict_set(&v, ERR_TEMP, STAGE_DATA, ESC(4, 3, 0), "%s", e->text);
	for (uint32_t i = 0; i < j->count; i++)
		job_set(j, &j->rcpts[i], status, &v);
	session_broken(s, &v);
}

/* P03: nobody is left to write to, but the server waits for a message: it gets an empty one. */
static void
send_nothing(struct session *s, struct job *j)
{
	size_t before = buf_len(io_out(&s->link->io));

	buf_puts(io_out(&s->link->io), ".\r\n");
	watch_sent(s, j, before);
	j->await = STEP_EOD;
	asks(s, j);
	start_ahead(s);
	session_expect(s);
}

void
transaction_pump(struct session *s)
{
	struct job *j = s->jobs;
	struct err e;

	if (j == NULL || j->await != STEP_BODY || s->link == NULL || buf_len(&s->link->io.out))
		return;
	switch (reader_read(&j->reader, io_out(&s->link->io), &e)) {
	case READER_END:
		watch_content(s, j);
		j->await = STEP_EOD;
		asks(s, j);
		start_ahead(s);
		break;
	case READER_MORE:
		loop_post(session_loop(s), LOOP_AFTER, &s->pumped);
		break;
	case READER_DAMAGED:
		unreadable(s, j, &e);
		return;
	}
	session_expect(s);
}

void
transaction_data(struct session *s)
{
	struct job *j = s->jobs;
	struct verdict v;

	j->answered = true;
	settle_surplus(j);
	if (s->reply.code == 354) {
		if (j->accepted == 0) {
			send_nothing(s, j);
			return;
		}
		j->await = STEP_BODY;
		transaction_pump(s);
		return;
	}
	verdict_reply(s, STEP_DATA, &v);
	job_decide_rest(j, &v, false);
	if (s->reply.code < 400) {
		session_broken(s, &v); /* nobody knows what the server takes the next bytes for */
		return;
	}
	s->need_rset = !j->mail_refused;
	finish(s);
}

bool
transaction_is_early(const struct session *s)
{
	const struct job *j = s->jobs;

	return s->ready && j && j->started && s->link->io.written < j->asked_at;
}

/*
 * The server answers before it has seen the end. A refusal holds; the rest of the content would be
 * taken for commands or thrown away, so the connection is of no more use.
 */
void
transaction_body(struct session *s)
{
	struct verdict v;

	verdict_reply(s, STEP_BODY, &v);
	session_broken(s, &v);
}

/* G6: only 2xx is a delivery, only 5xx is final. */
void
transaction_eod(struct session *s)
{
	struct job *j = s->jobs;
	struct verdict v;

	if (transaction_is_early(s)) {
		transaction_body(s);
		return;
	}
	if (s->reply.code / 100 == 2)
		verdict_sent(s, &v);
	else
		verdict_reply(s, STEP_EOD, &v);
	job_decide_rest(j, &v, true);
	if (s->reply.code / 100 == 3) {
		session_broken(s, &v);
		return;
	}
	finish(s);
}
