/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/near.h"
#include "mtactl/mtactl.h"

enum { VALUE_MAX = 16384, LINE_MAX_BYTES = 4096 };

struct cursor {
	int argc;
	char **argv;
	int at;
	struct err *e;
};

/* An option of mtactl itself: 1 taken, 0 not one, -1 wrong. */
static int
global_option(struct args *a, struct mtactl *m, struct cursor *c)
{
	const char *w = c->argv[c->at];

	if (!strcmp(w, "-j")) {
		m->json = true;
	} else if (!strcmp(w, "--offline")) {
		m->offline = true;
	} else if (!strcmp(w, "--help") || !strcmp(w, "-h")) {
		a->help = true;
	} else if (!strcmp(w, "--version")) {
		a->version = true;
	} else if (!strncmp(w, "-c", 2)) {
		if (w[2] == '\0' && ++c->at >= c->argc)
			return err_usage(c->e, "-c needs the name of a configuration file");
		m->config = w[2] ? w + 2 : c->argv[c->at];
	} else {
		return 0;
	}
	return 1;
}

/* The nearest command; else the nearest group (`quue`), or verb of this group (`queue lst`). */
static int
unknown_command(const char *words, struct err *e)
{
	struct view verb_given = view_str(words), group_given = view_cut(&verb_given, ' '),
		    meant = { 0 };
	size_t count;
	const struct command *all = commands(&count);
	struct near whole, verb;

	near_init(&whole, view_str(words));
	near_init(&verb, verb_given);
	unsigned nearest = group_given.n < 6 ? 3 : (unsigned)group_given.n / 3 + 1;
	for (size_t i = 0; i < count; i++) {
		struct view rest = view_str(all[i].name), group = view_cut(&rest, ' ');
		unsigned d = near_distance(group_given, group);
		near_offer(&whole, all[i].name);
		if (d == 0 && rest.n)
			near_offer(&verb, all[i].name + group.n + 1);
		if (d < nearest && d < group_given.n) {
			nearest = d;
			meant = group;
		}
	}
	if (whole.best)
		return err_usage(e, "unknown command \"%s\"; did you mean \"%s\"?", words, whole.best);
	if (meant.n)
		return err_usage(e, "unknown command \"%s\"; did you mean \"%.*s%s%s\"?", words,
		    (int)meant.n, meant.p, verb.best ? " " : "", verb.best ? verb.best : " ...");
	return err_usage(e, "unknown command \"%s\"; see mtactl --help", words);
}

/* The word behind an unknown one is shown, too: it may tell what was meant. */
static int
reject_command(const struct args *a, const struct cursor *c)
{
	char words[2 * sizeof(a->words)];
	const char *next = c->at + 1 < c->argc ? c->argv[c->at + 1] : NULL;
	bool more = next && next[0] != '-' && strchr(a->words, ' ') == NULL && strlen(next) < 32;

	snprintf(words, sizeof(words), "%s%s%s", a->words, more ? " " : "", more ? next : "");
	return unknown_command(words, c->e);
}

/* A group's name alone: `queue`. */
static int
incomplete_command(struct args *a, struct cursor *c)
{
	struct buf verbs = BUF_INIT(1024);
	size_t count;
	const struct command *all = commands(&count);

	for (size_t i = 0; i < count; i++) {
		struct view rest = view_str(all[i].name), group = view_cut(&rest, ' ');
		if (rest.n && view_is(group, a->words))
			buf_printf(
			    &verbs, "%s%.*s", buf_len(&verbs) ? ", " : "", (int)rest.n, rest.p);
	}
	err_usage(c->e, "%s: which of %s?", a->words, buf_cstr(&verbs));
	buf_free(&verbs);
	return -1;
}

/* Reads words until they are a command. */
static int
take_command(struct args *a, struct mtactl *m, struct cursor *c)
{
	for (; c->at < c->argc && a->command == NULL; c->at++) {
		const char *w = c->argv[c->at];
		int rc = w[0] == '-' ? global_option(a, m, c) : 0;
		if (rc < 0)
			return -1;
		if (rc > 0)
			continue;
		if (w[0] == '-')
			return err_usage(c->e, "unknown option %.64s", w);
		size_t n = strlen(a->words);
		if (n + strlen(w) + 2 > sizeof(a->words))
			return err_usage(c->e, "unknown command \"%.40s...\"", w);
		snprintf(a->words + n, sizeof(a->words) - n, "%s%s", n ? " " : "", w);
		a->command = command_find(view_str(a->words));
		if (a->command == NULL && !command_group(view_str(a->words)))
			return reject_command(a, c);
	}
	if (a->command || a->help || a->version)
		return 0;
	return a->words[0] ? incomplete_command(a, c) : err_usage(c->e, "a command is missing");
}

static int
add(struct args *a, const char *name, struct view value, struct err *e)
{
	if (value.n > VALUE_MAX)
		return err_usage(e, "%s: longer than %d bytes", name, VALUE_MAX);
	IPC_RECORD(&a->records, ctl_arg, .name = view_str(name), .value = value);
	if (a->records.bad)
		return err_usage(e, "more arguments than %d bytes", ARGS_MAX);
	a->count++;
	return 0;
}

static int
unknown_option(
    const struct arg_spec *specs, size_t n, struct view name, const struct args *a, struct err *e)
{
	struct near near;

	near_init(&near, name);
	for (size_t i = 0; i < n; i++)
		if (specs[i].kind != ARG_WORD)
			near_offer(&near, specs[i].name);
	return err_usage(e, "%s: unknown option --%.*s%s%s%s", a->command->name,
	    (int)(name.n < 64 ? name.n : 64), name.p, near.best ? "; did you mean --" : "",
	    near.best ? near.best : "", near.best ? "?" : "");
}

/* --name, --name=value or --name value. */
static int
take_option(struct args *a, const struct arg_spec *specs, size_t n, struct cursor *c)
{
	struct view value = view_str(c->argv[c->at] + 2), name = view_cut(&value, '=');
	bool given = strchr(c->argv[c->at], '=') != NULL;
	struct view before;
	size_t i = 0;

	while (i < n && (specs[i].kind == ARG_WORD || !view_is(name, specs[i].name)))
		i++;
	if (i == n)
		return unknown_option(specs, n, name, a, c->e);
	const struct arg_spec *s = &specs[i];
	if (s->kind == ARG_FLAG && given)
		return err_usage(c->e, "--%s takes no value", s->name);
	if (s->kind == ARG_VALUE && !given) {
		if (++c->at >= c->argc)
			return err_usage(
			    c->e, "--%s needs a value: --%s=%s", s->name, s->name, s->value);
		value = view_str(c->argv[c->at]);
	}
	if (s->kind == ARG_VALUE && value.n == 0 && !s->may_be_empty)
		return err_usage(c->e, "--%s: an empty value", s->name);
	if (strcmp(s->name, "id") != 0 && args_nth(a, s->name, 0, &before))
		return err_usage(c->e, "--%s is given twice", s->name);
	return add(a, s->name, value, c->e);
}

/* One value a line. Of a list of words blank lines do not count; of a file every line does. */
static int
take_lines(struct args *a, const struct arg_spec *s, FILE *in, const char *what, struct err *e)
{
	size_t limit = s->file ? VALUE_MAX : LINE_MAX_BYTES, room = 0;
	char *line = NULL;
	ssize_t n;
	int rc = 0;

	while (rc == 0 && (n = getline(&line, &room, in)) >= 0) {
		struct view v = view_of(line, (size_t)n);
		while (v.n && (v.p[v.n - 1] == '\n' || v.p[v.n - 1] == '\r'))
			v.n--;
		if (!s->file)
			v = view_trim(v);
		if (v.n > limit)
			rc = err_usage(e, "%s: a line of more than %zu bytes", what, limit);
		else if (v.n || s->file)
			rc = add(a, s->name, v, e);
	}
	if (rc == 0 && ferror(in))
		rc = err_usage(e, "%s: %s", what, strerror(errno));
	free(line);
	return rc;
}

static int
take_stdin(struct args *a, const struct arg_spec *s, struct err *e)
{
	if (a->from_stdin)
		return err_usage(e, "\"-\" is given twice");
	a->from_stdin = true;
	return take_lines(a, s, stdin, "standard input", e);
}

/* The lines of a file go to the handler in its place. */
static int
take_file(struct args *a, const struct arg_spec *s, const char *path, struct err *e)
{
	FILE *in = strcmp(path, "-") ? fopen(path, "re") : stdin;

	if (in == NULL)
		return err_usage(e, "%s: %s", path, strerror(errno));
	int rc = take_lines(a, s, in, in == stdin ? "standard input" : path, e);
	if (in != stdin)
		fclose(in);
	return rc;
}

/* The place-th word behind the command. */
static int
take_word(struct args *a, const struct arg_spec *specs, size_t n, size_t *place, struct cursor *c)
{
	struct view value = view_str(c->argv[c->at]);

	while (*place < n && specs[*place].kind != ARG_WORD)
		++*place;
	if (*place == n)
		return err_usage(
		    c->e, "%s: unexpected argument \"%.64s\"", a->command->name, c->argv[c->at]);
	const struct arg_spec *s = &specs[*place];
	if (!s->repeat)
		++*place;
	if (s->repeat && view_is(value, "-"))
		return take_stdin(a, s, c->e);
	if (value.n == 0)
		return err_usage(c->e, "%s: %s is empty", a->command->name, s->value);
	if (s->file)
		return take_file(a, s, c->argv[c->at], c->e);
	return add(a, s->name, value, c->e);
}

static int
take_arguments(struct args *a, struct mtactl *m, struct cursor *c)
{
	struct arg_spec specs[ARGS_OF_COMMAND_MAX];
	size_t n = command_args(a->command, specs), place = 0;
	bool options = true;

	for (; c->at < c->argc; c->at++) {
		const char *w = c->argv[c->at];
		int rc;
		if (options && !strcmp(w, "--")) {
			options = false;
			continue;
		}
		rc = options && w[0] == '-' && w[1] ? global_option(a, m, c) : 0;
		if (rc > 0)
			continue;
		if (rc == 0 && options && w[0] == '-' && w[1] == '-')
			rc = take_option(a, specs, n, c);
		else if (rc == 0 && options && w[0] == '-' && w[1])
			rc = err_usage(c->e, "unknown option %.64s", w);
		else if (rc == 0)
			rc = take_word(a, specs, n, &place, c);
		if (rc < 0)
			return -1;
	}
	for (; place < n && !a->help; place++)
		if (specs[place].kind == ARG_WORD && !specs[place].optional &&
		    !(specs[place].repeat && a->count))
			return err_usage(
			    c->e, "%s: %s is missing", a->command->name, specs[place].value);
	return 0;
}

/* IDs, filters, --all: what is not about how it is done. */
static size_t
selectors(const struct args *a)
{
	struct view rest = buf_view(&a->records);
	struct ipc_ctl_arg arg;
	size_t n = 0;

	while (ipc_next(&ipc_desc_ctl_arg, &rest, &arg))
		n += !view_is(arg.name, "yes") && !view_is(arg.name, "pool");
	return n;
}

/* A change of many messages is not made by leaving something out. */
static int
check_bulk(const struct args *a, struct err *e)
{
	struct arg_spec specs[ARGS_OF_COMMAND_MAX];
	size_t n = command_args(a->command, specs);
	struct view all;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(specs[i].name, "all") != 0)
			continue;
		if (selectors(a) == 0 && !a->from_stdin)
			return err_usage(e, "%s: needs an ID, a filter or --all", a->command->name);
		if (args_nth(a, "all", 0, &all) && (selectors(a) > 1 || a->from_stdin))
			return err_usage(
			    e, "%s: --all stands alone, without IDs and filters", a->command->name);
	}
	return 0;
}

int
args_parse(struct args *a, struct mtactl *m, int argc, char **argv, struct err *e)
{
	struct cursor c = { argc, argv, 1, e };

	*a = (struct args){ 0 };
	buf_init(&a->records, ARGS_MAX);
	if (take_command(a, m, &c) < 0)
		return -1;
	if (a->command == NULL)
		return 0;
	if (take_arguments(a, m, &c) < 0)
		return -1;
	return a->help ? 0 : check_bulk(a, e);
}

void
args_free(struct args *a)
{
	buf_free(&a->records);
}

bool
args_nth(const struct args *a, const char *name, size_t n, struct view *out)
{
	struct view rest = buf_view(&a->records);
	struct ipc_ctl_arg arg;

	while (ipc_next(&ipc_desc_ctl_arg, &rest, &arg)) {
		if (!view_is(arg.name, name) || n-- > 0)
			continue;
		*out = arg.value;
		return true;
	}
	return false;
}

struct view
args_get(const struct args *a, const char *name)
{
	struct view v = VIEW("");

	args_nth(a, name, 0, &v);
	return v;
}
