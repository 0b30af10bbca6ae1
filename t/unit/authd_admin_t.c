/* SPDX-License-Identifier: ISC */
/* The admin's commands: tenants, keys, domains. */
#include "t/unit/admin_fixture.h"

static void
test_tenants(struct fixture *f)
{
	is_int(run(f, "tenant add", "name", "acme", "enabled", "", NULL), 0, "tenant add");
	is_int(run(f, "tenant add", "name", "acme", NULL), 2, "twice");
	is_str(buf_cstr(&f->text), "tenant acme is there already", "and why not");
	is_int(run(f, "tenant add", "name", "bad name", NULL), 2, "a bad name is wrong use");
	is_int(run(f, "tenant add", "name", "beta", NULL), 0, "A4 a tenant is off from the start");
	is_int(run(f, "tenant show", "name", "beta", NULL), 0, "tenant show");
	ok(strstr(buf_cstr(&f->rows), "tenant=beta enabled=0 keys=0 domains=0 created=1") != NULL,
	    "shows it: %s", buf_cstr(&f->rows));
	is_int(run(f, "tenant enable", "name", "beta", NULL), 0, "enable");
	is_int(run(f, "tenant enable", "name", "beta", NULL), 0, "enabled already");
	is_int(run(f, "tenant show", "name", "nobody", NULL), 2, "show nobody");
	is_str(buf_cstr(&f->text), "there is no tenant nobody", "says so");
	is_int(run(f, "tenant list", NULL), 0, "tenant list");
	is_int(f->count, 2, "two of them");
}

static void
test_keys(struct fixture *f, const char *dir)
{
	is_int(run(f, "key issue", "tenant", "acme", "user", "alice", "note", "for the web shop",
		   NULL),
	    0, "key issue");
	char *user = value_of(f, "user"), *secret = value_of(f, "secret");
	is_str(user, "alice", "the name chosen (A5)");
	is_int((long long)strlen(secret), SECRET_CHARS, "a secret of the system's (A5)");
	char want[128];
	snprintf(want, sizeof(want), "user=alice secret=%s\n", secret);
	is_str(buf_cstr(&f->rows), want, "user and secret, nothing else");
	is_int(auth(f, "alice", secret), 235, "it works at once");
	is_int(auth(f, "alice", "wrong"), 535, "another one does not");

	is_int(run(f, "key show", "user", "alice", NULL), 0, "key show");
	ok(strstr(buf_cstr(&f->rows), secret) == NULL, "does not show the secret (A6)");
	ok(strstr(buf_cstr(&f->rows), "user=alice tenant=acme state=active") != NULL,
	    "but the rest");
	run(f, "key list", NULL);
	ok(f->count == 1 && strstr(buf_cstr(&f->rows), secret) == NULL, "nor does list (A6)");
	ok(!on_disk(dir, secret), "the secret is in no file of the store (A6)");
	ok(on_disk(dir, "for the web shop"), "(the note is)");
	ok(!on_disk(top, secret) && on_disk(top, "key alice issued"), "nor in the log (atk-E8)");

	is_int(
	    run(f, "key issue", "tenant", "acme", "user", "alice", NULL), 2, "the name again (A5)");
	is_str(buf_cstr(&f->text), "user name alice was issued before: names are never used again",
	    "and why not");
	is_int(run(f, "key issue", "tenant", "acme", "user", "alice-2", NULL), 0, "rotation (A7)");
	char *second = value_of(f, "secret");
	ok(strcmp(secret, second) != 0, "gives another secret (A7)");
	ok(auth(f, "alice", secret) == 235 && auth(f, "alice-2", second) == 235,
	    "they overlap (A7)");

	is_int(run(f, "key revoke", "user", "alice", NULL), 0, "key revoke");
	is_int(auth(f, "alice", secret), 535, "revoked");
	is_int(auth(f, "alice-2", second), 235, "the other one is not");
	is_int(run(f, "key revoke", "user", "alice", NULL), 0, "revoked already");
	is_int(run(f, "key issue", "tenant", "acme", "user", "alice", NULL), 2,
	    "a revoked name is not issued again (A5)");
	ok(strstr(buf_cstr(&f->text), "revoked") != NULL, "and why not: %s", buf_cstr(&f->text));
	is_int(run(f, "key issue", "tenant", "nobody", "user", "x", NULL), 2, "no such tenant");
	is_int(run(f, "key issue", "tenant", "acme", "user", "a b", NULL), 2, "a bad user name");
	is_int(run(f, "key issue", "tenant", "acme", "user", "x", "note", "a\nb", NULL), 2,
	    "bad note");
	is_int(run(f, "key issue", "tenant", "acme", "user", "550e8400-e29b-41d4-a716-446655440000",
		NULL), 0, "a UUID (G7)");
	run(f, "tenant disable", "name", "acme", NULL);
	is_int(auth(f, "alice-2", second), 535, "a tenant that is off cannot log in (A4)");
	run(f, "tenant enable", "name", "acme", NULL);
	is_int(auth(f, "alice-2", second), 235, "on again (A4)");
	free(user);
	free(secret);
	free(second);
}

static void
test_domains(struct fixture *f)
{
	is_int(run(f, "domain add", "tenant", "acme", "domain", "Example.COM.", NULL), 0,
	    "domain add");
	char *name = value_of(f, "txt_name"), *value = value_of(f, "txt_value");
	ok(strstr(buf_cstr(&f->rows), "domain=example.com tenant=acme state=pending ") != NULL,
	    "canonical and pending (G2, G8)");
	is_str(name, "_ekiden-challenge.example.com", "the record to publish (G2)");
	ok(strncmp(value, "ekiden-verify=", 14) == 0 && strlen(value) == 14 + 32, "its value (G2)");
	is_int(mail(f, "acme", "alice-2", "a@example.com"), 550, "pending: no mail yet (G2)");
	run(f, "domain show", "domain", "example.com", NULL);
	ok(strstr(buf_cstr(&f->rows), value) != NULL, "show repeats the record");

	is_int(run(f, "domain verify", "domain", "example.com", NULL), 1,
	    "no look-up without the suite");
	ok(strstr(buf_cstr(&f->text), "running suite") != NULL, "says so: %s", buf_cstr(&f->text));
	is_int(run(f, "domain verify", "domain", "example.com", "force", "", NULL), 0, "--force");
	is_int(mail(f, "acme", "alice-2", "a@example.com"), 250, "verified: mail (G2, G8)");
	is_int(mail(f, "acme", "alice", "a@example.com"), 550, "not with a revoked key");
	is_int(mail(f, "beta", "", "a@example.com"), 550, "not for another tenant (G8)");
	run(f, "domain show", "domain", "EXAMPLE.com", NULL);
	ok(strstr(buf_cstr(&f->rows), "forced=1") && !strstr(buf_cstr(&f->rows), "txt_"), "forced");

	is_int(run(f, "domain add", "tenant", "beta", "domain", "example.com", NULL), 2,
	    "one tenant each");
	is_int(run(f, "domain add", "tenant", "acme", "domain", "\xe4\xbe\x8b\xe3\x81\x88.jp",
		   "verified", "", NULL),
	    0, "an IDN, --verified");
	ok(strstr(buf_cstr(&f->rows), "domain=xn--r8jz45g.jp ") != NULL, "as A-labels (G8)");
	is_int(mail(f, "acme", "alice-2", "a@XN--R8JZ45G.jp"), 250, "usable at once (G8)");
	is_int(
	    run(f, "domain add", "tenant", "acme", "domain", "not a domain", NULL), 2, "wrong use");
	is_int(
	    run(f, "domain add", "tenant", "acme", "domain", "[192.0.2.1]", NULL), 2, "a literal");
	is_int(run(f, "domain list", "tenant", "acme", NULL), 0, "domain list");
	is_int(f->count, 2, "two");
	is_int(run(f, "domain list", "tenant", "beta", NULL), 0, "of another tenant");
	is_int(f->count, 0, "none");
	is_int(run(f, "domain delete", "domain", "example.com", NULL), 0, "domain delete");
	is_int(run(f, "domain delete", "domain", "example.com", NULL), 2, "gone");
	is_int(mail(f, "acme", "alice-2", "a@example.com"), 550, "no mail any more");
	free(name);
	free(value);
}

static void
test_delete(struct fixture *f)
{
	is_int(run(f, "tenant delete", "name", "acme", NULL), 1, "tenant delete with keys in use");
	ok(strstr(buf_cstr(&f->text), "--force") != NULL, "says how: %s", buf_cstr(&f->text));
	is_int(run(f, "tenant delete", "name", "acme", "force", "", NULL), 0, "--force");
	is_int(run(f, "tenant show", "name", "acme", NULL), 2, "gone");
	run(f, "domain list", NULL);
	is_int(f->count, 0, "its domains too");
	run(f, "tenant add", "name", "acme", "enabled", "", NULL);
	run(f, "key list", "tenant", "acme", NULL);
	is_int(f->count, 0, "a new tenant of that name has none of the old keys");
	is_int(run(f, "key issue", "tenant", "acme", "user", "alice-2", NULL), 2,
	    "but their names stay taken (A5)");
	run(f, "key show", "user", "alice-2", NULL);
	ok(strstr(buf_cstr(&f->rows), "state=revoked") != NULL, "as tombstones");
	is_int(
	    run(f, "tenant delete", "name", "acme", NULL), 0, "an unused tenant needs no --force");
}

/* More than one step of a list, and more than one page. */
static void
test_long_list(struct fixture *f)
{
	char user[32];
	int good = 0;

	run(f, "tenant add", "name", "many", NULL);
	run(f, "tenant add", "name", "man", NULL);
	run(f, "tenant add", "name", "many2", NULL);
	run(f, "key issue", "tenant", "man", "user", "m", NULL);
	run(f, "key issue", "tenant", "many2", "user", "m2", NULL);
	for (int i = 0; i < 250; i++) {
		snprintf(user, sizeof(user), "user%03d", i);
		good += run(f, "key issue", "tenant", "many", "user", user, NULL) == 0;
	}
	is_int(good, 250, "250 keys");
	run(f, "key list", "tenant", "many", NULL);
	is_int(f->count, 250, "one tenant's, in several steps");
	ok(strstr(buf_cstr(&f->rows), "user=user000") &&
		strstr(buf_cstr(&f->rows), "user=user249") && !strstr(buf_cstr(&f->rows), "user=m"),
	    "all of them, and no others");
	run(f, "tenant show", "name", "many", NULL);
	ok(strstr(buf_cstr(&f->rows), " keys=250 ") != NULL, "counted");
	is_int(run(f, "tenant delete", "name", "many", "force", "", NULL), 0, "deleted in one go");
	run(f, "key list", "tenant", "many2", NULL);
	is_int(f->count, 1, "neighbours are not touched");
}

int
main(void)
{
	struct fixture f;

	if (!fixture_open(&f))
		return 1;
	test_tenants(&f);
	test_keys(&f, f.dir);
	test_domains(&f);
	test_delete(&f);
	test_long_list(&f);
	ok(on_disk(top, "key alice issued to tenant acme\n") && on_disk(top, "admin uid="),
	    "every change is in the log, with who made it");
	fixture_close(&f);
	return done_testing();
}
