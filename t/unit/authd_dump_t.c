/* SPDX-License-Identifier: ISC */
/* Export and import of tenants, keys and domains; a database that is damaged. */
#include "authd/dump.h"
#include "lib/db.h"
#include "t/unit/admin_fixture.h"

enum { TEXT_MAX = 16 << 20 };

/* The lines of an export, owned by out. */
static void export(struct fixture *f, struct buf *out)
{
	struct view rest;

	buf_clear(out);
	is_int(run(f, "export", NULL), 0, "export");
	for (rest = buf_view(&f->rows); rest.n;) {
		struct view line = view_cut(&rest, '\n');
		if (view_starts(line, "content="))
			line = view_skip(line, 8);
		if (line.n)
			buf_printf(out, "%.*s\n", (int)line.n, line.p);
	}
}

/* mtactl sends each line as a value. */
static int
import(struct fixture *f, struct view text, bool dry)
{
	struct buf args = BUF_INIT(TEXT_MAX), frames = BUF_INIT(TEXT_MAX);

	while (text.n)
		IPC_RECORD(&args, ctl_arg, .name = VIEW("file"), .value = view_cut(&text, '\n'));
	if (dry)
		IPC_RECORD(&args, ctl_arg, .name = VIEW("dry-run"));
	run_args(f, "import", buf_view(&args), &frames);
	buf_free(&args);
	buf_free(&frames);
	return f->status;
}

static void
reopen(struct fixture *f, const char *name)
{
	struct buf path = BUF_INIT(256);
	struct err e;

	store_close(&f->store);
	free(f->dir);
	buf_printf(&path, "%s/%s", top, name);
	f->dir = x_strdup(buf_cstr(&path));
	f->store = store_open(f->dir, &e);
	ok(f->store != NULL, "open store %s", name);
	buf_free(&path);
}

static void
fill(struct fixture *f)
{
	run(f, "tenant add", "name", "acme", "enabled", "", NULL);
	run(f, "tenant add", "name", "beta", NULL);
	run(f, "tenant set", "name", "acme", "quota-hour", "500", "rcpt-day", "none", "networks",
	    "192.0.2.0/24,2001:db8::/32", "header-from", "tenant", NULL);
	run(f, "tenant freeze", "name", "beta", "reason", "late \"payment\" \\ \xe6\x9c\xaa", NULL);
	run(f, "key issue", "tenant", "acme", "user", "gone", NULL);
	run(f, "key revoke", "user", "gone", NULL);
	run(f, "key issue", "tenant", "acme", "user", "zeta:\"x\\", "note", "caf\xc3\xa9", NULL);
	run(f, "key rotate", "user", "zeta:\"x\\", "overlap", "1d", NULL);
	run(f, "key set", "user", "zeta:\"x\\", "pattern", "@", "rights", "send,future", "expires",
	    "2036-01-02T03:04:05Z", "over-quota", "hold", "priority", "3", NULL);
	run(f, "tenant add", "name", "late", NULL);
	run(f, "key issue", "tenant", "late", "user", "orphan", NULL);
	run(f, "tenant delete", "name", "late", "force", "", NULL);
	run(f, "domain add", "tenant", "acme", "domain", "a.example", "verified", "", NULL);
	run(f, "domain set", "domain", "a.example", "rewrite", "@b.example", "hosted", "yes", NULL);
	run(f, "domain add", "tenant", "beta", "domain", "pending.example", NULL);
}

static void
test_round_trip(struct fixture *f, struct buf *first)
{
	struct buf second = BUF_INIT(TEXT_MAX);
	struct record_key k;
	struct err e;

	run(f, "key issue", "tenant", "acme", "user", "alice", NULL);
	char *secret = value_of(f, "secret");
	export(f, first);
	ok(strstr(buf_cstr(first), secret) == NULL, "A6 no secret is in an export");
	ok(strstr(
	       buf_cstr(first), "{\"v\":1,\"type\":\"tenant\",\"name\":\"acme\",\"enabled\":true,"),
	    "a line: %.200s", buf_cstr(first));
	ok(strstr(buf_cstr(first), "\"quota_hour\":500,") &&
		strstr(buf_cstr(first), "\"rcpt_day\":\"none\"") &&
		strstr(buf_cstr(first), "\"networks\":[\"192.0.2.0/24\",\"2001:db8::/32\"]") &&
		strstr(buf_cstr(first), "\"rewrite\":\"@b.example\""),
	    "settings in the words of set");

	reopen(f, "other");
	is_int(import(f, buf_view(first), true), 0, "a dry run");
	is_str(buf_cstr(&f->text), "2 tenants, 4 keys, 2 domains would be imported", "says what");
	run(f, "tenant list", NULL);
	is_int(f->count, 0, "and changes nothing");
	is_int(import(f, buf_view(first), false), 0, "import into a new database");
	is_str(buf_cstr(&f->text), "2 tenants, 4 keys, 2 domains imported", "says what");
	export(f, &second);
	is_str(buf_cstr(&second), buf_cstr(first), "the round trip gives the same");
	is_int(auth(f, "alice", secret), 235, "A6 the hash is good for the same secret");
	is_int(
	    run(f, "key issue", "tenant", "acme", "user", "gone", NULL), 2, "A5 names stay taken");
	is_int(run(f, "key issue", "tenant", "acme", "user", "orphan", NULL), 2,
	    "A5 also those of tenants that are gone");
	run(f, "key issue", "tenant", "acme", "user", "new", NULL);
	store_get_key(f->store, VIEW("new"), &k, &e);
	is_int(k.serial, 5, "serials go on behind those of the export");
	is_int(import(f, buf_view(first), false), 0, "the same again");
	run(f, "key list", NULL);
	is_int(f->count, 5, "what is not in it stays");
	ok(on_disk(top, "admin uid=") && on_disk(top, "2 tenants, 4 keys, 2 domains imported"),
	    "an import is in the log");
	run(f, "audit", NULL);
	ok(strstr(buf_cstr(&f->rows), "command=import ") != NULL, "and in the audit trail");
	buf_free(&second);
	free(secret);
}

/* Lines as a person writes them: what is left out stays, or has its default. */
static void
test_partial(struct fixture *f)
{
	struct record_key before, k;
	struct record_domain d;
	struct err e;

	store_get_key(f->store, VIEW("alice"), &before, &e);
	is_int(import(f,
		   VIEW("\n{\"type\":\"domain\",\"name\":\"c.example\",\"tenant\":\"fresh\"}\n"
			"{\"type\":\"key\",\"name\":\"alice\",\"quota_day\":7}\n"
			"{\"type\":\"key\",\"name\":\"bare\",\"tenant\":\"fresh\"}\n"
			"{\"type\":\"tenant\",\"name\":\"fresh\"}\n"),
		   false),
	    0, "any order, few fields");
	store_get_key(f->store, VIEW("alice"), &k, &e);
	ok(k.quota_day == 7 && memcmp(k.hash, before.hash, DIGEST_BYTES) == 0 &&
		k.serial == before.serial,
	    "other fields stay");
	store_get_key(f->store, VIEW("bare"), &k, &e);
	ok(k.rights == RIGHT_SEND && k.created_us && k.serial > before.serial,
	    "a new key has defaults");
	is_int(auth(f, "bare", ""), 535, "and no secret yet");
	run(f, "key rotate", "user", "bare", NULL);
	char *secret = value_of(f, "secret");
	ok(strlen(secret) == SECRET_CHARS, "rotation gives it one");
	run(f, "tenant show", "name", "fresh", NULL);
	ok(strstr(buf_cstr(&f->rows), "enabled=0") != NULL, "A4 a new tenant is off");
	store_get_domain(f->store, VIEW("c.example"), &d, &e);
	ok(!d.verified && strlen(d.token) == DOMAIN_TOKEN_CHARS,
	    "G2 a new domain is pending, with a token");
	free(secret);
}

static void
test_bad_input(struct fixture *f)
{
	static const struct {
		const char *text, *want; /* the first error */
	} rows[] = {
	    {"{", "line 1: column "},
	    {"[]", "line 1: not an object"},
	    {"{\"type\":\"tenant\"}", "line 1: \"name\" is missing"},
	    {"{\"type\":\"user\",\"name\":\"x\"}", "line 1: \"type\" is not tenant, key or domain"},
	    {"{\"v\":2,\"type\":\"tenant\",\"name\":\"x\"}", "line 1: \"v\" is not 1"},
	    {"{\"type\":\"tenant\",\"name\":\"x y\"}", "line 1: this is no tenant's name"},
	    {"{\"type\":\"tenant\",\"name\":\"x\",\"nmae\":1}", "line 1: a tenant has no \"nmae\""},
	    {"{\"type\":\"tenant\",\"name\":\"x\",\"name\":\"y\"}", "line 1: column "},
	    {"{\"type\":\"tenant\",\"name\":\"x\",\"quota_hour\":-1}",
		"line 1: \"quota_hour\" is not text"},
	    {"{\"type\":\"tenant\",\"name\":\"x\",\"quota_hour\":0}",
		"line 1: \"quota_hour\" is not a number from 1"},
	    {"{\"type\":\"tenant\",\"name\":\"x\",\"networks\":[\"192.0.2.1/24\"]}",
		"line 1: \"networks\" is not a list"},
	    {"{\"type\":\"tenant\",\"name\":\"x\",\"networks\":[7]}",
		"line 1: \"networks\" is not text"},
	    {"{\"type\":\"tenant\",\"name\":\"x\",\"enabled\":1}",
		"line 1: the value of \"enabled\""},
	    {"{\"type\":\"tenant\",\"name\":\"x\",\"created_by\":4294967296}",
		"line 1: the value of \"created_by\""},
	    {"{\"type\":\"tenant\",\"name\":\"x\",\"frozen_reason\":\"a\\nb\"}",
		"line 1: the value of \"frozen_reason\""},
	    {"{\"type\":\"key\",\"name\":\"k\",\"tenant\":\"acme\",\"salt\":\"00\"}",
		"line 1: the value of \"salt\""},
	    {"{\"type\":\"key\",\"name\":\"k\",\"tenant\":\"acme\",\"salt\":"
	     "\"0000000000000000000000000000000G\"}",
		"line 1: the value of \"salt\""},
	    {"{\"type\":\"key\",\"name\":\"k\",\"tenant\":\"acme\",\"pattern\":\"a\\u0000b\"}",
		"line 1: "},
	    {"{\"type\":\"key\",\"name\":\"k k\",\"tenant\":\"acme\"}",
		"line 1: this is no user name"},
	    {"{\"type\":\"key\",\"name\":\"k\",\"tenant\":\"nobody\"}",
		"line 1: there is no tenant nobody"},
	    {"{\"type\":\"key\",\"name\":\"k\"}", "line 1: there is no tenant "},
	    {"{\"type\":\"key\",\"name\":\"alice\",\"tenant\":\"beta\"}",
		"line 1: the user name was issued to another tenant"},
	    {"{\"type\":\"key\",\"name\":\"gone\",\"revoked\":false}",
		"line 1: the key was revoked"},
	    {"{\"type\":\"key\",\"name\":\"k\",\"tenant\":\"acme\",\"orphan\":true}",
		"line 1: an orphan"},
	    {"{\"type\":\"domain\",\"name\":\"A.example\",\"tenant\":\"acme\"}",
		"line 1: this is no domain in lower case"},
	    {"{\"type\":\"domain\",\"name\":\"a.example\",\"tenant\":\"beta\"}",
		"line 1: the domain is registered for another tenant"},
	    {"{\"type\":\"domain\",\"name\":\"z.example\",\"tenant\":\"acme\",\"rewrite\":\"x\"}",
		"line 1: \"rewrite\" is not keep"},
	    {"{\"type\":\"tenant\",\"name\":\"good\"}\n\n{\"type\":\"tenant\",\"name\":\"\"}",
		"line 3: \"name\" is missing"},
	    {"{\"type\":\"key\",\"name\":\"k1\",\"tenant\":\"acme\",\"serial\":900}\n"
	     "{\"type\":\"key\",\"name\":\"k2\",\"tenant\":\"acme\",\"serial\":900}",
		"line 2: two new keys have the same serial"},
	};
	struct buf before = BUF_INIT(TEXT_MAX), after = BUF_INIT(TEXT_MAX);

	export(f, &before);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		is_int(import(f, view_str(rows[i].text), false), 2, "refused");
		ok(strncmp(buf_cstr(&f->text), rows[i].want, strlen(rows[i].want)) == 0,
		    "says %s: %s", rows[i].want, buf_cstr(&f->text));
	}
	is_int(import(f,
		   VIEW("{\"type\":\"tenant\",\"name\":\"good\"}\nx\n{\"type\":\"key\",\"name\":"
			"\"k\",\"tenant\":\"n\"}\n"),
		   false),
	    2, "two errors");
	ok(strstr(buf_cstr(&f->rows), "line=2 error=column") &&
		strstr(buf_cstr(&f->rows), "line=3 error=there is no tenant n"),
	    "all of them are rows: %s", buf_cstr(&f->rows));
	export(f, &after);
	is_str(buf_cstr(&after), buf_cstr(&before), "nothing changed");
	buf_free(&before);
	buf_free(&after);
}

/* Bytes in the middle of a file of the database. */
static void
damage(const struct fixture *f, const char *name, off_t at)
{
	struct buf path = BUF_INIT(256);

	buf_printf(&path, "%s/%s", f->dir, name);
	int fd = open(buf_cstr(&path), O_WRONLY);
	if (fd < 0 || pwrite(fd, "damage", 6, at) != 6)
		abort();
	close(fd);
	buf_free(&path);
}

static void
test_damage(struct fixture *f, const struct buf *backup)
{
	static const struct {
		const char *file;
		off_t at;
	} rows[] = {{"keys.db", 4096 + 2000}, {"tenants.db", 100}, {"domains.db", 4096 + 30},
	    {"keys-by-tenant.db", 4096 + 3000}};
	struct buf copy = BUF_INIT(1024);
	struct record_tenant t;
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char name[16];
		snprintf(name, sizeof(name), "damage%zu", i);
		reopen(f, name);
		import(f, buf_view(backup), false);
		store_close(&f->store);
		damage(f, rows[i].file, rows[i].at);
		f->store = store_open(f->dir, &e);
		ok(f->store == NULL && e.class == ERR_DAMAGED,
		    "%s is found to be damaged at the start", rows[i].file);
		buf_clear(&copy);
		buf_printf(&copy, "%.*s", (int)strcspn(rows[i].file, "."), rows[i].file);
		ok(strstr(e.text, buf_cstr(&copy)) != NULL, "which is told: %s", e.text);
	}

	/* A record that libdb reads and that is none of ours. */
	reopen(f, "record");
	import(f, buf_view(backup), false);
	store_close(&f->store);
	struct db_env *env = db_env_open(f->dir, 1 << 20, &e);
	struct db *db = db_open(env, "domains", &e);
	is_int(db_put(db, NULL, VIEW("bad.example"), VIEW("\1\0\1\0"), &e), 0, "a damaged record");
	db_close(&db);
	db_env_close(&env);
	f->store = store_open(f->dir, &e);
	ok(f->store == NULL && e.class == ERR_DAMAGED, "is found at the start");
	ok(strstr(e.text, "bad.example") && strstr(e.text, "domains"), "which is told: %s", e.text);

	f->store = store_open_damaged(&e);
	run(f, "tenant list", NULL);
	is_int(f->status, 1, "its owner serves nothing");
	ok(strstr(buf_cstr(&f->text), "bad.example"), "but says why: %s", buf_cstr(&f->text));
	is_int(auth(f, "alice", "x"), 454, "AUTH on a damaged database");
	is_int(mail(f, "acme", "alice", "a@a.example"), 451, "MAIL on a damaged database");
	ok(store_begin(f->store, &e) < 0 && store_get_tenant(f->store, VIEW("acme"), &t, &e) < 0 &&
		!store_dead(f->store) && store_checkpoint(f->store, &e) == 0,
	    "and stays as it is");

	reopen(f, "restored");
	is_int(import(f, buf_view(backup), false), 0, "import into a fresh database");
	run(f, "tenant list", NULL);
	is_int(f->count, 2, "restores it");
	buf_free(&copy);
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
	struct buf backup = BUF_INIT(TEXT_MAX);
	struct fixture f;

	if (!fixture_open(&f))
		return 1;
	fill(&f);
	test_round_trip(&f, &backup);
	test_partial(&f);
	test_bad_input(&f);
	test_damage(&f, &backup);
	fixture_close(&f);
	buf_free(&backup);
	return done_testing();
}
