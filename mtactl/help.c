/* SPDX-License-Identifier: ISC */
/* Usage texts and the command part of mtactl(8), from the command table. */
#include <stdio.h>
#include <string.h>

#include "mtactl/mtactl.h"

enum { WIDTH = 79, NAME_WIDTH = 16 };

static const struct {
	const char *option, *argument, *doc;
} options[] = {
	{ "-c", "FILE",
	    "The configuration of the suite. Default: " EKIDEN_CONFDIR "/ekiden.conf." },
	{ "-j", NULL, "Print JSON, one object a line." },
	{ "--offline", NULL,
	    "Work on the database itself while the suite does not run: tenant, key and domain "
	    "commands." },
	{ "--help", NULL, "Show how to use mtactl or a command." },
	{ "--version", NULL, "Print the version." },
};

/* Words from `column` on, with `indent` blanks in front of further lines. */
static void
put_wrapped(struct buf *out, size_t column, size_t indent, struct view text)
{
	bool first = true;

	while (text.n) {
		struct view word = view_cut(&text, ' ');
		if (!first && column + 1 + word.n > WIDTH) {
			buf_printf(out, "\n%*s", (int)indent, "");
			column = indent;
			first = true;
		}
		buf_printf(out, "%s%.*s", first ? "" : " ", (int)word.n, word.p);
		column += word.n + !first;
		first = false;
	}
	buf_putc(out, '\n');
}

static void
put_spec(struct buf *out, const struct arg_spec *s)
{
	const char *open = s->optional ? "[" : "", *close = s->optional ? "]" : "";

	if (s->kind == ARG_FLAG)
		buf_printf(out, " %s--%s%s", open, s->name, close);
	else if (s->kind == ARG_VALUE)
		buf_printf(out, " %s--%s=%s%s", open, s->name, s->value, close);
	else
		buf_printf(out, " %s%s%s%s", open, s->value, s->repeat ? "..." : "", close);
}

void
help_usage(const struct command *c, struct buf *out)
{
	struct arg_spec specs[ARGS_OF_COMMAND_MAX];
	size_t n = command_args(c, specs);
	struct buf line = BUF_INIT(4096);

	buf_printf(&line, "mtactl %s", c->name);
	for (size_t i = 0; i < n; i++)
		put_spec(&line, &specs[i]);
	put_wrapped(out, 0, 4, buf_view(&line));
	buf_free(&line);
}

void
help_command(const struct command *c, struct buf *out)
{
	struct arg_spec specs[ARGS_OF_COMMAND_MAX];
	size_t n = command_args(c, specs);
	bool repeat = false;

	help_usage(c, out);
	buf_puts(out, "    ");
	put_wrapped(out, 4, 4, view_str(c->doc));
	for (size_t i = 0; i < n; i++)
		repeat |= specs[i].repeat && c->role != ROLE_MTACTL;
	for (size_t i = 0; i < n; i++)
		if (specs[i].file)
			buf_printf(out, "    %s: \"-\" is standard input.\n", specs[i].value);
	if (repeat)
		buf_puts(out, "    \"-\" reads them from standard input, one a line.\n");
}

bool
help_group(struct view words, struct buf *out)
{
	size_t count, shown = 0;
	const struct command *all = commands(&count);

	for (size_t i = 0; i < count; i++) {
		struct view name = view_str(all[i].name);
		if (!view_eq(view_first(name, words.n), words) ||
		    (name.n > words.n && name.p[words.n] != ' '))
			continue;
		if (shown++)
			buf_putc(out, '\n');
		help_command(&all[i], out);
	}
	return shown > 0;
}

void
help_overview(struct buf *out)
{
	size_t count;
	const struct command *all = commands(&count);

	buf_puts(out, "usage: mtactl [-c FILE] [-j] [--offline] COMMAND [ARGUMENT...]\n\n");
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		char name[32];
		snprintf(name, sizeof(name), "%s%s%s", options[i].option,
		    options[i].argument ? " " : "", options[i].argument ? options[i].argument : "");
		buf_printf(out, "  %-*s ", NAME_WIDTH, name);
		put_wrapped(out, NAME_WIDTH + 3, NAME_WIDTH + 3, view_str(options[i].doc));
	}
	buf_puts(out, "\nCommands (mtactl COMMAND --help tells more):\n");
	for (size_t i = 0; i < count; i++) {
		buf_printf(out, "  %-*s ", NAME_WIDTH, all[i].name);
		put_wrapped(out, NAME_WIDTH + 3, NAME_WIDTH + 3, view_str(all[i].doc));
	}
	buf_puts(out, "\nExit status: 0 done, 1 could not, 2 wrong use.\n");
}

/* Text for mdoc: one sentence a line; options keep their hyphens. */
static void
man_text(struct buf *out, const char *text)
{
	bool quote = false, inner = false;
	size_t line = buf_len(out);

	for (const char *s = text; *s; s++) {
		bool sentence = s > text && s[-1] == '.' && s[1] >= 'A' && s[1] <= 'Z';
		if (*s == ' ' && (sentence || buf_len(out) - line > 60)) {
			buf_putc(out, '\n');
			line = buf_len(out);
		} else if (*s == '"') {
			buf_puts(out, (quote = !quote) ? "\\(lq" : "\\(rq");
		} else if (*s == '`') {
			buf_puts(out, (inner = !inner) ? "\\(oq" : "\\(cq");
		} else if (*s == '-' && s[1] == '-') {
			buf_puts(out, "\\-\\-");
			s++;
		} else {
			buf_putc(out, *s);
		}
	}
	buf_putc(out, '\n');
}

static void
man_spec(struct buf *out, const struct arg_spec *s)
{
	const char *op = s->optional ? " Oo" : "", *close = s->optional ? " Oc" : "";

	if (s->kind == ARG_FLAG)
		buf_printf(out, "%s Fl \\-%s%s", op, s->name, close);
	else if (s->kind == ARG_VALUE)
		buf_printf(out, "%s Fl \\-%s Ns = Ns Ar %s%s", op, s->name, s->value, close);
	else
		buf_printf(out, "%s Ar %s%s%s", op, s->value, s->repeat ? " ..." : "", close);
}

void
help_man(struct buf *out)
{
	struct arg_spec specs[ARGS_OF_COMMAND_MAX];
	size_t count;
	const struct command *all = commands(&count);

	buf_puts(out, ".Bl -tag -width Ds\n");
	for (size_t i = 0; i < count; i++) {
		size_t n = command_args(&all[i], specs);
		buf_printf(out, ".It Xo\n.Ic %s\n", all[i].name);
		for (size_t k = 0; k < n; k++) {
			struct buf spec = BUF_INIT(256);
			man_spec(&spec, &specs[k]);
			buf_putc(out, '.');
			buf_putv(out, view_skip(buf_view(&spec), 1));
			buf_putc(out, '\n');
			buf_free(&spec);
		}
		buf_puts(out, ".Xc\n");
		man_text(out, all[i].doc);
	}
	buf_puts(out, ".El\n");
}
