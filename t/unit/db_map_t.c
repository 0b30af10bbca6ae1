/* SPDX-License-Identifier: ISC */
/* Look-up tables: what is built is found, what is damaged is not opened, what is wrong has a line.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/db.h"
#include "t/tap.h"

static char top[] = "/tmp/ekiden-map-XXXXXX";

static void
write_file(const char *path, struct view v)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, v.p, v.n) != (ssize_t)v.n)
		abort();
	close(fd);
}

/* The value, or "(none)", or "(error)". */
static const char *
look_up(struct db_map *m, const char *key, struct buf *out)
{
	struct err e;

	buf_clear(out);
	int rc = db_map_get(m, view_str(key), out, &e);
	return rc == 1 ? buf_cstr(out) : rc == 0 ? "(none)" : "(error)";
}

static void
test_content(void)
{
	struct buf out = BUF_INIT(8192);
	uint64_t count = 0;
	struct err e;

	write_file("t", VIEW("# routes\n\nexample.com\t[relay.example.net]:2525  \r\n"
			     "Example.ORG smtp:a b  c\n  \nlast x"));
	is_int(db_map_build("t", "t.db", &count, &e), 0, "build");
	is_int((long long)count, 3, "three entries");
	struct db_map *m = db_map_open("t.db", &e);
	ok(m != NULL && db_map_count(m) == 3, "open, with the count");
	is_str(look_up(m, "example.com", &out), "[relay.example.net]:2525", "value, trimmed");
	is_str(look_up(m, "example.org", &out), "smtp:a b  c", "key in lower case");
	is_str(look_up(m, "EXAMPLE.Com", &out), "[relay.example.net]:2525", "any case asked");
	is_str(look_up(m, "last", &out), "x", "a last line without its end");
	is_str(look_up(m, "example.net", &out), "(none)", "not there");
	is_str(look_up(m, "", &out), "(none)", "no key");
	buf_clear(&out);
	is_int(db_map_get(m, VIEW("\0ekiden map"), &out, &e), 0, "the record is not an entry");
	db_map_close(&m);
	write_file("empty", VIEW(""));
	is_int(db_map_build("empty", "empty.db", &count, &e), 0, "an empty map");
	m = db_map_open("empty.db", &e);
	ok(m != NULL && count == 0, "opens");
	is_str(look_up(m, "x", &out), "(none)", "and has nothing");
	db_map_close(&m);
	buf_free(&out);
}

static void
test_errors(void)
{
	static const struct {
		struct view text;
		const char *error;
	} cases[] = {
		{ VIEW("a 1\nb\n"), "bad:2: no value behind the key" },
		{ VIEW("a 1\n\n# c\nb \t \n"), "bad:4: no value behind the key" },
		{ VIEW("a 1\n b 2\n"), "bad:2: a line must start with its key" },
		{ VIEW("a 1\nb 2\nA 3\n"), "bad:3: this key is there twice: A" },
		{ VIEW("a 1\0\n"), "bad:1: control character" },
		{ VIEW("a\1b 1\n"), "bad:1: control character" },
	};
	struct buf out = BUF_INIT(8192);
	uint64_t count = 77;
	struct err e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file("bad", cases[i].text);
		is_int(db_map_build("bad", "t.db", &count, &e), -1, "refused");
		is_str(e.text, cases[i].error, "error %zu", i);
	}
	char *line = x_malloc(20000);
	memset(line, 'k', 20000);
	memcpy(line + 513, " v\n", 3);
	write_file("bad", view_of(line, 516));
	db_map_build("bad", "t.db", &count, &e);
	is_str(e.text, "bad:1: key too long", "key of 513");
	line[513] = line[514] = line[515] = 'k';
	memcpy(line + 10, " ", 1);
	write_file("bad", view_of(line, 10 + 1 + 4097));
	db_map_build("bad", "t.db", &count, &e);
	is_str(e.text, "bad:1: value too long", "value of 4097");
	write_file("bad", view_of(line, 20000));
	db_map_build("bad", "t.db", &count, &e);
	is_str(e.text, "bad:1: line too long", "line of 20000");
	free(line);
	is_int(db_map_build("nothere", "t.db", &count, &e), -1, "no source: %s", e.text);
	is_int((long long)count, 77, "the count is not touched");
	struct db_map *m = db_map_open("t.db", &e);
	ok(m != NULL, "the former map is still there");
	is_str(look_up(m, "example.org", &out), "smtp:a b  c", "and whole");
	db_map_close(&m);
	is_int(system("ls | grep -q '[.]new$'"), 256, "nothing unfinished is left");
	buf_free(&out);
}

static bool
opens(const char *path, struct err *e)
{
	struct db_map *m = db_map_open(path, e);
	bool good = m != NULL;

	db_map_close(&m);
	return good;
}

/* 1 when the entry is not found though it was put in: the one thing that must not happen. */
static int
lies(const char *path)
{
	struct err e;
	struct buf out = BUF_INIT(100);
	struct db_map *m = db_map_open(path, &e);
	int lie = 0;

	for (int i = 0; m && i < 2000; i += 37) {
		char key[32];
		snprintf(key, sizeof(key), "domain%d.example", i);
		buf_clear(&out);
		int rc = db_map_get(m, view_str(key), &out, &e);
		lie |= rc == 0 || (rc == 1 && !view_is(buf_view(&out), "relay:25"));
	}
	db_map_close(&m);
	buf_free(&out);
	return lie;
}

static void
test_damage(void)
{
	struct buf text = BUF_INIT(1 << 20);
	struct stat st;
	uint64_t count;
	struct err e;

	for (int i = 0; i < 2000; i++)
		buf_printf(&text, "domain%d.example relay:25\n", i);
	write_file("big", buf_view(&text));
	is_int(db_map_build("big", "big.db", &count, &e), 0, "build 2000");
	ok(opens("big.db", &e) && lies("big.db") == 0, "whole");
	stat("big.db", &st);
	int opened = 0, cut = 0, lied = 0;
	for (off_t n = 0; n < st.st_size; n += 1024) {
		if (system("cp big.db cut.db") != 0 || truncate("cut.db", n) < 0)
			abort();
		cut++;
		opened += opens("cut.db", &e);
	}
	is_int(opened, 0, "none of %d truncated files opens: %s", cut, e.text);
	for (off_t n = 60; n < st.st_size; n += 1999) {
		if (system("cp big.db cut.db") != 0)
			abort();
		int fd = open("cut.db", O_WRONLY);
		if (fd < 0 || pwrite(fd, "\xa5\xa5\xa5", 3, n) != 3)
			abort();
		close(fd);
		lied += lies("cut.db");
	}
	is_int(lied, 0, "a damaged file never says that an entry is not there");
	write_file("text.db", VIEW("not a database"));
	ok(!opens("text.db", &e), "not a map: %s", e.text);
	ok(!opens("nothere.db", &e), "not there: %s", e.text);
	buf_free(&text);
}

/* libdb frees nothing of an environment in which it panicked. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libdb";
}

int
main(void)
{
	char command[64];

	if (mkdtemp(top) == NULL || chdir(top) < 0)
		return 1;
	test_content();
	test_errors();
	test_damage();
	snprintf(command, sizeof(command), "rm -rf %s", top);
	if (chdir("/") < 0 || system(command) != 0)
		return 1;
	return done_testing();
}
