/* SPDX-License-Identifier: ISC */
/* A new key shows what it can before mail depends on it. */
#include <stdio.h>
#include <time.h>

#include "mtactl/dkim.h"

enum { FIELDS_MAX = 8 };

static const char probe_body[] = "A  line with blanks. \r\n\r\nAnd one behind an empty one.\r\n\r\n";

struct expectation {
	struct view name, record;
	char why[128];
};

static bool
on_lookup(void *ctx, struct view name, struct buf *out)
{
	const struct expectation *w = ctx;

	if (!view_ieq(name, w->name))
		return false;
	buf_putv(out, w->record);
	return true;
}

static void
on_result(void *ctx, const struct signature_result *r)
{
	struct expectation *w = ctx;

	snprintf(w->why, sizeof(w->why), "%s", r->why ? r->why : "");
}

static void
put_header(const char *domain, struct buf *out)
{
	buf_printf(out,
	    "From: <probe@%s>\r\nTo: <probe@%s>\r\nSubject: probe of a new key\r\n"
	    "Date: Thu, 26 Nov 2026 12:00:00 +0000\r\nMessage-ID: <probe@%s>\r\n",
	    domain, domain, domain);
}

/* Fields without folds, from the last to the first. */
static int
put_fields(struct dkim_fields *f, struct view header, struct err *e)
{
	struct view lines[FIELDS_MAX];
	size_t n = 0;

	while (header.n && n < FIELDS_MAX) {
		struct view line = view_cut(&header, '\n');
		lines[n++] = view_of(line.p, line.n + 1);
	}
	while (n--) {
		struct view rest = lines[n];
		dkim_fields_put(f, view_cut(&rest, ':'), lines[n]);
	}
	return dkim_fields_end(f, e);
}

/* As smtpd and signd do it between them. */
static int
put_signature(const struct dkim_entry *x, struct dkim_key *key, struct view header, struct buf *out,
    struct err *e)
{
	struct dkim_rules rules = { .header = DKIM_RELAXED, .body = DKIM_RELAXED, .sign_default = true };
	struct dkim_signature s = { view_str(x->domain), view_str(x->selector), x->algorithm,
		(uint64_t)time(NULL) };
	unsigned char signature[DKIM_SIGNATURE_MAX];
	uint8_t hash[DKIM_HASH], digest[DKIM_HASH];
	struct dkim_body body;
	struct dkim_fields f;

	dkim_body_init(&body, rules.body);
	dkim_body_put(&body, view_str(probe_body));
	dkim_fields_init(&f, &rules);
	int rc = dkim_body_end(&body, hash) ? put_fields(&f, header, e) :
					      err_set(e, ERR_BUG, ESC(5, 3, 0), "hash of the probe");
	if (rc == 0)
		rc = dkim_field_begin(&f, &s, hash, out, digest, e);
	size_t n = rc == 0 ? dkim_key_sign(key, digest, signature) : 0;
	if (rc == 0 && n == 0)
		rc = err_set(e, ERR_PERM, ESC(5, 7, 5), "the key does not sign");
	dkim_field_end(out, view_of(signature, n));
	dkim_fields_free(&f);
	return rc;
}

int
probe(const struct dkim_entry *x, const struct key_text *t, struct view record, struct err *e)
{
	struct expectation w = { buf_view(&t->name), record, "no signature found" };
	struct verifier v = { on_lookup, on_result, &w };
	struct buf header = BUF_INIT(8192), message = BUF_INIT(DKIM_FIELD_MAX + 16384);
	EVP_PKEY *pkey = dkim_key_parse(buf_view(&t->pem), x->algorithm, DKIM_RSA_BITS_LEAST, e);
	struct dkim_key key = { 0 };
	int rc = -1;

	put_header(x->domain, &header);
	if (pkey && dkim_key_open(&key, x->algorithm, pkey, e) == 0)
		rc = put_signature(x, &key, buf_view(&header), &message, e);
	dkim_key_close(&key);
	buf_putv(&message, buf_view(&header));
	buf_puts(&message, "\r\n");
	buf_puts(&message, probe_body);
	if (rc == 0) {
		rc = verify_message(&v, buf_view(&message), e);
		if (rc == 0)
			err_set(e, ERR_PERM, ESC(5, 7, 5), "its probe does not verify: %s", w.why);
		rc = rc > 0 ? 0 : -1;
	}
	buf_free(&header);
	buf_free(&message);
	return rc;
}
