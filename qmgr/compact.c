/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/fault.h"
#include "qmgr/compact.h"
#include "qmgr/list.h"
#include "qmgr/message.h"
#include "qmgr/segments.h"
#include "qmgr/store.h"

enum { LOOK_MS = 2000, STEP_MS = 2, RECORDS_A_STEP = 64, BYTES_A_STEP = 2 << 20 };

struct moved {
	uint64_t qid, offset;
	uint32_t length;
};

struct compaction {
	struct segment *own;  /* where records go; NULL: none yet */
	uint64_t from;	      /* generation of the segment under way; 0: none */
	uint64_t next_qid;    /* to look at in it */
	size_t moved, bytes;
	bool waiting;	      /* for a segment of our own */
};

/* Encoded records of a step, written with one call. */
struct step {
	struct buf data;
	struct moved list[RECORDS_A_STEP];
	size_t count;
	bool more, full;
};

struct pick {
	struct qmgr *q;
	struct segment *best;
};

static void
consider(void *ctx, struct table_node *n)
{
	struct pick *p = ctx;
	struct segment *s = CONTAINER(n, struct segment, node);

	if (s->state != SEG_FULL || !s->indexed || s->live == 0 || s->mem || s->stuck ||
	    s->live_bytes * 100 >= s->size * p->q->set.compact_percent)
		return;
	if (p->best == NULL || s->live_bytes < p->best->live_bytes)
		p->best = s;
}

static bool
read_record(const struct segment *s, const struct message_row *row, struct buf *b)
{
	uint64_t left = row->rec.length;

	while (left) {
		char *room = buf_reserve(b, (size_t)left);
		if (room == NULL)
			return false;
		ssize_t n = pread(s->fd, room, (size_t)left, (off_t)(row->offset + row->rec.length - left));
		if (n <= 0)
			return false;
		buf_commit(b, (size_t)n);
		left -= (uint64_t)n;
	}
	return true;
}

/* The record under its new generation; false: it is not what the row says. */
static bool
copy_record(struct compaction *c, const struct message_row *row, struct view old, struct buf *out)
{
	struct record r;
	bool damaged;

	if (!record_header_get(old, row->gen, &r, &damaged) || r.qid != row->qid ||
	    r.length != row->rec.length)
		return false;
	struct view body = view_skip(old, RECORD_HEADER), envelope = view_first(body, r.envelope_len);
	if (crc32c(0, envelope.p, envelope.n) != r.envelope_crc)
		return false;
	record_head_copy(out, c->own->gen, envelope, &r);
	buf_putv(out, view_skip(body, r.envelope_len));
	return !out->bad;
}

static void
step_record(struct qmgr *q, struct segment *from, struct step *st, const struct message_row *row)
{
	struct compaction *c = q->compaction;
	struct buf old = BUF_INIT(UINT32_MAX);
	size_t at = buf_len(&st->data);

	if (c->own->told + at + row->rec.length + END_MARK > c->own->size) {
		st->full = true;
		return;
	}
	if (read_record(from, row, &old) && copy_record(c, row, buf_view(&old), &st->data)) {
		st->list[st->count++] = (struct moved){ row->qid, c->own->told + at, row->rec.length };
	} else {
		char id[QID_CHARS + 1];
		log_error("%s: its record in segment %s cannot be read", qid_text(row->qid, id),
		    from->name);
		from->stuck = true;
		st->data.bad = false;
		buf_truncate(&st->data, at);
	}
	buf_free(&old);
}

/* The rows of the segment, from next_qid on. */
static int
collect(struct qmgr *q, struct segment *from, struct step *st)
{
	struct compaction *c = q->compaction;
	struct buf start = BUF_INIT(16);
	struct view key, primary, value;
	struct message_row row;
	struct err e;
	int rc = -1;

	buf_put_u64(&start, c->from);
	buf_put_u64(&start, c->next_qid);
	struct db_cursor *cur = db_cursor(q->store.by_segment, NULL, buf_view(&start), &e);
	while (cur && (rc = db_next(cur, &key, &primary, &value, &e)) > 0) {
		if (view_get_u64(&key) != c->from)
			break;
		uint64_t qid = view_get_u64(&primary);
		if (st->count == RECORDS_A_STEP || buf_len(&st->data) > BYTES_A_STEP) {
			st->more = true;
			break;
		}
		if (message_find(q, qid) == NULL && row_get_message(qid, value, &row))
			step_record(q, from, st, &row);
		if (st->full)
			break;
		c->next_qid = qid + 1;
	}
	db_cursor_close(&cur);
	buf_free(&start);
	if (rc < 0)
		log_error("queue database: %s", e.text);
	return rc < 0 ? -1 : 0;
}

static int
write_step(struct qmgr *q, struct step *st)
{
	struct segment *own = q->compaction->own;
	struct err e;
	size_t bytes = buf_len(&st->data);

	if (st->count == 0)
		return 0;
	end_mark_put(&st->data, own->gen);
	errno = FAULT("compact.write");
	if (errno)
		err_errno(&e, "write");
	if (errno || durable_pwrite(own->fd, st->data.p + st->data.off, buf_len(&st->data), own->told,
	    &e) < 0 || FAULT_CALL("compact.sync", durable_sync(own->fd, &e),
	    err_errno(&e, "fdatasync")) < 0) {
		log_error("segment %s: compaction: %s", own->name, e.text);
		return -1;
	}
	own->told += bytes;
	return 0;
}

/* The copies are safe: the rows may say so. */
static void
move_rows(struct qmgr *q, struct segment *from, const struct step *st)
{
	struct compaction *c = q->compaction;

	(void)FAULT("compact.copied");
	for (size_t i = 0; i < st->count; i++) {
		const struct moved *m = &st->list[i];
		store_move_message(q, m->qid, c->own->gen, m->offset);
		segment_live(from, -1, m->length);
		segment_live(c->own, 1, m->length);
		c->moved++;
		c->bytes += m->length;
	}
}

static void
retire_own(struct qmgr *q)
{
	struct segment *own = q->compaction->own;

	q->compaction->own = NULL;
	if (own == NULL)
		return;
	own->state = SEG_FULL;
	segment_check(q, own);
}

static void
finish(struct qmgr *q, struct segment *from)
{
	struct compaction *c = q->compaction;

	if (c->moved)
		log_info("segment %s compacted: %zu messages, %zu bytes moved", from->name, c->moved,
		    c->bytes);
	c->from = 0;
	segment_check(q, from);
}

/* One step; false: nothing more to do now. */
static bool
work(struct qmgr *q, struct segment *from)
{
	struct step *st = x_calloc(1, sizeof(*st));
	bool more = false;

	buf_init(&st->data, 1ul << 32);
	if (store_apply(q) == 0 && collect(q, from, st) == 0) {
		if (write_step(q, st) < 0) {
			retire_own(q);
			st->count = 0;
		} else {
			more = st->more || st->full;
		}
		move_rows(q, from, st);
		if (st->full)
			retire_own(q);
	}
	buf_free(&st->data);
	free(st);
	if (!more)
		finish(q, from);
	return more;
}

static struct segment *
choose(struct qmgr *q)
{
	struct compaction *c = q->compaction;
	struct pick p = { .q = q };

	if (c->from)
		return segment_find(q, c->from);
	if (q->set.compact_percent)
		table_each(&q->pool.segments, consider, &p);
	if (p.best) {
		c->from = p.best->gen;
		c->next_qid = 0;
		c->moved = c->bytes = 0;
	}
	return p.best;
}

static bool
have_own(struct qmgr *q)
{
	struct compaction *c = q->compaction;

	if (c->own == NULL) {
		c->waiting = true;
		c->own = segment_take_own(q);
	}
	c->waiting = c->own == NULL;
	return c->own != NULL;
}

static void
look(struct loop_timer *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, compact_timer);
	struct segment *from = q->draining ? NULL : choose(q);
	bool more = false;

	if (from == NULL)
		q->compaction->from = 0;
	else if (have_own(q))
		more = work(q, from);
	loop_timer_set(q->loop, &q->compact_timer, more ? STEP_MS : LOOK_MS);
}

bool
compact_wants_segment(const struct qmgr *q)
{
	return q->compaction && q->compaction->waiting;
}

void
compact_init(struct qmgr *q)
{
	q->compaction = x_calloc(1, sizeof(*q->compaction));
	q->compact_timer.fire = look;
	loop_timer_set(q->loop, &q->compact_timer, LOOK_MS);
}

void
compact_stop(struct qmgr *q)
{
	loop_timer_cancel(q->loop, &q->compact_timer);
	free(q->compaction);
	q->compaction = NULL;
}
