/* SPDX-License-Identifier: ISC */
/* The signer against the vectors of RFC 6376 and RFC 8463, and against itself in pieces. */
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "lib/addr.h"
#include "lib/dkim_key.h"
#include "t/tap.h"

static void
hex(const uint8_t hash[static DKIM_HASH], char out[static 2 * DKIM_HASH + 1])
{
	for (int i = 0; i < DKIM_HASH; i++)
		snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static void
hash_of(struct view v, uint8_t hash[static DKIM_HASH])
{
	EVP_Digest(v.p, v.n, hash, NULL, EVP_sha256(), NULL);
}

/* The body goes in as pieces of `step` bytes, each a copy of its own. */
static void
body_hash(struct view v, enum dkim_canon canon, size_t step, uint8_t hash[static DKIM_HASH])
{
	struct dkim_body b;

	dkim_body_init(&b, canon);
	while (v.n) {
		struct view piece = view_first(v, step);
		char *copy = x_malloc(piece.n);
		memcpy(copy, piece.p, piece.n);
		dkim_body_put(&b, view_of(copy, piece.n));
		free(copy);
		v = view_skip(v, piece.n);
	}
	if (!dkim_body_end(&b, hash))
		memset(hash, 0, DKIM_HASH);
	dkim_body_free(&b);
}

static void
is_body(const char *in, enum dkim_canon canon, const char *want, const char *what)
{
	uint8_t got[DKIM_HASH], expected[DKIM_HASH];
	char got_hex[65], want_hex[65];
	bool same = true;

	hash_of(view_str(want), expected);
	hex(expected, want_hex);
	for (size_t step = 1; step <= strlen(in) + 1; step++) {
		body_hash(view_str(in), canon, step, got);
		hex(got, got_hex);
		same = same && !strcmp(got_hex, want_hex);
	}
	ok(same, "K02 body, %s, %s, in pieces of any size", canon == DKIM_SIMPLE ? "simple" : "relaxed",
	    what);
}

static void
test_body(void)
{
	static const struct {
		const char *in, *simple, *relaxed, *what;
	} rows[] = {
		{ " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n", "RFC 6376, 3.4.5" },
		{ "", "\r\n", "", "atk-F9 empty" },
		{ "\r\n", "\r\n", "", "one line end" },
		{ "\r\n\r\n\r\n", "\r\n", "", "line ends only" },
		{ " \r\n\t\r\n", " \r\n\t\r\n", "", "blank lines only" },
		{ "a", "a\r\n", "a\r\n", "atk-F9 no final CRLF" },
		{ "a\r\nb", "a\r\nb\r\n", "a\r\nb\r\n", "no CRLF behind the last line" },
		{ "a \t ", "a \t \r\n", "a\r\n", "blanks at an end without CRLF" },
		{ "a\r\n \t ", "a\r\n \t \r\n", "a\r\n", "a blank line without CRLF" },
		{ "a\r\n\r\nb\r\n\r\n", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n", "empty lines inside" },
		{ "a\r\n \r\nb\r\n", "a\r\n \r\nb\r\n", "a\r\n\r\nb\r\n", "a blank line inside" },
		{ "\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n", "empty lines in front" },
		{ " a\t\tb  c \r\n", " a\t\tb  c \r\n", " a b c\r\n", "atk-F9 runs of blanks" },
		{ "a\rb\r\n", "a\rb\r\n", "a\rb\r\n", "atk-F9 a bare CR" },
		{ "a\nb\r\n", "a\nb\r\n", "a\nb\r\n", "a bare LF" },
		{ "a \r b\r\n", "a \r b\r\n", "a \r b\r\n", "blanks around a bare CR" },
		{ "a\r\r\n\r\n", "a\r\r\n", "a\r\r\n", "CR before a line end" },
		{ "a\r\n\r", "a\r\n\r\r\n", "a\r\n\r\r\n", "CR at the end" },
		{ "\xe3\x81\x82 \xff\r\n", "\xe3\x81\x82 \xff\r\n", "\xe3\x81\x82 \xff\r\n",
		    "atk-F9 8-bit" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		is_body(rows[i].in, DKIM_SIMPLE, rows[i].simple, rows[i].what);
		is_body(rows[i].in, DKIM_RELAXED, rows[i].relaxed, rows[i].what);
	}
}

/* Longer than the block, with everything in it. */
static void
test_long_body(void)
{
	struct buf b = BUF_INIT(1 << 20);
	uint8_t whole[DKIM_HASH], parts[DKIM_HASH];
	bool same = true;

	for (int i = 0; i < 20000; i++)
		buf_puts(&b, i % 7 == 0 ? " \t" : i % 11 == 0 ? "\r\n" : i % 977 == 0 ? "\r\n\r\n\r\n" : "xy");
	for (int canon = DKIM_SIMPLE; canon <= DKIM_RELAXED; canon++) {
		body_hash(buf_view(&b), canon, buf_len(&b), whole);
		for (size_t step = 1; step < 3000; step += 1 + step / 3) {
			body_hash(buf_view(&b), canon, step, parts);
			same = same && !memcmp(whole, parts, DKIM_HASH);
		}
	}
	ok(same, "a long body in pieces gives the hash of the whole");
	buf_free(&b);
}

/* Fields. */

static void
put_fields(struct dkim_fields *f, const char *const *rows, size_t n)
{
	for (size_t i = n; i-- > 0;) {
		struct view raw = view_str(rows[i]), rest = raw;
		dkim_fields_put(f, view_cut(&rest, ':'), raw);
	}
}

static void
fields_hash(const struct dkim_fields *f, uint8_t hash[static DKIM_HASH])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	EVP_MD_CTX_copy_ex(md, f->sink.md);
	EVP_DigestFinal_ex(md, hash, NULL);
	EVP_MD_CTX_free(md);
}

static void
is_fields(const struct dkim_rules *r, const char *const *rows, size_t n, const char *names,
    const char *canonical, const char *what)
{
	struct dkim_fields f;
	uint8_t got[DKIM_HASH], want[DKIM_HASH];
	struct err e;

	dkim_fields_init(&f, r);
	put_fields(&f, rows, n);
	is_int(dkim_fields_end(&f, &e), 0, "%s", what);
	is_view(buf_view(&f.names), names, "... h=");
	fields_hash(&f, got);
	hash_of(view_str(canonical), want);
	ok(!memcmp(got, want, DKIM_HASH), "... what is hashed");
	dkim_fields_free(&f);
}

static void
test_fields(void)
{
	static const char *const rfc[] = { "A: X\r\n", "B : Y\t\r\n\tZ  \r\n", "From: a@b\r\n" };
	static const char *const twice[] = { "To: one\r\n", "Received: x\r\n", "to:two\r\n",
		"DKIM-Signature: v=1\r\n", "FROM:  a@b\r\n\t(c)\r\n", "X-Own: x\r\n",
		"List-Unsubscribe: <https://u>\r\n", "Content-Type: text/plain\r\n", "Subject:\r\n" };
	const char *ab[] = { "a", "B" }, *over[] = { "from", "to", "subject" };
	struct dkim_rules relaxed = { .header = DKIM_RELAXED, .sign = { ab, 2 } };
	struct dkim_rules simple = { .header = DKIM_SIMPLE, .sign = { ab, 2 } };
	struct dkim_rules oversigned = { .header = DKIM_RELAXED, .sign_default = true,
		.oversign = { over, 3 } };

	is_fields(&relaxed, rfc, 3, "From:B:A:From", "from:a@b\r\nb:Y Z\r\na:X\r\n",
	    "K02 relaxed header, RFC 6376, 3.4.5");
	is_fields(&simple, rfc, 3, "From:B:A:From", "From: a@b\r\nB : Y\t\r\n\tZ  \r\nA: X\r\n",
	    "K02 simple header, RFC 6376, 3.4.5; K01 From is signed and oversigned unasked");
	is_fields(&oversigned, twice, 9,
	    "Subject:Content-Type:List-Unsubscribe:FROM:to:To:from:to:subject",
	    "subject:\r\ncontent-type:text/plain\r\nlist-unsubscribe:<https://u>\r\nfrom:a@b (c)\r\n"
	    "to:two\r\nto:one\r\n",
	    "K01 atk-F1 fields of one name from the last to the first, absent copies, A23 List-Unsubscribe");
}

static void
test_refused(void)
{
	struct dkim_rules r = { .header = DKIM_RELAXED, .sign_default = true };
	struct dkim_fields f;
	struct err e;

	dkim_fields_init(&f, &r);
	dkim_fields_put(&f, VIEW("To"), VIEW("To: x\r\n"));
	ok(dkim_fields_end(&f, &e) < 0, "atk-F1 no From: %s", e.text);
	dkim_fields_free(&f);
	dkim_fields_init(&f, &r);
	dkim_fields_put(&f, VIEW("From"), VIEW("From: x\r\n"));
	dkim_fields_put(&f, VIEW("from "), VIEW("from : x\r\n"));
	ok(dkim_fields_end(&f, &e) < 0, "atk-F1 two of them: %s", e.text);
	dkim_fields_free(&f);
	dkim_fields_init(&f, &r);
	dkim_fields_put(&f, VIEW("From"), VIEW("From: x\r\n"));
	for (int i = 0; i < 10000; i++)
		dkim_fields_put(&f, VIEW("To"), VIEW("To: x\r\n"));
	ok(dkim_fields_end(&f, &e) < 0, "too long a list: %s", e.text);
	dkim_fields_free(&f);
	ok(!dkim_may_sign(VIEW("received")) && !dkim_may_sign(VIEW("DKIM-signature")) &&
	        !dkim_may_sign(VIEW("ARC-Seal")) && dkim_may_sign(VIEW("X-DKIM-Signature")),
	    "fields that change on the way are not for signing");
	ok(dkim_signs(&r, VIEW("Resent-From")) && dkim_signs(&r, VIEW("Content-ID")) &&
	        dkim_signs(&r, VIEW("LIST-ID")) && !dkim_signs(&r, VIEW("X-Mailer")) &&
	        !dkim_signs(&r, VIEW("Lis")),
	    "K06 the default list, with its families");
	ok(!dkim_signs(&r, VIEW("Content-;l=0")) && !dkim_signs(&r, VIEW("List-\r\n x")) &&
	        !dkim_signs(&r, VIEW("")),
	    "atk-F2 a field name cannot write tags");
}

/* RFC 8463, A: the message, its two signatures, the keys they were made with. */
static const char *const message[] = {
	"From: Joe SixPack <joe@football.example.com>\r\n",
	"To: Suzie Q <suzie@shopping.example.net>\r\n",
	"Subject: Is dinner ready?\r\n",
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n",
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n",
};
static const char body[] =
    "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

static const struct {
	enum dkim_algorithm algorithm;
	const char *key, *field, *b;
} signatures[] = {
	{ DKIM_ED25519_SHA256, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
	    "dkim-signature:v=1; a=ed25519-sha256; c=relaxed/relaxed; d=football.example.com; "
	    "i=@football.example.com; q=dns/txt; s=brisbane; t=1528637909; h=from : to : subject : date : "
	    "message-id : from : subject : date; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=",
	    "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==" },
	{ DKIM_RSA_SHA256,
	    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/"
	    "J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2"
	    "EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
	    "dkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=football.example.com; "
	    "i=@football.example.com; q=dns/txt; s=test; t=1528637909; h=from : to : subject : date : "
	    "message-id : from : subject : date; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=",
	    "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQ"
	    "TnGdaSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=" },
};

static EVP_PKEY *
public_key(enum dkim_algorithm a, struct view bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.p;

	if (a == DKIM_ED25519_SHA256)
		return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, p, bytes.n);
	return d2i_PUBKEY(NULL, &p, (long)bytes.n);
}

static bool
verifies(enum dkim_algorithm a, EVP_PKEY *key, const uint8_t digest[static DKIM_HASH], struct view sig)
{
	bool good;

	if (a == DKIM_ED25519_SHA256) {
		EVP_MD_CTX *md = EVP_MD_CTX_new();
		good = EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) == 1 &&
		    EVP_DigestVerify(md, (const unsigned char *)sig.p, sig.n, digest, DKIM_HASH) == 1;
		EVP_MD_CTX_free(md);
		return good;
	}
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	good = EVP_PKEY_verify_init(c) == 1 && EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()) == 1 &&
	    EVP_PKEY_verify(c, (const unsigned char *)sig.p, sig.n, digest, DKIM_HASH) == 1;
	EVP_PKEY_CTX_free(c);
	return good;
}

static void
test_rfc8463(void)
{
	const char *sign[] = { "from", "to", "subject", "date", "message-id" };
	struct dkim_rules r = { .header = DKIM_RELAXED, .body = DKIM_RELAXED, .sign = { sign, 5 } };
	struct buf bh = BUF_INIT(64);
	uint8_t hash[DKIM_HASH], digest[DKIM_HASH];
	struct err e;

	body_hash(view_str(body), DKIM_RELAXED, sizeof(body), hash);
	base64_encode(view_of(hash, sizeof(hash)), &bh);
	is_view(buf_view(&bh), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=", "RFC 8463, A: bh=");
	buf_free(&bh);
	for (size_t i = 0; i < 2; i++) {
		struct buf key = BUF_INIT(1024), sig = BUF_INIT(1024);
		struct dkim_fields f;
		dkim_fields_init(&f, &r);
		/* In the order of its h=, as that of our own list is another. */
		for (size_t k = 0; k < 5; k++)
			put_fields(&f, &message[k], 1);
		dkim_fields_end(&f, &e);
		EVP_DigestUpdate(f.sink.md, signatures[i].field, strlen(signatures[i].field));
		fields_hash(&f, digest);
		base64_decode(view_str(signatures[i].key), &key);
		base64_decode(view_str(signatures[i].b), &sig);
		EVP_PKEY *pkey = public_key(signatures[i].algorithm, buf_view(&key));
		ok(pkey && verifies(signatures[i].algorithm, pkey, digest, buf_view(&sig)),
		    "RFC 8463, A: %s over the canonical form",
		    dkim_algorithm_name(signatures[i].algorithm));
		EVP_PKEY_free(pkey);
		dkim_fields_free(&f);
		buf_free(&key);
		buf_free(&sig);
	}
}

/* The field that we write. */

static void
squeeze(struct view v, struct buf *out)
{
	for (size_t i = 0; i < v.n; i++)
		if (!strchr(" \t\r\n", v.p[i]))
			buf_putc(out, v.p[i]);
}

static size_t
longest_line(struct view v)
{
	size_t longest = 0;

	while (v.n) {
		struct view line = view_cut(&v, '\n');
		if (line.n > longest)
			longest = line.n;
	}
	return longest;
}

static void
test_field(enum dkim_algorithm a, unsigned bits)
{
	const char *over[] = { "from", "to", "subject", "date", "message-id" };
	struct dkim_rules r = { .header = DKIM_RELAXED, .body = DKIM_SIMPLE, .sign_default = true, .oversign = { over, 5 },
		.lifetime_s = 604800 };
	struct dkim_signature s = { VIEW("football.example.com"), VIEW("r20261126"), a, 1790000000 };
	struct buf pem = BUF_INIT(DKIM_PEM_MAX), out = BUF_INIT(DKIM_FIELD_MAX), flat = BUF_INIT(65536);
	unsigned char sig[DKIM_SIGNATURE_MAX];
	uint8_t hash[DKIM_HASH] = { 1 }, digest[DKIM_HASH];
	struct dkim_fields f;
	struct dkim_key k;
	struct err e;

	is_int(dkim_key_make(a, bits, &pem, &e), 0, "a key for %s", dkim_algorithm_name(a));
	EVP_PKEY *pkey = dkim_key_parse(buf_view(&pem), a, bits, &e);
	is_int(dkim_key_open(&k, a, pkey, &e), 0, "... can sign");
	dkim_fields_init(&f, &r);
	put_fields(&f, message, 5);
	dkim_fields_end(&f, &e);
	is_int(dkim_field_begin(&f, &s, hash, &out, digest, &e), 0, "... a field");
	size_t n = dkim_key_sign(&k, digest, sig);
	ok(n && verifies(a, k.pkey, digest, view_of(sig, n)), "K05 ... signed over the SHA-256 digest");
	n = dkim_key_sign(&k, digest, sig);
	ok(n && verifies(a, k.pkey, digest, view_of(sig, n)), "... twice with one context");
	dkim_field_end(&out, view_of(sig, n));
	squeeze(buf_view(&out), &flat);
	ok(strstr(buf_cstr(&flat), "c=relaxed/simple;d=football.example.com;s=r20261126;t=1790000000;"
	                           "x=1790604800;h=Message-ID:Date:Subject:To:From:from:to:subject:date:"
	                           "message-id;bh=AQAA") != NULL, "atk-F3 ... with its tags: t=, x=");
	ok(strstr(buf_cstr(&flat), "l=") == NULL || strstr(buf_cstr(&flat), ";l=") == NULL,
	    "K04 atk-F2 ... and no l=");
	ok(longest_line(buf_view(&out)) <= 78, "... folded below 78 columns");
	dkim_key_close(&k);
	dkim_fields_free(&f);
	buf_wipe(&pem);
	buf_free(&pem);
	buf_free(&out);
	buf_free(&flat);
}

static void
test_records(void)
{
	struct buf out = BUF_INIT(4096), zone = BUF_INIT(4096);
	char key[600];

	dkim_record(DKIM_ED25519_SHA256, VIEW("01234567890123456789012345678901"), &out);
	is_view(buf_view(&out), "v=DKIM1; k=ed25519; p=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
	    "a record");
	memset(key, 'k', sizeof(key));
	buf_clear(&out);
	dkim_record(DKIM_RSA_SHA256, view_of(key, sizeof(key)), &out);
	dkim_record_zone(VIEW("s._domainkey.example.jp"), buf_view(&out), &zone);
	struct view v = buf_view(&zone);
	ok(view_starts(v, "s._domainkey.example.jp. IN TXT ( \"v=DKIM1; k=rsa; p="), "its zone form");
	size_t parts = 0, longest = 0;
	view_cut(&v, '"');
	for (; v.n; parts++) {
		struct view part = view_cut(&v, '"');
		longest = part.n > longest ? part.n : longest;
		view_cut(&v, '"');
	}
	ok(parts == 4 && longest == 255, "... in strings of at most 255 bytes");
	buf_free(&out);
	buf_free(&zone);
}

static void
test_keys(void)
{
	struct buf pem = BUF_INIT(DKIM_PEM_MAX);
	struct err e;
	enum dkim_algorithm a;

	ok(dkim_key_make(DKIM_RSA_SHA256, 512, &pem, &e) < 0, "atk-F10 no 512 bit: %s", e.text);
	dkim_key_make(DKIM_RSA_SHA256, 1024, &pem, &e);
	ok(dkim_key_parse(buf_view(&pem), DKIM_RSA_SHA256, 2048, &e) == NULL, "atk-F10 %s", e.text);
	EVP_PKEY *key = dkim_key_parse(buf_view(&pem), DKIM_RSA_SHA256, 1024, &e);
	ok(key != NULL, "... unless it is allowed");
	EVP_PKEY_free(key);
	ok(dkim_key_parse(buf_view(&pem), DKIM_ED25519_SHA256, 1024, &e) == NULL, "%s", e.text);
	ok(dkim_key_parse(VIEW("junk"), DKIM_RSA_SHA256, 1024, &e) == NULL, "%s", e.text);
	ok(dkim_algorithm_parse(VIEW("rsa"), &a) && a == DKIM_RSA_SHA256 &&
	        dkim_algorithm_parse(VIEW("ed25519-sha256"), &a) && a == DKIM_ED25519_SHA256 &&
	        !dkim_algorithm_parse(VIEW("rsa-sha1"), &a) && !dkim_algorithm_parse(VIEW(""), &a),
	    "names of algorithms");
	buf_wipe(&pem);
	buf_free(&pem);
}

int
main(void)
{
	test_body();
	test_long_body();
	test_fields();
	test_refused();
	test_rfc8463();
	test_field(DKIM_RSA_SHA256, 2048);
	test_field(DKIM_ED25519_SHA256, 0);
	test_records();
	test_keys();
	return done_testing();
}
