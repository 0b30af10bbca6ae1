/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/header_list.h"

enum { FIELDS_FIRST = 24, BYTES_FIRST = 1536, GUARD_MAX = 10000, LIST_MAX = 1u << 31 };

#define NAME_OF(id, name, once) { name, sizeof(name) - 1, once },
static const struct {
	const char *name;
	uint8_t n;
	bool once;
} names[] = { [HEADER_OTHER] = { NULL, 0, false }, HEADER_NAMES(NAME_OF) };
_Static_assert(sizeof(names) / sizeof(names[0]) == HEADER_IDS, "a name has no id");

void
header_list_init(struct header_list *l, size_t max)
{
	*l = (struct header_list){ .bytes = BUF_INIT(max < LIST_MAX ? max : (size_t)LIST_MAX) };
	buf_reserve(&l->bytes, max < BYTES_FIRST ? max : (size_t)BYTES_FIRST);
}

void
header_list_free(struct header_list *l)
{
	buf_free(&l->bytes);
	free(l->fields);
	*l = (struct header_list){ 0 };
}

enum header_id
header_id(struct view name)
{
	for (unsigned i = HEADER_OTHER + 1; i < HEADER_IDS; i++)
		if (names[i].n == name.n && view_ieq(name, view_of(names[i].name, names[i].n)))
			return i;
	return HEADER_OTHER;
}

/* RFC 5322, 3.6.8: printable ASCII without colon. */
static bool
is_name(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] <= ' ' || v.p[i] >= 0x7f || v.p[i] == ':')
			return false;
	return v.n > 0 && v.n <= UINT16_MAX;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * Blanks before and behind the name, also folded ones, are obsolete or wrong syntax that some readers
 * take: for them, too, the name is what we say it is (F1).
 */
static struct view
trim(struct view v)
{
	while (v.n && is_blank(v.p[0]))
		v = view_skip(v, 1);
	while (v.n && is_blank(v.p[v.n - 1]))
		v.n--;
	return v;
}

static const char *
bytes_at(const struct header_list *l, uint32_t at)
{
	return l->bytes.p + l->bytes.off + at;
}

/* Finds out what the field is. */
static void
name_field(struct header_list *l, struct header_field *f)
{
	struct view raw = view_of(bytes_at(l, f->at), f->n);
	ptrdiff_t colon = view_index(raw, ':');
	struct view name = trim(view_first(raw, colon > 0 ? (size_t)colon : 0));

	if (is_name(name)) {
		f->name_at = (uint32_t)(name.p - bytes_at(l, 0));
		f->name_n = (uint16_t)name.n;
		f->id = (uint8_t)header_id(name);
	} else {
		f->name_n = 0;
		f->id = HEADER_MALFORMED;
	}
	l->counts[f->id]++;
}

static void
close_field(struct header_list *l)
{
	if (l->open)
		name_field(l, &l->fields[l->count - 1]);
	l->open = false;
}

static struct header_field *
room_for_field(struct header_list *l)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : FIELDS_FIRST;
		l->fields = x_realloc(l->fields, l->cap, sizeof(*l->fields));
	}
	return &l->fields[l->count];
}

bool
header_list_line(struct header_list *l)
{
	uint32_t end = (uint32_t)buf_len(&l->bytes), n = end - l->line_at;
	const char *line = bytes_at(l, l->line_at);

	if (n == 2) {
		close_field(l);
		buf_truncate(&l->bytes, l->line_at);
		l->ended = true;
		return true;
	}
	if ((line[0] == ' ' || line[0] == '\t') && l->open) {
		l->fields[l->count - 1].n += n;
	} else {
		close_field(l);
		*room_for_field(l) = (struct header_field){ .at = l->line_at, .n = n };
		l->count++;
		l->open = true;
	}
	l->line_at = end;
	return false;
}

void
header_list_end(struct header_list *l)
{
	close_field(l);
}

struct view
header_list_raw(const struct header_list *l, uint32_t i)
{
	return view_of(bytes_at(l, l->fields[i].at), l->fields[i].n);
}

struct view
header_list_name(const struct header_list *l, uint32_t i)
{
	const struct header_field *f = &l->fields[i];

	return view_of(f->name_n ? bytes_at(l, f->name_at) : "", f->name_n);
}

struct view
header_list_value(const struct header_list *l, uint32_t i)
{
	struct view v = header_list_raw(l, i);

	if (l->fields[i].id == HEADER_MALFORMED)
		return view_of("", 0);
	view_cut(&v, ':');
	v.n -= v.n >= 2 ? 2 : v.n;
	return v;
}

ptrdiff_t
header_list_find(const struct header_list *l, enum header_id id, uint32_t from)
{
	if (l->counts[id] == 0)
		return -1;
	for (uint32_t i = from; i < l->count; i++)
		if (l->fields[i].id == id && !l->fields[i].deleted)
			return i;
	return -1;
}

ptrdiff_t
header_list_find_name(const struct header_list *l, struct view name, uint32_t from)
{
	for (uint32_t i = from; i < l->count; i++)
		if (!l->fields[i].deleted && l->fields[i].name_n == name.n && name.n &&
		    view_ieq(header_list_name(l, i), name))
			return i;
	return -1;
}

/* Of several guards the largest counts: each hop wrote one and left those before it. */
uint32_t
header_list_hops(const struct header_list *l)
{
	uint32_t guard = 0;

	for (ptrdiff_t i = -1; (i = header_list_find(l, HEADER_HOPS, (uint32_t)(i + 1))) >= 0;) {
		uint64_t n;
		if (view_u64(view_trim(header_list_value(l, (uint32_t)i)), GUARD_MAX, &n) && n > guard)
			guard = (uint32_t)n;
	}
	return l->counts[HEADER_RECEIVED] + guard;
}

const char *
header_list_twice(const struct header_list *l)
{
	for (unsigned id = HEADER_OTHER + 1; id < HEADER_IDS; id++)
		if (names[id].once && l->counts[id] > 1)
			return names[id].name;
	return NULL;
}

/* Line ends are folds: nothing in it can begin another field or end the header. */
static bool
is_value(struct view v)
{
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '\0' || v.p[i] == '\n')
			return false;
		if (v.p[i] != '\r')
			continue;
		if (v.n - i < 3 || v.p[i + 1] != '\n' || (v.p[i + 2] != ' ' && v.p[i + 2] != '\t'))
			return false;
		i += 2;
	}
	return true;
}

/* Room for the bytes of a field; views into the list are good from here on. */
static bool
make_room(struct header_list *l, size_t name, struct view value)
{
	size_t n = name + value.n + 3;

	return is_value(value) && !l->bytes.bad && n <= l->bytes.max - buf_len(&l->bytes) &&
	    buf_reserve(&l->bytes, n);
}

/* Behind all other bytes, where there is room. */
static struct header_field
put_field(struct header_list *l, struct view name, struct view value)
{
	struct header_field f = { .at = (uint32_t)buf_len(&l->bytes) };

	buf_putv(&l->bytes, name);
	buf_putc(&l->bytes, ':');
	buf_putv(&l->bytes, value);
	buf_puts(&l->bytes, "\r\n");
	f.n = (uint32_t)buf_len(&l->bytes) - f.at;
	l->dots |= *bytes_at(l, f.at) == '.';
	name_field(l, &f);
	return f;
}

bool
header_list_insert(struct header_list *l, uint32_t before, struct view name, struct view value)
{
	if (!is_name(name) || !make_room(l, name.n, value))
		return false;
	room_for_field(l);
	if (before > l->count)
		before = l->count;
	memmove(l->fields + before + 1, l->fields + before, (l->count - before) * sizeof(*l->fields));
	l->count++;
	l->fields[before] = put_field(l, name, value);
	return true;
}

bool
header_list_change(struct header_list *l, uint32_t i, struct view value)
{
	if (l->fields[i].name_n == 0 || l->fields[i].deleted ||
	    !make_room(l, l->fields[i].name_n, value))
		return false;
	l->counts[l->fields[i].id]--;
	l->fields[i] = put_field(l, header_list_name(l, i), value);
	return true;
}

void
header_list_delete(struct header_list *l, uint32_t i)
{
	if (l->fields[i].deleted)
		return;
	l->fields[i].deleted = true;
	l->counts[l->fields[i].id]--;
}

void
header_list_delete_all(struct header_list *l, enum header_id id)
{
	for (ptrdiff_t i = -1; (i = header_list_find(l, id, (uint32_t)(i + 1))) >= 0;)
		header_list_delete(l, (uint32_t)i);
}

/* Neighbours that still are neighbours leave as one piece. */
void
header_list_write(const struct header_list *l, struct buf *out)
{
	uint32_t at = 0, end = 0;

	for (uint32_t i = 0; i < l->count; i++) {
		const struct header_field *f = &l->fields[i];
		if (f->deleted)
			continue;
		if (f->at != end) {
			buf_put(out, bytes_at(l, at), end - at);
			at = f->at;
		}
		end = f->at + f->n;
	}
	if (end > at)
		buf_put(out, bytes_at(l, at), end - at);
	if (l->ended)
		buf_puts(out, "\r\n");
}
