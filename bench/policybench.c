/* SPDX-License-Identifier: ISC */
/*
 * How many decisions a second authd makes on one core: real records in Berkeley DB, quotas with their
 * trail, the same functions that answer smtpd, without the channel. A decision is one AUTH, one MAIL or
 * one recipient.
 *
 *	policybench [TENANTS [SECONDS]]		default 1000 10
 *
 * Prints one line for each kind, and the whole: a message with two recipients is one MAIL, two
 * recipients and the end of its reservation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authd/contain.h"
#include "authd/grant.h"

enum { NAME = 32 };

struct bench {
	struct authd d;
	struct daemon daemon;
	struct conf conf;
	unsigned tenants, next;
	uint64_t seconds;
	char secret[SECRET_CHARS + 1];
	char dir[64];
};

static void
die(const char *what, const struct err *e)
{
	fprintf(stderr, "policybench: %s: %s\n", what, e->text);
	exit(1);
}

/* One key and one domain a tenant; all keys have one secret, whose derivation is not what is measured. */
static void
fill(struct bench *b)
{
	struct authd_store *s = b->d.store;
	struct record_key k = { .rights = RIGHT_SEND, .pattern = "bulk-" };
	char name[NAME];
	struct err e;

	if (secret_text(b->secret, SECRET_CHARS, &e) < 0 ||
	    secret_derive(&b->d.hasher, view_str(b->secret), &k, &e) < 0 || store_begin(s, &e) < 0)
		die("fill", &e);
	for (unsigned i = 0; i < b->tenants; i++) {
		struct record_tenant t = { .enabled = true, .quota_hour = 4000000000u,
			.rcpt_day = 4000000000u };
		struct record_domain d = { .verified = true };
		snprintf(name, sizeof(name), "t%u", i);
		snprintf(k.tenant, sizeof(k.tenant), "%s", name);
		snprintf(d.tenant, sizeof(d.tenant), "%s", name);
		k.serial = i + 1;
		if (store_put_tenant(s, view_str(name), &t, &e) < 0)
			die("tenant", &e);
		snprintf(name, sizeof(name), "user%u", i);
		if (store_put_key(s, view_str(name), &k, &e) < 0)
			die("key", &e);
		snprintf(name, sizeof(name), "d%u.example", i);
		if (store_put_domain(s, view_str(name), &d, &e) < 0)
			die("domain", &e);
	}
	if (store_commit(s, &e) < 0)
		die("commit", &e);
}

static void
names(struct bench *b, char tenant[NAME], char user[NAME], char sender[NAME])
{
	unsigned i = (b->next += 7919) % b->tenants;

	snprintf(tenant, NAME, "t%u", i);
	snprintf(user, NAME, "user%u", i);
	snprintf(sender, NAME, "a@d%u.example", i);
}

static unsigned
one_auth(struct bench *b)
{
	char tenant[NAME], user[NAME], sender[NAME];
	struct check_identity id;
	struct policy_reply r;

	names(b, tenant, user, sender);
	struct check_login login = { .user = view_str(user), .client = VIEW("192.0.2.1"),
		.secret = view_str(b->secret), .now_us = 1 };
	check_auth(b->d.store, &b->d.hasher, &login, &id, &r);
	if (r.code != 235)
		abort();
	return 1;
}

/* ATTACKS E2: neither may show in the time. */
static void
refused(struct bench *b, struct view user)
{
	struct check_identity id;
	struct policy_reply r;
	struct check_login login = { .user = user, .client = VIEW("192.0.2.1"),
		.secret = VIEW("abcdefghijklmnopqrstuvwxyz234567abcdefgh"), .now_us = 1 };

	check_auth(b->d.store, &b->d.hasher, &login, &id, &r);
	if (r.code != 535)
		abort();
}

static unsigned
wrong_secret(struct bench *b)
{
	char tenant[NAME], user[NAME], sender[NAME];

	names(b, tenant, user, sender);
	refused(b, view_str(user));
	return 1;
}

static unsigned
unknown_user(struct bench *b)
{
	char tenant[NAME], user[NAME], sender[NAME];

	names(b, tenant, user, sender);
	strcat(user, "x"); /* a neighbour: the same pages are read */
	refused(b, view_str(user));
	return 1;
}

static unsigned
one_message(struct bench *b)
{
	char tenant[NAME], user[NAME], sender[NAME];
	struct check_records found;
	struct policy_reply r;
	struct grant g;
	bool hold = false;

	names(b, tenant, user, sender);
	const struct check_sender q = { .tenant = view_str(tenant), .user = view_str(user),
		.client = VIEW("192.0.2.1"), .sender = view_str(sender), .now_us = 1 };
	check_mail(b->d.store, &q, &found, &r);
	grant_mail(&b->d, &q, &found, &g, &r);
	if (r.code != 250 || !g.check_rcpts)
		abort();
	for (int i = 0; i < 2; i++)
		grant_rcpt(&b->d, &found, q.tenant, q.user, &hold, &r);
	grant_end(&b->d, &(struct ipc_txn_end){ .tenant = q.tenant, .user = q.user,
	    .reserved_s = g.reserved_s, .stored = true, .rcpts = 2, .reserved = 2 });
	return 3;
}

/* The trail is written once a second, as the daemon does. */
static void
measure(struct bench *b, const char *what, unsigned (*one)(struct bench *b))
{
	uint64_t start = clock_mono_us(), end = start + b->seconds * 1000000 / 2, now, flush = start;
	uint64_t done = 0;

	while ((now = clock_mono_us()) < end) {
		for (int i = 0; i < 256; i++)
			done += one(b);
		if (now - flush >= USAGE_FLUSH_MS * 1000ull) {
			flush = now;
			b->d.usages.timer.fire(&b->d.usages.timer);
		}
	}
	printf("%-36s %9.0f decisions/s\n", what, (double)done * 1e6 / (double)(now - start));
}

int
main(int argc, char **argv)
{
	struct bench b = { .tenants = argc > 1 ? (unsigned)atoi(argv[1]) : 1000,
		.seconds = argc > 2 ? (uint64_t)atoi(argv[2]) : 10, .dir = "/tmp/policybench-XXXXXX" };
	char command[128];
	struct err e = { .text = "" };

	if (b.tenants == 0 || mkdtemp(b.dir) == NULL)
		return 1;
	b.daemon.loop = loop_new();
	b.daemon.conf = &b.conf;
	b.d.daemon = &b.daemon;
	b.d.store = store_open(b.dir, &e);
	if (b.d.store == NULL || hasher_open(&b.d.hasher, &e) < 0 ||
	    usages_open(&b.d.usages, b.daemon.loop, b.d.store, &e) < 0)
		die("start", &e);
	snprintf(b.d.set.bounce_domain, sizeof(b.d.set.bounce_domain), "bounce.example");
	fill(&b);
	measure(&b, "AUTH", one_auth);
	measure(&b, "AUTH, wrong secret", wrong_secret);
	measure(&b, "AUTH, unknown user", unknown_user);
	measure(&b, "MAIL, 2 recipients, end", one_message);
	usages_close(&b.d.usages);
	store_close(&b.d.store);
	snprintf(command, sizeof(command), "rm -rf %s", b.dir);
	return system(command) == 0 ? 0 : 1;
}
