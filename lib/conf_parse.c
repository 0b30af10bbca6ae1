/* SPDX-License-Identifier: ISC */
/* Statements and blocks: from words to the places that lib/conf_schema.h declares. */
#include <stdlib.h>
#include <string.h>

#include "lib/conf_table.h"
#include "lib/near.h"

struct statement {
	struct conf_word *v;
	size_t n, cap;
	enum conf_token end; /* CONF_OPEN, CONF_CLOSE, CONF_END or CONF_EOF */
	struct conf_pos end_at;
	bool bad; /* an error in it was reported: what was read of it does not count */
	struct arena text;
	struct buf word;
};

struct source {
	struct conf_lexer lex;
	const char *file;
	size_t instance; /* the open block; 0: none */
	struct conf_pos opened;
	unsigned skip; /* depth inside a block that was refused */
	struct conf_pos skipped;
};

static void put_line(struct buf *out, struct conf_pos at, const char *prefix, const char *fmt,
    va_list ap) __attribute__((format(printf, 4, 0)));
static void
put_line(struct buf *out, struct conf_pos at, const char *prefix, const char *fmt, va_list ap)
{
	size_t start = buf_len(out);

	buf_printf(out, "%s:%u:%u: %s", at.file ? at.file : "-", at.line, at.column, prefix);
	buf_vprintf(out, fmt, ap);
	for (size_t i = out->off + start; i < out->end; i++)
		if ((unsigned char)out->p[i] < 0x20 || out->p[i] == 0x7f)
			out->p[i] = '?';
	buf_putc(out, '\n');
}

void
conf_error(struct conf_parse *p, struct conf_pos at, const char *fmt, ...)
{
	va_list ap;

	p->error_count++;
	if (p->errors == NULL || p->error_count > CONF_ERRORS_MAX + 1)
		return;
	if (p->error_count > CONF_ERRORS_MAX) {
		buf_printf(p->errors, "%s:%u:%u: more errors than are shown here\n", at.file,
		    at.line, at.column);
		return;
	}
	va_start(ap, fmt);
	put_line(p->errors, at, "", fmt, ap);
	va_end(ap);
}

void
conf_warn(struct conf_parse *p, struct conf_pos at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put_line(&p->warnings, at, "warning: ", fmt, ap);
	va_end(ap);
}

void
conf_set_default(struct conf_parse *p, const struct conf_directive *d, void *at)
{
	struct conf_lexer x;
	struct conf_lexeme got;
	struct buf word = BUF_INIT(CONF_WORD_MAX);
	struct arena text = { 0 };
	struct conf_word v[16];
	struct conf_words w = { v, 0 };
	struct conf_directive any = *d;

	conf_lex_init(&x, view_str(d->deflt));
	for (conf_lex(&x, &word, &got); got.token == CONF_WORD && w.n < 16;
	     conf_lex(&x, &word, &got))
		v[w.n++] = (struct conf_word){ .text = arena_view(&text, buf_view(&word)) };
	if (w.n == 0 && !d->kind->list)
		v[w.n++] = (struct conf_word){ .text = VIEW(""), .quoted = true };
	any.min = d->min < 0 ? d->min : 0; /* not set is no error yet: see conf_check() */
	d->kind->parse(p, &any, w, at);
	arena_free(&text);
	buf_free(&word);
}

/* Fills a new struct and remembers where it came from. */
static struct conf_instance *
add_instance(struct conf_parse *p, const struct conf_block *b, size_t index, struct conf_pos begin)
{
	size_t count;
	const struct conf_directive *d = b->directives(&count);
	char *base = conf_block_get(p->conf, b, index);

	if (p->instance_count == p->instance_cap) {
		p->instance_cap = p->instance_cap ? p->instance_cap * 2 : 32;
		p->instances = x_realloc(p->instances, p->instance_cap, sizeof(*p->instances));
	}
	struct conf_instance *in = &p->instances[p->instance_count++];
	*in = (struct conf_instance){ .block = b, .index = index, .begin = begin };
	in->set = x_calloc(count, sizeof(*in->set));
	for (size_t i = 0; i < count; i++)
		conf_set_default(p, &d[i], base + d[i].offset);
	return in;
}

void
conf_parse_begin(struct conf_parse *p, struct conf *c, const char *main_file, struct buf *errors)
{
	size_t count;
	const struct conf_block *b = conf_blocks(&count);

	*p = (struct conf_parse){ .conf = c, .errors = errors };
	buf_init(&p->warnings, 65536);
	p->main_file = arena_str(&p->names, view_str(main_file));
	for (size_t i = 0; i < count; i++)
		if (!b[i].many)
			add_instance(p, &b[i], 0, (struct conf_pos){ .file = p->main_file });
}

void
conf_parse_end(struct conf_parse *p)
{
	for (size_t i = 0; i < p->instance_count; i++)
		free(p->instances[i].set);
	free(p->instances);
	arena_free(&p->names);
	buf_free(&p->warnings);
}

struct conf_instance *
conf_instance_of(const struct conf_parse *p, const char *block, size_t index)
{
	for (size_t i = 0; i < p->instance_count; i++)
		if (!strcmp(p->instances[i].block->name, block) && p->instances[i].index == index)
			return &p->instances[i];
	return NULL;
}

struct conf_pos
conf_where(const struct conf_parse *p, const struct conf_instance *in, const char *directive)
{
	size_t count;
	const struct conf_directive *d = in->block->directives(&count);

	for (size_t i = 0; i < count; i++)
		if (directive && !strcmp(d[i].name, directive) && in->set[i].line)
			return in->set[i];
	if (in->begin.line)
		return in->begin;
	return (struct conf_pos){ p->main_file, 1, 1 };
}

static void
add_word(
    struct conf_parse *p, struct statement *st, const struct conf_lexeme *got, const char *file)
{
	struct conf_pos at = { file, got->line, got->column };

	if (st->n == CONF_WORDS_MAX) {
		if (!st->bad)
			conf_error(p, at, "more than %d words in one directive", CONF_WORDS_MAX);
		st->bad = true;
		return;
	}
	if (st->n == st->cap) {
		st->cap = st->cap ? st->cap * 2 : 16;
		st->v = x_realloc(st->v, st->cap, sizeof(*st->v));
	}
	st->v[st->n++] =
	    (struct conf_word){ at, arena_view(&st->text, buf_view(&st->word)), got->quoted };
}

/* Words up to the next token that ends a statement. */
static void
next_statement(struct conf_parse *p, struct source *s, struct statement *st)
{
	struct conf_lexeme got;

	arena_free(&st->text);
	st->n = 0;
	st->bad = false;
	for (;;) {
		conf_lex(&s->lex, &st->word, &got);
		if (got.token == CONF_WORD) {
			add_word(p, st, &got, s->file);
		} else if (got.token == CONF_BAD) {
			conf_error(p, (struct conf_pos){ s->file, got.line, got.column }, "%s",
			    got.problem);
			st->bad = true;
		} else {
			st->end = got.token;
			st->end_at = (struct conf_pos){ s->file, got.line, got.column };
			return;
		}
	}
}

static const char *
show_name(const struct conf_parse *p, const struct conf_instance *in, struct buf *out)
{
	buf_puts(out, in->block->name);
	if (in->block->many)
		buf_printf(out, " %s", *(char **)conf_block_get(p->conf, in->block, in->index));
	return buf_cstr(out);
}

/* "no such directive", with what was probably meant. */
static void
unknown_directive(struct conf_parse *p, const struct conf_instance *in, const struct conf_word *w)
{
	size_t count;
	const struct conf_directive *d = in->block->directives(&count);
	const struct conf_block *b = conf_block_find(w->text);
	struct buf where = BUF_INIT(256);
	struct near near;

	if (in != p->instances)
		buf_printf(&where, " in %s", in->block->name);
	near_init(&near, w->text);
	for (size_t i = 0; i < count; i++)
		near_offer(&near, d[i].name);
	if (b && *b->name && in == p->instances)
		conf_error(p, w->pos, "\"%s\" is a block: write %s%s { ... }", b->name, b->name,
		    b->many ? " NAME" : "");
	else if (near.best == NULL && in != p->instances &&
		 conf_directive_find(p->instances[0].block, w->text))
		conf_error(p, w->pos, "\"%.*s\" belongs outside of the block %s",
		    CONF_SHOW(w->text), in->block->name);
	else
		conf_error(p, w->pos, "unknown directive \"%.*s\"%s%s%s%s", CONF_SHOW(w->text),
		    buf_cstr(&where), near.best ? "; did you mean \"" : "",
		    near.best ? near.best : "", near.best ? "\"?" : "");
	buf_free(&where);
}

static const char *
syntax_of(const struct conf_directive *d)
{
	return d->kind->syntax ? d->kind->syntax : d->kind->choices[0];
}

static void
set_value(struct conf_parse *p, const struct conf_instance *in, const struct conf_directive *d,
    const struct conf_word *name, struct conf_words w, bool again)
{
	char *at = (char *)conf_block_get(p->conf, in->block, in->index) + d->offset;

	if (w.n == 0) {
		conf_error(p, name->pos, "%s: the value is missing (%s)", d->name, syntax_of(d));
		return;
	}
	if (w.n > 1 && !d->kind->list) {
		conf_error(p, w.v[1].pos, "%s: more than one value; \"%.*s\" is not expected here",
		    d->name, CONF_SHOW(w.v[1].text));
		return;
	}
	if (again) {
		d->kind->parse(p, d, w, at);
		return;
	}
	if (d->kind->release)
		d->kind->release(at);
	memset(at, 0, d->size);
	if (!d->kind->parse(p, d, w, at)) {
		memset(at, 0, d->size);
		conf_set_default(p, d, at);
	}
}

static void
run_directive(struct conf_parse *p, const struct source *s, const struct statement *st)
{
	struct conf_instance *in = &p->instances[s->instance];
	const struct conf_word *name = &st->v[0];
	struct conf_words w = { st->v + 1, st->n - 1 };
	size_t count;
	const struct conf_directive *first = in->block->directives(&count), *d;

	if (view_is(name->text, "include") && !name->quoted) {
		if (s->instance)
			conf_error(p, name->pos, "include stands outside of blocks only");
		else
			conf_include(p, s->file, name->pos, w);
		return;
	}
	d = conf_directive_find(in->block, name->text);
	if (d == NULL) {
		unknown_directive(p, in, name);
		return;
	}
	struct conf_pos *set = &in->set[d - first];
	bool again = set->line != 0;
	if (again && !d->kind->repeat)
		conf_error(p, name->pos, "%s is given twice; first at %s:%u:%u", d->name, set->file,
		    set->line, set->column);
	else
		*set = name->pos;
	set_value(p, in, d, name, w, again && d->kind->repeat);
}

/* The instance of a block that is being opened: a new one, or the single one. */
static struct conf_instance *
new_instance(struct conf_parse *p, const struct conf_block *b, const struct statement *st)
{
	size_t count = conf_block_count(p->conf, b);

	if (!b->many)
		return conf_instance_of(p, b->name, 0);
	if (count >= CONF_BLOCKS_MAX) {
		conf_error(p, st->v[0].pos, "more than %d %s blocks", CONF_BLOCKS_MAX, b->name);
		return NULL;
	}
	char **name = conf_block_add(p->conf, b);
	*name = x_strndup(st->v[1].text);
	return add_instance(p, b, count, (struct conf_pos){ 0 });
}

/* The instance that has this block (and name) already. */
static const struct conf_instance *
find_instance(const struct conf_parse *p, const struct conf_block *b, struct view name)
{
	for (size_t i = 1; i < p->instance_count; i++) {
		const struct conf_instance *in = &p->instances[i];
		if (in->block == b && in->begin.line &&
		    (!b->many || view_is(name, *(char **)conf_block_get(p->conf, b, in->index))))
			return in;
	}
	return NULL;
}

static bool
name_ok(struct view v)
{
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i];
		if (!((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_' && c != '.')
			return false;
	}
	return v.n > 0 && v.n <= CONF_NAME_MAX;
}

static bool
head_ok(struct conf_parse *p, const struct conf_block *b, const struct statement *st)
{
	const struct conf_word *w = st->v;
	size_t want = b->many ? 2 : 1;

	if (st->n < want)
		conf_error(p, st->end_at, "a name is missing: %s NAME {", b->name);
	else if (st->n > want)
		conf_error(p, w[want].pos, "\"%.*s\" is not expected here: %s%s {",
		    CONF_SHOW(w[want].text), b->name, b->many ? " NAME" : "");
	else if (b->many && !name_ok(w[1].text))
		conf_error(p, w[1].pos,
		    "\"%.*s\" is not a name: up to %d letters, digits, '-', '_' and '.'",
		    CONF_SHOW(w[1].text), CONF_NAME_MAX);
	else
		return true;
	return false;
}

static void
unknown_block(struct conf_parse *p, const struct conf_word *w)
{
	size_t count;
	const struct conf_block *b = conf_blocks(&count);
	struct near near;

	near_init(&near, w->text);
	for (size_t i = 1; i < count; i++)
		near_offer(&near, b[i].name);
	if (conf_directive_find(&b[0], w->text))
		conf_error(p, w->pos, "\"%.*s\" is not a block", CONF_SHOW(w->text));
	else
		conf_error(p, w->pos, "unknown block \"%.*s\"%s%s%s", CONF_SHOW(w->text),
		    near.best ? "; did you mean \"" : "", near.best ? near.best : "",
		    near.best ? "\"?" : "");
}

/* 0 when the block cannot be used: an error was reported. */
static size_t
enter_block(struct conf_parse *p, const struct conf_block *b, const struct statement *st)
{
	if (!head_ok(p, b, st))
		return 0;
	struct view name = b->many ? st->v[1].text : VIEW("");
	const struct conf_instance *twice = find_instance(p, b, name);
	if (twice) {
		conf_error(p, st->v[0].pos, "%s%s%.*s is given twice; first at %s:%u:%u", b->name,
		    b->many ? " " : "", CONF_SHOW(name), twice->begin.file, twice->begin.line,
		    twice->begin.column);
		return 0;
	}
	struct conf_instance *in = new_instance(p, b, st);
	if (in == NULL)
		return 0;
	in->begin = st->v[0].pos;
	return (size_t)(in - p->instances);
}

static void
missing_close(struct conf_parse *p, struct conf_pos at, size_t instance, struct conf_pos opened)
{
	struct buf name = BUF_INIT(256);

	conf_error(p, at, "\"}\" is missing: the block %s began at line %u",
	    show_name(p, &p->instances[instance], &name), opened.line);
	buf_free(&name);
}

static void
open_block(struct conf_parse *p, struct source *s, const struct statement *st)
{
	const struct conf_block *b = st->n ? conf_block_find(st->v[0].text) : NULL;

	if (b && s->instance) {
		/* No block stands inside another: its end was forgotten. Go on as if it were there.
		 */
		missing_close(p, st->v[0].pos, s->instance, s->opened);
		s->instance = 0;
	}
	if (st->n == 0)
		conf_error(p, st->end_at, "\"{\" without the name of a block");
	else if (b == NULL || *b->name == '\0')
		unknown_block(p, &st->v[0]);
	else
		s->instance = enter_block(p, b, st);
	s->opened = st->n ? st->v[0].pos : st->end_at;
	if (st->n == 0 || b == NULL || s->instance == 0) {
		s->skip = 1;
		s->skipped = s->opened;
	}
}

static void
run_statement(struct conf_parse *p, struct source *s, const struct statement *st)
{
	if (s->skip) {
		if (st->end == CONF_OPEN)
			s->skip++;
		else if (st->end == CONF_CLOSE)
			s->skip--;
		return;
	}
	if (st->end == CONF_OPEN) {
		open_block(p, s, st);
		return;
	}
	if (st->n && !st->bad)
		run_directive(p, s, st);
	if (st->end != CONF_CLOSE)
		return;
	if (s->instance == 0)
		conf_error(p, st->end_at, "\"}\" without a block that is open");
	s->instance = 0;
}

void
conf_parse_text(struct conf_parse *p, const char *file, struct view text)
{
	struct source s = { .file = arena_str(&p->names, view_str(file)) };
	struct statement st = { .word = BUF_INIT(CONF_WORD_MAX) };

	conf_lex_init(&s.lex, text);
	do {
		next_statement(p, &s, &st);
		run_statement(p, &s, &st);
	} while (st.end != CONF_EOF && p->error_count <= CONF_ERRORS_MAX);
	if (p->error_count > CONF_ERRORS_MAX)
		; /* nothing more is read: hostile text costs no time */
	else if (s.skip)
		conf_error(
		    p, st.end_at, "\"}\" is missing: a block began at line %u", s.skipped.line);
	else if (s.instance)
		missing_close(p, st.end_at, s.instance, s.opened);
	free(st.v);
	arena_free(&st.text);
	buf_free(&st.word);
}
