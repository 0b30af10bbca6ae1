/* SPDX-License-Identifier: ISC */
/* The admin's commands: settings, rotation, containment, quotas, the audit trail. */
#include "authd/audit.h"
#include "authd/live.h"
#include "lib/event.h"
#include "t/unit/admin_fixture.h"

/* Runs with one argument besides the name. */
#define SET(f, what, name_arg, name, option, value)                                                \
	run(f, what " set", name_arg, name, option, value, NULL)

static void
shows(struct fixture *f, const char *command, const char *arg, const char *name, const char *field,
    const char *want, const char *id)
{
	run(f, command, arg, name, NULL);
	char *got = value_of(f, field);
	ok(strcmp(got, want) == 0, "%s: %s of %s is %s: %s", id, field, name, want, got);
	free(got);
}

/* What is set and how it is shown then; shown NULL: refused. */
struct row {
	const char *id, *option, *value, *field, *shown;
};

static const struct row tenant_rows[] = {
	{"A29", "quota-hour", "20000", "quota_hour", "20000"},
	{"A29", "rcpt-hour", "none", "rcpt_hour", "none"},
	{"A29", "rcpt-hour", "default", "rcpt_hour", "default"},
	{"G18", "quota-minute", "4294967294", "quota_minute", "4294967294"},
	{"G19", "quota-day", "1", "quota_day", "1"},
	{"G18", "quota-minute", "0", "quota_minute", NULL},
	{"G18", "quota-minute", "4294967295", "quota_minute", NULL},
	{"G18", "quota-minute", "-1", "quota_minute", NULL},
	{"G18", "quota-minute", "10/h", "quota_minute", NULL},
	{"G18", "quota-minute", "", "quota_minute", NULL},
	{"A8", "networks", "192.0.2.0/24,2001:DB8::/32,198.51.100.7", "networks",
	    "192.0.2.0/24,2001:db8::/32,198.51.100.7/32"},
	{"A8", "networks", "192.0.2.1/24", "networks", NULL},
	{"A8", "networks", "192.0.2.0/33", "networks", NULL},
	{"A8", "networks", "192.0.2.0/24,", "networks", NULL},
	{"A8", "networks", ",", "networks", NULL},
	{"A8", "networks", "example.com", "networks", NULL},
	{"A8", "networks", "", "networks", ""},
	{"A22", "header-from", "tenant", "header_from", "tenant"},
	{"A22", "header-from", "any", "header_from", "any"},
	{"A22", "header-from", "some", "header_from", NULL},
	{"J11", "weight", "100", "weight", "100"},
	{"J11", "weight", "0", "weight", NULL},
	{"J11", "weight", "101", "weight", NULL},
	{"J11", "weight", "", "weight", NULL},
};

static const struct row key_rows[] = {
	{"A13", "pattern", "@app.example", "pattern", "@app.example"},
	{"A14", "pattern", ".*", "pattern", ".*"},
	{"A15", "pattern", "@", "pattern", "@"},
	{"A16", "pattern", "", "pattern", ""},
	{"A16", "pattern", "a b", "pattern", NULL},
	{"A16", "pattern", "\xc3\xa4", "pattern", NULL},
	{"G3", "rights", "send,priority", "rights", "send,priority"},
	{"G3", "rights", "none", "rights", "none"},
	{"G3", "rights", "send,admin", "rights", NULL},
	{"G3", "rights", "", "rights", NULL},
	{"A5", "expires", "2036-12-31T23:59:58Z", "expires", "2036-12-31T23:59:58Z"},
	{"A5", "expires", "2036-02-29", "expires", "2036-02-29T00:00:00Z"},
	{"A5", "expires", "never", "expires", "never"},
	{"A5", "expires", "2036-13-01", "expires", NULL},
	{"A5", "expires", "2036-1-1", "expires", NULL},
	{"A5", "expires", "soon", "expires", NULL},
	{"A5", "expires", "0", "expires", NULL},
	{"A29", "over-quota", "hold", "over_quota", "hold"},
	{"A29", "over-quota", "ignore", "over_quota", NULL},
	{"A29", "quota-hour", "none", "quota_hour", "none"},
	{"A29", "quota-hour", "default", "quota_hour", NULL},
	{"A29", "priority", "9", "priority", "9"},
	{"A29", "priority", "10", "priority", NULL},
	{"C11", "retry", "over-night.2", "retry", "over-night.2"},
	{"C11", "retry", "a b", "retry", NULL},
	{"C11", "retry", "", "retry", ""},
	{"A8", "networks", "203.0.113.4", "networks", "203.0.113.4/32"},
	{"A5", "note", "", "note", ""},
	{"A5", "note", "a\tb", "note", NULL},
};

static const struct row domain_rows[] = {
	{"C19", "rewrite", "bounce@example.net", "rewrite", "bounce@example.net"},
	{"C20", "rewrite", "@Example.NET", "rewrite", "@example.net"},
	{"C21", "rewrite", "keep", "rewrite", "keep"},
	{"C22", "rewrite", "default", "rewrite", "default"},
	{"C19", "rewrite", "@", "rewrite", NULL},
	{"C19", "rewrite", "a@", "rewrite", NULL},
	{"C19", "rewrite", "a b@example.net", "rewrite", NULL},
	{"C19", "rewrite", "@[192.0.2.1]", "rewrite", NULL},
	{"C19", "rewrite", "<a@example.net>", "rewrite", NULL},
	{"G11", "hosted", "yes", "hosted", "yes"},
	{"A12", "bounce", "yes", "bounce", "yes"},
	{"A12", "bounce", "no", "bounce", "no"},
	{"A12", "bounce", "1", "bounce", NULL},
};

static void
test_row(struct fixture *f, const char *set, const char *show, const char *arg, const char *name, const struct row *r)
{
	run(f, show, arg, name, NULL);
	char *before = x_strdup(buf_cstr(&f->rows));

	is_int(run(f, set, arg, name, r->option, r->value, NULL), r->shown ? 0 : 2, "a setting");
	if (r->shown) {
		shows(f, show, arg, name, r->field, r->shown, r->id);
	} else {
		ok(strncmp(buf_cstr(&f->text), "--", 2) == 0 && strstr(buf_cstr(&f->text), " is not "),
		    "%s: one clear line: %s", r->id, buf_cstr(&f->text));
		run(f, show, arg, name, NULL);
		is_str(buf_cstr(&f->rows), before, "and nothing changed");
	}
	free(before);
}

#define EACH_ROW(r, rows) (const struct row *r = rows; r < rows + sizeof(rows) / sizeof(*rows); r++)

static void
test_settings(struct fixture *f)
{
	for EACH_ROW(r, tenant_rows)
		test_row(f, "tenant set", "tenant show", "name", "acme", r);
	for EACH_ROW(r, key_rows)
		test_row(f, "key set", "key show", "user", "alice", r);
	for EACH_ROW(r, domain_rows)
		test_row(f, "domain set", "domain show", "domain", "a.example", r);
	is_int(run(f, "tenant set", "name", "acme", "quota-hour", "7", "networks", "x", NULL), 2,
	    "one of two is wrong");
	shows(f, "tenant show", "name", "acme", "quota_hour", "20000", "A29 neither is changed");
	is_int(run(f, "tenant set", "name", "acme", NULL), 2, "nothing to set");
	is_int(SET(f, "tenant", "name", "nobody", "quota-hour", "1"), 2, "no such tenant");
	is_int(SET(f, "key", "user", "nobody", "note", "x"), 2, "no such key");
	is_int(SET(f, "domain", "domain", "b.example", "hosted", "yes"), 2, "no such domain");
}

static void
test_rotation(struct fixture *f)
{
	struct record_key before, k;
	struct err e;

	run(f, "key issue", "tenant", "acme", "user", "turn", NULL);
	char *first = value_of(f, "secret");
	store_get_key(f->store, VIEW("turn"), &before, &e);
	is_int(run(f, "key rotate", "user", "turn", "overlap", "1h", NULL), 0,
	    "A7 rotate with overlap");
	char *second = value_of(f, "secret");
	ok(strlen(second) == SECRET_CHARS && strcmp(first, second) != 0,
	    "A6 A7 a new secret, shown once");
	is_int(auth(f, "turn", second), 235, "A7 the new one works at once");
	store_get_key(f->store, VIEW("turn"), &k, &e);
	ok(memcmp(k.former_hash, before.hash, DIGEST_BYTES) == 0 &&
		memcmp(k.former_salt, before.salt, SALT_BYTES) == 0 &&
		memcmp(k.former_scram_stored_key, before.scram_stored_key, DIGEST_BYTES) == 0 &&
		memcmp(k.former_scram_server_key, before.scram_server_key, DIGEST_BYTES) == 0 &&
		memcmp(k.former_scram_salt, before.scram_salt, SALT_BYTES) == 0 &&
		k.former_scram_iterations == before.scram_iterations,
	    "A7 the whole former verifier is kept");
	ok(k.former_until_us > clock_wall_us() + 3590ull * 1000000 &&
		k.former_until_us <= clock_wall_us() + 3600ull * 1000000,
	    "A7 for the overlap");
	ok(k.serial == before.serial && k.serial != 0, "the serial stays");
	is_int(run(f, "key rotate", "user", "turn", NULL), 0, "rotate without overlap");
	store_get_key(f->store, VIEW("turn"), &k, &e);
	static const unsigned char none[DIGEST_BYTES];
	ok(k.former_until_us == 0 && memcmp(k.former_hash, none, DIGEST_BYTES) == 0,
	    "A7 nothing of the former one stays");
	is_int(auth(f, "turn", second), 535, "A7 the former secret is refused at once");
	ok(!on_disk(top, second) && on_disk(top, "key turn of tenant acme rotated"),
	    "A6 rotation is in the log, secrets are not (atk-E8)");
	is_int(
	    run(f, "key rotate", "user", "turn", "overlap", "91d", NULL), 2, "an overlap too long");
	is_int(run(f, "key rotate", "user", "turn", "overlap", "x", NULL), 2, "no duration");
	is_int(run(f, "key rotate", "user", "nobody", NULL), 2, "nobody");
	run(f, "key revoke", "user", "turn", NULL);
	is_int(run(f, "key rotate", "user", "turn", NULL), 1, "a revoked key has no more secrets");
	is_int(SET(f, "key", "user", "turn", "note", "x"), 1, "and no settings");
	free(first);
	free(second);
}

/* What the running policy would have been told. */
struct heard {
	char text[512], tenant[NAME_BYTES + 1];
	int changes;
	bool there;
};

static void
on_hold(void *ctx, const char *tenant, const char *user, bool on)
{
	struct heard *h = ctx;

	snprintf(h->text, sizeof(h->text), "%s %s/%s", on ? "hold" : "release", tenant, user);
}

static bool
on_purge(void *ctx, const char *tenant, const char *user)
{
	struct heard *h = ctx;

	snprintf(h->text, sizeof(h->text), "purge %s/%s", tenant, user);
	return h->there;
}

static void
on_tenant(void *ctx, struct view name)
{
	struct heard *h = ctx;

	snprintf(h->tenant, sizeof(h->tenant), VIEW_FMT, VIEW_ARG(name));
}

static void
on_changed(void *ctx)
{
	((struct heard *)ctx)->changes++;
}

static void
on_quotas(void *ctx, const char *tenant, const char *user, struct live_quota q[static LIVE_WINDOWS])
{
	(void)ctx;
	memset(q, 0, LIVE_WINDOWS * sizeof(*q));
	if (strcmp(tenant, "acme") != 0)
		return;
	q[LIVE_QUOTA_HOUR] = (struct live_quota){*user ? 100 : 10000, 99, *user ? 1234567 : 0};
	q[LIVE_RCPT_DAY].used = 12;
}

static void
on_pace(void *ctx, const char *tenant, struct live_pace *p)
{
	(void)ctx, (void)tenant;
	*p = (struct live_pace){25, 30, 200, 5000000};
}

static void
test_containment(struct fixture *f)
{
	struct heard h = {.there = true};
	const struct live live = {&h, on_quotas, on_pace, on_hold, on_purge, on_tenant, on_changed};

	is_int(run(f, "key purge", "user", "alice", NULL), 1, "purge of a key that sends");
	store_set_live(f->store, &live);
	is_int(
	    run(f, "key freeze", "user", "alice", "reason", "odd volume", NULL), 0, "key freeze");
	is_str(h.text, "hold acme/alice", "its queue is held");
	is_int(h.changes, 1, "whoever decides hears of a change");
	shows(f, "key show", "user", "alice", "state", "frozen", "containment");
	ok(strstr(buf_cstr(&f->rows), "frozen=1 frozen_reason=odd volume frozen_since=") != NULL,
	    "and why");
	*h.text = '\0';
	is_int(run(f, "key freeze", "user", "alice", NULL), 0, "frozen already");
	is_str(h.text, "", "nothing happens");
	is_int(run(f, "key purge", "user", "alice", NULL), 0, "key purge");
	is_str(h.text, "purge acme/alice", "asks the queue");
	h.there = false;
	is_int(run(f, "key purge", "user", "alice", NULL), 1, "no queue to purge");
	is_int(run(f, "key thaw", "user", "alice", NULL), 0, "key thaw");
	is_str(h.text, "release acme/alice", "its queue goes on");
	shows(f, "key show", "user", "alice", "frozen_reason", "", "containment");
	is_int(run(f, "tenant freeze", "name", "acme", NULL), 0, "tenant freeze");
	is_str(h.text, "hold acme/", "all of the tenant's");
	shows(f, "tenant show", "name", "acme", "frozen", "1", "containment");
	is_int(run(f, "tenant thaw", "name", "acme", NULL), 0, "tenant thaw");
	is_int(run(f, "key freeze", "user", "alice", "reason", "a\nb", NULL), 2, "a bad reason");

	is_int(run(f, "quota show", NULL), 0, "quota show");
	is_str(buf_cstr(&f->rows),
	    "tenant=acme user= quota=quota-hour limit=10000 used=99 frees=\n"
	    "tenant=acme user= quota=rcpt-day limit=0 used=12 frees=\n",
	    "A29 G18 G19 what is in use");
	is_int(run(f, "quota show", "name", "alice", NULL), 0, "of a key");
	ok(f->count == LIVE_WINDOWS &&
		strstr(buf_cstr(&f->rows),
		    "user=alice quota=quota-hour limit=100 used=99 frees=1234567"),
	    "A29 when it frees: %s", buf_cstr(&f->rows));
	is_int(run(f, "quota show", "name", "idle", NULL), 0, "of a tenant");
	is_int(f->count, LIVE_WINDOWS, "all of its quotas");
	is_int(run(f, "quota show", "name", "nobody", NULL), 2, "of nobody");
	run(f, "tenant show", "name", "acme", NULL);
	ok(strstr(buf_cstr(&f->rows),
	       "bounced=30 bounced_of=200 pace_percent=25 slowed_until=5000000"),
	    "A28 how its mail fares: %s", buf_cstr(&f->rows));
	ok(strstr(buf_cstr(&f->rows), "quota-hour 99/10000"), "A29 use in tenant show");
	*h.tenant = '\0';
	is_int(SET(f, "tenant", "name", "acme", "weight", "3"), 0, "a weight");
	is_str(h.tenant, "acme", "J11 the queue hears of it");
	store_set_live(f->store, NULL);
	is_int(run(f, "quota show", NULL), 1, "offline nobody knows");
}

static void
test_audit(struct fixture *f)
{
	struct record_audit a;
	char name[DOMAIN_BYTES + 1] = "";
	struct err e;

	is_int(run(f, "audit", "tenant", "acme", "since", "1h", NULL), 0, "audit");
	ok(strstr(buf_cstr(&f->rows), "uid=") &&
		strstr(buf_cstr(&f->rows),
		    "command=tenant set tenant=acme change=tenant acme: quota-hour=20000\n"),
	    "who changed what, in the words of the command");
	int of_acme = f->count;
	ok(strstr(buf_cstr(&f->rows), "tenant=idle") == NULL, "of one tenant");
	run(f, "audit", NULL);
	ok(f->count > of_acme && strstr(buf_cstr(&f->rows), "change=tenant idle added"), "of all");
	is_int(run(f, "audit", "since", "2100-01-01", NULL), 0, "from a time on");
	is_int(f->count, 0, "there is nothing yet");
	is_int(run(f, "audit", "since", "yesterday", NULL), 2, "no time");
	is_int(run(f, "audit", "tenant", "a b", NULL), 2, "no tenant");

	/* 250 more, a second apart, long ago. */
	int rc = store_begin(f->store, &e);
	for (int i = 0; i < 250; i++) {
		struct record_audit old = {.at_us = 1000000ull * (1000 + i), .uid = 7};
		audit_place(old.at_us + 1, name);
		rc |= store_put_audit(f->store, view_str(name), &old, &e);
	}
	rc |= store_commit(f->store, &e);
	is_int(rc, 0, "old entries");
	int all = (run(f, "audit", NULL), f->count);
	is_int(audit_prune(f->store, 1000000ull * 1100, &e), 100, "pruned by age");
	run(f, "audit", NULL);
	is_int(f->count, all - 100, "the others stay");
	is_int(audit_prune(f->store, 1000000ull * 1100, &e), 0, "nothing more");
	*name = '\0';
	ok(store_next_audit(f->store, NULL, name, &a, &e) == 1 && a.at_us == 1000000ull * 1100,
	    "the oldest one is not older than that");
}

/* The events of the changes: who, which command, what. */
static void
test_event(struct fixture *f)
{
	struct buf path = BUF_INIT(256);
	char want[128];

	buf_printf(&path, "%s/events", top);
	event_open(NULL, open(buf_cstr(&path), O_RDWR | O_CREAT, 0600));
	run(f, "key set", "user", "alice", "pattern", "@", NULL);
	event_flush();
	event_open(NULL, -1);
	snprintf(want, sizeof(want), "\"uid\":%u,\"command\":\"key set\"}", (unsigned)getuid());
	ok(on_disk(top, "\"type\":\"config\"") &&
		on_disk(top, "\"text\":\"key alice: pattern=@\"") && on_disk(top, want),
	    "a change is an event of type config");
	buf_free(&path);
}

/* Keys of a database from before there were serials. */
static void
test_old_keys(struct fixture *f)
{
	struct record_key k;
	struct err e;
	int rc = store_begin(f->store, &e);

	rc |= store_del(f->store, STORE_counter, VIEW("serial"), &e) < 0;
	for (const char *user = "xyz"; *user; user++) {
		rc |= store_get_key(f->store, VIEW("alice"), &k, &e) != 1;
		k.serial = k.rights = 0;
		rc |= store_put_key(f->store, view_first(view_str(user), 1), &k, &e);
	}
	rc |= store_commit(f->store, &e);
	is_int(rc, 0, "keys without serials");
	store_close(&f->store);
	f->store = store_open(f->dir, &e);
	uint32_t seen = 0;
	for (const char *user = "xyz"; *user; user++)
		if (store_get_key(f->store, view_first(view_str(user), 1), &k, &e) == 1 &&
		    k.rights == RIGHT_SEND && k.serial > 0 && k.serial < 32)
			seen |= 1u << k.serial;
	is_int(__builtin_popcount(seen), 3, "each gets a serial of its own, and may send");
	run(f, "key issue", "tenant", "acme", "user", "newest", NULL);
	store_get_key(f->store, VIEW("newest"), &k, &e);
	ok(k.serial < 32 && !(seen & 1u << k.serial), "a new one gets another");
}

int
main(void)
{
	struct fixture f;

	if (!fixture_open(&f))
		return 1;
	run(&f, "tenant add", "name", "acme", "enabled", "", NULL);
	run(&f, "tenant add", "name", "idle", NULL);
	run(&f, "key issue", "tenant", "acme", "user", "alice", NULL);
	run(&f, "domain add", "tenant", "acme", "domain", "a.example", "verified", "", NULL);
	test_settings(&f);
	test_rotation(&f);
	test_containment(&f);
	test_audit(&f);
	test_event(&f);
	test_old_keys(&f);
	fixture_close(&f);
	return done_testing();
}
