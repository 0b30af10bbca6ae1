/* SPDX-License-Identifier: ISC */
/* authd: decisions, secrets, records, and the questions of smtpd against a real store. */
#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "authd/check.h"
#include "authd/grant.h"
#include "t/tap.h"

static char top[] = "/tmp/ekiden-authd-XXXXXX";

/* "550 5.7.1 text" as smtpd would say it. */
static const char *
reply_line(const struct policy_reply *r, struct buf *out)
{
	char esc[ESC_TEXT_MAX];

	buf_clear(out);
	buf_printf(
	    out, "%u %s%s%s", r->code, esc_text(r->esc, esc), r->esc.class ? " " : "", r->text);
	return buf_cstr(out);
}

#define A_KEY .key_known = true
#define A_TENANT .tenant_known = true, .tenant_enabled = true
#define ALL_GOOD A_KEY, A_TENANT, .secret_ok = true
#define REFUSED "535 5.7.8 Error: authentication failed"

static void
test_auth_rows(void)
{
	static const struct {
		struct policy_auth f;
		const char *line, *why;
	} rows[] = {
	    {{ALL_GOOD}, "235 2.7.0 Authentication successful", ""},
	    {{.key_known = false}, REFUSED, "unknown user"},
	    {{A_KEY, A_TENANT}, REFUSED, "wrong secret"},
	    {{ALL_GOOD, .key_revoked = true}, REFUSED, "key is revoked"},
	    {{A_KEY, .tenant_known = true, .secret_ok = true}, REFUSED, "tenant is disabled"},
	    {{A_KEY, .secret_ok = true}, REFUSED, "tenant does not exist"},
	    {{ALL_GOOD, .key_expired = true}, REFUSED, "key has expired"},
	    {{ALL_GOOD, .key_frozen = true}, REFUSED, "key is frozen"},
	    {{ALL_GOOD, .tenant_frozen = true}, REFUSED, "tenant is frozen"},
	    {{ALL_GOOD, .no_right = true}, REFUSED, "key has no right to send"},
	    {{ALL_GOOD, .outside = true}, REFUSED, "address is outside of the allowed networks"},
	    {{A_KEY, A_TENANT, .outside = true}, REFUSED, "wrong secret"},
	    {{.store_failed = true}, "454 4.7.0 Temporary authentication failure", "store failed"},
	};
	struct buf out = BUF_INIT(1024);
	struct policy_reply r;
	int wrong = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		policy_auth(&rows[i].f, &r);
		is_str(reply_line(&r, &out), rows[i].line, "AUTH row %zu (A4, A8, G3)", i);
		is_str(r.why, rows[i].why, "its reason, for the log");
	}
	for (unsigned bits = 0; bits < 2048; bits++) {
		struct policy_auth f = { bits & 1, bits & 2, bits & 4, bits & 8, bits & 16,
			bits & 32, bits & 64, bits & 128, bits & 256, bits & 512, bits & 1024 };
		policy_auth(&f, &r);
		const char *want = bits & 1 ? "454 4.7.0 Temporary authentication failure" :
		    bits == 2 + 8 + 16 + 32 ? "235 2.7.0 Authentication successful" :
					      REFUSED;
		wrong += strcmp(reply_line(&r, &out), want) != 0;
	}
	is_int(wrong, 0, "one set of facts grants, every refusal looks the same (2048 combinations)");
	buf_free(&out);
}

#define NOT_ENABLED                                                                                \
	"550 5.7.1 <a@example.com>: Sender address rejected: sending is not enabled for this "     \
	"account"
#define GOOD .tenant_known = true, .tenant_enabled = true
#define KEY .by_key = true, .key_known = true, .key_of_tenant = true
#define DOMAIN .domain_known = true, .domain_of_tenant = true
#define SENDER .sender = VIEW("a@example.com")

static void
test_mail_rows(void)
{
	static const struct {
		struct policy_mail f;
		const char *line, *why;
	} rows[] = {
	    {{SENDER, GOOD, KEY, DOMAIN, .domain_verified = true}, "250 2.1.0 Ok", ""},
	    {{SENDER, GOOD, DOMAIN, .domain_verified = true}, "250 2.1.0 Ok", ""},
	    {{.sender = VIEW(""), GOOD, KEY}, "550 Syntax Error", "null sender"},
	    {{.sender = VIEW(""), .store_failed = true}, "550 Syntax Error", "null sender"},
	    {{SENDER, .store_failed = true}, "451 4.3.0 Temporary lookup failure", "store failed"},
	    {{SENDER, KEY, DOMAIN, .domain_verified = true},
		"550 5.7.1 <a@example.com>: Sender address rejected: sending is not enabled for "
		"this account",
		"tenant does not exist"},
	    {{SENDER, KEY, DOMAIN, .domain_verified = true, .tenant_known = true},
		"550 5.7.1 <a@example.com>: Sender address rejected: sending is not enabled for "
		"this account",
		"tenant is disabled"},
	    {{SENDER, GOOD, KEY, DOMAIN, .domain_verified = true, .key_revoked = true},
		"550 5.7.1 <a@example.com>: Sender address rejected: sending is not enabled for "
		"this account",
		"key is revoked"},
	    {{SENDER, GOOD, DOMAIN, .domain_verified = true, .by_key = true},
		"550 5.7.1 <a@example.com>: Sender address rejected: sending is not enabled for "
		"this account",
		"key is not one of the tenant"},
	    {{SENDER, GOOD, KEY, DOMAIN, .key_expired = true}, NOT_ENABLED, "key has expired"},
	    {{SENDER, GOOD, KEY, DOMAIN, .key_frozen = true}, NOT_ENABLED, "key is frozen"},
	    {{SENDER, GOOD, KEY, DOMAIN, .tenant_frozen = true}, NOT_ENABLED, "tenant is frozen"},
	    {{SENDER, GOOD, KEY, DOMAIN, .no_right = true}, NOT_ENABLED, "key has no right to send"},
	    {{SENDER, GOOD, KEY, DOMAIN, .outside = true}, NOT_ENABLED,
		"address is outside of the allowed networks"},
	    {{SENDER, GOOD, KEY},
		"550 5.7.1 <a@example.com>: Sender address rejected: domain not registered for "
		"this account",
		"domain is not registered"},
	    {{SENDER, GOOD, KEY, .domain_known = true, .domain_verified = true},
		"550 5.7.1 <a@example.com>: Sender address rejected: domain not registered for "
		"this account",
		"domain is another tenant's"},
	    {{SENDER, GOOD, KEY, DOMAIN},
		"550 5.7.1 <a@example.com>: Sender address rejected: domain not verified yet",
		"domain is pending"},
	    {{.sender = VIEW("\x01\xe3\x81\x82@b"), GOOD, KEY},
		"550 5.7.1 <\?\?\?\?@b>: Sender address rejected: domain not registered for this "
		"account",
		"domain is not registered"},
	};
	struct buf out = BUF_INIT(1024);
	struct policy_reply r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		policy_mail(&rows[i].f, &r);
		is_str(reply_line(&r, &out), rows[i].line, "MAIL row %zu (A21, G2, G8)", i);
		is_str(r.why, rows[i].why, "its reason, for the log");
	}
	int wrong = 0;
	for (unsigned bits = 0; bits < 16384; bits++) {
		struct policy_mail f = { VIEW("a@b"), false, bits & 1, bits & 2, bits & 4, bits & 8,
			bits & 16, bits & 32, bits & 64, bits & 128, bits & 256, bits & 512,
			bits & 1024, bits & 2048, bits & 4096, bits & 8192 };
		policy_mail(&f, &r);
		bool key = !f.by_key || (f.key_known && !f.key_revoked && f.key_of_tenant &&
		    !f.key_expired && !f.key_frozen && !f.no_right);
		bool want = key && f.tenant_known && f.tenant_enabled && !f.tenant_frozen &&
		    !f.outside && f.domain_known && f.domain_of_tenant && f.domain_verified;
		wrong += r.code != (want ? 250 : 550);
	}
	is_int(wrong, 0, "nothing else is granted (16384 combinations)");
	char long_sender[400];
	memset(long_sender, 'x', sizeof(long_sender));
	policy_mail(&(struct policy_mail){ .sender = view_of(long_sender, 324), GOOD }, &r);
	ok(strlen(r.text) < 255 &&
		strstr(r.text, "...>: Sender address rejected: domain not") != NULL,
	    "a long sender does not push the text out");
	buf_free(&out);
}

static void
test_names(void)
{
	static const struct {
		const char *name;
		bool tenant, user;
	} rows[] = {
	    {"acme", true, true},
	    {"a.b_c-9", true, true},
	    {"9to5", true, true},
	    {"550e8400-e29b-41d4-a716-446655440000", true, true},
	    {"", false, false},
	    {"a b", false, false},
	    {"a\tb", false, false},
	    {"-x", false, true},
	    {".x", false, true},
	    {"a/b", false, true},
	    {"user@example.com", false, true},
	    {"a:b", false, true},
	    {"\x7f", false, false},
	    {"\xc3\xa4", false, false},
	    {"1234567890123456789012345678901234567890123456789012345678901234", true, true},
	    {"12345678901234567890123456789012345678901234567890123456789012345", false, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct view v = view_str(rows[i].name);
		ok(policy_tenant_name_ok(v) == rows[i].tenant &&
			policy_user_name_ok(v) == rows[i].user,
		    "name %zu (A5, G7)", i);
	}
}

#define FILL_flag(field, size) k.field = true;
#define FILL_u32(field, size) k.field = UINT32_MAX;
#define FILL_u64(field, size) k.field = UINT64_MAX;
#define FILL_text(field, size) memset(k.field, 't', size);
#define FILL_bytes(field, size) memset(k.field, (int)(size) + 1, size);
#define FILL(tag, kind, field, size) FILL_##kind(field, size)

static void
test_records(void)
{
	struct record_key k, back;
	struct buf b = BUF_INIT(RECORD_BYTES);
	struct record_domain d;

	/* Every field at its largest, padding included, so that the structs compare as bytes. */
	memset(&k, 0, sizeof(k));
	RECORD_key(FILL)
	record_put(&record_type_key, &k, &b);
	ok(!b.bad, "the largest record fits");
	ok(record_get(&record_type_key, buf_view(&b), &back) && memcmp(&k, &back, sizeof(k)) == 0,
	    "and comes back as it was");
	int bad = 0;
	for (size_t n = 0; n < buf_len(&b); n++) {
		bool whole = record_get(&record_type_key, view_first(buf_view(&b), n), &back);
		bad += whole && memcmp(&k, &back, sizeof(k)) == 0;
	}
	is_int(bad, 0, "a shorter one does not");

	static const char newer[] = "\1\0\1\0\4acme\0\2\0\1\1\0\x63\0\3xyz";
	ok(record_get(&record_type_domain, view_of(newer, sizeof(newer) - 1), &d),
	    "a field of a later version is skipped");
	ok(strcmp(d.tenant, "acme") == 0 && d.verified && d.created_us == 0, "the others are read");
	static const struct view damaged[] = {VIEW(""), VIEW("\2"), VIEW("\1\0\1\0\5acme"),
	    VIEW("\1\0\2\0\2\1\1"), VIEW("\1\0\4\0\4\1\1\1\1"), VIEW("\1\0\1\0\3a\0b"),
	    VIEW("\1\0"), VIEW("\1\0\2\0\1\1\0\1\0\1a"), VIEW("\1\0\2\0\1\1\0\2\0\1\1"),
	    VIEW("\1\0\1\0\101AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		 "AAAAAAAAAAA")};
	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++)
		ok(!record_get(&record_type_domain, damaged[i], &d), "damaged %zu", i);
	buf_free(&b);
}

static void
test_secrets(struct hasher *h)
{
	char one[SECRET_CHARS + 1], two[SECRET_CHARS + 1];
	struct record_key k = { .tenant = "" };
	struct err e;
	int good = 0, seen[256] = { 0 }, used = 0;

	for (int i = 0; i < 200; i++) {
		secret_text(one, SECRET_CHARS, &e);
		secret_text(two, SECRET_CHARS, &e);
		good += strlen(one) == SECRET_CHARS && strcmp(one, two) != 0 &&
		    strspn(one, "abcdefghijklmnopqrstuvwxyz234567") == SECRET_CHARS;
		for (const char *p = one; *p; p++)
			seen[(unsigned char)*p] = 1;
	}
	for (int i = 0; i < 256; i++)
		used += seen[i];
	is_int(good, 200, "40 characters of base32, another one each time (A5, A7)");
	ok(used == 32 && SECRET_CHARS * 5 >= 160, "200 bits: all 32 characters occur (A5)");

	is_int(secret_derive(h, view_str(one), &k, &e), 0, "derive");
	ok(secret_matches(h, &k, view_str(one), 1), "the right secret");
	ok(!secret_matches(h, &k, view_str(two), 1), "a wrong one");
	ok(!secret_matches(h, &k, view_first(view_str(one), 39), 1), "a part of it");
	ok(!secret_matches(h, &k, VIEW(""), 1), "none");
	ok(!secret_matches(h, NULL, view_str(one), 1), "an unknown user");
	unsigned char salt[SALT_BYTES];
	memcpy(salt, k.salt, sizeof(salt));
	secret_derive(h, view_str(one), &k, &e);
	ok(memcmp(salt, k.salt, sizeof(salt)) != 0, "another salt each time");
	char longest[SECRET_TRY_MAX + 1];
	memset(longest, 'l', sizeof(longest));
	secret_derive(h, view_of(longest, SECRET_TRY_MAX), &k, &e);
	ok(secret_matches(h, &k, view_of(longest, SECRET_TRY_MAX), 1) &&
		!secret_matches(h, &k, view_of(longest, SECRET_TRY_MAX + 1), 1),
	    "what is cut for the hash does not match for that");
	secret_derive(h, view_str(one), &k, &e);
	secret_forget(&k);
	ok(!secret_matches(h, &k, view_str(one), 1) && k.scram_iterations == 0, "forgotten");

	/* RFC 7677, 3: the server signature of its example follows from the server key. */
	static const char message[] =
	    "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,"
	    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
	unsigned char decoded[24], signature[32], text[64];
	EVP_DecodeBlock(decoded, (const unsigned char *)"W22ZaJ0SNY7soEsUEjb6gQ==", 24);
	memcpy(k.scram_salt, decoded, SALT_BYTES);
	k.scram_iterations = 4096;
	ok(secret_derive_scram(h, VIEW("pencil"), &k), "SCRAM material");
	EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, k.scram_server_key, DIGEST_BYTES,
	    (const unsigned char *)message, strlen(message), signature, sizeof(signature), NULL);
	EVP_EncodeBlock(text, signature, sizeof(signature));
	is_str((const char *)text, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	    "SCRAM-SHA-256 as in RFC 7677 (G7)");
}

/* The proof of RFC 7677, 3 (G7), and that nobody can tell by the work done who exists (atk-E2). */
static void
test_proofs(struct hasher *h)
{
	static const char message[] =
	    "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,"
	    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
	struct record_key k = { .scram_iterations = 4096 }, after;
	unsigned char salt[24], proof[48], signature[DIGEST_BYTES], text[64], one[SALT_BYTES],
	    two[SALT_BYTES];
	struct err e;

	EVP_DecodeBlock(salt, (const unsigned char *)"W22ZaJ0SNY7soEsUEjb6gQ==", 24);
	EVP_DecodeBlock(proof, (const unsigned char *)"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	    44);
	memcpy(k.scram_salt, salt, SALT_BYTES);
	secret_derive_scram(h, VIEW("pencil"), &k);
	struct view good = view_of(proof, DIGEST_BYTES);
	ok(secret_proves(h, &k, view_str(message), good, 1, signature), "the proof of RFC 7677 (G7)");
	EVP_EncodeBlock(text, signature, sizeof(signature));
	is_str((const char *)text, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "and the signature");
	ok(!secret_proves(h, &k, VIEW("n=user"), good, 1, signature), "over another message");
	ok(!secret_proves(h, NULL, view_str(message), good, 1, signature), "of an unknown user");
	ok(!secret_proves(h, &k, view_str(message), view_of(proof, 31), 1, signature), "a part of it");
	proof[3] ^= 1;
	ok(!secret_proves(h, &k, view_str(message), good, 1, signature), "another proof");
	proof[3] ^= 1;

	/* After a rotation both are good for a time, with one salt for both. */
	after = (struct record_key){ .former_until_us = 1000, .former_scram_iterations = 4096 };
	memcpy(after.former_scram_salt, k.scram_salt, SALT_BYTES);
	memcpy(after.former_scram_stored_key, k.scram_stored_key, DIGEST_BYTES);
	memcpy(after.former_scram_server_key, k.scram_server_key, DIGEST_BYTES);
	is_int(secret_derive(h, VIEW("new"), &after, &e), 0, "rotated");
	ok(memcmp(after.scram_salt, k.scram_salt, SALT_BYTES) == 0, "SCRAM keeps its salt (A7)");
	ok(secret_proves(h, &after, view_str(message), good, 999, signature), "the former secret (A7)");
	EVP_EncodeBlock(text, signature, sizeof(signature));
	is_str((const char *)text, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	    "and its own server key (A7)");
	ok(!secret_proves(h, &after, view_str(message), good, 1000, signature), "until its end (A7)");
	ok(secret_matches(h, &after, VIEW("new"), 1000) && !secret_matches(h, &after, VIEW("old"), 1),
	    "the new one (A7)");

	const struct record_key *who[] = { &k, &after, NULL };
	for (int i = 0; i < 3; i++) {
		uint64_t before = h->checks;
		secret_proves(h, who[i], view_str(message), good, 1, signature);
		is_int((long long)(h->checks - before), 2, "two verifications, whoever asks (atk-E2)");
	}
	secret_fake_salt(h, VIEW("nobody"), one);
	secret_fake_salt(h, VIEW("nobody"), two);
	ok(memcmp(one, two, SALT_BYTES) == 0, "who does not exist has one salt (atk-E2)");
	secret_fake_salt(h, VIEW("nobodx"), two);
	ok(memcmp(one, two, SALT_BYTES) != 0, "of its own (atk-E2)");
}

static void
test_networks(void)
{
	static const struct {
		const char *list, *client;
		bool inside;
	} rows[] = {
		{ "", "192.0.2.1", true },
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
		{ "10.0.0.0/8,192.0.2.1", "192.0.2.1", true },
		{ "10.0.0.0/8,192.0.2.1", "192.0.2.2", false },
		{ "2001:db8::/32", "2001:db8:1::5", true },
		{ "2001:db8::/32", "2001:db9::5", false },
		{ "2001:db8::/32", "192.0.2.1", false },
		{ "0.0.0.0/0", "::1", false },
		{ "0.0.0.0/0", "", false },
		{ "0.0.0.0/0", "unknown", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(check_network(rows[i].list, view_str(rows[i].client)) == rows[i].inside,
		    "A8 %s is %sin \"%s\"", rows[i].client, rows[i].inside ? "" : "not ",
		    rows[i].list);
}

/* Which sender takes the place of the one given. */
static void
test_rewrite(void)
{
	static const struct {
		const char *pattern;	      /* of the key */
		uint32_t domain;	      /* enum rewrite_mode */
		const char *domain_to, *global, *bounce, *sender;
		uint8_t rewrite;
		const char *result, *what;
	} rows[] = {
		{ "", 0, "", "keep", "b.test", "a@x.test", SENDER_KEEP, "", "A13 an empty pattern: never" },
		{ "@", 0, "", "keep", "b.test", "a@x.test", SENDER_TOKEN, "@b.test", "A14 @: always" },
		{ "X.te", 0, "", "keep", "b.test", "a@x.test", SENDER_TOKEN, "@b.test",
		    "A15 any letter case" },
		{ "x.tesT", 0, "", "keep", "b.test", "A@X.TEST", SENDER_TOKEN, "@b.test", "A15 either way" },
		{ "a.*", 0, "", "keep", "b.test", "abc@x.test", SENDER_KEEP, "", "A16 literal, no expression" },
		{ "a.*", 0, "", "keep", "b.test", "a.*@x.test", SENDER_TOKEN, "@b.test", "A16 literal" },
		{ "news-", 0, "", "keep", "b.test", "news-7@x.test", SENDER_TOKEN, "@b.test",
		    "A13 in the local part" },
		{ "@", 0, "", "keep", "", "a@x.test", SENDER_KEEP, "", "A12 no bounce domain: no tokens" },
		{ "", 0, "", "r@s.test", "b.test", "a@x.test", SENDER_REPLACE, "r@s.test",
		    "C19 global: an address" },
		{ "", 0, "", "@s.test", "b.test", "a@x.test", SENDER_REPLACE, "a@s.test",
		    "C20 global: a domain" },
		{ "", REWRITE_FIXED, "d@d.test", "r@s.test", "", "a@x.test", SENDER_REPLACE, "d@d.test",
		    "C21 the domain's wins" },
		{ "", REWRITE_DOMAIN, "d.test", "r@s.test", "", "a@x.test", SENDER_REPLACE, "a@d.test",
		    "C21 the domain's wins" },
		{ "", REWRITE_KEEP, "", "r@s.test", "", "a@x.test", SENDER_KEEP, "",
		    "C22 an explicit keep opts out" },
		{ "@", REWRITE_KEEP, "", "r@s.test", "b.test", "a@x.test", SENDER_TOKEN, "@b.test",
		    "A13 the key's pattern comes first" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct check_records found = { .domain = { .rewrite = rows[i].domain } };
		struct settings set = { 0 };
		struct grant g;
		snprintf(found.key.pattern, sizeof(found.key.pattern), "%s", rows[i].pattern);
		snprintf(found.domain.rewrite_to, sizeof(found.domain.rewrite_to), "%s",
		    rows[i].domain_to);
		snprintf(set.bounce_domain, sizeof(set.bounce_domain), "%s", rows[i].bounce);
		ok(rewrite_parse(view_str(rows[i].global), &set.rewrite), "%s", rows[i].global);
		grant_rewrite(&set, &found, view_str(rows[i].sender), &g);
		ok(g.rewrite == rows[i].rewrite && strcmp(g.sender, rows[i].result) == 0,
		    "%s: %u <%s>", rows[i].what, g.rewrite, g.sender);
	}
}

static void
test_over_quota(void)
{
	static const struct {
		uint32_t over;
		const char *line;
	} rows[] = {
		{ OVER_DEFER, "452 4.7.0 Error: quota of 10000 messages an hour for tenant acme is used up; "
			      "the next is taken in 312 s" },
		{ OVER_REJECT, "550 5.7.0 Error: quota of 10000 messages an hour for tenant acme is used up; "
			       "the next is taken in 312 s" },
		{ 77, "452 4.7.0 Error: quota of 10000 messages an hour for tenant acme is used up; "
		      "the next is taken in 312 s" },
	};
	struct buf out = BUF_INIT(1024);
	struct policy_quota q = { .of = VIEW("tenant acme"), .quota = VIEW("messages an hour"),
		.max = 10000, .wait_s = 312 };
	struct policy_reply r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		q.over = rows[i].over;
		policy_over_quota(&q, &r);
		is_str(reply_line(&r, &out), rows[i].line, "A29 P20 policy %u", rows[i].over);
	}
	q.over = OVER_HOLD;
	policy_over_quota(&q, &r);
	is_int(r.code, 250, "A29 hold is no refusal");
	buf_free(&out);
}

/* One tenant on, one off; keys and domains of both. */
static void
fill(struct authd_store *s, struct hasher *h)
{
	static const struct {
		const char *user, *tenant, *secret;
		bool revoked;
	} keys[] = {
		{ "alice", "acme", "s3cret:with:colons", false },
		{ "550e8400-e29b-41d4-a716-446655440000", "acme", "uuid-secret", false },
		{ "gone", "acme", "old-secret", true },
		{ "off", "closed", "off-secret", false },
	};
	static const struct {
		const char *domain, *tenant;
		bool verified;
	} domains[] = {
		{ "example.com", "acme", true },
		{ "xn--r8jz45g.jp", "acme", true },
		{ "pending.example", "acme", false },
		{ "other.example", "closed", true },
	};
	struct err e;
	int rc = store_begin(s, &e);

	rc |= store_put_tenant(s, VIEW("acme"), &(struct record_tenant){ .enabled = true }, &e);
	rc |= store_put_tenant(s, VIEW("closed"), &(struct record_tenant){ .enabled = false }, &e);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct record_key k = { .revoked = keys[i].revoked, .rights = RIGHT_SEND };
		snprintf(k.tenant, sizeof(k.tenant), "%s", keys[i].tenant);
		rc |= secret_derive(h, view_str(keys[i].secret), &k, &e);
		rc |= store_next_serial(s, &k.serial, &e);
		rc |= store_put_key(s, view_str(keys[i].user), &k, &e);
	}
	for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++) {
		struct record_domain d = { .verified = domains[i].verified };
		snprintf(d.tenant, sizeof(d.tenant), "%s", domains[i].tenant);
		rc |= store_put_domain(s, view_str(domains[i].domain), &d, &e);
	}
	rc |= store_commit(s, &e);
	is_int(rc, 0, "a store with records");
	struct record_key k;
	ok(store_get_key(s, VIEW("alice"), &k, &e) == 1 && k.serial == 1, "serials begin with 1");
}

static void
test_check_auth(struct authd_store *s, struct hasher *h)
{
	static char long_user[1024], long_secret[12288];
	static const struct {
		struct view user, secret;
		uint16_t code;
		const char *why;
	} rows[] = {
		{ VIEW("alice"), VIEW("s3cret:with:colons"), 235, "" },
		{ VIEW("550e8400-e29b-41d4-a716-446655440000"), VIEW("uuid-secret"), 235, "" },
		{ VIEW("alice"), VIEW("uuid-secret"), 535, "wrong secret" },
		{ VIEW("alice"), VIEW(""), 535, "wrong secret" },
		{ VIEW("alice"), { long_secret, 12288 }, 535, "wrong secret" },
		{ VIEW("Alice"), VIEW("s3cret:with:colons"), 535, "unknown user" },
		{ VIEW("nobody"), VIEW("s3cret:with:colons"), 535, "unknown user" },
		{ VIEW(""), VIEW(""), 535, "unknown user" },
		{ VIEW("alice\0"), VIEW("s3cret:with:colons"), 535, "unknown user" },
		{ { long_user, 1024 }, VIEW("x"), 535, "unknown user" },
		{ { long_user, 1024 }, { long_secret, 12288 }, 535, "unknown user" },
		{ VIEW("gone"), VIEW("old-secret"), 535, "key is revoked" },
		{ VIEW("off"), VIEW("off-secret"), 535, "tenant is disabled" },
	};
	struct check_identity id;
	struct policy_reply r;

	memset(long_user, 'u', sizeof(long_user));
	memset(long_secret, 's', sizeof(long_secret));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t before = h->checks;
		check_auth(s, h, &(struct check_login){ .user = rows[i].user, .secret = rows[i].secret },
		    &id, &r);
		ok(r.code == rows[i].code && strcmp(r.why, rows[i].why) == 0,
		    "AUTH question %zu: %u %s (A2, A4, G7, atk-E3)", i, r.code, r.why);
		is_int((long long)(h->checks - before), 2, "two hashes, whoever asks (atk-E1)");
		if (r.code == 235)
			ok(view_is(rows[i].user, id.user) && strcmp(id.tenant, "acme") == 0,
			    "identity");
		else
			ok(*id.user == '\0' && *id.tenant == '\0', "no identity");
	}
}

static void
test_check_mail(struct authd_store *s)
{
	static const struct {
		const char *tenant, *user, *sender;
		uint16_t code;
		const char *why;
	} rows[] = {
		{ "acme", "alice", "a@example.com", 250, "" },
		{ "acme", "alice", "anything.else+tag@EXAMPLE.Com", 250, "" },
		{ "acme", "alice", "\"quoted @ part\"@example.com", 250, "" },
		{ "acme", "alice", "a@\xe4\xbe\x8b\xe3\x81\x88.jp", 250, "" },
		{ "acme", "alice", "a@XN--R8JZ45G.jp", 250, "" },
		{ "acme", "", "a@example.com", 250, "" },
		{ "acme", "alice", "", 550, "null sender" },
		{ "acme", "alice", "a@sub.example.com", 550, "domain is not registered" },
		{ "acme", "alice", "a@com", 550, "domain is not registered" },
		{ "acme", "alice", "a@notexample.com", 550, "domain is not registered" },
		{ "acme", "alice", "a@[192.0.2.1]", 550, "domain is not registered" },
		{ "acme", "alice", "postmaster", 550, "domain is not registered" },
		{ "acme", "alice", "a@", 550, "domain is not registered" },
		{ "acme", "alice", "a@other.example", 550, "domain is another tenant's" },
		{ "acme", "alice", "a@pending.example", 550, "domain is pending" },
		{ "acme", "gone", "a@example.com", 550, "key is revoked" },
		{ "acme", "off", "a@example.com", 550, "key is not one of the tenant" },
		{ "acme", "nobody", "a@example.com", 550, "key is not one of the tenant" },
		{ "closed", "off", "a@other.example", 550, "tenant is disabled" },
		{ "closed", "", "a@other.example", 550, "tenant is disabled" },
		{ "nobody", "", "a@example.com", 550, "tenant does not exist" },
		{ "", "", "a@example.com", 550, "tenant does not exist" },
	};
	struct check_records found;
	struct policy_reply r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		check_mail(s, &(struct check_sender){ .tenant = view_str(rows[i].tenant),
		    .user = view_str(rows[i].user), .sender = view_str(rows[i].sender) }, &found, &r);
		ok(r.code == rows[i].code && strcmp(r.why, rows[i].why) == 0,
		    "MAIL question %zu: %u %s (A21, G2, G8)", i, r.code, r.why);
	}
}

/* Damaged pages: nothing is granted, nothing is refused for good. */
static void
test_store_failure(struct hasher *h, const char *dir)
{
	struct buf file = BUF_INIT(256), out = BUF_INIT(1024);
	struct check_identity id;
	struct check_records found;
	struct policy_reply r;
	struct err e;

	buf_printf(&file, "%s/keys.db", dir);
	int fd = open(buf_cstr(&file), O_WRONLY);
	if (fd < 0 || pwrite(fd, "damage", 6, 4096 + 2000) != 6)
		abort();
	close(fd);
	struct authd_store *s = store_open(dir, &e);
	ok(s == NULL && e.class == ERR_DAMAGED, "a store that is damaged inside is not opened");
	s = store_open_damaged(&e);
	check_auth(s, h, &(struct check_login){ .user = VIEW("alice"),
	    .secret = VIEW("s3cret:with:colons") }, &id, &r);
	is_str(
	    reply_line(&r, &out), "454 4.7.0 Temporary authentication failure", "AUTH on damage");
	ok(strstr(r.why, "checksum") != NULL, "the log says why: %s", r.why);
	ok(*id.user == '\0' && *id.tenant == '\0', "no identity");
	check_mail(s, &(struct check_sender){ .tenant = VIEW("acme"), .user = VIEW("alice"),
	    .sender = VIEW("a@example.com") }, &found, &r);
	is_str(reply_line(&r, &out), "451 4.3.0 Temporary lookup failure", "MAIL on damage");
	ok(store_begin(s, &e) < 0, "no changes any more");
	store_close(&s);
	buf_free(&file);
	buf_free(&out);
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
	struct hasher h;
	struct err e;
	struct buf dir = BUF_INIT(256), command = BUF_INIT(256);

	if (mkdtemp(top) == NULL || hasher_open(&h, &e) < 0)
		return 1;
	test_auth_rows();
	test_mail_rows();
	test_names();
	test_records();
	test_secrets(&h);
	test_proofs(&h);
	test_networks();
	test_rewrite();
	test_over_quota();

	buf_printf(&dir, "%s/store", top);
	struct authd_store *s = store_open(buf_cstr(&dir), &e);
	if (!ok(s != NULL, "open a new store"))
		return 1;
	fill(s, &h);
	test_check_auth(s, &h);
	test_check_mail(s);
	store_close(&s);
	test_store_failure(&h, buf_cstr(&dir));
	hasher_close(&h);
	buf_printf(&command, "rm -rf %s", top);
	if (system(buf_cstr(&command)) != 0)
		return 1;
	buf_free(&command);
	buf_free(&dir);
	return done_testing();
}
