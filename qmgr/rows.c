/* SPDX-License-Identifier: ISC */
/*
 * Rows of the queue database as bytes. The first byte is a version; within a version fields are only
 * ever added at the end, and a reader skips what it does not know.
 */
#include "qmgr/segments.h"
#include "qmgr/store.h"

enum { ROW_VERSION = 1, ROW_HELD = 1, ROW_REMOTE = 2, ROW_SCHEDULED = 4, ROW_PAUSED = 8 };

void
row_key_qid(struct buf *b, uint64_t qid)
{
	buf_put_u64(b, qid);
}

void
row_key_rcpt(struct buf *b, uint64_t qid, uint32_t index)
{
	buf_put_u64(b, qid);
	buf_put_u32(b, index);
}

bool
row_key_parse(struct view key, uint64_t *qid, uint32_t *index)
{
	*qid = view_get_u64(&key);
	*index = view_get_u32(&key);
	return view_done(key);
}

void
row_put_message(struct buf *b, const struct message *m)
{
	buf_put_u8(b, ROW_VERSION);
	buf_put_u64(b, m->seg->gen);
	buf_put_u64(b, m->offset);
	buf_put_u32(b, m->rec.length);
	buf_put_u32(b, m->rec.envelope_len);
	buf_put_u32(b, m->rec.front_len);
	buf_put_u64(b, m->rec.content_len);
	buf_put_u32(b, m->rec.content_crc);
	buf_put_u32(b, m->rec.flags);
	buf_put_u64(b, m->big);
	buf_put_u64(b, m->size);
	buf_put_u64(b, m->arrival_us);
	buf_put_u64(b, m->received_us);
	buf_put_u64(b, m->base_us);
	buf_put_u32(b, m->total);
	buf_put_u8(b, m->ret);
	buf_put_block(b, m->sender);
	buf_put_block(b, view_str(m->tenant->name));
	buf_put_block(b, m->user);
	buf_put_block(b, m->tag);
	buf_put_block(b, m->envid);
	buf_put_block(b, m->sender_original);
	buf_put_block(b, m->return_domain);
	buf_put_block(b, m->batch);
	buf_put_block(b, m->label);
	buf_put_u32(b, m->key_serial);
	buf_put_u8(b, m->priority);
	buf_put_block(b, m->header_from);
	buf_put_u64(b, m->release_us);
	buf_put_u8(b, m->mt_priority);
	buf_put_block(b, m->retry);
	buf_put_block(b, m->pool);
}

/* Version, generation and offset stand first. */
void
row_move_message(struct buf *b, struct view row, uint64_t gen, uint64_t offset)
{
	buf_put_u8(b, view_get_u8(&row));
	buf_put_u64(b, gen);
	buf_put_u64(b, offset);
	buf_putv(b, view_skip(row, 16));
}

/* What later versions of this program added, in groups: a row may end before each of them. */
static bool
get_additions(struct view v, struct message_row *row)
{
	if (!view_bad(v) && v.n == 0)
		return true;
	row->sender_original = view_get_block(&v, IPC_ADDR_MAX);
	row->return_domain = view_get_block(&v, 255);
	row->batch = view_get_block(&v, 255);
	row->label = view_get_block(&v, 255);
	row->key_serial = view_get_u32(&v);
	row->priority = view_get_u8(&v);
	if (!view_bad(v) && v.n == 0)
		return true;
	row->header_from = view_get_block(&v, IPC_ADDR_MAX);
	row->release_us = view_get_u64(&v);
	row->mt_priority = view_get_u8(&v);
	row->retry = view_get_block(&v, 64);
	if (!view_bad(v) && v.n == 0)
		return true;
	row->pool = view_get_block(&v, 64);
	return !view_bad(v);
}

bool
row_get_message(uint64_t qid, struct view v, struct message_row *row)
{
	if (view_get_u8(&v) != ROW_VERSION)
		return false;
	*row = (struct message_row){ .qid = qid };
	row->gen = view_get_u64(&v);
	row->offset = view_get_u64(&v);
	row->rec.gen = row->gen;
	row->rec.qid = qid;
	row->rec.length = view_get_u32(&v);
	row->rec.envelope_len = view_get_u32(&v);
	row->rec.front_len = view_get_u32(&v);
	row->rec.content_len = view_get_u64(&v);
	row->rec.content_crc = view_get_u32(&v);
	row->rec.flags = view_get_u32(&v);
	row->big = view_get_u64(&v);
	row->size = view_get_u64(&v);
	row->arrival_us = view_get_u64(&v);
	row->received_us = view_get_u64(&v);
	row->base_us = view_get_u64(&v);
	row->total = view_get_u32(&v);
	row->ret = view_get_u8(&v);
	row->sender = view_get_block(&v, IPC_ADDR_MAX);
	row->tenant = view_get_block(&v, IPC_NAME_MAX);
	row->user = view_get_block(&v, IPC_NAME_MAX);
	row->tag = view_get_block(&v, 255);
	row->envid = view_get_block(&v, 100);
	return get_additions(v, row);
}

void
row_put_rcpt(struct buf *b, const struct rcpt *r)
{
	buf_put_u8(b, ROW_VERSION);
	buf_put_u8(b, (uint8_t)((r->state == R_HELD ? ROW_HELD : 0) | (r->remote ? ROW_REMOTE : 0) |
	    (r->scheduled ? ROW_SCHEDULED : 0) | (r->paused ? ROW_PAUSED : 0)));
	buf_put_u64(b, r->due_us);
	buf_put_u64(b, r->last_us);
	buf_put_u32(b, r->attempts);
	buf_put_u16(b, r->code);
	buf_put_u32(b, r->esc);
	buf_put_u8(b, r->notify);
	buf_put_block(b, r->addr);
	buf_put_block(b, r->orcpt);
	buf_put_block(b, view_str(r->text));
	buf_put_block(b, view_str(r->relay));
	buf_put_block(b, view_str(r->m->tenant->name));
	buf_put_u8(b, r->kind);
}

bool
row_get_rcpt(struct view key, struct view v, struct rcpt_row *row)
{
	*row = (struct rcpt_row){ 0 };
	if (!row_key_parse(key, &row->qid, &row->index) || view_get_u8(&v) != ROW_VERSION)
		return false;
	uint8_t flags = view_get_u8(&v);
	row->held = flags & ROW_HELD;
	row->remote = flags & ROW_REMOTE;
	row->scheduled = flags & ROW_SCHEDULED;
	row->paused = flags & ROW_PAUSED;
	row->due_us = view_get_u64(&v);
	row->last_us = view_get_u64(&v);
	row->attempts = view_get_u32(&v);
	row->code = view_get_u16(&v);
	row->esc = view_get_u32(&v);
	row->notify = view_get_u8(&v);
	row->addr = view_get_block(&v, IPC_ADDR_MAX);
	row->orcpt = view_get_block(&v, 500);
	row->text = view_get_block(&v, IPC_TEXT_MAX);
	row->relay = view_get_block(&v, 330);
	row->tenant = view_get_block(&v, IPC_NAME_MAX);
	row->kind = !view_bad(v) && v.n ? view_get_u8(&v) : (uint8_t)RCPT_NORMAL;
	return !view_bad(v);
}

/* Held ones have no time. With the primary key behind it, a place in the index is exact. */
bool
row_by_due(struct view key, struct view value, struct buf *out)
{
	struct rcpt_row row;

	if (!row_get_rcpt(key, value, &row) || row.held)
		return false;
	buf_put_u64(out, row.due_us);
	buf_putv(out, key);
	return true;
}

/* Behind the last '@'; empty when there is none. */
struct view
addr_domain(struct view addr)
{
	for (size_t i = addr.n; i-- > 0;)
		if (addr.p[i] == '@')
			return view_skip(addr, i + 1);
	return view_of("", 0);
}

bool
row_by_domain(struct view key, struct view value, struct buf *out)
{
	struct rcpt_row row;

	if (!row_get_rcpt(key, value, &row))
		return false;
	struct view domain = addr_domain(row.addr);
	for (size_t i = 0; i < domain.n; i++) {
		char c = domain.p[i];
		buf_putc(out, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
	}
	buf_putc(out, '\0');
	buf_putv(out, key);
	return true;
}

bool
row_by_tenant(struct view key, struct view value, struct buf *out)
{
	struct rcpt_row row;

	if (!row_get_rcpt(key, value, &row))
		return false;
	buf_putv(out, row.tenant);
	buf_putc(out, '\0');
	buf_putv(out, key);
	return true;
}

bool
row_by_segment(struct view key, struct view value, struct buf *out)
{
	if (view_get_u8(&value) != ROW_VERSION)
		return false;
	buf_put_u64(out, view_get_u64(&value));
	buf_putv(out, key);
	return !view_bad(value);
}
