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
#include "qmgr/keep.h"
#include "qmgr/list.h"
#include "qmgr/segment_make.h"
#include "qmgr/store.h"

enum {
	CACHE_BYTES = 64 << 20,
	OPS_A_TXN = 500, /* libdb keeps what a transaction changed in memory */
	OPS_A_CHECKPOINT = 100000,
	FAILED_RETRY_MS = 1000
};
enum table_id { T_MESSAGE, T_RCPT, T_SEGMENT, T_META };
enum { SEGROW_INDEXED = 1, SEGROW_SEALED = 2, SEGROW_VERSION = 1 };

static void
report(const char *what, const struct err *e)
{
	log_error("queue database: %s: %s", what, e->text);
}

/* Opening. */

static int
open_tables(struct store *st, struct err *e)
{
	st->message = db_open(st->env, "message", e);
	st->rcpt = st->message ? db_open(st->env, "rcpt", e) : NULL;
	st->segment = st->rcpt ? db_open(st->env, "segment", e) : NULL;
	st->meta = st->segment ? db_open(st->env, "meta", e) : NULL;
	if (st->meta == NULL)
		return -1;
	st->by_due = db_open_index(st->env, "rcpt-due", st->rcpt, row_by_due, e);
	st->by_domain = st->by_due ?
	    db_open_index(st->env, "rcpt-domain", st->rcpt, row_by_domain, e) : NULL;
	st->by_tenant = st->by_domain ?
	    db_open_index(st->env, "rcpt-tenant", st->rcpt, row_by_tenant, e) : NULL;
	st->by_segment = st->by_tenant ?
	    db_open_index(st->env, "message-segment", st->message, row_by_segment, e) : NULL;
	return st->by_segment ? 0 : -1;
}

static void
close_env(struct store *st)
{
	db_close(&st->by_due);
	db_close(&st->by_domain);
	db_close(&st->by_tenant);
	db_close(&st->by_segment);
	db_close(&st->message);
	db_close(&st->rcpt);
	db_close(&st->segment);
	db_close(&st->meta);
	db_env_close(&st->env);
}

static int
open_env(struct store *st, struct err *e)
{
	st->env = db_env_open("db", CACHE_BYTES, e);
	if (st->env && open_tables(st, e) == 0 && db_env_sync(st->env, e) == 0)
		return 0;
	close_env(st);
	return -1;
}

static int
read_segments(struct qmgr *q, struct err *e)
{
	struct db_cursor *c = db_cursor(q->store.segment, NULL, VIEW(""), e);
	struct view key, value;
	int rc = -1;

	while (c && (rc = db_next(c, &key, NULL, &value, e)) > 0) {
		struct segment *s = segment_find(q, view_get_u64(&key));
		if (s == NULL || view_get_u8(&value) != SEGROW_VERSION)
			continue;
		s->indexed = view_get_u8(&value) & SEGROW_INDEXED;
		s->sealed = view_get_u64(&value);
	}
	db_cursor_close(&c);
	return rc;
}

int
store_has_meta(struct qmgr *q, struct view key, bool *found, struct err *e)
{
	struct view value;
	int rc = db_get(q->store.meta, NULL, key, &value, e);

	*found = rc > 0;
	return rc < 0 ? -1 : 0;
}

int
store_each_meta(struct qmgr *q, bool (*visit)(void *ctx, struct view key, struct view value), void *ctx,
    struct err *e)
{
	struct db_cursor *c = db_cursor(q->store.meta, NULL, VIEW(""), e);
	struct view key, value;
	int rc = -1;

	while (c && (rc = db_next(c, &key, NULL, &value, e)) > 0)
		if (!visit(ctx, key, value))
			break;
	db_cursor_close(&c);
	return rc < 0 ? -1 : 0;
}

static int
read_gen(struct qmgr *q, struct err *e)
{
	struct view value;
	int rc = db_get(q->store.meta, NULL, VIEW("gen"), &value, e);

	uint64_t gen = rc > 0 ? view_get_u64(&value) : 0;
	if (gen > q->pool.last_gen)
		q->pool.last_gen = gen;
	return rc < 0 ? -1 : 0;
}

static void tick(struct loop_timer *t);
static void write_marks(struct loop_task *t);

int
store_open(struct qmgr *q, struct err *e)
{
	struct store *st = &q->store;

	list_init(&st->dirty);
	buf_init(&st->ops, 1ul << 32);
	buf_init(&st->unlink, 1ul << 30);
	st->tick.fire = tick;
	st->write_task.run = write_marks;
	if (open_env(st, e) < 0 || read_segments(q, e) < 0 || read_gen(q, e) < 0)
		return -1;
	q->pool.big_sweep_below = q->pool.last_gen + 1;
	return 0;
}

void
store_close(struct qmgr *q)
{
	struct store *st = &q->store;
	struct err e;

	store_commit(q);
	loop_timer_cancel(q->loop, &st->tick);
	loop_unpost(q->loop, &st->write_task);
	if (st->env && db_env_checkpoint(st->env, &e) < 0)
		report("checkpoint", &e);
	close_env(st);
	buf_free(&st->ops);
	buf_free(&st->unlink);
}

/* Done marks. */

void
store_wake(struct qmgr *q)
{
	if (!loop_timer_armed(&q->store.tick))
		loop_timer_set(q->loop, &q->store.tick, STORE_TICK_MS);
}

void
store_done_mark(struct qmgr *q, struct segment *s, uint64_t qid, uint32_t index)
{
	struct done_mark m = { qid, index };

	done_mark_put(&s->marks, s->gen, &m);
	if (s->marks.bad) { /* a disk that fails for millions of marks */
		s->marks.bad = false;
		segment_marks_reset(s, s->done_at);
	}
	if (!link_in(&s->dirty))
		list_put(&q->store.dirty, &s->dirty);
	loop_post(q->loop, LOOP_COMMIT, &q->store.write_task);
	store_wake(q);
}

/*
 * A mark that is not there costs a second delivery after a crash, never a lost one: the work goes on. The
 * marks are kept and written again, all that were not synced: what a failed sync dropped is dirty again then.
 */
static void
marks_fail(struct qmgr *q, struct segment *s, const struct err *e)
{
	if (!s->marks_failed)
		log_error("done marks of segment %s: %s", s->name, e->text);
	s->marks_failed = true;
	s->marks_written = 0;
	if (!loop_timer_armed(&q->store.tick))
		loop_timer_set(q->loop, &q->store.tick, FAILED_RETRY_MS);
}

static int
write_segment_marks(struct segment *s, struct err *e)
{
	struct view v = view_skip(buf_view(&s->marks), s->marks_written);

	if (v.n == 0)
		return 0;
	if ((errno = FAULT("done.write")) != 0)
		return err_errno(e, "write");
	if (durable_pwrite(s->done_fd, v.p, v.n, s->done_at + s->marks_written, e) < 0)
		return -1;
	s->marks_written += v.n;
	return 0;
}

static void
write_marks(struct loop_task *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, store.write_task);
	struct err e;

	LIST_EACH(&q->store.dirty, l, after) {
		struct segment *s = CONTAINER(l, struct segment, dirty);
		if (!s->marks_failed && write_segment_marks(s, &e) < 0)
			marks_fail(q, s, &e);
	}
}

static void
sync_marks(struct qmgr *q)
{
	struct err e;

	LIST_EACH(&q->store.dirty, l, after) {
		struct segment *s = CONTAINER(l, struct segment, dirty);
		if (write_segment_marks(s, &e) < 0 || FAULT_CALL("done.sync",
		    durable_sync(s->done_fd, &e), err_errno(&e, "fdatasync")) < 0) {
			marks_fail(q, s, &e);
			continue;
		}
		if (s->marks_failed)
			log_info("done marks of segment %s: written", s->name);
		segment_marks_reset(s, s->done_at + s->marks_written);
		link_cut(&s->dirty);
	}
}

/* Changes of rows. */

static size_t
op_begin(struct store *st, enum table_id table, bool del)
{
	buf_put_u8(&st->ops, (uint8_t)table);
	buf_put_u8(&st->ops, del);
	size_t at = buf_len(&st->ops);
	buf_put_u32(&st->ops, 0);
	return at;
}

/* Ends a block that began at `at`; with more, another one begins. */
static size_t
op_block(struct store *st, size_t at, bool more)
{
	buf_patch_u32(&st->ops, at, (uint32_t)(buf_len(&st->ops) - at - 4));
	size_t next = buf_len(&st->ops);
	if (more)
		buf_put_u32(&st->ops, 0);
	return next;
}

static void
op_end(struct qmgr *q)
{
	if (q->store.ops.bad)
		log_fatal("queue database: too many changes wait for the disk");
	q->store.ops_count++;
	store_wake(q);
}

void
store_put_message(struct qmgr *q, const struct message *m)
{
	size_t at = op_begin(&q->store, T_MESSAGE, false);

	row_key_qid(&q->store.ops, m->qid);
	at = op_block(&q->store, at, true);
	row_put_message(&q->store.ops, m);
	op_block(&q->store, at, false);
	op_end(q);
}

void
store_put_rcpt(struct qmgr *q, const struct rcpt *r)
{
	size_t at = op_begin(&q->store, T_RCPT, false);

	row_key_rcpt(&q->store.ops, r->m->qid, r->index);
	at = op_block(&q->store, at, true);
	row_put_rcpt(&q->store.ops, r);
	op_block(&q->store, at, false);
	op_end(q);
}

void
store_move_message(struct qmgr *q, uint64_t qid, uint64_t gen, uint64_t offset)
{
	char bytes[8];
	struct buf k = { .p = bytes, .cap = sizeof(bytes), .max = sizeof(bytes) };
	struct view value;
	struct err e;

	row_key_qid(&k, qid);
	if (db_get(q->store.message, NULL, buf_view(&k), &value, &e) <= 0)
		return;
	size_t at = op_begin(&q->store, T_MESSAGE, false);
	buf_putv(&q->store.ops, buf_view(&k));
	at = op_block(&q->store, at, true);
	row_move_message(&q->store.ops, value, gen, offset);
	op_block(&q->store, at, false);
	op_end(q);
}

void
store_del_message(struct qmgr *q, uint64_t qid)
{
	size_t at = op_begin(&q->store, T_MESSAGE, true);

	row_key_qid(&q->store.ops, qid);
	op_block(&q->store, at, false);
	op_end(q);
}

void
store_del_rcpt(struct qmgr *q, uint64_t qid, uint32_t index)
{
	size_t at = op_begin(&q->store, T_RCPT, true);

	row_key_rcpt(&q->store.ops, qid, index);
	op_block(&q->store, at, false);
	op_end(q);
}

void
store_put_segment(struct qmgr *q, const struct segment *s)
{
	struct buf *b = &q->store.ops;
	size_t at = op_begin(&q->store, T_SEGMENT, false);

	buf_put_u64(b, s->gen);
	at = op_block(&q->store, at, true);
	buf_put_u8(b, SEGROW_VERSION);
	buf_put_u8(b, (uint8_t)((s->indexed ? SEGROW_INDEXED : 0) | (s->sealed ? SEGROW_SEALED : 0)));
	buf_put_u64(b, s->sealed);
	op_block(&q->store, at, false);
	op_end(q);
}

void
store_del_segment(struct qmgr *q, uint64_t gen)
{
	size_t at = op_begin(&q->store, T_SEGMENT, true);

	buf_put_u64(&q->store.ops, gen);
	op_block(&q->store, at, false);
	op_end(q);
}

void
store_put_meta(struct qmgr *q, struct view key, struct view value)
{
	size_t at = op_begin(&q->store, T_META, false);

	buf_putv(&q->store.ops, key);
	at = op_block(&q->store, at, true);
	buf_putv(&q->store.ops, value);
	op_block(&q->store, at, false);
	op_end(q);
}

void
store_del_meta(struct qmgr *q, struct view key)
{
	size_t at = op_begin(&q->store, T_META, true);

	buf_putv(&q->store.ops, key);
	op_block(&q->store, at, false);
	op_end(q);
}

void
store_put_gen(struct qmgr *q)
{
	char bytes[8];
	struct buf b = { .p = bytes, .cap = sizeof(bytes), .max = sizeof(bytes) };

	buf_put_u64(&b, q->pool.last_gen);
	store_put_meta(q, VIEW("gen"), buf_view(&b));
}

void
store_unlink_big(struct qmgr *q, uint64_t number)
{
	buf_put(&q->store.unlink, &number, sizeof(number));
	store_wake(q);
}

/* Applying. */

static struct db *
table_of(struct store *st, uint8_t id)
{
	struct db *const tables[] = { [T_MESSAGE] = st->message, [T_RCPT] = st->rcpt,
		[T_SEGMENT] = st->segment, [T_META] = st->meta };

	return tables[id];
}

static int
apply_one(struct store *st, struct db_txn *t, struct view *ops, struct err *e)
{
	struct db *db = table_of(st, view_get_u8(ops));
	bool del = view_get_u8(ops);
	struct view key = view_get_block(ops, UINT32_MAX);

	if (del)
		return db_del(db, t, key, e) < 0 ? -1 : 0;
	return db_put(db, t, key, view_get_block(ops, UINT32_MAX), e);
}

static int
apply_some(struct store *st, struct view *ops, struct err *e)
{
	struct db_txn *t = db_begin(st->env, e);

	if (t == NULL)
		return -1;
	for (int n = 0; n < OPS_A_TXN && ops->n; n++) {
		if (apply_one(st, t, ops, e) < 0) {
			db_abort(&t);
			return -1;
		}
	}
	return db_commit(&t, e);
}

/* From a new start: what was applied but not synced may or may not be there. */
static int
reopen(struct qmgr *q, struct err *e)
{
	struct store *st = &q->store;

	close_env(st);
	if (open_env(st, e) < 0)
		return -1;
	st->failed = false;
	st->ops_applied = 0;
	log_info("queue database: opened again");
	return 0;
}

static int
failed(struct qmgr *q, const char *what, const struct err *e)
{
	report(what, e);
	q->store.failed = true;
	q->store.failed_at_ms = loop_now_ms(q->loop);
	loop_timer_set(q->loop, &q->store.tick, FAILED_RETRY_MS);
	return -1;
}

static int
usable(struct qmgr *q)
{
	struct store *st = &q->store;
	struct err e;

	if (!st->failed)
		return 0;
	if (loop_now_ms(q->loop) - st->failed_at_ms < FAILED_RETRY_MS)
		return -1;
	return reopen(q, &e) < 0 ? failed(q, "open", &e) : 0;
}

int
store_apply(struct qmgr *q)
{
	struct store *st = &q->store;
	struct err e;

	sync_marks(q);
	if (usable(q) < 0)
		return -1;
	struct view ops = view_skip(buf_view(&st->ops), st->ops_applied);
	while (ops.n) {
		size_t before = ops.n;
		if (apply_some(st, &ops, &e) < 0)
			return failed(q, "write", &e);
		st->ops_applied += before - ops.n;
	}
	return 0;
}

static void
unlink_bigs(struct qmgr *q)
{
	struct view v = buf_view(&q->store.unlink);
	char name[20];

	for (; v.n >= sizeof(uint64_t); v = view_skip(v, sizeof(uint64_t))) {
		uint64_t number;
		memcpy(&number, v.p, sizeof(number));
		(void)FAULT("big.unlink");
		snprintf(name, sizeof(name), "%" PRIx64, number);
		if (unlinkat(q->pool.big_dir, name, 0) < 0 && errno != ENOENT)
			log_error("content file %s: %s", name, strerror(errno));
	}
	buf_clear(&q->store.unlink);
}

static int
checkpoint_if_due(struct qmgr *q)
{
	struct store *st = &q->store;
	struct err e;

	st->ops_since_checkpoint += st->ops_count;
	st->ops_count = 0;
	if (st->ops_since_checkpoint < OPS_A_CHECKPOINT)
		return 0;
	st->ops_since_checkpoint = 0;
	return db_env_checkpoint(st->env, &e) < 0 ? failed(q, "checkpoint", &e) : 0;
}

int
store_commit(struct qmgr *q)
{
	struct store *st = &q->store;
	struct err e;

	if (store_apply(q) < 0)
		return -1;
	(void)FAULT("store.applied");
	if (db_env_dirty(st->env) && FAULT_CALL("store.sync", db_env_sync(st->env, &e),
	    err_errno(&e, "sync")) < 0)
		return failed(q, "sync", &e);
	(void)FAULT("store.synced");
	if (st->ops.cap > 1 << 20)
		buf_free(&st->ops);
	else
		buf_clear(&st->ops);
	st->ops_applied = 0;
	if (list_empty(&st->dirty)) /* a mark that is not safe may bring its message back */
		unlink_bigs(q);
	return checkpoint_if_due(q);
}

static void
tick(struct loop_timer *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, store.tick);

	keep_write(q);
	if (store_commit(q) == 0)
		segments_recycle(q);
}

/* Reading. */

int
store_get_message(struct qmgr *q, uint64_t qid, struct message_row *row)
{
	char key[8];
	struct buf b = { .p = key, .cap = sizeof(key), .max = sizeof(key) };
	struct view value;
	struct err e;

	if (usable(q) < 0)
		return -1;
	row_key_qid(&b, qid);
	int rc = db_get(q->store.message, NULL, buf_view(&b), &value, &e);
	if (rc < 0)
		return failed(q, "read", &e);
	if (rc > 0 && !row_get_message(qid, value, row)) {
		log_error("queue database: unreadable message row");
		return -1;
	}
	return rc;
}

int
store_get_rcpt(struct qmgr *q, uint64_t qid, uint32_t index, struct rcpt_row *row)
{
	char key[12];
	struct buf b = { .p = key, .cap = sizeof(key), .max = sizeof(key) };
	struct view value;
	struct err e;

	if (usable(q) < 0)
		return -1;
	row_key_rcpt(&b, qid, index);
	int rc = db_get(q->store.rcpt, NULL, buf_view(&b), &value, &e);
	if (rc < 0)
		return failed(q, "read", &e);
	if (rc > 0 && !row_get_rcpt(buf_view(&b), value, row)) {
		log_error("queue database: unreadable recipient row");
		return -1;
	}
	return rc;
}

int
store_each_rcpt(struct qmgr *q, uint64_t qid, bool (*visit)(void *ctx, const struct rcpt_row *row),
    void *ctx)
{
	char start[12];
	struct buf b = { .p = start, .cap = sizeof(start), .max = sizeof(start) };
	struct rcpt_row row;
	struct view key, value;
	struct err e;
	int rc;

	if (usable(q) < 0)
		return -1;
	row_key_rcpt(&b, qid, 0);
	struct db_cursor *c = db_cursor(q->store.rcpt, NULL, buf_view(&b), &e);
	if (c == NULL)
		return failed(q, "read", &e);
	while ((rc = db_next(c, &key, NULL, &value, &e)) > 0) {
		if (!row_get_rcpt(key, value, &row)) {
			log_error("queue database: unreadable recipient row");
			continue;
		}
		if (row.qid != qid || !visit(ctx, &row))
			break;
	}
	db_cursor_close(&c);
	return rc < 0 ? failed(q, "read", &e) : 0;
}
