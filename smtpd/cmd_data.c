/* SPDX-License-Identifier: ISC */
/*
 * DATA: content is scanned as it comes and kept in memory, or in a file once it is larger than the
 * inline limit. What is wrong with it is answered at its end, and nothing of it is kept then.
 */
#include "lib/durable.h"
#include "lib/log.h"
#include "smtpd/command.h"
#include "smtpd/received.h"

enum {
	RESERVE_MAX = 256 << 10,   /* taken in advance on the word of SIZE= */
	WRITE_SIZE = 256 << 10,	   /* content waits for this much before it goes to its file */
	CONTENT_SLACK = 1 << 20,   /* over the size limit until that is noticed */
	TIMED_SIZE = 1 << 20	   /* data_timeout is for this much */
};

static void stored(struct spool_msg *m, const struct err *e);
static void file_opened(struct spool_big *b, const struct err *e);
static void pump(struct session *s);

/* One From field with valid addresses is what a message needs (A22). */
static void
on_field(void *ctx, struct view name, struct view value)
{
	struct txn *t = ctx;

	if (view_iis(name, "From")) {
		struct buf first = BUF_INIT(ADDR_MAX + 2);
		unsigned count;
		t->from_fields++;
		t->from_valid = header_from_valid(value, &count, &first);
		buf_free(&first);
	} else if (t->env.message_id.n == 0 && view_iis(name, "Message-ID")) {
		t->env.message_id = arena_view(&t->arena, header_msgid(value));
	}
}

void
run_data(struct session *s, struct view arg, size_t rest)
{
	const struct conf_limits *limits = session_limits(s);
	struct txn *t = &s->txn;

	(void)arg, (void)rest;
	header_scan_init(&t->scan, limits->line_length, limits->header_size);
	t->scan.field = on_field;
	t->scan.ctx = t;
	t->scan.strip_received = s->listener->site->received == CONF_RECEIVED_strip;
	buf_init(&t->content, limits->message_size + CONTENT_SLACK);
	if (t->declared && t->declared <= limits->inline_size)
		buf_reserve(&t->content, t->declared < RESERVE_MAX ? t->declared : RESERVE_MAX);
	t->data_ms = loop_now_ms(s->d->loop);
	session_enter(s, ST_DATA);
	session_reply(s, 354, ESC(0, 0, 0), "End data with <CR><LF>.<CR><LF>");
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

/* What is wrong with a whole message; code 0: nothing. */
static struct verdict
judge(const struct session *s, const struct txn *t)
{
	if (t->scan.fault != HEADER_GOOD)
		return fault_verdict(t->scan.fault);
	if (t->discard)
		return t->refused;
	if (t->content.bad)
		return (struct verdict){ 451, ESC(4, 3, 0), "Error: content does not fit" };
	if (t->scan.hops >= session_limits(s)->hops)
		return (struct verdict){ 554, ESC(5, 4, 6), "Error: too many hops" };
	/* The wording is the contract of the service, without enhanced code. */
	if (t->from_fields != 1 || !t->from_valid)
		return (struct verdict){ 500, ESC(0, 0, 0), "Valid Header From Required" };
	return (struct verdict){ 0 };
}

/* The answer to the end of data is no. */
static void
refuse(struct session *s, const struct verdict *v)
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

static uint32_t
content_flags(const struct txn *t)
{
	return t->env.flags | (t->scan.dots ? SEGMENT_DOTS : 0u) |
	    (t->scan.eight_bit ? SEGMENT_8BIT : 0u) |
	    (t->scan.eight_bit_header ? SEGMENT_8BIT_HEADER : 0u);
}

/* The header fields in front; the header of the message must be complete. */
static void
make_front(struct session *s, struct txn *t)
{
	if (t->front.max)
		return;
	buf_init(&t->front, 1 << 16);
	received_put(s, t, &t->front);
}

static void
fill_envelope(struct session *s, struct txn *t)
{
	struct buf text = BUF_INIT(1024);

	t->env.received_us = loop_wall_us(s->d->loop);
	t->env.flags = content_flags(t);
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

/* The end of data was seen and all content is where it belongs. */
static void
finish(struct session *s)
{
	struct txn *t = &s->txn;
	struct verdict v = judge(s, t);
	struct err e;

	if (v.code) {
		refuse(s, &v);
		return;
	}
	make_front(s, t);
	fill_envelope(s, t);
	if (t->big_open) {
		if (spool_big_sync(&t->big, &e) < 0) {
			log_error("message file: %s", e.text);
			v = (struct verdict){ 451, ESC(4, 3, 0), "Error: queue file write error" };
			refuse(s, &v);
			return;
		}
		t->env.flags |= SEGMENT_BIG;
		t->env.big = t->big.number;
		t->env.size = t->big.size;
	}
	t->msg = (struct spool_msg){ .env = &t->env, .front = buf_view(&t->front),
		.content = buf_view(&t->content), .content_crc = t->crc, .committed = stored };
	session_enter(s, ST_STORE);
	spool_store(s->d->spool, &t->msg);
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
		refuse(s, &v);
		return;
	}
	trace_stored(s, t->env.qid);
	qid_text(t->env.qid, qid);
	txn_close_file(t, true);
	t->stored = true;
	txn_clear(t);
	s->errors = 0;
	session_enter(s, ST_READY);
	session_reply(s, 250, ESC(2, 0, 0), "Ok: queued as %s", qid);
	session_settle(s);
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
	/* The checksum begins with the front, which the complete header decides. */
	make_front(s, t);
	t->crc = crc32c(0, buf_view(&t->front).p, buf_len(&t->front));
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
	if (s->state == ST_DATA && s->txn.big_open)
		discard(&s->txn, 451, ESC(4, 3, 0), "Error: queue not available");
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
		if (!t->big_open && n > limits->inline_size) {
			open_file(s, t);
			return;
		}
		if (t->big_open && n && (t->ended || n >= WRITE_SIZE))
			write_file(t);
	}
	if (t->ended)
		finish(s);
	else if (s->state == ST_FILE)
		session_enter(s, ST_DATA);
}

void
data_input(struct session *s)
{
	struct txn *t = &s->txn;
	struct view in = buf_view(&s->io.in);
	size_t before = in.n;

	t->ended = header_scan_data(&t->scan, &in, &t->content) == SCAN_END;
	buf_consume(&s->io.in, before - in.n);
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
