/* SPDX-License-Identifier: ISC */
/* The sample file and the directive part of ekiden.conf(5), from the schema. */
#include <stdio.h>
#include <string.h>

#include "lib/conf_table.h"

enum { SAMPLE_WIDTH = 78 };

/* What to show where there is no default. */
static const struct {
	const char *name, *value;
} examples[] = {
	{ "hostname", "mta1.example.jp" },
	{ "postmaster", "postmaster@example.jp" },
	{ "relayhost", "[smtp.example.net]:587" },
	{ "relay-user", "mta1" },
	{ "relay-secret", "relay.secret" },
	{ "transport", "btree:transport" },
	{ "local-domains", "mail.example.jp mx.example.jp" },
	{ "certificate.chain", "tls/mta1.crt" },
	{ "certificate.key", "tls/mta1.key" },
	{ "retry.steps", "5m 15m 1h 4h" },
	{ "listen.ciphers", "ECDHE+AESGCM" },
	{ "listen.ciphersuites", "TLS_AES_256_GCM_SHA384" },
	{ "delivery.certificate", "default" },
	{ "dkim.default-domain", "example.jp" },
	{ "milter.socket", "inet:127.0.0.1:11332" },
	{ "delivery.deny", "10.0.0.0/8 fd00::/8" },
	{ "resolver.server", "127.0.0.1:53 [::1]:53" },
	{ "group.domains", "example.jp .example.jp" },
	{ "group.mx", "*.example.net" },
	{ "group.connections", "5" },
	{ "group.rate", "100/60s" },
	{ "group.quiet", "22:00-07:00" },
	{ "source.address", "192.0.2.6" },
	{ "source.helo", "mta1.example.jp" },
	{ "pool.source", "default weight 1" },
	{ "warm-up.daily", "50 100 200 400 800" },
	{ "route.to", "group default" },
	{ "route.from", "news@example.jp" },
	{ "route.pool", "default" },
	{ "throttle.code", "421 450 451" },
	{ "throttle.text", "\"too many|rate limit\"" },
	{ "log.file", "/var/log/ekiden/mail.log" },
	{ "log.events", "/var/log/ekiden/events.jsonl" },
};

static const char *
example_of(const struct conf_block *b, const struct conf_directive *d)
{
	char name[128];

	snprintf(name, sizeof(name), "%s%s%s", b->name, *b->name ? "." : "", d->name);
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
		if (!strcmp(examples[i].name, name))
			return examples[i].value;
	return NULL;
}

/* Words of `text` in lines that begin with `prefix`. */
static void
put_wrapped(struct buf *out, const char *prefix, const char *text)
{
	struct view rest = view_str(text);
	size_t column = 0;

	while (rest.n) {
		struct view word = view_cut(&rest, ' ');
		if (column && column + 1 + word.n > SAMPLE_WIDTH) {
			buf_putc(out, '\n');
			column = 0;
		}
		buf_puts(out, column ? " " : prefix);
		column += column ? 1 : strlen(prefix);
		buf_putv(out, word);
		column += word.n;
	}
	buf_putc(out, '\n');
}

/* A directive with its documentation; everything is commented out. */
static void
sample_directive(struct buf *out, const struct conf_block *b, const struct conf_directive *d)
{
	const char *indent = *b->name ? "#\t" : "#", *example = example_of(b, d);
	const char *value = *d->deflt ? d->deflt : example;

	put_wrapped(out, *b->name ? "#\t# " : "# ", d->doc);
	if (value)
		buf_printf(out, "%s%s %s\n", indent, d->name, value);
	else
		buf_printf(out, "%s%s \"\"\n", indent, d->name);
}

static void
sample_block(struct buf *out, const struct conf_block *b)
{
	size_t count;
	const struct conf_directive *d = b->directives(&count);

	buf_putc(out, '\n');
	put_wrapped(out, "# ", b->doc);
	if (*b->name)
		buf_printf(out, "#%s%s {\n", b->name, b->many ? " default" : "");
	for (size_t i = 0; i < count; i++)
		sample_directive(out, b, &d[i]);
	if (*b->name)
		buf_puts(out, "#}\n");
}

/* The directives in words, then the listeners of a configuration without any. */
static void
sample_listeners(struct buf *out, const struct conf_block *b)
{
	struct buf text = BUF_INIT(8192);
	size_t count;
	const struct conf_directive *d = b->directives(&count);

	buf_putc(out, '\n');
	put_wrapped(out, "# ", b->doc);
	for (size_t i = 0; i < count; i++) {
		buf_clear(&text);
		buf_printf(&text, "%s: %s%s%s%s", d[i].name, d[i].doc,
		    *d[i].deflt ? " Default: " : "", d[i].deflt, *d[i].deflt ? "." : "");
		put_wrapped(out, "#   ", buf_cstr(&text));
	}
	buf_clear(&text);
	conf_default_listeners(true, &text);
	for (struct view rest = buf_view(&text); rest.n;) {
		struct view line = view_cut(&rest, '\n');
		buf_putc(out, '#');
		buf_putv(out, line);
		buf_putc(out, '\n');
	}
	buf_free(&text);
}

void
conf_print_sample(struct buf *out)
{
	size_t blocks;
	const struct conf_block *b = conf_blocks(&blocks);

	buf_puts(out,
	    "# SPDX-License-Identifier: ISC\n"
	    "# Configuration of ekiden; see ekiden.conf(5). All but the includes is a default or an\n"
	    "# example, commented out: a line that begins with \"#\" and no blank is a directive.\n"
	    "# An empty file works on a host that has a name and a certificate (see below).\n"
	    "#\n"
	    "# One directive a line, blocks in braces. Sizes: 10M. Durations: 30s, 5m, 1d.\n"
	    "# \"include FILE\" reads other files (patterns allowed) at this place.\n"
	    "# After a change: mtactl config check && mtactl reload\n"
	    "\n"
	    "# What is known of large destinations: their groups with limits, and what their\n"
	    "# replies mean. Without these files every destination is treated alike.\n"
	    "include groups.d/*.conf\n"
	    "include throttle.d/*.conf\n");
	for (; blocks--; b++)
		if (!strcmp(b->name, "listen"))
			sample_listeners(out, b);
		else
			sample_block(out, b);
}

/* One character of text; returns how many bytes of the source it took. */
static size_t
man_char(struct buf *out, const char *s, bool *quote)
{
	static const char ellipsis[] = "…";

	if (!strncmp(s, ellipsis, sizeof(ellipsis) - 1)) {
		buf_puts(out, "...");
		return sizeof(ellipsis) - 1;
	}
	if (*s == '\\')
		buf_puts(out, "\\e");
	else if (*s == '`')
		buf_puts(out, (*quote = !*quote) ? "\\(oq" : "\\(cq");
	else
		buf_putc(out, *s);
	return 1;
}

/* Text for mdoc: escapes, each sentence on a line of its own, no long lines. */
static void
man_text(struct buf *out, const char *text)
{
	bool quote = false;
	size_t line = buf_len(out);

	for (const char *s = text; *s;) {
		bool sentence = s > text && s[-1] == '.' && s[1] >= 'A' && s[1] <= 'Z';
		if (*s == ' ' && (sentence || buf_len(out) - line > 60)) {
			buf_putc(out, '\n');
			line = buf_len(out);
			s++;
		}
		bool ellipsis = (unsigned char)*s == 0xe2; /* becomes dots */
		if (buf_len(out) == line && (*s == '.' || *s == '\'' || ellipsis))
			buf_puts(out, "\\&");
		s += man_char(out, s, &quote);
	}
	buf_putc(out, '\n');
}

/* `yes | no` as arguments of .It: words to type are Cm, the others Ar. */
static void
man_syntax(struct buf *out, const struct conf_kind *k)
{
	struct view rest = view_str(k->syntax);

	for (size_t i = 0; i < k->choice_count; i++)
		buf_printf(out, "%s Cm %s", i ? " |" : "", k->choices[i]);
	while (rest.n) {
		struct view word = view_cut(&rest, ' ');
		bool literal = !strcmp(k->name, "flag") ||
			       (!strcmp(k->name, "auth") && !view_is(word, "network") &&
				   !view_is(word, "name"));
		if (view_is(word, "|"))
			buf_puts(out, " |");
		else if (view_is(word, "..."))
			buf_puts(out, " ...");
		else if (view_is(word, "[and"))
			buf_puts(out, " Op Cm and");
		else
			buf_printf(out, " %s %.*s", literal ? "Cm" : "Ar",
			    (int)(view_is(word, "key]") ? 3 : word.n), word.p);
	}
}

/* What a number, size or duration may be. */
static void
man_range(struct buf *out, const struct conf_directive *d)
{
	static const struct conf_kind *const ranged[] = { &conf_kind_number, &conf_kind_signed,
		&conf_kind_size, &conf_kind_duration, &conf_kind_opt_number, &conf_kind_opt_duration };

	for (size_t i = 0; i < sizeof(ranged) / sizeof(ranged[0]); i++) {
		if (d->kind != ranged[i])
			continue;
		buf_puts(out, "From ");
		d->kind->print(d->kind, &d->min, out);
		buf_puts(out, " to ");
		d->kind->print(d->kind, &d->max, out);
		buf_puts(out, ".\n");
	}
}

static void
man_directive(struct buf *out, const struct conf_directive *d)
{
	buf_printf(out, ".It Ic %s", d->name);
	man_syntax(out, d->kind);
	buf_putc(out, '\n');
	man_text(out, d->doc);
	man_range(out, d);
	if (*d->deflt)
		buf_printf(out, "Default:\n.Li %s .\n", d->deflt);
	else if (conf_required(d))
		buf_puts(out, "Required.\n");
}

void
conf_print_man(struct buf *out)
{
	size_t blocks, count;
	const struct conf_block *b = conf_blocks(&blocks);

	for (; blocks--; b++) {
		const struct conf_directive *d = b->directives(&count);
		if (*b->name)
			buf_printf(out, ".Ss %s%s { ... }\n", b->name, b->many ? " NAME" : "");
		else
			buf_puts(out, ".Ss Outside of blocks\n");
		man_text(out, b->doc);
		buf_puts(out, ".Bl -tag -width Ds\n");
		for (size_t i = 0; i < count; i++)
			man_directive(out, &d[i]);
		buf_puts(out, ".El\n");
	}
}
