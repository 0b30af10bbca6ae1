/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/fault.h"
#include "qmgr/list.h"
#include "qmgr/marks.h"
#include "qmgr/recover.h"
#include "qmgr/segment_make.h"
#include "qmgr/store.h"

enum { CHUNK = 256 << 10 };

/* A window on a segment. */
struct reader {
	struct qmgr *q;
	struct segment *s;
	struct marks marks;
	struct buf window;
	uint64_t at;	/* of the first byte in window */
	uint64_t limit; /* nothing counts behind it */
};

/* n bytes at an offset, or fewer at the end; NULL p on a read error. */
static struct view
bytes_at(struct reader *rd, uint64_t offset, size_t n)
{
	if (offset >= rd->limit)
		return view_of("", 0);
	if (n > rd->limit - offset)
		n = (size_t)(rd->limit - offset);
	uint64_t end = rd->at + buf_len(&rd->window);
	if (offset < rd->at || offset + n > end) {
		size_t want = n > CHUNK ? n : CHUNK;
		if (want > rd->limit - offset)
			want = (size_t)(rd->limit - offset);
		buf_clear(&rd->window);
		ssize_t got = pread(rd->s->fd, buf_reserve(&rd->window, want), want, (off_t)offset);
		if (got < 0) {
			log_error("segment %s: read: %s", rd->s->name, strerror(errno));
			return (struct view){ NULL, 0 };
		}
		buf_commit(&rd->window, (size_t)got);
		rd->at = offset;
	}
	return view_first(view_skip(buf_view(&rd->window), (size_t)(offset - rd->at)), n);
}

static bool
copy_range(int from, int to, uint64_t at, uint64_t end, struct err *e)
{
	char *chunk = x_malloc(CHUNK);
	int rc = 0;

	while (rc == 0 && at < end) {
		size_t n = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
		ssize_t got = pread(from, chunk, n, (off_t)at);
		if (got <= 0)
			break;
		rc = durable_write(to, chunk, (size_t)got, e);
		at += (uint64_t)got;
	}
	free(chunk);
	return rc == 0 && durable_sync(to, e) == 0;
}

void
recover_quarantine(struct qmgr *q, const struct segment *s, uint64_t from, uint64_t to)
{
	char name[64];
	struct err e;

	snprintf(name, sizeof(name), "%" PRIx64 "-%" PRIx64, s->gen, from);
	int fd = openat(q->pool.quarantine_dir, name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		if (errno != EEXIST) /* kept at an earlier start */
			log_error("quarantine/%s: %s", name, strerror(errno));
		return;
	}
	(void)FAULT("quarantine.write");
	if (!copy_range(s->fd, fd, from, to, &e) || durable_sync_dir(q->pool.quarantine_dir, &e) < 0)
		log_error("quarantine/%s: %s", name, e.text);
	else
		log_error("segment %s: damaged bytes %" PRIu64 "-%" PRIu64 " are kept in quarantine/%s",
		    s->name, from, to, name);
	close(fd);
}

/* Where records go on behind `at`: the next whole header or end mark; 0: nowhere. */
static uint64_t
search(struct reader *rd, uint64_t at)
{
	struct record r;
	bool damaged;

	for (; at + SEGMENT_ALIGN <= rd->limit; at += SEGMENT_ALIGN) {
		struct view v = bytes_at(rd, at, SEGMENT_ALIGN);
		if (v.n < SEGMENT_ALIGN)
			break;
		if (record_header_get(v, rd->s->gen, &r, &damaged) || end_mark_is(v, rd->s->gen))
			return at;
	}
	return 0;
}

/* Of front and content as far as they are in the record; false: they are not all there. */
static bool
record_crc(struct reader *rd, uint64_t at, const struct record *r, uint32_t *crc)
{
	uint64_t left = r->front_len + r->content_len;

	*crc = 0;
	for (at += record_front_at(r); left;) {
		struct view v = bytes_at(rd, at, left < CHUNK ? (size_t)left : CHUNK);
		if (v.p == NULL || v.n == 0)
			return false;
		*crc = crc32c(*crc, v.p, v.n);
		at += v.n;
		left -= v.n;
	}
	return true;
}

static bool
content_good(struct reader *rd, uint64_t at, const struct record *r)
{
	uint32_t crc;

	if (r->flags & SEGMENT_BIG) /* big_good(), when it is needed */
		return true;
	return record_crc(rd, at, r, &crc) && crc == r->content_crc;
}

/*
 * The file was synced before the record was written, the front was not: a write that was cut off may have
 * left header and envelope alone. A file that is gone or cannot be read is another matter: false is for
 * bytes that are there and wrong.
 */
static bool
big_good(struct reader *rd, uint64_t at, const struct record *r, uint64_t big)
{
	int fd = big_open_reader(rd->q, big);
	ssize_t n = 0;
	uint32_t crc;

	if (fd < 0)
		return true;
	bool good = record_crc(rd, at, r, &crc);
	char *chunk = x_malloc(CHUNK);
	for (off_t from = 0; good && (n = pread(fd, chunk, CHUNK, from)) > 0; from += n)
		crc = crc32c(crc, chunk, (size_t)n);
	free(chunk);
	close(fd);
	return good && (n < 0 || crc == r->content_crc);
}

enum place { P_DONE, P_ROW, P_ACTIVE };

/* A mark outlives the row that went after it, not the other way round. */
static enum place
place_of(struct reader *rd, uint64_t qid, uint32_t index, bool has_row)
{
	struct counts *c = &rd->q->counts;
	struct rcpt_row kept;
	bool row = has_row && store_get_rcpt(rd->q, qid, index, &kept) > 0;

	if (!marks_has(&rd->marks, qid, index))
		return row ? P_ROW : P_ACTIVE;
	if (row) {
		store_del_rcpt(rd->q, qid, index);
		c->held -= kept.held;
		c->deferred -= !kept.held;
	}
	return P_DONE;
}

/* Every recipient is finished, and a row of the message is left. */
static void
drop_message(struct qmgr *q, struct segment *s, const struct record *r, uint64_t size)
{
	store_del_message(q, r->qid);
	segment_live(s, -1, r->length);
	q->counts.messages--;
	q->counts.bytes -= whole_bytes(r, size);
}

static bool
fill_row(void *ctx, const struct rcpt_row *row)
{
	struct message *m = ctx;

	if (row->index < m->nrcpt)
		rcpt_from_row(&m->rcpts[row->index], row);
	return true;
}

/* Some recipients are finished or in the database, at least one is neither. */
static void
revive(struct reader *rd, uint64_t at, const struct record *r, const struct envelope *env,
    const struct message_row *row, const enum place *places)
{
	struct qmgr *q = rd->q;
	bool has_row = row != NULL;
	struct message *m = message_from_record(q, rd->s, at, r, env);

	m->in_db = has_row;
	if (row)
		m->pool = arena_view(&m->mem, row->pool);
	for (uint32_t i = 0; i < m->nrcpt; i++)
		if (places[i] == P_DONE)
			rcpt_forget(&m->rcpts[i]);
	if (has_row)
		store_each_rcpt(q, m->qid, fill_row, m);
	message_enter(m, !has_row);
	message_log_active(m);
	for (uint32_t i = 0; i < m->nrcpt; i++)
		if (m->rcpts[i].state == R_NEW)
			rcpt_begin(&m->rcpts[i]);
}

/* False: its content is not what was sent. */
static bool
take(struct reader *rd, uint64_t at, const struct record *r, const struct envelope *env)
{
	bool big = env->flags & SEGMENT_BIG, good = true;
	struct message_row row;
	size_t active = 0, rows = 0;

	if (message_find(rd->q, r->qid))
		return true;
	bool has_row = store_get_message(rd->q, r->qid, &row) > 0;
	enum place *places = x_calloc(env->nrcpt, sizeof(*places));
	for (uint32_t i = 0; i < env->nrcpt; i++) {
		places[i] = place_of(rd, r->qid, i, has_row);
		active += places[i] == P_ACTIVE;
		rows += places[i] == P_ROW;
	}
	if (active && big && !has_row)
		good = big_good(rd, at, r, env->big);
	if (big && good)
		big_named(rd->q, env->big);
	if (active && good)
		revive(rd, at, r, env, has_row ? &row : NULL, places);
	else if (has_row && rows == 0 && row.gen == rd->s->gen)
		drop_message(rd->q, rd->s, r, row.size);
	free(places);
	return good;
}

/* One record whose header is good; false: torn, nothing follows. */
static bool
read_record(struct reader *rd, uint64_t at, const struct record *r)
{
	struct arena a = { 0 };
	struct envelope env;
	struct view e = bytes_at(rd, at + RECORD_HEADER, r->envelope_len);
	bool good = at + r->length <= rd->limit && record_envelope_get(r, e, &a, &env);
	bool torn = false;
	uint64_t big = 0;

	/* The envelope's views are into the window, which content_good() moves. */
	if (good) {
		struct buf copy = BUF_INIT(ENVELOPE_MAX);
		buf_putv(&copy, e);
		arena_free(&a);
		good = record_envelope_get(r, buf_view(&copy), &a, &env) &&
		    content_good(rd, at, r);
		if (good) {
			big = env.flags & SEGMENT_BIG ? env.big : 0;
			good = take(rd, at, r, &env);
		}
		buf_free(&copy);
	}
	if (!good) {
		torn = search(rd, at + r->length) == 0;
		if (torn)
			log_info("segment %s: unfinished record at %" PRIu64 ", not acknowledged",
			    rd->s->name, at);
		else
			recover_quarantine(rd->q, rd->s, at, at + r->length);
		if (big && !torn) /* it may be all that is left */
			big_named(rd->q, big);
	}
	arena_free(&a);
	return !torn;
}

/* No record at `at`: the end, or damage with records behind it. */
static uint64_t
skip_damage(struct reader *rd, uint64_t at)
{
	uint64_t next = search(rd, at + SEGMENT_ALIGN);

	if (next)
		recover_quarantine(rd->q, rd->s, at, next);
	return next;
}

static void
scan(struct reader *rd)
{
	uint64_t at = rd->s->told;
	struct record r;
	bool damaged;

	while (at + SEGMENT_ALIGN <= rd->limit) {
		struct view v = bytes_at(rd, at, SEGMENT_ALIGN);
		if (v.n < SEGMENT_ALIGN || end_mark_is(v, rd->s->gen))
			break;
		if (record_header_get(v, rd->s->gen, &r, &damaged)) {
			if (!read_record(rd, at, &r))
				break;
			at += r.length;
			continue;
		}
		uint64_t next = skip_damage(rd, at);
		if (next == 0)
			break;
		at = next;
	}
	rd->s->told = at;
}

void
recover_scan(struct qmgr *q, struct segment *s)
{
	struct reader rd = { .q = q, .s = s, .limit = s->sealed ? s->sealed : s->size };

	if (store_apply(q) < 0)
		log_error("segment %s is read without the database: mail may go out twice", s->name);
	(void)FAULT("recover.scan");
	buf_init(&rd.window, 1ul << 32);
	marks_read(&rd.marks, s);
	scan(&rd);
	marks_free(&rd.marks);
	buf_free(&rd.window);
}

/* The start. */

struct walk {
	struct qmgr *q;
	struct db_cursor *rcpts;
	struct rcpt_row row;
	bool more;
	struct buf far; /* queue ids with a time that no rule gives: the clock was set back */
	uint64_t far_us;
	size_t lost;
};

static int
next_rcpt(struct walk *w, struct err *e)
{
	struct view key, value;
	int rc;

	do
		rc = db_next(w->rcpts, &key, NULL, &value, e);
	while (rc > 0 && !row_get_rcpt(key, value, &w->row));
	w->more = rc > 0;
	return rc < 0 ? -1 : 0;
}

static void
count_rcpt(struct walk *w)
{
	struct counts *c = &w->q->counts;

	if (w->row.held)
		c->held++;
	else
		c->deferred++;
	if (!w->row.held && w->row.due_us > w->far_us)
		buf_put_u64(&w->far, w->row.qid);
}

/* A message row, with the recipient rows that belong to it. */
static int
walk_message(struct walk *w, const struct message_row *row, struct err *e)
{
	struct segment *s = segment_find(w->q, row->gen);
	size_t rcpts = 0;

	for (; w->more && w->row.qid <= row->qid;) {
		if (w->row.qid < row->qid) {
			store_del_rcpt(w->q, w->row.qid, w->row.index);
		} else {
			rcpts++;
			if (s)
				count_rcpt(w);
		}
		if (next_rcpt(w, e) < 0)
			return -1;
	}
	if (s == NULL) {
		w->lost++;
		return 0;
	}
	if (rcpts == 0) { /* its last recipient was finished when we stopped */
		store_del_message(w->q, row->qid);
		return 0;
	}
	segment_live(s, 1, row->rec.length);
	w->q->counts.messages++;
	w->q->counts.bytes += whole_bytes(&row->rec, row->size);
	if (row->big)
		big_named(w->q, row->big);
	return 0;
}

static int
walk_all(struct walk *w, struct db_cursor *messages, struct err *e)
{
	struct view key, value;
	struct message_row row;
	uint32_t none;
	uint64_t qid;
	int rc;

	if (messages == NULL || w->rcpts == NULL || next_rcpt(w, e) < 0)
		return -1;
	while ((rc = db_next(messages, &key, NULL, &value, e)) > 0) {
		struct buf k = BUF_INIT(12);
		buf_putv(&k, key);
		buf_put_u32(&k, 0);
		bool good = row_key_parse(buf_view(&k), &qid, &none) && row_get_message(qid, value, &row);
		buf_free(&k);
		if (!good)
			log_error("queue database: unreadable message row");
		else if (walk_message(w, &row, e) < 0)
			return -1;
	}
	return rc;
}

static void
pull_back(struct walk *w)
{
	struct view v = buf_view(&w->far);

	while (v.n) {
		struct message *m = message_get(w->q, view_get_u64(&v));
		for (uint32_t i = 0; m && i < m->nrcpt; i++)
			if (m->rcpts[i].state == R_WAIT && m->rcpts[i].due_us > w->far_us)
				rcpt_wait(&m->rcpts[i], qmgr_now(w->q));
	}
}

static void
take_indexed(void *ctx, struct table_node *n)
{
	struct segment *s = CONTAINER(n, struct segment, node);

	if (s->indexed)
		s->told = s->sealed ? s->sealed : s->size;
	(void)ctx;
}

int
recover_start(struct qmgr *q, struct err *e)
{
	struct walk w = { .q = q, .far = BUF_INIT(1ul << 30) };

	w.far_us = qmgr_now(q) + q->set.retry.period_s * 1000000;
	w.rcpts = db_cursor(q->store.rcpt, NULL, VIEW(""), e);
	struct db_cursor *messages = db_cursor(q->store.message, NULL, VIEW(""), e);
	int rc = walk_all(&w, messages, e);
	db_cursor_close(&messages);
	db_cursor_close(&w.rcpts);
	if (rc == 0) {
		if (w.lost)
			log_error("%zu messages are in the database whose segments are gone", w.lost);
		table_each(&q->pool.segments, take_indexed, NULL);
		segments_try_locks(&q->pool.locks);
		pull_back(&w);
	}
	buf_free(&w.far);
	return rc;
}
