/* SPDX-License-Identifier: ISC */
/*
 * Look-up tables. The first byte chooses: text that is built into a table, whose every entry is then found; or
 * a sound table with bytes changed or cut off, which is not opened, or answers without harm.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/db.h"
#include "t/fuzz/folder.h"
#include "t/fuzz/libdb.h"

enum { TABLE_MAX = 1 << 20, KEYS = 300 };

static struct buf sound = BUF_INIT(TABLE_MAX);

static void
write_file(const char *path, struct view v)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	REQUIRE(fd >= 0 && write(fd, v.p, v.n) == (ssize_t)v.n);
	close(fd);
}

static void
prepare(void)
{
	struct buf text = BUF_INIT(TABLE_MAX);
	uint64_t count;
	struct err e;

	fuzz_folder();
	for (int i = 0; i < KEYS; i++)
		buf_printf(&text, "key%d.example.test\t[relay%d.example.test]:%d\n", i, i, i);
	write_file("t", buf_view(&text));
	REQUIRE(db_map_build("t", "t.db", &count, &e) == 0 && count == KEYS);
	FILE *f = fopen("t.db", "re");
	REQUIRE(f);
	buf_commit(&sound, fread(buf_reserve(&sound, TABLE_MAX), 1, TABLE_MAX, f));
	fclose(f);
	buf_free(&text);
}

static void
look_up(struct db_map *m, const char *key)
{
	struct buf out = BUF_INIT(1 << 20);
	struct err e;

	if (db_map_get(m, view_str(key), &out, &e) == 1)
		REQUIRE(buf_len(&out) <= TABLE_MAX);
	buf_free(&out);
}

/* Places and values come from the input, three bytes and one. */
static void
damaged(struct view in)
{
	struct buf b = BUF_INIT(TABLE_MAX);
	struct err e;
	char key[64];

	buf_putv(&b, buf_view(&sound));
	char *p = (char *)(uintptr_t)buf_view(&b).p;
	while (in.n >= 4) {
		size_t at = (size_t)view_get_u8(&in) << 16;
		at = (at | view_get_u16(&in)) % buf_len(&b);
		p[at] = (char)view_get_u8(&in);
	}
	if (in.n)
		buf_truncate(&b, buf_len(&b) * (unsigned char)in.p[0] / 256);
	write_file("d.db", buf_view(&b));
	buf_free(&b);
	struct db_map *m = db_map_open("d.db", &e);
	if (m == NULL)
		return;
	for (int i = 0; i < KEYS + 2; i += 7) {
		snprintf(key, sizeof(key), "key%d.example.test", i);
		look_up(m, key);
	}
	db_map_close(&m);
}

static void
text(struct view in)
{
	uint64_t count = 0, found = 0;
	struct err e;

	write_file("x", in);
	if (db_map_build("x", "x.db", &count, &e) < 0)
		return;
	struct db_map *m = db_map_open("x.db", &e);
	REQUIRE(m && db_map_count(m) == count);
	while (in.n) {
		struct view line = view_cut(&in, '\n');
		struct view key = line;
		struct buf out = BUF_INIT(1 << 20);
		size_t n = 0;
		while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t' && line.p[n] != '\r')
			n++;
		key.n = n;
		if (line.n && line.p[0] != '#')
			found += db_map_get(m, key, &out, &e) == 1;
		buf_free(&out);
	}
	REQUIRE(found >= count);
	db_map_close(&m);
}

void
fuzz_one(struct view in)
{
	if (buf_len(&sound) == 0)
		prepare();
	bool as_text = in.n && in.p[0] & 1;
	in = view_skip(in, 1);
	if (as_text)
		text(in);
	else
		damaged(in);
}
