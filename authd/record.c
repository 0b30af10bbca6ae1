/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "authd/record.h"

enum { RECORD_VERSION = 1 };

struct record_type {
	const struct record_field *(*fields)(size_t *count);
	size_t struct_size;
};

/* offsetof() needs the struct's name, which the lists do not carry: `self` is it. */
#define RECORD_ROW(tag, kind, field, size) { (tag), RECORD_##kind, #field, offsetof(self, field), (size) },
#define RECORD_DEFINE(record)                                                                      \
	static const struct record_field *fields_##record(size_t *count)                           \
	{                                                                                          \
		typedef struct record_##record self;                                               \
		static const struct record_field rows[] = { RECORD_##record(RECORD_ROW) };         \
		*count = sizeof(rows) / sizeof(rows[0]);                                           \
		return rows;                                                                       \
	}                                                                                          \
	const struct record_type record_type_##record = { fields_##record,                         \
		sizeof(struct record_##record) };
RECORDS(RECORD_DEFINE)

/* Never called: a tag used twice does not compile. */
#define RECORD_TAG(tag, kind, field, size) case tag:
#define RECORD_TAGS(record)                                                                        \
	__attribute__((unused)) static bool known_tag_##record(int tag)                            \
	{                                                                                          \
		switch (tag) {                                                                     \
			RECORD_##record(RECORD_TAG) return true;                                   \
		default:                                                                           \
			return false;                                                              \
		}                                                                                  \
	}
RECORDS(RECORD_TAGS)

const struct record_field *
record_fields(const struct record_type *type, size_t *count)
{
	return type->fields(count);
}

static bool
all_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* The content of a field; empty when it is not set. */
static void
put_content(const struct record_field *f, const void *at, struct buf *out)
{
	uint32_t x32;
	uint64_t x64;

	switch (f->kind) {
	case RECORD_flag:
		if (*(const bool *)at)
			buf_put_u8(out, 1);
		break;
	case RECORD_u32:
		memcpy(&x32, at, sizeof(x32));
		if (x32)
			buf_put_u32(out, x32);
		break;
	case RECORD_u64:
		memcpy(&x64, at, sizeof(x64));
		if (x64)
			buf_put_u64(out, x64);
		break;
	case RECORD_text:
		buf_puts(out, at);
		break;
	case RECORD_bytes:
		if (!all_zero(at, f->size))
			buf_put(out, at, f->size);
		break;
	}
}

void
record_put(const struct record_type *type, const void *record, struct buf *out)
{
	struct buf content = BUF_INIT(RECORD_BYTES);
	size_t count;
	const struct record_field *f = type->fields(&count);

	buf_put_u8(out, RECORD_VERSION);
	for (; count--; f++) {
		buf_clear(&content);
		put_content(f, (const char *)record + f->offset, &content);
		size_t n = buf_len(&content);
		if (n == 0)
			continue;
		buf_put_u16(out, f->tag);
		buf_put_u16(out, (uint16_t)n);
		buf_putv(out, buf_view(&content));
	}
	buf_free(&content);
}

static bool
get_content(const struct record_field *f, struct view v, void *at)
{
	uint32_t x32;
	uint64_t x64;

	switch (f->kind) {
	case RECORD_flag:
		*(bool *)at = view_get_u8(&v) != 0;
		return view_done(v);
	case RECORD_u32:
		x32 = view_get_u32(&v);
		memcpy(at, &x32, sizeof(x32));
		return view_done(v);
	case RECORD_u64:
		x64 = view_get_u64(&v);
		memcpy(at, &x64, sizeof(x64));
		return view_done(v);
	case RECORD_text:
		if (v.n > f->size || memchr(v.p, '\0', v.n))
			return false;
		memcpy(at, v.p, v.n);
		((char *)at)[v.n] = '\0';
		return true;
	case RECORD_bytes:
		if (v.n != f->size)
			return false;
		memcpy(at, v.p, v.n);
		return true;
	}
	return false;
}

bool
record_get(const struct record_type *type, struct view v, void *record)
{
	size_t count, at = 0;
	const struct record_field *f = type->fields(&count);
	uint16_t last = 0;

	memset(record, 0, type->struct_size);
	if (view_get_u8(&v) != RECORD_VERSION)
		return false;
	while (!view_bad(v) && v.n) {
		uint16_t tag = view_get_u16(&v), n = view_get_u16(&v);
		struct view content = view_get(&v, n);
		if (view_bad(v) || tag <= last)
			return false;
		last = tag;
		while (at < count && f[at].tag < tag)
			at++;
		if (at < count && f[at].tag == tag &&
		    !get_content(&f[at], content, (char *)record + f[at].offset))
			return false;
	}
	return view_done(v);
}
