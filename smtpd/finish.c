/* SPDX-License-Identifier: ISC */
/*
 * The end of a message: it is judged, its header is edited, what is put in front of it is made, and it
 * is handed to the spool. The steps are a table; one that has to wait is gone on from later.
 */
#include "lib/durable.h"
#include "lib/log.h"
#include "smtpd/command.h"
#include "smtpd/received.h"

static void stored(struct spool_msg *m, const struct err *e);

/* Our trace field and signatures. */
enum { TRACE_MAX = (1 << 16) + 2 * DKIM_FIELD_MAX };

/* The scanner's fault wins over all else: it is about what the bytes mean. */
static struct verdict
fault_verdict(enum header_fault fault)
{
	static const struct verdict verdicts[] = {
		[HEADER_GOOD] = { 0, { 0 }, NULL },
		[HEADER_TOO_LARGE] = { 552, { 5, 3, 4 }, "Message header size exceeds fixed limit" },
		[HEADER_LINE] = { 500, { 5, 5, 2 }, "Line too long" },
		[HEADER_FRAMING] = { 550, { 5, 5, 2 },
		    "Bare CR, bare LF or NUL in message: lines end in CRLF" },
	};

	return verdicts[fault];
}

static enum step_result
refuse(struct verdict *v, uint16_t code, struct esc esc, const char *text)
{
	*v = (struct verdict){ code, esc, text };
	return STEP_REFUSE;
}

/* One From field with valid addresses is what a message needs (A22). */
static bool
from_valid(const struct header_list *l)
{
	struct buf first = BUF_INIT(ADDR_MAX + 2);
	unsigned count;

	if (l->counts[HEADER_FROM] != 1)
		return false;
	ptrdiff_t i = header_list_find(l, HEADER_FROM, 0);
	bool good = header_from_valid(header_list_value(l, (uint32_t)i), &count, &first);
	buf_free(&first);
	return good;
}

/* What is wrong with a whole message. */
static enum step_result
judge(struct session *s, struct verdict *v)
{
	const struct txn *t = &s->txn;

	if (t->scan.fault != HEADER_GOOD || t->discard) {
		*v = t->scan.fault != HEADER_GOOD ? fault_verdict(t->scan.fault) : t->refused;
		return STEP_REFUSE;
	}
	if (t->content.bad || t->header.bytes.bad)
		return refuse(v, 451, ESC(4, 3, 0), "Error: content does not fit");
	if (header_list_hops(&t->header) >= session_limits(s)->hops)
		return refuse(v, 554, ESC(5, 4, 6), "Error: too many hops");
	/* The wording is the contract of the service, without enhanced code. */
	if (!from_valid(&t->header))
		return refuse(v, 500, ESC(0, 0, 0), "Valid Header From Required");
	return STEP_GO_ON;
}

/* What we change of the header, and what we learn from it. */
static enum step_result
edit(struct session *s, struct verdict *v)
{
	struct txn *t = &s->txn;

	(void)v;
	for (ptrdiff_t i = -1; t->env.message_id.n == 0 &&
	     (i = header_list_find(&t->header, HEADER_MESSAGE_ID, (uint32_t)(i + 1))) >= 0;) {
		struct view id = header_msgid(header_list_value(&t->header, (uint32_t)i));
		t->env.message_id = arena_view(&t->arena, id);
	}
	t->hops = header_list_hops(&t->header);
	if (s->listener->site->received == CONF_RECEIVED_strip)
		header_list_delete_all(&t->header, HEADER_RECEIVED);
	if (t->right == RIGHT_RELAY)
		received_complete(s, t);
	return STEP_GO_ON;
}

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
		return refuse(v, 552, ESC(5, 3, 4), "Message header size exceeds fixed limit");
	return STEP_GO_ON;
}

static void
fill_envelope(struct session *s, struct txn *t)
{
	struct buf text = BUF_INIT(1024);
	bool dots = t->scan.dots || header_list_added_dots(&t->header);

	t->env.received_us = loop_wall_us(s->d->loop);
	t->env.flags |= (dots ? SEGMENT_DOTS : 0u) | (t->scan.eight_bit ? SEGMENT_8BIT : 0u) |
	    (t->scan.eight_bit_header ? SEGMENT_8BIT_HEADER : 0u);
	if (t->right == RIGHT_RELAY)
		t->env.tenant = view_str(s->tenant ? s->tenant : s->listener->policy.tenant);
	t->env.user = view_str(s->user);
	session_put_client(s, &text);
	t->env.client = arena_view(&t->arena, buf_view(&text));
	buf_clear(&text);
	session_put_id(s, &text);
	t->env.session = arena_view(&t->arena, buf_view(&text));
	buf_free(&text);
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

	fill_envelope(s, t);
	if (t->big_open && close_big(t, &e) < 0) {
		log_error("message file: %s", e.text);
		return refuse(v, 451, ESC(4, 3, 0), "Error: queue file write error");
	}
	t->msg = (struct spool_msg){ .env = &t->env, .front = buf_view(&t->front),
		.content = buf_view(&t->content), .content_crc = t->crc, .committed = stored };
	session_enter(s, ST_STORE);
	spool_store(s->d->spool, &t->msg);
	return STEP_GO_ON;
}

static step_fn *const steps[] = { judge, edit, milters_message, milters_file, sign_message,
	make_front, store };

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
	txn_clear(&s->txn);
	if (framing) {
		/* Whoever sent this may see the end of the data elsewhere: nothing behind it is run. */
		session_end(s, v->code, v->esc, "%s", v->text);
		return;
	}
	session_enter(s, ST_READY);
	session_reply_verdict(s, v);
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
