/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "lib/durable.h"
#include "lib/segment.h"

enum { VERSION = 1 };

#define MAGIC_SEGMENT 0x454b5347u /* EKSG */
#define MAGIC_RECORD 0x454b5243u  /* EKRC */
#define MAGIC_END 0x454b4544u	  /* EKED */

/*
 * Envelope fields: u16 tag, u32 length, value. Numbers are never reused; an unknown tag is skipped, so
 * that a newer writer's records can be read. A field with its default value is left out.
 */
enum kind { FIELD_NONE, FIELD_TEXT, FIELD_U8, FIELD_U32, FIELD_U64 };

struct field {
	enum kind kind;
	uint16_t at; /* in the struct */
	uint32_t max;
};

enum { TAG_RCPT = 14 };
static const struct field envelope_fields[] = {
	[1] = { FIELD_TEXT, offsetof(struct envelope, sender), IPC_ADDR_MAX },
	[2] = { FIELD_TEXT, offsetof(struct envelope, tenant), IPC_NAME_MAX },
	[3] = { FIELD_TEXT, offsetof(struct envelope, user), IPC_NAME_MAX },
	[4] = { FIELD_TEXT, offsetof(struct envelope, tag), 255 },
	[5] = { FIELD_TEXT, offsetof(struct envelope, client), 512 },
	[6] = { FIELD_TEXT, offsetof(struct envelope, session), 64 },
	[7] = { FIELD_TEXT, offsetof(struct envelope, message_id), 1024 },
	[8] = { FIELD_TEXT, offsetof(struct envelope, envid), 100 },
	[9] = { FIELD_U8, offsetof(struct envelope, ret), 0 },
	[10] = { FIELD_U64, offsetof(struct envelope, arrival_us), 0 },
	[11] = { FIELD_U64, offsetof(struct envelope, received_us), 0 },
	[12] = { FIELD_U64, offsetof(struct envelope, size), 0 },
	[13] = { FIELD_U64, offsetof(struct envelope, big), 0 },
	/* 14: a recipient, itself a list of fields */
	[15] = { FIELD_TEXT, offsetof(struct envelope, sender_original), IPC_ADDR_MAX },
	[16] = { FIELD_U32, offsetof(struct envelope, key_serial), 0 },
	[17] = { FIELD_U8, offsetof(struct envelope, priority), 0 },
	[18] = { FIELD_TEXT, offsetof(struct envelope, hold_reason), 255 },
	[19] = { FIELD_TEXT, offsetof(struct envelope, batch), 255 },
	[20] = { FIELD_TEXT, offsetof(struct envelope, label), 255 },
	[21] = { FIELD_TEXT, offsetof(struct envelope, return_domain), 255 },
	[22] = { FIELD_TEXT, offsetof(struct envelope, header_from), IPC_ADDR_MAX },
	[23] = { FIELD_U64, offsetof(struct envelope, release_us), 0 },
	[24] = { FIELD_U8, offsetof(struct envelope, mt_priority), 0 },
	[25] = { FIELD_TEXT, offsetof(struct envelope, retry), 64 },
};
static const struct field rcpt_fields[] = {
	[1] = { FIELD_TEXT, offsetof(struct segment_rcpt, addr), IPC_ADDR_MAX },
	[2] = { FIELD_TEXT, offsetof(struct segment_rcpt, orcpt), 500 },
	[3] = { FIELD_U8, offsetof(struct segment_rcpt, notify), 0 },
	[4] = { FIELD_U8, offsetof(struct segment_rcpt, kind), 0 },
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
put_tag(struct buf *b, size_t tag, size_t length)
{
	buf_put_u16(b, (uint16_t)tag);
	buf_put_u32(b, (uint32_t)length);
}

static void
put_fields(struct buf *b, const struct field *table, size_t count, const void *from)
{
	for (size_t tag = 1; tag < count; tag++) {
		const struct field *f = &table[tag];
		if (f->kind == FIELD_NONE)
			continue;
		const char *at = (const char *)from + f->at;
		struct view text = { "", 0 };
		uint64_t number = 0;

		if (f->kind == FIELD_TEXT)
			text = *(const struct view *)(const void *)at;
		else if (f->kind == FIELD_U8)
			number = *(const uint8_t *)at;
		else if (f->kind == FIELD_U32)
			number = *(const uint32_t *)(const void *)at;
		else
			number = *(const uint64_t *)(const void *)at;
		if (text.n > f->max || !view_is_text(text)) {
			b->bad = true; /* no reader would take the record: it must not be acknowledged */
		} else if (f->kind == FIELD_TEXT && text.n) {
			put_tag(b, tag, text.n);
			buf_putv(b, text);
		} else if (f->kind == FIELD_U8 && number) {
			put_tag(b, tag, 1);
			buf_put_u8(b, (uint8_t)number);
		} else if (f->kind == FIELD_U32 && number) {
			put_tag(b, tag, 4);
			buf_put_u32(b, (uint32_t)number);
		} else if (f->kind == FIELD_U64 && number) {
			put_tag(b, tag, 8);
			buf_put_u64(b, number);
		}
	}
}

static void
put_envelope(struct buf *b, const struct envelope *env)
{
	put_fields(b, envelope_fields, COUNT(envelope_fields), env);
	for (uint32_t i = 0; i < env->nrcpt; i++) {
		size_t at = buf_len(b);
		put_tag(b, TAG_RCPT, 0);
		put_fields(b, rcpt_fields, COUNT(rcpt_fields), &env->rcpts[i]);
		buf_patch_u32(b, at + 2, (uint32_t)(buf_len(b) - at - 6));
	}
}

static bool
get_field(const struct field *f, struct view value, void *to)
{
	char *at = (char *)to + f->at;

	switch (f->kind) {
	case FIELD_TEXT:
		*(struct view *)(void *)at = value;
		return value.n <= f->max && view_is_text(value);
	case FIELD_U8:
		*(uint8_t *)at = view_get_u8(&value);
		return view_done(value);
	case FIELD_U32:
		*(uint32_t *)(void *)at = view_get_u32(&value);
		return view_done(value);
	default:
		*(uint64_t *)(void *)at = view_get_u64(&value);
		return view_done(value);
	}
}

/* Takes tag and value from the front of *v; false at the end (v->n == 0) or when short (v bad). */
static bool
next_field(struct view *v, uint16_t *tag, struct view *value)
{
	if (v->p == NULL || v->n == 0)
		return false;
	*tag = view_get_u16(v);
	*value = view_get_block(v, ENVELOPE_MAX);
	return !view_bad(*v);
}

static bool
get_rcpt(struct view v, struct segment_rcpt *r)
{
	struct view value;
	uint16_t tag;

	r->addr = r->orcpt = VIEW("");
	while (next_field(&v, &tag, &value))
		if (tag > 0 && tag < COUNT(rcpt_fields) && !get_field(&rcpt_fields[tag], value, r))
			return false;
	return !view_bad(v) && r->addr.n > 0;
}

static bool
get_envelope(struct view v, struct arena *a, struct envelope *env)
{
	struct view all = v, value;
	uint32_t count = 0, i = 0;
	uint16_t tag;

	while (next_field(&v, &tag, &value))
		count += tag == TAG_RCPT;
	if (view_bad(v) || count == 0 || count > RCPTS_MAX)
		return false;
	env->rcpts = arena_alloc(a, count * sizeof(*env->rcpts));
	env->nrcpt = count;
	for (v = all; next_field(&v, &tag, &value);) {
		bool known = tag < COUNT(envelope_fields) &&
		    envelope_fields[tag].kind != FIELD_NONE;
		if (tag == TAG_RCPT && !get_rcpt(value, &env->rcpts[i++]))
			return false;
		if (known && !get_field(&envelope_fields[tag], value, env))
			return false;
	}
	return true;
}

/* A CRC over what was put since `at`. */
static void
put_crc(struct buf *b, size_t at)
{
	struct view v = view_skip(buf_view(b), at);

	buf_put_u32(b, crc32c(0, v.p, v.n));
}

/* Takes the CRC of the first n bytes of v, which follows them. */
static bool
crc_ok(struct view v, size_t n)
{
	struct view crc = view_skip(v, n);

	return v.n >= n + 4 && view_get_u32(&crc) == crc32c(0, v.p, n);
}

static void
pad(struct buf *b, size_t at, size_t size)
{
	static const char zeros[SEGMENT_DATA];
	size_t used = buf_len(b) - at;

	if (!b->bad && used < size)
		buf_put(b, zeros, size - used);
}

enum { SEGMENT_HEADER_BYTES = 40, SEGMENT_COPY = SEGMENT_DATA / 2 };

static void
put_segment_copy(struct buf *b, const struct segment_header *h)
{
	size_t at = buf_len(b);

	buf_put_u32(b, MAGIC_SEGMENT);
	buf_put_u16(b, VERSION);
	buf_put_u16(b, SEGMENT_ALIGN);
	buf_put_u64(b, h->gen);
	buf_put_u64(b, h->size);
	buf_put_u64(b, h->created_us);
	buf_put_u32(b, h->writer);
	buf_put_u32(b, 0);
	put_crc(b, at);
	pad(b, at, SEGMENT_COPY);
}

/* Twice: without the generation every record of the segment would be lost. */
void
segment_header_put(struct buf *b, const struct segment_header *h)
{
	put_segment_copy(b, h);
	put_segment_copy(b, h);
}

static bool
get_segment_copy(struct view v, struct segment_header *h)
{
	if (!crc_ok(v, SEGMENT_HEADER_BYTES) || view_get_u32(&v) != MAGIC_SEGMENT ||
	    view_get_u16(&v) != VERSION || view_get_u16(&v) != SEGMENT_ALIGN)
		return false;
	h->gen = view_get_u64(&v);
	h->size = view_get_u64(&v);
	h->created_us = view_get_u64(&v);
	h->writer = view_get_u32(&v);
	return !view_bad(v);
}

/* The larger generation: a crash may have come between the copies. */
bool
segment_header_get(struct view v, struct segment_header *h)
{
	struct segment_header second;
	bool first = get_segment_copy(v, h);

	if (get_segment_copy(view_skip(v, SEGMENT_COPY), &second) && (!first || second.gen > h->gen)) {
		*h = second;
		return true;
	}
	return first;
}

static uint64_t
padded(uint64_t n)
{
	return (n + SEGMENT_ALIGN - 1) & ~(uint64_t)(SEGMENT_ALIGN - 1);
}

uint64_t
record_length(const struct envelope *env, size_t envelope_len, size_t front_len, uint64_t inline_len)
{
	if (env->nrcpt == 0 || env->nrcpt > RCPTS_MAX || envelope_len > ENVELOPE_MAX ||
	    front_len > UINT32_MAX / 2 || inline_len > UINT32_MAX / 2)
		return 0;
	uint64_t n = padded(RECORD_HEADER + envelope_len + front_len + inline_len);
	return n <= UINT32_MAX ? n : 0;
}

enum { RECORD_CRC_AT = RECORD_HEADER - 4 };

static void
put_record_header(struct buf *b, const struct record *r)
{
	size_t at = buf_len(b);

	buf_put_u32(b, MAGIC_RECORD);
	buf_put_u16(b, VERSION);
	buf_put_u16(b, RECORD_HEADER);
	buf_put_u64(b, r->gen);
	buf_put_u64(b, r->qid);
	buf_put_u32(b, r->length);
	buf_put_u32(b, r->envelope_len);
	buf_put_u32(b, r->front_len);
	buf_put_u32(b, r->flags);
	buf_put_u64(b, r->content_len);
	buf_put_u32(b, r->content_crc);
	buf_put_u32(b, r->envelope_crc);
	buf_put_u32(b, 0);
	put_crc(b, at);
}

void
record_head_copy(struct buf *b, uint64_t gen, struct view envelope, struct record *r)
{
	r->gen = gen;
	r->envelope_len = (uint32_t)envelope.n;
	r->envelope_crc = crc32c(0, envelope.p, envelope.n);
	put_record_header(b, r);
	buf_putv(b, envelope);
}

/* The header is written over the room left for it when the envelope's length and sum are known. */
void
record_head_put(struct buf *b, uint64_t gen, const struct envelope *env, size_t front_len,
    uint64_t inline_len, uint32_t content_crc, struct record *r)
{
	static const char room[RECORD_HEADER];
	char bytes[RECORD_HEADER];
	struct buf head = { .p = bytes, .cap = sizeof(bytes), .max = sizeof(bytes) };
	size_t at = buf_len(b);

	buf_put(b, room, sizeof(room));
	put_envelope(b, env);
	struct view envelope = view_skip(buf_view(b), at + RECORD_HEADER);
	uint64_t length = b->bad ? 0 : record_length(env, envelope.n, front_len, inline_len);
	if (length == 0) {
		b->bad = true;
		return;
	}
	*r = (struct record){ .gen = gen, .qid = env->qid, .length = (uint32_t)length,
		.envelope_len = (uint32_t)envelope.n, .front_len = (uint32_t)front_len,
		.content_len = inline_len, .content_crc = content_crc, .flags = env->flags,
		.envelope_crc = crc32c(0, envelope.p, envelope.n) };
	put_record_header(&head, r);
	memcpy(b->p + b->off + at, bytes, sizeof(bytes));
}

static bool
lengths_fit(const struct record *r)
{
	if (r->envelope_len > ENVELOPE_MAX || r->length % SEGMENT_ALIGN || r->content_len > r->length)
		return false;
	return padded(RECORD_HEADER + (uint64_t)r->envelope_len + r->front_len + r->content_len) ==
	    r->length;
}

bool
record_header_get(struct view v, uint64_t gen, struct record *r, bool *damaged)
{
	struct view head = view_first(v, RECORD_HEADER);

	*damaged = false;
	if (v.n < RECORD_HEADER || view_get_u32(&v) != MAGIC_RECORD)
		return false;
	uint16_t version = view_get_u16(&v), length = view_get_u16(&v);
	r->gen = view_get_u64(&v);
	if (r->gen != gen)
		return false;
	r->qid = view_get_u64(&v);
	r->length = view_get_u32(&v);
	r->envelope_len = view_get_u32(&v);
	r->front_len = view_get_u32(&v);
	r->flags = view_get_u32(&v);
	r->content_len = view_get_u64(&v);
	r->content_crc = view_get_u32(&v);
	r->envelope_crc = view_get_u32(&v);
	*damaged = !crc_ok(head, RECORD_CRC_AT) || version != VERSION || length != RECORD_HEADER ||
	    !lengths_fit(r);
	return !*damaged;
}

bool
record_envelope_get(const struct record *r, struct view envelope, struct arena *a,
    struct envelope *env)
{
	const struct view none = { "", 0 };

	if (envelope.n != r->envelope_len ||
	    crc32c(0, envelope.p, envelope.n) != r->envelope_crc)
		return false;
	*env = (struct envelope){ .qid = r->qid, .flags = r->flags, .sender = none,
		.sender_original = none, .return_domain = none, .hold_reason = none, .header_from = none,
		.retry = none, .tenant = none, .user = none, .tag = none, .batch = none, .label = none, .client = none,
		.session = none, .message_id = none, .envid = none };
	if (!get_envelope(envelope, a, env))
		return false;
	return env->flags & SEGMENT_BIG ? env->big != 0 : env->size == r->content_len;
}

void
end_mark_put(struct buf *b, uint64_t gen)
{
	size_t at = buf_len(b);

	buf_put_u32(b, MAGIC_END);
	buf_put_u16(b, VERSION);
	buf_put_u16(b, END_MARK);
	buf_put_u64(b, gen);
	put_crc(b, at);
	pad(b, at, END_MARK);
}

bool
end_mark_is(struct view v, uint64_t gen)
{
	if (v.n < END_MARK || !crc_ok(v, 16) || view_get_u32(&v) != MAGIC_END)
		return false;
	(void)view_get_u32(&v);
	return view_get_u64(&v) == gen;
}

enum { MARK_CRC_AT = DONE_MARK - 4 };

void
done_mark_put(struct buf *b, uint64_t gen, const struct done_mark *m)
{
	size_t at = buf_len(b);

	buf_put_u64(b, gen);
	buf_put_u64(b, m->qid);
	buf_put_u32(b, m->rcpt);
	put_crc(b, at);
}

bool
done_mark_get(struct view v, uint64_t gen, struct done_mark *m)
{
	if (!crc_ok(v, MARK_CRC_AT) || view_get_u64(&v) != gen)
		return false;
	m->qid = view_get_u64(&v);
	m->rcpt = view_get_u32(&v);
	return true;
}

static const char digits[] = "0123456789BCDFGHJKLMNPQRSTVWXYZ";
enum { BASE = sizeof(digits) - 1 };

const char *
qid_text(uint64_t qid, char out[static QID_CHARS + 1])
{
	for (size_t i = QID_CHARS; i-- > 0; qid /= BASE)
		out[i] = digits[qid % BASE];
	out[QID_CHARS] = '\0';
	return out;
}

bool
qid_parse(struct view v, uint64_t *qid)
{
	uint64_t x = 0;

	if (v.n != QID_CHARS)
		return false;
	for (size_t i = 0; i < v.n; i++) {
		const char *d = v.p[i] ? strchr(digits, v.p[i]) : NULL;
		if (d == NULL || __builtin_mul_overflow(x, (uint64_t)BASE, &x) ||
		    __builtin_add_overflow(x, (uint64_t)(d - digits), &x))
			return false;
	}
	*qid = x;
	return true;
}
