/* SPDX-License-Identifier: ISC */
/*
 * What qmgr writes: done marks beside the segments, and rows in Berkeley DB.
 *
 * Marks are written once a turn and synced at the tick, at most STORE_TICK_MS later. Changes of rows
 * are queued and applied at the tick behind that sync, in order, then the environment is synced. So a
 * row goes only when its mark is safe, and a crash costs at most the deliveries of one tick a second
 * attempt. After a failure the environment is opened again and the queued changes, which are all
 * "put" and "delete", are applied again.
 */
#ifndef EKIDEN_QMGR_STORE_H
#define EKIDEN_QMGR_STORE_H

#include "qmgr/message.h"

enum { STORE_TICK_MS = 50 };

/* A row of `rcpt` as it is read; views live until the next call on the store. */
struct rcpt_row {
	uint64_t qid;
	uint32_t index;
	uint64_t due_us, last_us;
	bool held, remote, scheduled, paused;
	uint32_t attempts, esc;
	uint16_t code;
	uint8_t notify, kind;
	struct view addr, orcpt, text, relay, tenant;
};

/* A row of `message`. */
struct message_row {
	uint64_t qid, gen, offset;
	struct record rec;
	uint64_t big, size, arrival_us, received_us, base_us, release_us;
	uint32_t total;
	uint8_t ret;
	struct view sender, tenant, user, tag, envid;
	struct view sender_original, return_domain, batch, label, header_from, retry, pool;
	uint32_t key_serial;
	uint8_t priority, mt_priority;
};

/* The environment; segments' flags and the last generation are read into the pool, which is open. */
int store_open(struct qmgr *q, struct err *e);
void store_close(struct qmgr *q); /* all is written and synced first */

void store_done_mark(struct qmgr *q, struct segment *s, uint64_t qid, uint32_t index);
void store_put_message(struct qmgr *q, const struct message *m);
void store_put_rcpt(struct qmgr *q, const struct rcpt *r);
/* Its record lies elsewhere now. The row is read: everything before must be applied. */
void store_move_message(struct qmgr *q, uint64_t qid, uint64_t gen, uint64_t offset);
void store_del_message(struct qmgr *q, uint64_t qid);
void store_del_rcpt(struct qmgr *q, uint64_t qid, uint32_t index);
/* indexed and sealed, as they are now. */
void store_put_segment(struct qmgr *q, const struct segment *s);
void store_del_segment(struct qmgr *q, uint64_t gen);
void store_put_gen(struct qmgr *q);
void store_put_meta(struct qmgr *q, struct view key, struct view value);
void store_del_meta(struct qmgr *q, struct view key);
/* At the start. 0, or -1 with *e. */
int store_has_meta(struct qmgr *q, struct view key, bool *found, struct err *e);
int store_each_meta(struct qmgr *q, bool (*visit)(void *ctx, struct view key, struct view value), void *ctx,
    struct err *e);
/* The file goes when everything before this is durable. */
void store_unlink_big(struct qmgr *q, uint64_t number);
/* A tick soon, also without changes. */
void store_wake(struct qmgr *q);
/* Everything queued is in the database now (not yet synced): before reading it. 0 or -1 (logged). */
int store_apply(struct qmgr *q);
/* And synced. */
int store_commit(struct qmgr *q);

/* 1, 0, -1 (logged). */
int store_get_message(struct qmgr *q, uint64_t qid, struct message_row *row);
/* Each recipient row of qid, until visit() returns false. 0, or -1 (logged). */
int store_each_rcpt(struct qmgr *q, uint64_t qid, bool (*visit)(void *ctx, const struct rcpt_row *row),
    void *ctx);
int store_get_rcpt(struct qmgr *q, uint64_t qid, uint32_t index, struct rcpt_row *row);

/* Rows as bytes (rows.c). */
void row_put_message(struct buf *b, const struct message *m);
/* The same row with another place. */
void row_move_message(struct buf *b, struct view row, uint64_t gen, uint64_t offset);
bool row_get_message(uint64_t qid, struct view v, struct message_row *row);
void row_put_rcpt(struct buf *b, const struct rcpt *r);
bool row_get_rcpt(struct view key, struct view v, struct rcpt_row *row);
void row_key_qid(struct buf *b, uint64_t qid);
void row_key_rcpt(struct buf *b, uint64_t qid, uint32_t index);
bool row_key_parse(struct view key, uint64_t *qid, uint32_t *index);
/* Secondary keys. */
bool row_by_due(struct view key, struct view value, struct buf *out);
bool row_by_domain(struct view key, struct view value, struct buf *out);
bool row_by_tenant(struct view key, struct view value, struct buf *out);
bool row_by_segment(struct view key, struct view value, struct buf *out);
struct view addr_domain(struct view addr);

#endif
