/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf_table.h"

/* The first members of each `many` block. */
enum { NAME, WHERE };

void
conf_free(struct conf **c)
{
	size_t blocks, count;
	const struct conf_block *b = conf_blocks(&blocks);

	if (*c == NULL)
		return;
	for (; blocks--; b++) {
		const struct conf_directive *d = b->directives(&count);
		for (size_t i = 0; i < conf_block_count(*c, b); i++) {
			char *base = conf_block_get(*c, b, i);
			for (size_t k = 0; k < count; k++)
				if (d[k].kind->release)
					d[k].kind->release(base + d[k].offset);
			if (b->many) {
				free(((char **)(void *)base)[NAME]);
				free(((char **)(void *)base)[WHERE]);
			}
		}
		if (b->many)
			free(conf_block_get(*c, b, 0));
	}
	free(*c);
	*c = NULL;
}

static void
default_postmaster(struct conf *c)
{
	struct buf b = BUF_INIT(1024);

	if (*c->postmaster || !conf_host_valid(view_str(c->hostname)))
		return;
	buf_printf(&b, "postmaster@%s", c->hostname);
	free(c->postmaster);
	c->postmaster = x_strdup(buf_cstr(&b));
	buf_free(&b);
}

/* For messages about what only a later look at the files can find. */
static void
set_where(struct conf_parse *p)
{
	struct buf b = BUF_INIT(2 * CONF_WORD_MAX);

	for (size_t i = 0; i < p->instance_count; i++) {
		const struct conf_instance *in = &p->instances[i];
		struct conf_pos at = conf_where(p, in, NULL);
		if (!in->block->many)
			continue;
		buf_clear(&b);
		buf_printf(&b, "%s:%u:%u", at.file, at.line, at.column);
		((char **)conf_block_get(p->conf, in->block, in->index))[WHERE] = x_strdup(buf_cstr(&b));
	}
	buf_free(&b);
}

/* The result of a reading: errors discard it, warnings are shown with it. */
static struct conf *
finish(struct conf_parse *p, struct buf *errors)
{
	set_where(p);
	if (p->error_count)
		conf_free(&p->conf);
	else if (errors)
		buf_putv(errors, buf_view(&p->warnings));
	struct conf *c = p->conf;
	conf_parse_end(p);
	return c;
}

/* The absolute folder of a file; NULL when there is none. */
static char *
folder_of(const char *path)
{
	char *copy = x_strdup(path), *slash = strrchr(copy, '/');

	if (slash)
		slash[slash == copy] = '\0';
	char *dir = realpath(slash ? copy : ".", NULL);
	free(copy);
	return dir;
}

static struct conf *
read_file(const char *path, struct buf *errors, bool lenient)
{
	struct conf *c = x_calloc(1, sizeof(*c));
	struct conf_parse p;
	char *dir = folder_of(path);
	struct conf_pos top = { 0 };

	conf_parse_begin(&p, c, path, errors);
	p.dir = dir ? dir : "";
	p.lenient = lenient;
	top.file = p.main_file;
	bool got = conf_parse_file(&p, path, top);
	if (lenient && got) {
		p.error_count = 0;
	} else if (got) {
		conf_host_defaults(&p);
		default_postmaster(c);
		conf_check(&p);
		conf_host_check(&p);
	}
	c = finish(&p, errors);
	free(dir);
	return c;
}

struct conf *
conf_read_file(const char *path, struct buf *errors)
{
	return read_file(path, errors, false);
}

struct conf *
conf_read_lenient(const char *path, struct buf *errors)
{
	return read_file(path, errors, true);
}

struct conf *
conf_read_text(struct view text, const char *name, struct buf *errors)
{
	struct conf *c = x_calloc(1, sizeof(*c));
	struct conf_parse p;

	conf_parse_begin(&p, c, name, errors);
	if (text.n > CONF_BYTES_MAX)
		conf_error(&p, (struct conf_pos){ p.main_file, 1, 1 }, "more than %d bytes",
		    CONF_BYTES_MAX);
	else
		conf_parse_text(&p, name, text);
	default_postmaster(c);
	conf_check(&p);
	return finish(&p, errors);
}
