/* SPDX-License-Identifier: ISC */
/*
 * DATA: content is scanned as it comes. Its header goes into a list, its body is kept in memory, or in a
 * file once the message is larger than the inline limit. What is wrong with it is answered at its end
 * (finish.c), and nothing of it is kept then.
 */
#include "lib/durable.h"
#include "lib/log.h"
#include "smtpd/command.h"
#include "smtpd/watch.h"

enum {
	RESERVE_MAX = 256 << 10,   /* taken in advance on the word of SIZE= */
	WRITE_SIZE = 256 << 10,	   /* content waits for this much before it goes to its file */
	CONTENT_SLACK = 1 << 20,   /* over the size limit until that is noticed */
	EDITS_MAX = 256 << 10,	   /* what may be put into a header */
	TIMED_SIZE = 1 << 20	   /* data_timeout is for this much */
};

static void file_opened(struct spool_big *b, const struct err *e);
static void pump(struct session *s);

static void
take_data(struct session *s)
{
	const struct conf_limits *limits = session_limits(s);
	struct txn *t = &s->txn;

	header_list_init(&t->header, limits->header_size + limits->line_length + EDITS_MAX);
	header_scan_init(&t->scan, limits->line_length, limits->header_size, &t->header);
	buf_init(&t->content, limits->message_size + CONTENT_SLACK);
	if (t->declared && t->declared <= limits->inline_size)
		buf_reserve(&t->content, t->declared < RESERVE_MAX ? t->declared : RESERVE_MAX);
	t->data_ms = loop_now_ms(s->d->loop);
	sign_begin(s);
	session_enter(s, ST_DATA);
	session_reply(s, 354, ESC(0, 0, 0), "End data with <CR><LF>.<CR><LF>");
}

static void
data_judged(struct session *s, const struct verdict *v)
{
	if (v == NULL) {
		take_data(s);
		return;
	}
	trace_reject(s, "DATA", v->code, v->esc, view_str(v->text), s->txn.env.sender, NULL);
	txn_clear(&s->txn);
	session_enter(s, ST_READY);
	session_refuse(s, v);
	session_settle(s);
}

void
run_data(struct session *s, struct view arg, size_t rest)
{
	(void)arg, (void)rest;
	if (milters_ask(s, MILTER_DATA, VIEW(""), VIEW(""), data_judged))
		session_enter(s, ST_MILTER);
	else
		take_data(s);
}

/* The rest of the content is only looked at for its end. */
static void
discard(struct txn *t, uint16_t code, struct esc esc, const char *text)
{
	if (!t->discard)
		t->refused = (struct verdict){ code, esc, text };
	t->discard = true;
	buf_free(&t->content);
	t->content.bad = true; /* takes nothing more */
	txn_close_file(t, false);
}

/* Writes what waits in memory to the file. */
static void
write_file(struct txn *t)
{
	struct view v = buf_view(&t->content);
	struct err e;

	if (spool_big_write(&t->big, v, &e) < 0) {
		bool space = e.esc.detail == 1;
		log_error("message file: %s", e.text);
		discard(t, space ? 452 : 451, e.esc, space ? "Insufficient system storage" :
		    "Error: queue file write error");
		return;
	}
	t->crc = crc32c(t->crc, v.p, v.n);
	buf_clear(&t->content);
}

static void
open_file(struct session *s, struct txn *t)
{
	t->big.opened = file_opened;
	t->big_spool = s->d->spool;
	session_enter(s, ST_FILE);
	spool_big_open(s->d->spool, &t->big);
}

static void
file_opened(struct spool_big *b, const struct err *e)
{
	struct session *s = CONTAINER(b, struct session, txn.big);
	struct txn *t = &s->txn;

	t->big_open = e == NULL;
	if (e) {
		bool space = e->esc.detail == 1;
		discard(t, space ? 452 : 451, e->esc, space ? "Insufficient system storage" :
		    "Error: queue not available");
	}
	pump(s);
}

void
data_no_file(struct session *s)
{
	discard(&s->txn, 451, ESC(4, 3, 0), "Error: queue not available");
	pump(s);
}

void
data_lost_queue(struct session *s)
{
	static const struct verdict lost = { 451, { 4, 3, 0 }, "Error: queue not available" };

	if (!s->txn.big_open)
		return;
	if (s->state == ST_DATA || s->state == ST_MILTER) {
		discard(&s->txn, lost.code, lost.esc, lost.text);
	} else if (s->state == ST_FINISH) {
		session_forget(s);
		finish_refuse(s, &lost);
	}
}

/* The body that came from a milter. */
static void
body_file_opened(struct spool_big *b, const struct err *e)
{
	struct session *s = CONTAINER(b, struct session, txn.big);
	struct txn *t = &s->txn;

	t->big_open = e == NULL;
	if (e)
		discard(t, e->esc.detail == 1 ? 452 : 451, e->esc, "Error: queue not available");
	else
		write_file(t);
	finish_continue(s, t->discard ? &t->refused : NULL);
}

enum step_result
milters_file(struct session *s, struct verdict *v)
{
	struct txn *t = &s->txn;

	(void)v;
	if (t->big_open || buf_len(&t->content) <= session_limits(s)->inline_size)
		return STEP_GO_ON;
	t->big.opened = body_file_opened;
	t->big_spool = s->d->spool;
	spool_big_open(s->d->spool, &t->big);
	return STEP_WAIT;
}

/* Takes the content one step further: into a file, out of the way, or to its end. */
static void
pump(struct session *s)
{
	const struct conf_limits *limits = session_limits(s);
	struct txn *t = &s->txn;

	if (t->scan.size > limits->message_size)
		discard(t, 552, ESC(5, 3, 4), "Message size exceeds fixed limit");
	else if (t->scan.fault != HEADER_GOOD)
		discard(t, 550, ESC(5, 5, 2), "");
	if (!t->discard && t->scan.header_done) {
		size_t n = buf_len(&t->content);
		if (!t->big_open && t->scan.size > limits->inline_size) {
			open_file(s, t);
			return;
		}
		if (t->big_open && n && (t->ended || n >= WRITE_SIZE))
			write_file(t);
	}
	if (t->ended) {
		watch_content(s, t->scan.size);
		finish_message(s);
	} else if (s->state == ST_FILE) {
		session_enter(s, ST_DATA);
	}
}

void
stage_observe(struct txn *t, struct body_observer *o)
{
	struct body_observer **end = &t->observers;

	while (*end)
		end = &(*end)->next;
	o->next = NULL;
	*end = o;
}

void
stage_show(const struct txn *t, struct view bytes)
{
	for (const struct body_observer *o = t->observers; bytes.n && o; o = o->next)
		o->body(o->ctx, bytes);
}

void
data_input(struct session *s)
{
	struct txn *t = &s->txn;
	struct view in = buf_view(&s->io.in);
	size_t given = in.n, before = buf_len(&t->content);

	t->ended = header_scan_data(&t->scan, &in, &t->content) == SCAN_END;
	buf_consume(&s->io.in, given - in.n);
	if (t->observers)
		stage_show(t, view_skip(buf_view(&t->content), before));
	pump(s);
}

/*
 * A large message gets time in proportion to what has come of it, a slow one no more than that;
 * what comes over the size limit buys none.
 */
void
data_deadline(struct session *s)
{
	const struct conf_limits *limits = session_limits(s);
	uint64_t now = loop_now_ms(s->d->loop), size = s->txn.scan.size;
	uint64_t parts = (size < limits->message_size ? size : limits->message_size) / TIMED_SIZE;
	uint64_t end = s->txn.data_ms + limits->data_timeout * 1000 * (parts ? parts : 1);

	if (now < end) {
		loop_timer_set(s->d->loop, &s->timer, end - now);
		return;
	}
	trace_lost(s, "timeout");
	session_end(s, 421, ESC(4, 4, 2), "%s Error: timeout exceeded", s->listener->site->hostname);
}
