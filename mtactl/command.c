/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "mtactl/command.h"

#define DAEMON_ROW(role, handler, name, args, doc) { ROLE_##role, name, args, doc, NULL },
#define LOCAL_ROW(role, handler, name, args, doc) { ROLE_##role, name, args, doc, local_##handler },

static const struct command table[] = { CTL_COMMANDS(DAEMON_ROW) LOCAL_COMMANDS(LOCAL_ROW) };

const struct command *
commands(size_t *count)
{
	*count = sizeof(table) / sizeof(table[0]);
	return table;
}

const struct command *
command_find(struct view name)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (view_is(name, table[i].name))
			return &table[i];
	return NULL;
}

bool
command_group(struct view word)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct view rest = view_str(table[i].name), first = view_cut(&rest, ' ');
		if (rest.n && view_eq(first, word))
			return true;
	}
	return false;
}

bool
command_lists(const struct command *c)
{
	struct view name = view_str(c->name);

	return c->role == ROLE_MASTER ||
	       (name.n > 5 && view_is(view_skip(name, name.n - 5), " list"));
}

static void
copy(char to[static ARG_NAME_MAX], struct view from, bool to_lower)
{
	from = view_first(from, ARG_NAME_MAX - 1);
	for (size_t i = 0; i < from.n; i++) {
		char c = from.p[i];
		to[i] = to_lower && c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
	}
	to[from.n] = '\0';
}

/* NAME, [NAME], NAME..., [NAME...], --option=VALUE, --option=[VALUE], --flag or @FILE. */
static void
parse_spec(struct view word, struct arg_spec *s)
{
	memset(s, 0, sizeof(*s));
	if (view_starts(word, "--")) {
		struct view value = view_skip(word, 2), name = view_cut(&value, '=');
		s->kind = value.n ? ARG_VALUE : ARG_FLAG;
		s->optional = true;
		s->may_be_empty = view_starts(value, "[");
		copy(s->name, name, true);
		copy(s->value, value, false);
		return;
	}
	if (view_starts(word, "@")) {
		s->file = true;
		word = view_skip(word, 1);
	}
	if (view_starts(word, "[")) {
		s->optional = true;
		word = view_first(view_skip(word, 1), word.n - 2);
	}
	if (word.n > 3 && view_is(view_skip(word, word.n - 3), "...")) {
		s->repeat = true;
		word.n -= 3;
	}
	copy(s->name, word, true);
	copy(s->value, word, false);
}

size_t
command_args(const struct command *c, struct arg_spec specs[static ARGS_OF_COMMAND_MAX])
{
	struct view rest = view_str(c->args);
	size_t n = 0;

	while (rest.n) {
		struct view word = view_cut(&rest, ' ');
		if (word.n == 0)
			continue;
		if (n == ARGS_OF_COMMAND_MAX)
			abort(); /* the schema outgrew the limit */
		parse_spec(word, &specs[n++]);
	}
	return n;
}
