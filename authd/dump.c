/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "authd/dump.h"
#include "lib/json.h"

enum { FIELD_TEXT_MAX = 4096 };

static void
put_setting(struct json *j, const struct setting *s, const void *record)
{
	struct buf text = BUF_INIT(FIELD_TEXT_MAX);
	char name[SETTING_NAME_MAX];
	uint64_t x;

	setting_member(s, name);
	setting_text(s, record, &text);
	struct view v = buf_view(&text);
	if (s->kind->number && view_u64(v, UINT64_MAX, &x)) {
		json_number(j, name, x);
	} else if (s->kind->list) {
		json_open(j, name, '[');
		while (v.n)
			json_text(j, NULL, view_cut(&v, ','));
		json_close(j, ']');
	} else {
		json_text(j, name, v);
	}
	buf_free(&text);
}

static void
put_hex(struct json *j, const char *name, const unsigned char *p, size_t n)
{
	char text[2 * DIGEST_BYTES + 1] = "";
	unsigned char any = 0;

	for (size_t i = 0; i < n; i++) {
		any |= p[i];
		snprintf(text + 2 * i, 3, "%02x", p[i]);
	}
	json_text(j, name, view_str(any ? text : ""));
	explicit_bzero(text, sizeof(text));
}

static void
put_field(struct json *j, const struct record_field *f, const void *at)
{
	uint32_t x32;
	uint64_t x64;

	switch (f->kind) {
	case RECORD_flag:
		json_bool(j, f->name, *(const bool *)at);
		break;
	case RECORD_u32:
		memcpy(&x32, at, sizeof(x32));
		json_number(j, f->name, x32);
		break;
	case RECORD_u64:
		memcpy(&x64, at, sizeof(x64));
		json_number(j, f->name, x64);
		break;
	case RECORD_text:
		json_text(j, f->name, view_str(at));
		break;
	case RECORD_bytes:
		put_hex(j, f->name, at, f->size);
		break;
	}
}

void
dump_put(enum store_table t, const char *name, const void *record, struct buf *out)
{
	struct json j = JSON_INIT(out);
	size_t count;
	const struct record_field *f = record_fields(store_record_type(t), &count);

	json_open(&j, NULL, '{');
	json_number(&j, "v", DUMP_VERSION);
	json_text(&j, "type", view_str(store_table_word(t)));
	json_text(&j, "name", view_str(name));
	for (; count--; f++) {
		const struct setting *s = setting_covering(t, f->offset);
		if (s == NULL)
			put_field(&j, f, (const char *)record + f->offset);
		else if (s->offset == f->offset)
			put_setting(&j, s, record);
	}
	json_close(&j, '}');
	buf_putc(out, '\n');
}
