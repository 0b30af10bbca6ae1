/* SPDX-License-Identifier: ISC */
/* The index of DKIM keys: what it takes, what it refuses, and that a change is all or nothing. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/dkim_store.h"
#include "lib/durable.h"
#include "lib/fault.h"
#include "t/tap.h"

static char state[] = "/tmp/ekiden-dkim-XXXXXX";

static void
add(struct dkim_store *s, const char *domain, const char *selector, enum dkim_algorithm a)
{
	struct dkim_entry x = { .domain = (char *)(uintptr_t)domain, .selector = (char *)(uintptr_t)selector,
		.algorithm = a, .made_s = 1000, .since_s = 1000 };
	struct err e;

	ok(dkim_store_add(s, &x, VIEW("key"), &e) == 0, "%s %s is added", domain, selector);
}

static bool
key_file(const struct dkim_store *s, const char *name)
{
	return faccessat(s->dir, name, F_OK, 0) == 0;
}

static void
test_life(void)
{
	struct dkim_store s;
	struct err e;

	ok(dkim_store_open(&s, state, false, &e) == 0 && s.n == 0, "no folder is an empty one");
	dkim_store_close(&s);
	ok(dkim_store_open(&s, state, true, &e) < 0, "... but not for a change: %s", e.text);
	char path[64];
	snprintf(path, sizeof(path), "%s/dkim", state);
	mkdir(path, 0700);
	is_int(dkim_store_open(&s, state, true, &e), 0, "a folder");
	add(&s, "a.test", "one", DKIM_RSA_SHA256);
	add(&s, "a.test", "two", DKIM_RSA_SHA256);
	add(&s, "a.test", "ed", DKIM_ED25519_SHA256);
	add(&s, "b.test", "one", DKIM_RSA_SHA256);
	struct dkim_entry twice = { .domain = s.v[0].domain, .selector = s.v[0].selector, .algorithm = 1 };
	ok(dkim_store_add(&s, &twice, VIEW("x"), &e) < 0, "twice: %s", e.text);
	dkim_store_activate(&s, dkim_store_find(&s, VIEW("a.test"), VIEW("one")), 2000, 9000);
	dkim_store_activate(&s, dkim_store_find(&s, VIEW("a.test"), VIEW("ed")), 2000, 9000);
	dkim_store_activate(&s, dkim_store_find(&s, VIEW("b.test"), VIEW("one")), 2000, 9000);
	dkim_store_activate(&s, dkim_store_find(&s, VIEW("a.test"), VIEW("two")), 3000, 9000);
	is_int(dkim_store_save(&s, &e), 0, "saved");
	dkim_store_close(&s);
	is_int(dkim_store_open(&s, state, true, &e), 0, "read again");
	is_int(s.n, 4, "... with all keys");
	struct dkim_entry *one = dkim_store_find(&s, VIEW("a.test"), VIEW("one"));
	ok(one->state == DKIM_RETIRING && one->since_s == 3000 && one->until_s == 9000 && one->line == 2,
	    "the replaced key is retiring");
	is_int(dkim_store_find(&s, VIEW("a.test"), VIEW("two"))->state, DKIM_ACTIVE, "its successor is active");
	is_int(dkim_store_find(&s, VIEW("a.test"), VIEW("ed"))->state, DKIM_ACTIVE,
	    "K05 the key of the other algorithm stays");
	is_int(dkim_store_find(&s, VIEW("b.test"), VIEW("one"))->state, DKIM_ACTIVE, "... and other domains");
	dkim_store_remove(&s, one);
	ok(key_file(&s, "one._domainkey.a.test.pem"), "a removed key's file is there until the index is new");
	is_int(dkim_store_save(&s, &e), 0, "saved");
	ok(!key_file(&s, "one._domainkey.a.test.pem") && key_file(&s, "two._domainkey.a.test.pem"),
	    "... and gone then");
	dkim_store_close(&s);
}

static void
test_names(void)
{
	static const struct {
		const char *selector;
		bool good;
	} rows[] = { { "s1", true }, { "a.b-c.d", true }, { "x_y", false }, { "", false }, { "A", false },
		{ "a..b", false }, { "a/b", false }, { "..", false }, { "-a", false }, { "a b", false },
		{ "[1]", false } };
	char longest[256];
	struct dkim_store s;
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(dkim_selector_valid(view_str(rows[i].selector)) == rows[i].good, "selector \"%s\": %s",
		    rows[i].selector, rows[i].good ? "good" : "refused");
	memset(longest, 'a', sizeof(longest));
	for (int i = 60; i < 230; i += 60)
		longest[i] = '.';
	longest[230] = '\0';
	struct dkim_entry x = { .domain = longest, .selector = longest + 226, .algorithm = 1 };
	dkim_store_open(&s, state, true, &e);
	ok(dkim_store_add(&s, &x, VIEW("x"), &e) < 0, "too long a name: %s", e.text);
	dkim_store_close(&s);
}

static void
test_damage(void)
{
	static const char *const lines[] = { "a.test s rsa-sha256 active 1 1", "a.test s rsa-sha256 active 1 1 x",
		"a.test s rsa-sha1 active 1 1 0", "a.test s rsa-sha256 gone 1 1 0", "a.test ../x rsa-sha256 active 1 1 0",
		"../a s rsa-sha256 active 1 1 0", "a.test s rsa-sha256 active -1 1 0", "junk" };
	struct dkim_store s;
	struct err e;
	char path[64];

	snprintf(path, sizeof(path), "%s/dkim", state);
	int dir = open(path, O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct buf b = BUF_INIT(4096);
		buf_printf(&b, "# heading\n\n%s\n", lines[i]);
		durable_replace(dir, "index", buf_view(&b), &e);
		ok(dkim_store_open(&s, state, false, &e) < 0 && strstr(e.text, "/dkim/index:3: not a line"),
		    "%s: %s", lines[i], e.text);
		buf_free(&b);
	}
	durable_replace(dir, "index", VIEW(""), &e);
	chmod(path, 0750);
	ok(dkim_store_open(&s, state, false, &e) < 0 && strstr(e.text, "chmod 700"), "%s", e.text);
	chmod(path, 0700);
	close(dir);
}

/* Who changes holds the lock: another one waits, and sees what was changed. */
static void
test_lock(void)
{
	struct dkim_store s, t;
	struct err e;
	int gate[2];
	char c;

	if (pipe(gate) < 0)
		exit(1);
	dkim_store_open(&s, state, true, &e);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		dkim_store_close(&s);
		if (write(gate[1], "x", 1) != 1 || dkim_store_open(&t, state, true, &e) < 0)
			_exit(2);
		_exit(dkim_store_find(&t, VIEW("late.test"), VIEW("s")) ? 0 : 1);
	}
	(void)!read(gate[0], &c, 1);
	usleep(50000);
	add(&s, "late.test", "s", DKIM_RSA_SHA256);
	dkim_store_save(&s, &e);
	dkim_store_close(&s);
	int status;
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a second change waits for the first");
}

int
main(void)
{
	char command[128];

	if (mkdtemp(state) == NULL)
		return 1;
	test_life();
	test_names();
	test_damage();
	test_lock();
	snprintf(command, sizeof(command), "rm -rf %s", state);
	return system(command) == 0 ? done_testing() : 1;
}
