/* SPDX-License-Identifier: ISC */
/* The reading half, the only caller of jansson. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "authd/dump.h"

enum { WORDS_MAX = 4096 };

static const enum store_table dumped[] = {STORE_tenant, STORE_key, STORE_domain};

static int wrong(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int
wrong(struct err *e, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, ERR_PERM, ESC(5, 5, 4), "%s", text);
}

static int
take_head(struct dump_line *line, struct err *e)
{
	const json_t *v = json_object_get(line->object, "v");
	const char *type = json_string_value(json_object_get(line->object, "type")),
		   *name = json_string_value(json_object_get(line->object, "name"));
	size_t i = 0, n = sizeof(dumped) / sizeof(dumped[0]);

	if (v && json_integer_value(v) != DUMP_VERSION)
		return wrong(e, "\"v\" is not %d: made by another version", DUMP_VERSION);
	while (type && i < n && strcmp(type, store_table_word(dumped[i])) != 0)
		i++;
	if (type == NULL || i == n)
		return wrong(e, "\"type\" is not tenant, key or domain");
	if (name == NULL || *name == '\0' || strlen(name) > DOMAIN_BYTES)
		return wrong(e, "\"name\" is missing or too long");
	line->table = dumped[i];
	snprintf(line->name, sizeof(line->name), "%s", name);
	return 0;
}

int
dump_parse(struct view v, struct dump_line *line, struct err *e)
{
	json_error_t why;

	*line = (struct dump_line){.object = NULL};
	if (v.n > DUMP_LINE_MAX)
		return wrong(e, "longer than %d bytes", DUMP_LINE_MAX);
	line->object = json_loadb(v.p, v.n, JSON_REJECT_DUPLICATES, &why);
	if (line->object == NULL)
		return wrong(e, "column %d: %.200s", why.column, why.text);
	if (!json_is_object(line->object))
		wrong(e, "not an object");
	else if (take_head(line, e) == 0)
		return 0;
	dump_free(line);
	return -1;
}

void
dump_free(struct dump_line *line)
{
	json_decref(line->object);
	line->object = NULL;
}

/* The words of a setting, however JSON has them. false: it has them in no way that can be. */
static bool
words_of(const struct setting *s, const json_t *v, struct buf *out)
{
	size_t i;
	json_t *item;

	if (json_is_string(v)) {
		buf_put(out, json_string_value(v), json_string_length(v));
	} else if (json_is_integer(v) && s->kind->number && json_integer_value(v) >= 0) {
		buf_printf(out, "%llu", (unsigned long long)json_integer_value(v));
	} else if (json_is_array(v) && s->kind->list) {
		json_array_foreach(v, i, item)
		{
			if (!json_is_string(item))
				return false;
			buf_puts(out, i ? "," : "");
			buf_put(out, json_string_value(item), json_string_length(item));
		}
	} else {
		return false;
	}
	return !out->bad && memchr(buf_view(out).p, '\0', buf_len(out)) == NULL;
}

static int
apply_setting(
    const struct setting *s, const char *name, const json_t *v, void *record, struct err *e)
{
	struct buf text = BUF_INIT(WORDS_MAX);
	const char *wanted = "text";
	int rc = 0;

	if (words_of(s, v, &text))
		wanted = setting_put(s, buf_view(&text), record);
	if (wanted)
		rc = wrong(e, "\"%s\" is not %s", name, wanted);
	buf_free(&text);
	return rc;
}

static bool
take_hex(const char *text, size_t n, unsigned char *out)
{
	static const char digits[] = "0123456789abcdef";
	size_t have = strlen(text);

	if (have != 0 && have != 2 * n)
		return false;
	memset(out, 0, n);
	for (size_t i = 0; i < have; i++) {
		const char *d = strchr(digits, text[i]);
		if (d == NULL)
			return false;
		out[i / 2] = (unsigned char)(out[i / 2] << 4 | (d - digits));
	}
	return true;
}

static bool
apply_field(const struct record_field *f, const json_t *v, void *at)
{
	const char *text = json_string_value(v);
	json_int_t x = json_integer_value(v);
	uint32_t x32 = (uint32_t)x;
	uint64_t x64 = (uint64_t)x;

	switch (f->kind) {
	case RECORD_flag:
		*(bool *)at = json_is_true(v);
		return json_is_boolean(v);
	case RECORD_u32:
		memcpy(at, &x32, sizeof(x32));
		return json_is_integer(v) && x >= 0 && x <= UINT32_MAX;
	case RECORD_u64:
		memcpy(at, &x64, sizeof(x64));
		return json_is_integer(v) && x >= 0;
	case RECORD_text:
		if (text == NULL || !text_line_ok(view_of(text, json_string_length(v)), f->size))
			return false;
		snprintf(at, f->size + 1, "%s", text);
		return true;
	case RECORD_bytes:
		return text && take_hex(text, f->size, at);
	}
	return false;
}

static int
apply_member(
    const struct dump_line *line, const char *name, const json_t *v, void *record, struct err *e)
{
	char setting_name[SETTING_NAME_MAX];
	size_t count;
	const struct record_field *f;
	const struct setting *s = settings_of(line->table, &count);

	for (; count--; s++) {
		setting_member(s, setting_name);
		if (strcmp(name, setting_name) == 0)
			return apply_setting(s, name, v, record, e);
	}
	f = record_fields(store_record_type(line->table), &count);
	for (; count--; f++)
		if (strcmp(name, f->name) == 0 && setting_covering(line->table, f->offset) == NULL)
			return apply_field(f, v, (char *)record + f->offset)
				   ? 0
				   : wrong(e, "the value of \"%s\" is not what it can be", name);
	return wrong(e, "a %s has no \"%.64s\"", store_table_word(line->table), name);
}

int
dump_apply(const struct dump_line *line, void *record, struct err *e)
{
	const char *name;
	json_t *v;

	json_object_foreach(line->object, name, v)
	{
		if (!strcmp(name, "v") || !strcmp(name, "type") || !strcmp(name, "name"))
			continue;
		if (apply_member(line, name, v, record, e) < 0)
			return -1;
	}
	return 0;
}
