/* SPDX-License-Identifier: ISC */
/*
 * The end of a message: it is judged, its header is edited, what is put in front of it is made, and it
 * is handed to the spool. The steps are a table; one that has to wait is gone on from later.
 */
#include "lib/durable.h"
#include "lib/log.h"
#include "smtpd/command.h"
#include "smtpd/received.h"
#include "smtpd/steps.h"

static void stored(struct spool_msg *m, const struct err *e);

/* Our trace field and signatures. */
enum { TRACE_MAX = (1 << 16) + 2 * DKIM_FIELD_MAX };

/* What stands before the body: our trace field, then the header as it is now. */
static enum step_result
make_front(struct session *s, struct verdict *v)
{
	struct txn *t = &s->txn;

	buf_init(&t->front, t->header.bytes.max + TRACE_MAX);
	buf_reserve(&t->front, 512 + buf_len(&t->header.bytes));
	sign_put(t, &t->front);
	received_put(s, t, &t->front);
	header_list_write(&t->header, &t->front);
	if (t->front.bad)
		return step_refuse(v, 552, ESC(5, 3, 4), "Message header size exceeds fixed limit");
	return STEP_GO_ON;
}

/* The front is known only now: the sum of the file's bytes goes behind that of the front. */
static int
close_big(struct txn *t, struct err *e)
{
	struct view front = buf_view(&t->front);

	if (spool_big_sync(&t->big, e) < 0)
		return -1;
	t->env.flags |= SEGMENT_BIG;
	t->env.big = t->big.number;
	t->env.size = t->big.size;
	t->crc = crc32c_combine(crc32c(0, front.p, front.n), t->crc, t->big.size);
	return 0;
}

static enum step_result
store(struct session *s, struct verdict *v)
{
	struct txn *t = &s->txn;
	struct err e;

	if (t->big_open && close_big(t, &e) < 0) {
		log_error("message file: %s", e.text);
		return step_refuse(v, 451, ESC(4, 3, 0), "Error: queue file write error");
	}
	t->msg = (struct spool_msg){ .env = &t->env, .front = buf_view(&t->front),
		.content = buf_view(&t->content), .content_crc = t->crc, .committed = stored };
	session_enter(s, ST_STORE);
	spool_store(s->d->spool, &t->msg);
	return STEP_GO_ON;
}

static step_fn *const steps[] = { step_content, step_header, step_edit, milters_message, milters_file,
	sign_message, make_front, step_envelope, store };

static void
run_steps(struct session *s)
{
	struct verdict v = { 0 };

	while (s->txn.step < sizeof(steps) / sizeof(steps[0])) {
		switch (steps[s->txn.step++](s, &v)) {
		case STEP_GO_ON:
			break;
		case STEP_REFUSE:
			finish_refuse(s, &v);
			return;
		case STEP_WAIT:
			session_enter(s, ST_FINISH);
			return;
		case STEP_FILTER:
			session_enter(s, ST_MILTER);
			return;
		}
	}
}

void
finish_message(struct session *s)
{
	run_steps(s);
}

void
finish_continue(struct session *s, const struct verdict *v)
{
	if (v)
		finish_refuse(s, v);
	else
		run_steps(s);
}

void
finish_deadline(struct session *s)
{
	static const struct verdict late = { 451, { 4, 3, 0 }, "Error: timeout, try again later" };

	finish_refuse(s, &late);
}

void
finish_refuse(struct session *s, const struct verdict *v)
{
	bool framing = s->txn.scan.fault == HEADER_FRAMING;

	if (v->code >= 500)
		trace_reject(s, "DATA", v->code, v->esc, view_str(v->text), s->txn.env.sender, NULL);
	/* Whoever sends bad framing may see the end of the data elsewhere: nothing behind it is run. */
	if (framing) {
		session_end(s, v->code, v->esc, "%s", v->text);
		return;
	}
	session_reply_verdict(s, v);
	txn_clear(&s->txn);
	session_enter(s, ST_READY);
	session_settle(s);
}

static void
stored(struct spool_msg *m, const struct err *e)
{
	struct session *s = CONTAINER(m, struct session, txn.msg);
	struct txn *t = &s->txn;
	char qid[QID_CHARS + 1];

	if (e) {
		bool space = e->esc.subject == 3 && e->esc.detail == 1;
		struct verdict v = { space ? 452 : 451, e->esc, e->text };
		finish_refuse(s, &v);
		return;
	}
	trace_stored(s, t->env.qid);
	sign_trace(s, t->env.qid);
	qid_text(t->env.qid, qid);
	txn_close_file(t, true);
	t->stored = true;
	txn_clear(t);
	s->errors = 0;
	session_enter(s, ST_READY);
	session_reply(s, 250, ESC(2, 0, 0), "Ok: queued as %s", qid);
	session_settle(s);
}
