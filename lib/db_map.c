/* SPDX-License-Identifier: ISC */
/*
 * Look-up tables: one btree file without an environment, complete or not there at all.
 *
 * libdb reads what is left of a truncated file without a word. So the file carries a record with
 * its number of entries and pages, written last, and page checksums; it is opened only if they
 * agree.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/db_private.h"
#include "lib/durable.h"
#include "lib/fault.h"

/* No text line can hold a NUL, so no entry can be this one. */
#define MAP_RECORD_KEY VIEW("\0ekiden map")
#define MAP_MAGIC 0x454b4d41u /* "EKMA" */

enum {
	MAP_VERSION = 1,
	MAP_RECORD_BYTES = 4 + 4 + 8 + 8,
	MAP_CACHE_BYTES = 8 << 20,
	LINE_MAX_BYTES = 16384
};

struct db_map {
	DB *h;
	uint64_t count;
	char detail[DB_DETAIL_MAX];
};

struct map_record {
	uint64_t count, pages;
};

static void
on_error(const DB_ENV *h, const char *prefix, const char *text)
{
	(void)prefix;
	db_keep_detail(h->app_private, text);
}

/* A handle whose complaints go to m->detail. */
static int
make_handle(struct db_map *m, uint32_t open_flags, const char *path)
{
	int rc = db_create(&m->h, NULL, 0);

	if (rc != 0) {
		m->h = NULL;
		return rc;
	}
	m->h->dbenv->app_private = m->detail;
	m->h->set_errcall(m->h, on_error);
	if ((rc = m->h->set_cachesize(m->h, 0, MAP_CACHE_BYTES, 1)) != 0 ||
	    (rc = m->h->set_flags(m->h, DB_CHKSUM)) != 0)
		return rc;
	return m->h->open(m->h, NULL, path, NULL, DB_BTREE, open_flags, 0644);
}

static int
map_fail(struct db_map *m, struct err *e, int rc, const char *path)
{
	db_fail(e, rc, m->detail, "map %s", path);
	*m->detail = '\0';
	return -1;
}

/* As the handle sees it, which is not always as the file is: see whole(). */
static int
count_pages(struct db_map *m, uint64_t *pages, uint64_t *bytes)
{
	DB_BTREE_STAT *st;
	int rc = m->h->stat(m->h, NULL, &st, DB_FAST_STAT);

	if (rc == 0) {
		*pages = st->bt_pagecnt;
		*bytes = *pages * st->bt_pagesize;
		free(st);
	}
	return rc;
}

static int
put_record(struct db_map *m, const struct map_record *r)
{
	struct buf b = BUF_INIT(MAP_RECORD_BYTES);

	buf_put_u32(&b, MAP_MAGIC);
	buf_put_u32(&b, MAP_VERSION);
	buf_put_u64(&b, r->count);
	buf_put_u64(&b, r->pages);
	DBT k = db_dbt(MAP_RECORD_KEY), v = db_dbt(buf_view(&b));
	int rc = m->h->put(m->h, NULL, &k, &v, 0);
	buf_free(&b);
	return rc;
}

/* false: there is none, or it is not one of ours. */
static bool
get_record(struct db_map *m, struct map_record *r)
{
	DBT k = db_dbt(MAP_RECORD_KEY), d = { 0 };

	if (m->h->get(m->h, NULL, &k, &d, 0) != 0)
		return false;
	struct view v = db_view(&d);
	uint32_t magic = view_get_u32(&v), version = view_get_u32(&v);
	r->count = view_get_u64(&v);
	r->pages = view_get_u64(&v);
	return view_done(v) && magic == MAP_MAGIC && version == MAP_VERSION;
}

/* The file has all pages that were written: libdb takes the number from the first page. */
static int
whole(struct db_map *m, const struct map_record *r, const char *path, struct err *e)
{
	uint64_t pages, bytes;
	struct stat st;
	int fd, rc = count_pages(m, &pages, &bytes);

	if (rc != 0 || (rc = m->h->fd(m->h, &fd)) != 0)
		return map_fail(m, e, rc, path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, "map %s", path);
	if (pages != r->pages || (uint64_t)st.st_size != bytes)
		return err_set(e, ERR_TEMP, ESC(4, 3, 5),
		    "map %s: damaged: %lld bytes for %llu pages", path, (long long)st.st_size,
		    (unsigned long long)r->pages);
	return 0;
}

static int
check_map(struct db_map *m, const char *path, struct err *e)
{
	struct map_record r;

	if (!get_record(m, &r))
		return err_set(e, ERR_TEMP, ESC(4, 3, 5),
		    "map %s: not complete, or not made by map build%s%s", path,
		    *m->detail ? ": " : "", m->detail);
	m->count = r.count;
	return whole(m, &r, path, e);
}

struct db_map *
db_map_open(const char *path, struct err *e)
{
	struct db_map *m = x_calloc(1, sizeof(*m));
	int rc = make_handle(m, DB_RDONLY | DB_NOMMAP, path);

	if (rc != 0)
		map_fail(m, e, rc, path);
	else if (check_map(m, path, e) == 0)
		return m;
	db_map_close(&m);
	return NULL;
}

void
db_map_close(struct db_map **m)
{
	if (*m == NULL)
		return;
	if ((*m)->h)
		(*m)->h->close((*m)->h, 0);
	free(*m);
	*m = NULL;
}

uint64_t
db_map_count(const struct db_map *m)
{
	return m->count;
}

/* The key in lower case, in out; empty when it cannot be in a map. */
static struct view
fold_key(struct view key, char out[static DB_MAP_KEY_MAX])
{
	if (key.n > DB_MAP_KEY_MAX)
		key.n = 0;
	for (size_t i = 0; i < key.n; i++) {
		char c = key.p[i];
		if (c == '\0')
			return (struct view){ out, 0 };
		out[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
	}
	return (struct view){ out, key.n };
}

int
db_map_get(struct db_map *m, struct view key, struct buf *out, struct err *e)
{
	char folded[DB_MAP_KEY_MAX];
	DBT k = db_dbt(fold_key(key, folded)), v = { 0 };

	if (k.size == 0)
		return 0;
	int rc = m->h->get(m->h, NULL, &k, &v, 0);
	if (rc == DB_NOTFOUND)
		return 0;
	if (rc != 0)
		return map_fail(m, e, rc, "look-up");
	buf_putv(out, db_view(&v));
	return 1;
}

static bool
has_control(struct view v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

/* What is wrong with an entry, or NULL; key and value are set then. An empty key: nothing to do. */
static const char *
parse_line(struct view line, struct view *key, struct view *value)
{
	size_t n = 0;

	*key = *value = view_of(NULL, 0);
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (view_trim(line).n == 0 || line.p[0] == '#')
		return NULL;
	if (line.p[0] == ' ' || line.p[0] == '\t')
		return "a line must start with its key";
	if (has_control(line))
		return "control character";
	while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
		n++;
	*value = view_trim(view_skip(line, n));
	if (value->n == 0)
		return "no value behind the key";
	if (n > DB_MAP_KEY_MAX || value->n > DB_MAP_VALUE_MAX)
		return n > DB_MAP_KEY_MAX ? "key too long" : "value too long";
	*key = view_first(line, n);
	return NULL;
}

/* A reader of the text file; line counts from 1. */
struct source {
	FILE *in;
	const char *path;
	uint64_t line;
};

static int
line_fail(const struct source *s, struct err *e, const char *what, struct view key)
{
	return err_set(e, ERR_PERM, ESC(5, 3, 5), "%s:%llu: %s%s%.*s", s->path,
	    (unsigned long long)s->line, what, key.n ? ": " : "", (int)(key.n < 80 ? key.n : 80),
	    key.n ? key.p : "");
}

static int
add_line(struct db_map *m, const struct source *s, struct view line, uint64_t *count, struct err *e)
{
	char folded[DB_MAP_KEY_MAX];
	struct view key, value;
	const char *wrong = parse_line(line, &key, &value);

	if (wrong)
		return line_fail(s, e, wrong, view_of(NULL, 0));
	if (key.n == 0)
		return 0;
	DBT k = db_dbt(fold_key(key, folded)), v = db_dbt(value);
	int rc = m->h->put(m->h, NULL, &k, &v, DB_NOOVERWRITE);
	if (rc == DB_KEYEXIST)
		return line_fail(s, e, "this key is there twice", key);
	if (rc != 0)
		return map_fail(m, e, rc, s->path);
	++*count;
	return 0;
}

static int
add_lines(struct db_map *m, struct source *s, uint64_t *count, struct err *e)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n = 0;
	int rc = 0;

	while (rc == 0 && (n = getline(&line, &cap, s->in)) >= 0) {
		s->line++;
		if (n > 0 && line[n - 1] == '\n')
			n--;
		rc = n > LINE_MAX_BYTES ? line_fail(s, e, "line too long", view_of(NULL, 0)) :
					  add_line(m, s, view_of(line, (size_t)n), count, e);
	}
	if (rc == 0 && ferror(s->in))
		rc = err_errno(e, "read %s", s->path);
	free(line);
	return rc;
}

/*
 * The record is put twice: first to have its place, then, when the number of pages can no longer
 * change, with the figures.
 */
static int
fill(struct db_map *m, struct source *s, const char *path, struct map_record *r, struct err *e)
{
	uint64_t bytes;
	int rc = put_record(m, r);

	if (rc != 0)
		return map_fail(m, e, rc, path);
	if (add_lines(m, s, &r->count, e) < 0)
		return -1;
	if ((rc = count_pages(m, &r->pages, &bytes)) != 0 || (rc = put_record(m, r)) != 0)
		return map_fail(m, e, rc, path);
	rc = m->h->close(m->h, 0);
	m->h = NULL;
	return rc == 0 ? 0 : map_fail(m, e, rc, path);
}

/* The finished file takes the place of the former one. */
static int
publish(const char *from, const char *to, struct err *e)
{
	const char *slash = strrchr(to, '/');
	char *dir = slash ? x_strndup(view_of(to, (size_t)(slash - to) + 1)) : x_strdup(".");
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = -1;
	int fd = open(from, O_RDWR | O_CLOEXEC);

	if (dir_fd < 0 || fd < 0)
		err_errno(e, "open %s", dir_fd < 0 ? dir : from);
	else if (FAULT_CALL("map.sync", durable_sync(fd, e), err_errno(e, "fdatasync")) < 0)
		;
	else if ((errno = FAULT("map.rename")) != 0 || rename(from, to) < 0)
		err_errno(e, "rename %s to %s", from, to);
	else
		rc = durable_sync_dir(dir_fd, e);
	if (fd >= 0)
		close(fd);
	if (dir_fd >= 0)
		close(dir_fd);
	free(dir);
	return rc;
}

int
db_map_build(const char *text_path, const char *db_path, uint64_t *count, struct err *e)
{
	struct source s = { .in = fopen(text_path, "re"), .path = text_path };
	struct buf beside = BUF_INIT(8192);
	struct map_record r = { 0, 0 };
	struct db_map m = { .h = NULL };
	int rc = -1;

	if (s.in == NULL)
		return err_errno(e, "open %s", text_path);
	/* Two builds at the same time must not share it. */
	buf_printf(&beside, "%s.%ld.new", db_path, (long)getpid());
	const char *path = buf_cstr(&beside);
	if (unlink(path) < 0 && errno != ENOENT) {
		err_errno(e, "remove %s", path);
	} else {
		int made = make_handle(&m, DB_CREATE | DB_EXCL, path);
		rc = made == 0 ? fill(&m, &s, path, &r, e) : map_fail(&m, e, made, path);
	}
	if (m.h)
		m.h->close(m.h, DB_NOSYNC);
	if (rc == 0)
		rc = publish(path, db_path, e);
	if (rc < 0)
		unlink(path);
	else
		*count = r.count;
	fclose(s.in);
	buf_free(&beside);
	return rc;
}
