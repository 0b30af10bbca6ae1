/* SPDX-License-Identifier: ISC */
/*
 * Every message of t/dkim/corpus, signed by lib/dkim in every pair of canonical forms with both algorithms, the
 * body in pieces of many sizes: libopendkim must verify it. Signed copies for other verifiers are left in
 * the folder given as argument.
 */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/durable.h"
#include "mtactl/dkim.h"
#include "t/tap.h"

enum { FILE_MAX = 64 << 20, FIELDS_MAX = 1000 };

struct signer {
	enum dkim_algorithm algorithm;
	const char *selector;
	struct dkim_key key;
	struct buf record;
};

static struct signer signers[2] = { { DKIM_RSA_SHA256, "r", { 0 }, BUF_INIT(RECORD_MAX) },
	{ DKIM_ED25519_SHA256, "e", { 0 }, BUF_INIT(RECORD_MAX) } };

static void
make_signer(struct signer *s)
{
	struct buf pem = BUF_INIT(DKIM_PEM_MAX), bytes = BUF_INIT(RECORD_MAX);
	struct err e;

	dkim_key_make(s->algorithm, 2048, &pem, &e);
	EVP_PKEY *pkey = dkim_key_parse(buf_view(&pem), s->algorithm, 2048, &e);
	dkim_key_public(pkey, s->algorithm, &bytes, NULL, &e);
	dkim_record(s->algorithm, buf_view(&bytes), &s->record);
	if (dkim_key_open(&s->key, s->algorithm, pkey, &e) < 0)
		exit(1);
	buf_wipe(&pem);
	buf_free(&pem);
	buf_free(&bytes);
}

/* Raw fields; what is left is the body behind the empty line. */
static size_t
split_header(struct view *message, struct view fields[static FIELDS_MAX])
{
	size_t count = 0;

	while (message->n && !view_starts(*message, "\r\n") && count < FIELDS_MAX) {
		size_t n = 0;
		do
			n = (size_t)((const char *)memchr(message->p + n, '\n', message->n - n) + 1 -
			    message->p);
		while (n < message->n && strchr(" \t", message->p[n]));
		fields[count++] = view_first(*message, n);
		*message = view_skip(*message, n);
	}
	*message = view_skip(*message, 2);
	return count;
}

static void
put_signature(struct signer *s, const struct dkim_fields *f, const uint8_t *hash, struct buf *out)
{
	struct dkim_signature sig = { VIEW("signed.test"), view_str(s->selector), s->algorithm, 1790000000 };
	unsigned char raw[DKIM_SIGNATURE_MAX];
	uint8_t digest[DKIM_HASH];
	struct err e;

	if (dkim_field_begin(f, &sig, hash, out, digest, &e) < 0)
		exit(1);
	dkim_field_end(out, view_of(raw, dkim_key_sign(&s->key, digest, raw)));
}

/* Both signatures in front of the message. */
static bool
sign(struct view message, const struct dkim_rules *r, size_t step, struct buf *out)
{
	static struct view fields[FIELDS_MAX];
	struct view rest = message;
	size_t n = split_header(&rest, fields);
	uint8_t hash[DKIM_HASH];
	struct dkim_body body;
	struct dkim_fields f;
	struct err e;

	dkim_body_init(&body, r->body);
	for (; rest.n; rest = view_skip(rest, step))
		dkim_body_put(&body, view_first(rest, step));
	bool good = dkim_body_end(&body, hash);
	dkim_fields_init(&f, r);
	for (; n--;) {
		struct view v = fields[n];
		dkim_fields_put(&f, view_cut(&v, ':'), fields[n]);
	}
	good = good && dkim_fields_end(&f, &e) == 0;
	for (int i = 0; good && i < 2; i++)
		put_signature(&signers[i], &f, hash, out);
	dkim_fields_free(&f);
	buf_putv(out, message);
	/* SMTP gives a last line the end that it lacks. */
	if (message.p[message.n - 1] != '\n')
		buf_puts(out, "\r\n");
	return good;
}

static bool
on_lookup(void *ctx, struct view name, struct buf *out)
{
	(void)ctx;
	for (int i = 0; i < 2; i++)
		if (*name.p == *signers[i].selector)
			buf_putv(out, buf_view(&signers[i].record));
	return true;
}

static void
on_result(void *ctx, const struct signature_result *r)
{
	if (r->why)
		printf("# %s %s: %s\n", (const char *)ctx, r->algorithm, r->why);
}

static int
good_ones(const char *name, struct view message)
{
	struct verifier v = { on_lookup, on_result, (void *)(uintptr_t)name };
	struct err e;

	return verify_message(&v, message, &e);
}

static void
keep(int dir, const char *name, int canon, struct view message)
{
	char file[512];
	struct err e;

	snprintf(file, sizeof(file), "%s.%d", name, canon);
	if (dir >= 0 && durable_replace(dir, file, message, &e) < 0)
		exit(1);
}

static void
test_message(const char *name, struct view message, int dir)
{
	static const char *const over[] = { "from", "to", "subject", "date", "message-id", "mime-version",
		"content-type" };
	static const size_t steps[] = { SIZE_MAX >> 1, 1, 7, 1000 };

	for (int canon = 0; canon < 4; canon++) {
		struct dkim_rules r = { canon & 1, canon >> 1, true, { 0 }, { over, 7 }, 0 };
		struct buf out = BUF_INIT(FILE_MAX);
		bool signed_ = sign(message, &r, steps[canon], &out);
		is_int(signed_ ? good_ones(name, buf_view(&out)) : -1, 2,
		    "atk-F9 K02 %s, %s/%s: both signatures verify in libopendkim", name,
		    r.header ? "relaxed" : "simple", r.body ? "relaxed" : "simple");
		keep(dir, name, canon, buf_view(&out));
		buf_free(&out);
	}
}

/* A change of what is signed is seen: the verifier is awake. */
static void
test_changes(void)
{
	static const char text[] =
	    "From: a@signed.test\r\nSubject: one\r\nX-Own: x\r\n\r\nbody line\r\n";
	static const struct {
		const char *from, *to, *what;
		int good;
	} rows[] = {
		{ "body line", "body  line", "blanks in a relaxed body", 2 },
		{ "body line", "body lines", "a changed body", 0 },
		{ "X-Own: x", "X-Own: y", "an unsigned field", 2 },
		{ "Subject: one", "Subject: two", "a changed field", 0 },
		{ "X-Own: x", "Subject: x", "K01 atk-F1 another Subject", 0 },
		{ "X-Own: x", "From: evil@b", "atk-F1 another From", 0 },
		{ "X-Own: x", "To: x", "an oversigned field that was not there", 0 },
		{ "line\r\n", "line\r\nmore\r\n", "K04 atk-F2 text behind the end", 0 },
	};
	static const char *const over[] = { "from", "to", "subject" };
	struct dkim_rules r = { DKIM_RELAXED, DKIM_RELAXED, true, { 0 }, { over, 3 }, 0 };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = BUF_INIT(FILE_MAX), changed = BUF_INIT(FILE_MAX);
		sign(view_str(text), &r, 100, &out);
		const char *all = buf_cstr(&out), *at = strstr(all, rows[i].from);
		buf_put(&changed, all, (size_t)(at - all));
		buf_puts(&changed, rows[i].to);
		buf_puts(&changed, at + strlen(rows[i].from));
		is_int(good_ones("changed", buf_view(&changed)), rows[i].good, "%s: %d verify", rows[i].what,
		    rows[i].good);
		buf_free(&out);
		buf_free(&changed);
	}
}

static void
test_big(int dir)
{
	struct buf b = BUF_INIT(FILE_MAX);

	buf_puts(&b, "From: a@signed.test\r\nTo: b@rcpt.test\r\nSubject: big\r\n\r\n");
	while (buf_len(&b) < 10 << 20)
		buf_puts(&b, "0123456789 abcdefghijklmnopqrstuvwxyz  \t 0123456789\r\n\r\n \r\n");
	test_message("big", buf_view(&b), dir);
	buf_free(&b);
}

static void
test_corpus(const char *src, int dir)
{
	struct buf path = BUF_INIT(4096), text = BUF_INIT(FILE_MAX);
	struct dirent **names;
	struct err e;

	buf_printf(&path, "%s/t/dkim/corpus", src);
	int n = scandir(buf_cstr(&path), &names, NULL, alphasort);
	int corpus = open(buf_cstr(&path), O_RDONLY | O_DIRECTORY);
	ok(n > 20, "the corpus has messages");
	for (int i = 0; i < n; i++) {
		if (strstr(names[i]->d_name, ".eml") &&
		    durable_read(corpus, names[i]->d_name, FILE_MAX >> 1, &text, &e) == 0)
			test_message(names[i]->d_name, buf_view(&text), dir);
		buf_clear(&text);
		free(names[i]);
	}
	free(names);
	close(corpus);
	buf_free(&path);
	buf_free(&text);
}

static void
keep_records(int dir)
{
	struct err e;

	for (int i = 0; dir >= 0 && i < 2; i++)
		durable_replace(dir, signers[i].selector, buf_view(&signers[i].record), &e);
}

int
main(int argc, char **argv)
{
	const char *src = getenv("EKIDEN_SRC");
	int dir = argc > 1 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;

	make_signer(&signers[0]);
	make_signer(&signers[1]);
	keep_records(dir);
	test_corpus(src ? src : ".", dir);
	test_changes();
	test_big(dir);
	for (int i = 0; i < 2; i++) {
		dkim_key_close(&signers[i].key);
		buf_free(&signers[i].record);
	}
	return done_testing();
}
