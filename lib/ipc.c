/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "lib/ipc.h"
#include "lib/log.h"

/* offsetof() needs the struct's name, which the field lists do not carry: `self` is it. */
#define IPC_ROW(kind, name, max) { #name, IPC_##kind, (uint16_t)offsetof(self, name), (max) },
#define IPC_DEFINE(num, name)                                                                      \
	static const struct ipc_field *fields_##name(size_t *count)                                \
	{                                                                                          \
		typedef struct ipc_##name self;                                                    \
		static const struct ipc_field rows[] = { IPC_FIELDS_##name(IPC_ROW) };             \
		*count = sizeof(rows) / sizeof(rows[0]);                                           \
		return rows;                                                                       \
	}                                                                                          \
	const struct ipc_desc ipc_desc_##name = { (num), #name, fields_##name };
IPC_MESSAGES(IPC_DEFINE)
IPC_RECORDS(IPC_DEFINE)

#define IPC_POINTER(num, name) &ipc_desc_##name,
static const struct ipc_desc *const all[] = { IPC_MESSAGES(IPC_POINTER) IPC_RECORDS(IPC_POINTER) };

/* A switch, so that a number used twice does not compile. */
#define IPC_DESC_CASE(num, name)                                                                   \
	case num:                                                                                  \
		return &ipc_desc_##name;
const struct ipc_desc *
ipc_desc_of(uint16_t type)
{
	switch (type) {
		IPC_MESSAGES(IPC_DESC_CASE)
	default:
		return NULL;
	}
}

const struct ipc_desc *const *
ipc_all(size_t *count)
{
	*count = sizeof(all) / sizeof(all[0]);
	return all;
}

/* Cheap structure only; the grammar is lib/addr.h's. */
static bool
addr_ok(struct view v)
{
	bool quoted = false;

	for (size_t i = 0; i < v.n; i++) {
		if (quoted && v.p[i] == '\\')
			i++;
		else if (v.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && (v.p[i] == ' ' || v.p[i] == '<' || v.p[i] == '>'))
			return false;
	}
	return !quoted && view_is_text(v);
}

static bool
domain_ok(struct view v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
		if (!alnum && c < 0x80 && !memchr(".-_:[]", c, 6))
			return false;
	}
	return true;
}

static bool
value_ok(const struct ipc_field *f, struct view v)
{
	if (v.n > f->max)
		return false;
	switch (f->kind) {
	case IPC_text:
		return view_is_text(v);
	case IPC_addr:
		return addr_ok(v);
	case IPC_domain:
		return domain_ok(v);
	default:
		return true;
	}
}

void
ipc_put(struct buf *b, const struct ipc_desc *d, const void *m)
{
	size_t count;
	const struct ipc_field *f = d->fields(&count);

	for (; count--; f++) {
		const void *at = (const char *)m + f->offset;
		switch (f->kind) {
		case IPC_u8:
			buf_put_u8(b, *(const uint8_t *)at);
			break;
		case IPC_u16:
			buf_put_u16(b, *(const uint16_t *)at);
			break;
		case IPC_u32:
			buf_put_u32(b, *(const uint32_t *)at);
			break;
		case IPC_u64:
			buf_put_u64(b, *(const uint64_t *)at);
			break;
		case IPC_flag:
			buf_put_u8(b, *(const bool *)at ? 1 : 0);
			break;
		default:
			if (!value_ok(f, *(const struct view *)at))
				b->bad = true;
			buf_put_block(b, *(const struct view *)at);
			break;
		}
	}
}

/* Consumes one value; a wrong one makes *v bad. */
static void
get_value(const struct ipc_field *f, struct view *v, void *at)
{
	uint8_t byte;

	switch (f->kind) {
	case IPC_u8:
		*(uint8_t *)at = view_get_u8(v);
		break;
	case IPC_u16:
		*(uint16_t *)at = view_get_u16(v);
		break;
	case IPC_u32:
		*(uint32_t *)at = view_get_u32(v);
		break;
	case IPC_u64:
		*(uint64_t *)at = view_get_u64(v);
		break;
	case IPC_flag:
		byte = view_get_u8(v);
		*(bool *)at = byte == 1;
		if (byte > 1)
			*v = (struct view){ NULL, 0 };
		break;
	default:
		*(struct view *)at = view_get_block(v, f->max);
		if (!value_ok(f, *(struct view *)at))
			*v = (struct view){ NULL, 0 };
		break;
	}
}

static void
get_fields(const struct ipc_desc *d, struct view *v, void *m)
{
	size_t count;
	const struct ipc_field *f = d->fields(&count);

	for (; count--; f++)
		get_value(f, v, (char *)m + f->offset);
}

bool
ipc_get(const struct ipc_desc *d, struct view body, void *m)
{
	get_fields(d, &body, m);
	return view_done(body);
}

bool
ipc_next(const struct ipc_desc *d, struct view *v, void *m)
{
	if (view_bad(*v) || v->n == 0)
		return false;
	get_fields(d, v, m);
	return !view_bad(*v);
}

bool
ipc_records_ok(const struct ipc_desc *d, struct view blob)
{
	union {
#define IPC_ANY(num, name) struct ipc_##name name;
		IPC_RECORDS(IPC_ANY)
	} any;

	while (ipc_next(d, &blob, &any))
		;
	return view_done(blob);
}

static bool
secret_field(const char *name)
{
	return !strcmp(name, "secret") || !strcmp(name, "key") || !strcmp(name, "pem");
}

void
ipc_print(struct buf *out, const struct ipc_desc *d, const void *m)
{
	size_t count;
	const struct ipc_field *f = d->fields(&count);

	buf_puts(out, d->name);
	for (; count--; f++) {
		const void *at = (const char *)m + f->offset;
		buf_printf(out, " %s=", f->name);
		if (f->kind >= IPC_blob && secret_field(f->name)) {
			buf_puts(out, "***");
			continue;
		}
		switch (f->kind) {
		case IPC_u8:
			buf_printf(out, "%u", *(const uint8_t *)at);
			break;
		case IPC_u16:
			buf_printf(out, "%u", *(const uint16_t *)at);
			break;
		case IPC_u32:
			buf_printf(out, "%u", *(const uint32_t *)at);
			break;
		case IPC_u64:
			buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)at);
			break;
		case IPC_flag:
			buf_puts(out, *(const bool *)at ? "yes" : "no");
			break;
		case IPC_blob:
			buf_printf(out, "(%zu bytes)", ((const struct view *)at)->n);
			break;
		default:
			log_escape(out, *(const struct view *)at, 256, " ");
			break;
		}
	}
}

/* FNV-1a over the text of the whole schema. */
#define IPC_SPELL_FIELD(kind, name, max) #kind " " #name " " #max ","
#define IPC_SPELL(num, name) #num " " #name ":" IPC_FIELDS_##name(IPC_SPELL_FIELD) ";"
uint64_t
ipc_digest(void)
{
	static const char schema[] = IPC_MESSAGES(IPC_SPELL) IPC_RECORDS(IPC_SPELL);
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < sizeof(schema) - 1; i++)
		h = (h ^ (unsigned char)schema[i]) * 0x100000001b3u;
	return h;
}

const char *
role_name(unsigned role)
{
	static const char *const names[] = { "master", "smtpd", "authd", "signd", "qmgr", "smtp",
		"bounce", "dnsd", "mtactl" };
	_Static_assert(sizeof(names) / sizeof(names[0]) == ROLES, "a role has no name");

	return role < ROLES ? names[role] : "?";
}
