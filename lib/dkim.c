/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "lib/addr.h"
#include "lib/dkim.h"
#include "lib/log.h"

enum { LINE_WISH = 76 };

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The hash. */

static void
sink_init(struct dkim_sink *s)
{
	s->md = EVP_MD_CTX_new();
	s->n = 0;
	s->failed = s->md == NULL || EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) != 1;
}

static void
sink_flush(struct dkim_sink *s)
{
	if (!s->failed && s->n && EVP_DigestUpdate(s->md, s->block, s->n) != 1)
		s->failed = true;
	s->n = 0;
}

static void
sink_putc(struct dkim_sink *s, char c)
{
	if (s->n == sizeof(s->block))
		sink_flush(s);
	s->block[s->n++] = c;
}

static void
sink_put(struct dkim_sink *s, struct view v)
{
	if (v.n <= sizeof(s->block) - s->n) {
		memcpy(s->block + s->n, v.p, v.n);
		s->n += v.n;
		return;
	}
	sink_flush(s);
	if (!s->failed && EVP_DigestUpdate(s->md, v.p, v.n) != 1)
		s->failed = true;
}

static void
sink_end_line(struct dkim_sink *s)
{
	sink_putc(s, '\r');
	sink_putc(s, '\n');
}

static void
sink_free(struct dkim_sink *s)
{
	EVP_MD_CTX_free(s->md);
	s->md = NULL;
}

static bool
sink_end(struct dkim_sink *s, uint8_t hash[static DKIM_HASH])
{
	unsigned n = 0;

	sink_flush(s);
	bool ok = !s->failed && EVP_DigestFinal_ex(s->md, hash, &n) == 1 && n == DKIM_HASH;
	sink_free(s);
	return ok;
}

/* The body (3.4.3, 3.4.4). */

void
dkim_body_init(struct dkim_body *b, enum dkim_canon canon)
{
	sink_init(&b->sink);
	b->canon = canon;
	b->ends = 0;
	b->blank = b->cr = b->any = false;
}

/* Something follows: the line ends and blanks before it count after all. */
static void
body_release(struct dkim_body *b)
{
	for (; b->ends; b->ends--)
		sink_end_line(&b->sink);
	if (b->blank)
		sink_putc(&b->sink, ' ');
	b->blank = false;
	b->any = true;
	if (b->cr)
		sink_putc(&b->sink, '\r');
	b->cr = false;
}

/* Bytes at the front of v that have no meaning of their own. */
static size_t
plain_run(struct view v, bool relaxed)
{
	const char *end = memchr(v.p, '\r', v.n);
	size_t n = end ? (size_t)(end - v.p) : v.n;

	for (size_t i = 0; relaxed && i < n; i++)
		if (is_blank(v.p[i]))
			return i;
	return n;
}

void
dkim_body_put(struct dkim_body *b, struct view v)
{
	bool relaxed = b->canon == DKIM_RELAXED;

	while (v.n) {
		if (b->cr && *v.p == '\n') {
			b->cr = b->blank = false;
			b->ends++;
			v = view_skip(v, 1);
			continue;
		}
		if (b->cr) /* a CR alone is a byte like others */
			body_release(b);
		if (*v.p == '\r' || (relaxed && is_blank(*v.p))) {
			*(*v.p == '\r' ? &b->cr : &b->blank) = true;
			v = view_skip(v, 1);
			continue;
		}
		size_t n = plain_run(v, relaxed);
		if (b->ends || b->blank || !b->any)
			body_release(b);
		sink_put(&b->sink, view_first(v, n));
		v = view_skip(v, n);
	}
}

bool
dkim_body_end(struct dkim_body *b, uint8_t hash[static DKIM_HASH])
{
	if (b->cr)
		body_release(b);
	/* The last line's own end, or the one that it lacks; an empty simple body is one line end. */
	if (b->any || b->canon == DKIM_SIMPLE)
		sink_end_line(&b->sink);
	return sink_end(&b->sink, hash);
}

void
dkim_body_free(struct dkim_body *b)
{
	sink_free(&b->sink);
}

/* The header (3.4.1, 3.4.2). */

/* 3.4.2: no folds, one blank for many, none around the colon or at the end, the name in lower case. */
static void
put_relaxed(struct dkim_sink *s, struct view name, struct view value)
{
	bool blank = false, any = false;

	for (size_t i = 0; i < name.n; i++)
		sink_putc(s, name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) :
								    name.p[i]);
	sink_putc(s, ':');
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];
		if (is_blank(c)) {
			blank = true;
		} else if (c != '\r' && c != '\n') {
			if (blank && any)
				sink_putc(s, ' ');
			blank = false;
			any = true;
			sink_putc(s, c);
		}
	}
}

/* A field without its last CRLF. */
static void
put_field(struct dkim_sink *s, enum dkim_canon canon, struct view raw)
{
	struct view value = raw, name = view_cut(&value, ':');

	if (canon == DKIM_SIMPLE)
		sink_put(s, raw);
	else
		put_relaxed(s, view_trim(name), value);
}

void
dkim_fields_init(struct dkim_fields *f, const struct dkim_rules *r)
{
	f->rules = r;
	sink_init(&f->sink);
	f->names = (struct buf)BUF_INIT(DKIM_NAMES_MAX);
	f->from = 0;
}

static void
put_name(struct dkim_fields *f, struct view name)
{
	if (buf_len(&f->names))
		buf_putc(&f->names, ':');
	buf_putv(&f->names, name);
}

void
dkim_fields_put(struct dkim_fields *f, struct view name, struct view raw)
{
	name = view_trim(name);
	if (!dkim_signs(f->rules, name))
		return;
	if (view_iis(name, "From"))
		f->from++;
	put_name(f, name);
	if (raw.n >= 2 && raw.p[raw.n - 1] == '\n' && raw.p[raw.n - 2] == '\r')
		raw.n -= 2;
	put_field(&f->sink, f->rules->header, raw);
	sink_end_line(&f->sink);
}

int
dkim_fields_end(struct dkim_fields *f, struct err *e)
{
	const struct dkim_names *over = &f->rules->oversign;
	bool from = false;

	for (size_t i = 0; i < over->n; i++) {
		from |= view_iis(view_str(over->v[i]), "From");
		put_name(f, view_str(over->v[i]));
	}
	if (!from)
		put_name(f, VIEW("From"));
	sink_flush(&f->sink);
	if (f->from != 1)
		return err_set(e, ERR_PERM, ESC(5, 6, 0), "%u From fields: cannot be signed", f->from);
	if (f->names.bad)
		return err_set(e, ERR_PERM, ESC(5, 6, 0), "too many header fields to be signed");
	return f->sink.failed ? err_set(e, ERR_BUG, ESC(4, 3, 0), "hash of the header failed") : 0;
}

void
dkim_fields_free(struct dkim_fields *f)
{
	sink_free(&f->sink);
	buf_free(&f->names);
}

/* The DKIM-Signature field. */

/* A tag of the field, on this line while there is room on it. */
static void
put_tag(struct buf *out, size_t *line, const char *tag, struct view value, bool last)
{
	size_t n = strlen(tag) + 1 + value.n + !last;

	if (*line + 1 + n > LINE_WISH) {
		buf_puts(out, "\r\n\t");
		*line = 8;
	} else {
		buf_putc(out, ' ');
		*line += 1;
	}
	buf_printf(out, "%s=" VIEW_FMT "%s", tag, VIEW_ARG(value), last ? "" : ";");
	*line += n;
}

/* h=, which may fold around its colons (3.5). */
static void
put_h(struct buf *out, size_t *line, struct view names)
{
	buf_puts(out, "\r\n\th=");
	*line = 10;
	while (names.n) {
		struct view name = view_cut(&names, ':');
		if (*line + name.n + 1 > LINE_WISH && *line > 10) {
			buf_puts(out, "\r\n\t ");
			*line = 9;
		}
		buf_putv(out, name);
		buf_putc(out, names.n ? ':' : ';');
		*line += name.n + 1;
	}
}

static void
put_number(struct buf *out, size_t *line, const char *tag, uint64_t x)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)x);

	put_tag(out, line, tag, view_of(digits, (size_t)n), false);
}

static void
put_tags(const struct dkim_fields *f, const struct dkim_signature *s,
    const uint8_t body[static DKIM_HASH], struct buf *out)
{
	static const char *const canons[] = { "simple", "relaxed" };
	struct buf text = BUF_INIT(64);
	size_t line = strlen("DKIM-Signature:");

	buf_puts(out, "DKIM-Signature:");
	put_tag(out, &line, "v", VIEW("1"), false);
	put_tag(out, &line, "a", view_str(dkim_algorithm_name(s->algorithm)), false);
	buf_printf(&text, "%s/%s", canons[f->rules->header], canons[f->rules->body]);
	put_tag(out, &line, "c", buf_view(&text), false);
	put_tag(out, &line, "d", s->domain, false);
	put_tag(out, &line, "s", s->selector, false);
	put_number(out, &line, "t", s->time_s);
	if (f->rules->lifetime_s)
		put_number(out, &line, "x", s->time_s + f->rules->lifetime_s);
	put_h(out, &line, buf_view(&f->names));
	buf_clear(&text);
	base64_encode(view_of(body, DKIM_HASH), &text);
	put_tag(out, &line, "bh", buf_view(&text), false);
	buf_puts(out, "\r\n\tb=");
	buf_free(&text);
}

int
dkim_field_begin(const struct dkim_fields *f, const struct dkim_signature *s,
    const uint8_t body[static DKIM_HASH], struct buf *out, uint8_t digest[static DKIM_HASH],
    struct err *e)
{
	struct dkim_sink sink = { .md = EVP_MD_CTX_new() };
	size_t start = buf_len(out);

	put_tags(f, s, body, out);
	sink.failed = sink.md == NULL || EVP_MD_CTX_copy_ex(sink.md, f->sink.md) != 1;
	/* 3.7: with an empty b= and without the CRLF behind it. */
	put_field(&sink, f->rules->header, view_skip(buf_view(out), start));
	if (!sink_end(&sink, digest) || out->bad)
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "hash of the header failed");
	return 0;
}

void
dkim_field_end(struct buf *out, struct view signature)
{
	enum { FIRST = LINE_WISH - 10, NEXT = LINE_WISH - 9 };
	struct buf text = BUF_INIT(DKIM_FIELD_MAX);

	base64_encode(signature, &text);
	struct view v = buf_view(&text);
	for (size_t room = FIRST; v.n; room = NEXT) {
		buf_putv(out, view_first(v, room));
		v = view_skip(v, room < v.n ? room : v.n);
		buf_puts(out, v.n ? "\r\n\t " : "\r\n");
	}
	buf_free(&text);
}

/* The record. */

void
dkim_record(enum dkim_algorithm a, struct view public_key, struct buf *out)
{
	buf_printf(out, "v=DKIM1; k=%s; p=", a == DKIM_RSA_SHA256 ? "rsa" : "ed25519");
	base64_encode(public_key, out);
}

void
dkim_record_zone(struct view name, struct view record, struct buf *out)
{
	enum { STRING_MAX = 255 };

	buf_printf(out, VIEW_FMT ". IN TXT (", VIEW_ARG(name));
	while (record.n) {
		struct view part = view_first(record, STRING_MAX);
		buf_printf(out, " \"" VIEW_FMT "\"", VIEW_ARG(part));
		record = view_skip(record, part.n);
	}
	buf_puts(out, " )");
}
