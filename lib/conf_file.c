/* SPDX-License-Identifier: ISC */
/* The files of a configuration, and whom they may belong to. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/conf_table.h"

bool
conf_file_trusted(struct conf_parse *p, struct conf_pos at, const char *path, const struct stat *st)
{
	if (!(st->st_mode & (S_IWGRP | S_IWOTH)))
		return true;
	conf_error(p, at, "%s: mode %04o lets others write to it", path,
	    (unsigned)st->st_mode & 07777u);
	return false;
}

/* Who can change the configuration can make root do anything: for root it must be root's. */
static bool
owner_ok(struct conf_parse *p, struct conf_pos at, const char *path, const struct stat *st)
{
	if (geteuid() != 0 || st->st_uid == 0)
		return true;
	conf_error(p, at, "%s: belongs to user %u; root reads a configuration of root only", path,
	    (unsigned)st->st_uid);
	return false;
}

static bool
trusted(struct conf_parse *p, const char *path, const struct stat *st)
{
	struct conf_pos at = { path, 1, 1 };
	bool mode = conf_file_trusted(p, at, path, st);

	return (owner_ok(p, at, path, st) && mode) || p->lenient;
}

/* Reads at most `max` bytes of an open file; false with errno. */
static bool
read_all(int fd, size_t max, struct buf *out)
{
	buf_init(out, max);
	for (;;) {
		char chunk[16384];
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		buf_put(out, chunk, (size_t)n);
		if (out->bad) {
			errno = EFBIG;
			return false;
		}
	}
}

bool
conf_parse_file(struct conf_parse *p, const char *path, struct conf_pos from)
{
	struct conf_pos at = from.line ? from : (struct conf_pos){ p->main_file, 1, 1 };
	struct buf text = BUF_INIT(0);
	struct stat st;
	bool good = false;

	if (++p->files > CONF_FILES_MAX) {
		conf_error(p, at, "more than %d files are included", CONF_FILES_MAX);
		return false;
	}
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		conf_error(p, at, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		conf_error(p, at, "%s: not a file", path);
	else if (!read_all(fd, CONF_BYTES_MAX - p->bytes, &text))
		conf_error(p, at, "%s: %s", path, strerror(errno));
	else
		good = trusted(p, path, &st);
	if (fd >= 0)
		close(fd);
	if (good) {
		p->bytes += buf_len(&text);
		conf_parse_text(p, path, buf_view(&text));
	}
	buf_free(&text);
	return good;
}

/* Relative to the folder of the file that includes. */
static void
include_pattern(const char *file, struct view pattern, struct buf *out)
{
	const char *slash = strrchr(file, '/');

	if (pattern.n && pattern.p[0] != '/' && slash)
		buf_put(out, file, (size_t)(slash - file) + 1);
	buf_putv(out, pattern);
}

static void
include_files(struct conf_parse *p, const char *pattern, struct conf_pos from)
{
	glob_t g;
	int rc = glob(pattern, 0, NULL, &g);

	if (rc == GLOB_NOMATCH && strpbrk(pattern, "*?[") == NULL)
		conf_error(p, from, "%s: %s", pattern, strerror(ENOENT));
	else if (rc != 0 && rc != GLOB_NOMATCH)
		conf_error(p, from, "%s: cannot be read", pattern);
	p->depth++;
	for (size_t i = 0; rc == 0 && i < g.gl_pathc && p->files <= CONF_FILES_MAX; i++)
		conf_parse_file(p, g.gl_pathv[i], from);
	p->depth--;
	if (rc == 0)
		globfree(&g);
}

void
conf_include(struct conf_parse *p, const char *file, struct conf_pos from, struct conf_words w)
{
	struct buf pattern = BUF_INIT(2 * CONF_WORD_MAX);

	if (p->dir == NULL) {
		conf_error(p, from, "include is not allowed here");
	} else if (w.n != 1 || w.v[0].text.n == 0) {
		conf_error(p, from, "include needs one file name or pattern");
	} else if (p->depth >= CONF_DEPTH_MAX) {
		conf_error(p, from, "includes are nested more than %d deep", CONF_DEPTH_MAX);
	} else {
		include_pattern(file, w.v[0].text, &pattern);
		include_files(p, buf_cstr(&pattern), from);
	}
	buf_free(&pattern);
}
