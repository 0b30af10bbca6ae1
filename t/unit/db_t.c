/* SPDX-License-Identifier: ISC */
/* lib/db: transactions, indexes, ownership, damage, and kill -9 at any moment. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/db.h"
#include "lib/loop.h"
#include "t/tap.h"

enum { CACHE = 1 << 20, ROUNDS = 30 };

static char top[] = "/tmp/ekiden-db-XXXXXX";

static char *
path_of(const char *name)
{
	char *p;
	if (asprintf(&p, "%s/%s", top, name) < 0)
		abort();
	return p;
}

static void
remove_tree(const char *path)
{
	DIR *d = opendir(path);

	for (struct dirent *f; d && (f = readdir(d)) != NULL;) {
		char *p;
		if (f->d_name[0] == '.' || asprintf(&p, "%s/%s", path, f->d_name) < 0)
			continue;
		if (unlink(p) < 0)
			remove_tree(p);
		free(p);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

static struct db_env *
must_open(const char *dir)
{
	struct err e;
	struct db_env *env = db_env_open(dir, CACHE, &e);

	if (env == NULL) {
		printf("Bail out! %s\n", e.text);
		exit(1);
	}
	return env;
}

static struct db *
must_db(struct db_env *env, const char *name)
{
	struct err e;
	struct db *db = db_open(env, name, &e);

	if (db == NULL) {
		printf("Bail out! %s\n", e.text);
		exit(1);
	}
	return db;
}

/* Values "colour:rest" are indexed by colour; those without a colon are not. */
static bool
by_colour(struct view key, struct view value, struct buf *out)
{
	ptrdiff_t at = view_index(value, ':');

	(void)key;
	if (at >= 0)
		buf_putv(out, view_first(value, (size_t)at));
	return at >= 0;
}

/* All rows from `start` as "key=value,"; with an index "key/primary=value,". */
static const char *
rows(struct db *db, const char *start, bool index, struct buf *out)
{
	struct err e;
	struct view k, p, v;
	struct db_cursor *c = db_cursor(db, NULL, view_str(start), &e);

	buf_clear(out);
	while (db_next(c, &k, &p, &v, &e) == 1) {
		buf_putv(out, k);
		if (index) {
			buf_putc(out, '/');
			buf_putv(out, p);
		}
		buf_putc(out, '=');
		buf_putv(out, v);
		buf_putc(out, ',');
	}
	db_cursor_close(&c);
	return buf_cstr(out);
}

static void
test_records(void)
{
	char *dir = path_of("records");
	struct db_env *env = must_open(dir);
	struct db *db = must_db(env, "a");
	struct buf out = BUF_INIT(1 << 20);
	struct view v;
	struct err e;

	is_int(db_get(db, NULL, VIEW("x"), &v, &e), 0, "nothing there");
	is_str(rows(db, "", false, &out), "", "no rows in an empty database");
	is_int(db_put(db, NULL, VIEW("b"), VIEW("2"), &e), 0, "put");
	ok(db_env_dirty(env), "dirty after a put");
	is_int(db_env_sync(env, &e), 0, "sync");
	ok(!db_env_dirty(env), "clean after a sync");
	db_put(db, NULL, VIEW("a"), VIEW("1"), &e);
	db_put(db, NULL, VIEW("a\0z"), VIEW(""), &e);
	db_put(db, NULL, VIEW("\xff"), VIEW("9"), &e);
	db_put(db, NULL, VIEW("b"), VIEW("3"), &e);
	is_int(db_get(db, NULL, VIEW("b"), &v, &e), 1, "found");
	is_view(v, "3", "the later value");
	is_int(db_get(db, NULL, VIEW("a\0z"), &v, &e), 1, "a NUL in a key");
	is_int((long long)v.n, 0, "an empty value");
	is_int(db_del(db, NULL, VIEW("a\0z"), &e), 1, "deleted");
	is_int(db_del(db, NULL, VIEW("a\0z"), &e), 0, "not there to delete");
	is_str(rows(db, "", false, &out), "a=1,b=3,\xff=9,", "bytewise order");
	is_str(rows(db, "aa", false, &out), "b=3,\xff=9,", "from a key on");
	is_str(rows(db, "\xff\xff", false, &out), "", "from behind the last key");
	db_close(&db);
	db_env_close(&env);

	env = must_open(dir);
	db = must_db(env, "a");
	is_str(rows(db, "", false, &out), "a=1,b=3,\xff=9,", "the same after opening again");
	db_close(&db);
	db_env_close(&env);
	buf_free(&out);
	free(dir);
}

static void
test_txn(void)
{
	char *dir = path_of("txn");
	struct db_env *env = must_open(dir);
	struct db *db = must_db(env, "a");
	struct buf out = BUF_INIT(1 << 20);
	struct view v, k;
	struct err e;

	struct db_txn *t = db_begin(env, &e);
	ok(db_begin(env, &e) == NULL && e.class == ERR_BUG, "one transaction at a time");
	is_int(db_put(db, NULL, VIEW("x"), VIEW("1"), &e), -1, "no write beside it");
	is_int(db_put(db, t, VIEW("x"), VIEW("1"), &e), 0, "put within it");
	is_int(
	    db_get(db, NULL, VIEW("x"), &v, &e), 1, "readable before the commit, without a wait");
	struct db_cursor *c = db_cursor(db, NULL, VIEW(""), &e);
	is_int(db_next(c, &k, NULL, &v, &e), 1, "a cursor as well");
	db_abort(&t);
	ok(t == NULL, "gone");
	is_int(db_next(c, &k, NULL, &v, &e), -1, "the cursor does not outlive the abort");
	db_cursor_close(&c);
	is_int(db_get(db, NULL, VIEW("x"), &v, &e), 0, "nothing of it is left");

	/* More than the cache and the log buffer hold. */
	char key[16], value[512];
	memset(value, 'v', sizeof(value));
	t = db_begin(env, &e);
	int rc = 0;
	for (int i = 0; i < 20000 && rc == 0; i++) {
		snprintf(key, sizeof(key), "%08d", i);
		rc = db_put(db, t, view_str(key), view_of(value, sizeof(value)), &e);
	}
	is_int(rc, 0, "20000 records in one transaction");
	db_abort(&t);
	is_str(rows(db, "", false, &out), "", "and none of them after an abort");
	t = db_begin(env, &e);
	for (int i = 0; i < 20000; i++) {
		snprintf(key, sizeof(key), "%08d", i);
		db_put(db, t, view_str(key), view_of(value, sizeof(value)), &e);
	}
	is_int(db_commit(&t, &e), 0, "commit of 20000 records");

	int seen = 0;
	c = db_cursor(db, NULL, VIEW(""), &e);
	while (db_next(c, &k, NULL, NULL, &e) == 1 && ++seen)
		db_del(db, NULL, view_first(view_of(memcpy(key, k.p, 8), 8), 8), &e);
	db_cursor_close(&c);
	is_int(seen, 20000, "a cursor goes on over what is deleted under it");
	is_str(rows(db, "", false, &out), "", "all deleted");
	is_int(db_env_checkpoint(env, &e), 0, "checkpoint");
	db_close(&db);
	db_env_close(&env);

	int logs = 0;
	DIR *d = opendir(dir);
	for (struct dirent *f; (f = readdir(d)) != NULL;)
		logs += strncmp(f->d_name, "log.", 4) == 0;
	closedir(d);
	is_int(logs, 1, "a checkpoint removes the log files that nobody needs");
	buf_free(&out);
	free(dir);
}

static void
test_index(void)
{
	char *dir = path_of("index");
	struct db_env *env = must_open(dir);
	struct db *db = must_db(env, "a");
	struct buf out = BUF_INIT(1 << 20);
	struct view v;
	struct err e;

	db_put(db, NULL, VIEW("1"), VIEW("red:one"), &e);
	struct db *ix = db_open_index(env, "a-colour", db, by_colour, &e);
	ok(ix != NULL, "open an index");
	is_str(rows(ix, "", true, &out), "red/1=red:one,", "a new index knows the old records");
	db_put(db, NULL, VIEW("2"), VIEW("blue:two"), &e);
	db_put(db, NULL, VIEW("3"), VIEW("red:three"), &e);
	db_put(db, NULL, VIEW("4"), VIEW("colourless"), &e);
	is_str(rows(ix, "", true, &out), "blue/2=blue:two,red/1=red:one,red/3=red:three,", "rows");
	is_str(rows(ix, "c", true, &out), "red/1=red:one,red/3=red:three,", "from a key on");
	db_put(db, NULL, VIEW("1"), VIEW("blue:one"), &e);
	db_put(db, NULL, VIEW("4"), VIEW("red:four"), &e);
	db_del(db, NULL, VIEW("2"), &e);
	is_str(rows(ix, "", true, &out), "blue/1=blue:one,red/3=red:three,red/4=red:four,",
	    "follows changes");
	struct db_txn *t = db_begin(env, &e);
	db_put(db, t, VIEW("5"), VIEW("green:five"), &e);
	db_abort(&t);
	is_str(rows(ix, "d", true, &out), "red/3=red:three,red/4=red:four,", "and aborts");
	is_int(db_get(ix, NULL, VIEW("blue"), &v, &e), 1, "get through the index");
	is_view(v, "blue:one", "gives the record");
	ok(db_put(ix, NULL, VIEW("x"), VIEW("y"), &e) < 0 && e.class == ERR_BUG, "no direct put");
	db_close(&ix);
	db_close(&db);
	db_env_close(&env);
	buf_free(&out);
	free(dir);
}

static void
test_owner(void)
{
	char *dir = path_of("owner");
	struct db_env *env = must_open(dir);
	struct err e;

	ok(db_env_open(dir, CACHE, &e) == NULL, "a second owner is refused");
	ok(strstr(e.text, "in use by another process (pid ") != NULL, "and told why: %s", e.text);
	db_env_close(&env);
	env = must_open(dir);
	db_env_close(&env);
	ok(env == NULL, "free again after the first is gone");

	ok(db_env_open("/nonexistent/folder", CACHE, &e) == NULL, "no folder: %s", e.text);
	if (geteuid() != 0 || chown(dir, 12345, 12345) < 0) {
		skip(1, "needs root");
	} else {
		env = db_env_open(dir, CACHE, &e);
		ok(env == NULL, "root does not leave its files in another user's folder: %s",
		    e.text);
	}
	free(dir);
}

/* As the daemons do it: chroot, then the current folder. */
static void
test_chroot(void)
{
	int status = -1;

	if (geteuid() != 0) {
		skip(1, "needs root");
		return;
	}
	char *dir = path_of("chroot");
	mkdir(dir, 0700);
	pid_t pid = fork();
	if (pid == 0) {
		struct err e;
		if (chroot(dir) < 0 || chdir("/") < 0)
			_exit(2);
		struct db_env *env = db_env_open(".", CACHE, &e);
		struct db *db = env ? db_open(env, "a", &e) : NULL;
		bool good = db && db_put(db, NULL, VIEW("k"), VIEW("v"), &e) == 0 &&
		    db_env_checkpoint(env, &e) == 0;
		db_close(&db);
		db_env_close(&env);
		_exit(good ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "works in a chroot");
	free(dir);
}

static void
flip_byte(const char *path, off_t at)
{
	char c;
	int fd = open(path, O_RDWR);

	if (fd < 0 || pread(fd, &c, 1, at) != 1)
		abort();
	c = (char)(c ^ 0x55);
	if (pwrite(fd, &c, 1, at) != 1)
		abort();
	close(fd);
}

static void
test_damage(void)
{
	char *dir = path_of("damage"), *file = path_of("damage/a.db"), *said = path_of("stderr");
	struct db_env *env = must_open(dir);
	struct db *db = must_db(env, "a");
	struct view v;
	struct err e;

	db_put(db, NULL, VIEW("key"), VIEW("a value that is on the page"), &e);
	db_env_checkpoint(env, &e);
	db_close(&db);
	db_env_close(&env);
	flip_byte(file, 4096 + 4090);

	fflush(stderr);
	int keep = dup(2), fd = open(said, O_RDWR | O_CREAT, 0600);
	dup2(fd, 2);
	env = must_open(dir);
	db = db_open(env, "a", &e);
	int rc = db ? db_get(db, NULL, VIEW("key"), &v, &e) : -1;
	dup2(keep, 2);
	close(keep);
	is_int(rc, -1, "a damaged page is an error, not an answer: %s", e.text);
	is_int(lseek(fd, 0, SEEK_END), 0, "libdb says nothing on stderr");
	close(fd);
	if (db) {
		is_int(db_put(db, NULL, VIEW("k"), VIEW("v"), &e), -1, "no writes after it");
		ok(db_env_dead(env), "and the owner can tell");
		db_close(&db);
	}
	db_env_close(&env);
	free(dir);
	free(file);
	free(said);
}

/* Writes numbered records in pairs, syncs, and reports how far it is safe. Never returns. */
static _Noreturn void
crash_child(const char *dir, uint64_t from, int report)
{
	char value[300];
	struct err e;
	struct db_env *env = db_env_open(dir, CACHE, &e);
	struct db *db = env ? db_open(env, "a", &e) : NULL;
	struct db *ix = db ? db_open_index(env, "a-colour", db, by_colour, &e) : NULL;

	if (ix == NULL)
		_exit(1);
	for (uint64_t n = from;;) {
		struct db_txn *t = db_begin(env, &e);
		for (int i = 0; i < 40; i++, n++) {
			struct buf key = BUF_INIT(8);
			buf_put_u64(&key, n);
			int len = snprintf(value, sizeof(value), "%s:%0*d", n % 3 ? "red" : "blue",
			    (int)(n % 250) + 1, 0);
			if (db_put(db, t, buf_view(&key), view_of(value, (size_t)len), &e) < 0)
				_exit(1);
			buf_free(&key);
		}
		if (db_commit(&t, &e) < 0 || db_env_sync(env, &e) < 0 ||
		    write(report, &n, sizeof(n)) != sizeof(n))
			_exit(1);
		if (n % 1000 == 0 && db_env_checkpoint(env, &e) < 0)
			_exit(1);
	}
}

/* Number of records, or 0 - 1 when there is a gap or the index disagrees. */
static uint64_t
count_records(struct db *db, struct db *ix)
{
	uint64_t n = 0, in_index = 0;
	struct view k, p, v;
	struct err e;
	struct db_cursor *c = db_cursor(db, NULL, VIEW(""), &e);

	while (db_next(c, &k, NULL, &v, &e) == 1)
		if (view_get_u64(&k) != n++)
			return UINT64_MAX;
	db_cursor_close(&c);
	c = db_cursor(ix, NULL, VIEW(""), &e);
	while (db_next(c, &k, &p, &v, &e) == 1)
		in_index++;
	db_cursor_close(&c);
	return n == in_index ? n : UINT64_MAX;
}

static void
crash_round(const char *dir, int round, uint64_t *have)
{
	uint64_t safe = *have, n;
	int fds[2], status;

	if (pipe(fds) < 0)
		abort();
	pid_t pid = fork();
	if (pid == 0) {
		close(fds[0]);
		crash_child(dir, *have, fds[1]);
	}
	close(fds[1]);
	/* From before the first write to well into the checkpoints. */
	struct timespec wait = { 0, (round * 2654435761u) % 100 * 1000000 };
	nanosleep(&wait, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	while (read(fds[0], &n, sizeof(n)) == sizeof(n))
		safe = n;
	close(fds[0]);

	struct err e;
	struct db_env *env = must_open(dir);
	struct db *db = must_db(env, "a");
	struct db *ix = db_open_index(env, "a-colour", db, by_colour, &e);
	n = ix ? count_records(db, ix) : UINT64_MAX;
	ok(WIFSIGNALED(status) && n != UINT64_MAX && n >= safe && n % 40 == 0,
	    "round %d: synced %llu, found %llu after kill -9", round, (unsigned long long)safe,
	    (unsigned long long)n);
	*have = n;
	db_close(&ix);
	db_close(&db);
	db_env_close(&env);
}

static void
test_crash(void)
{
	char *dir = path_of("crash");
	uint64_t have = 0, total = 0;

	for (int round = 1; round <= ROUNDS; round++) {
		/* Also while everything is new. */
		if (round % 5 == 0) {
			total += have;
			remove_tree(dir);
			have = 0;
		}
		crash_round(dir, round, &have);
	}
	ok(total + have > 0, "the child got to write");
	free(dir);
}

#ifdef EKIDEN_FAULTS
/* Two transactions, "one" and "two"; the second one meets the fault. */
static bool
fail_once(struct db_env *env, struct db *db, struct err *e)
{
	int rc = 0;

	for (int i = 0; i < 2; i++) {
		struct db_txn *t = db_begin(env, e);
		db_put(db, t, i ? VIEW("two") : VIEW("one"), VIEW("x"), e);
		rc = db_commit(&t, e);
		rc = rc == 0 ? db_env_checkpoint(env, e) : rc;
		if (i == 0 && rc < 0)
			return false;
	}
	return rc < 0;
}

static bool
has(struct db *db, const char *key)
{
	struct view v;
	struct err e;

	return db_get(db, NULL, view_str(key), &v, &e) == 1;
}

static _Noreturn void
fail_child(const char *dir, bool full)
{
	struct err e;
	struct db_env *env = must_open(dir);
	struct db *db = must_db(env, "a");
	bool good = fail_once(env, db, &e) && db_env_dead(env) == !full;

	if (full)
		good = good && strstr(e.text, "No space left") && e.esc.detail == 1 &&
		       has(db, "one") && db_put(db, NULL, VIEW("three"), VIEW("x"), &e) == 0 &&
		       db_env_checkpoint(env, &e) == 0;
	else
		good = good && !has(db, "one") && db_begin(env, &e) == NULL &&
		    db_env_sync(env, &e) < 0 && db_put(db, NULL, VIEW("k"), VIEW("v"), &e) < 0;
	db_close(&db);
	db_env_close(&env);
	env = must_open(dir);
	db = must_db(env, "a");
	good = good && has(db, "one") && has(db, "three") == full && !has(db, "k");
	db_close(&db);
	db_env_close(&env);
	_exit(good ? 0 : 1);
}
#endif

/* A full disk is overcome; after anything else only opening anew helps. What was synced is there.
 */
static void
test_failure(const char *point, const char *how)
{
#ifdef EKIDEN_FAULTS
	char fault[64], *dir;
	int status = -1;

	snprintf(fault, sizeof(fault), "%s:2:%s", point, how);
	dir = path_of(fault);
	pid_t pid = fork();
	if (pid == 0) {
		setenv("EKIDEN_FAULT", fault, 1);
		fail_child(dir, strcmp(how, "ENOSPC") == 0);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "%s fails with %s", point, how);
	free(dir);
#else
	skip(1, "%s %s: needs a build with fault points", point, how);
#endif
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
	if (mkdtemp(top) == NULL)
		return 1;
	test_failure("db.commit", "ENOSPC");
	test_failure("db.commit", "EIO");
	test_failure("db.sync", "ENOSPC");
	test_failure("db.sync", "EIO");
	test_failure("db.checkpoint", "ENOSPC");
	test_failure("db.checkpoint", "EIO");
	test_records();
	test_txn();
	test_index();
	test_owner();
	test_chroot();
	test_damage();
	test_crash();
	remove_tree(top);
	return done_testing();
}
