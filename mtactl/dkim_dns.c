/* SPDX-License-Identifier: ISC */
/* Records in the DNS against keys on disk. */
#include <string.h>

#include "lib/addr.h"
#include "lib/durable.h"
#include "mtactl/dkim.h"

struct answer {
	struct buf *out;
	bool found;
	size_t count;
};

static void
on_row(void *ctx, struct view fields)
{
	struct answer *a = ctx;
	struct ipc_ctl_field f;

	while (ipc_next(&ipc_desc_ctl_field, &fields, &f)) {
		if (view_is(f.name, "status"))
			a->found = view_is(f.value, "found");
		if (!view_is(f.name, "strings"))
			continue;
		for (struct view v = f.value; v.n;) {
			struct view record = view_get_block(&v, v.n);
			if (view_bad(v))
				break;
			buf_clear(a->out);
			buf_putv(a->out, record);
			a->count++;
		}
	}
}

enum txt_result
txt_lookup(const struct conf *c, struct view name, struct buf *out)
{
	struct answer a = { .out = out };
	struct output o;
	struct buf args = BUF_INIT(4096);

	output_init(&o, false, false);
	o.capture = on_row;
	o.ctx = &a;
	IPC_RECORD(&args, ctl_arg, .name = VIEW("name"), .value = name);
	int status = client_call(c, command_find(VIEW("dns txt")), &args, &o);
	output_end(&o);
	buf_free(&args);
	if (status != STATUS_DONE)
		return TXT_UNKNOWN;
	if (a.count > 1)
		out->bad = true;
	return a.found && a.count ? TXT_FOUND : TXT_NONE;
}

int
key_text_read(struct key_text *t, const struct dkim_store *s, const struct dkim_entry *x, struct err *e)
{
	char file[DKIM_FILE_MAX];
	int rc = -1;

	*t = (struct key_text){ .name = BUF_INIT(DKIM_FILE_MAX), .record = BUF_INIT(RECORD_MAX),
		.bytes = BUF_INIT(RECORD_MAX), .pem = BUF_INIT(DKIM_PEM_MAX + 2 * 65536) };
	dkim_store_dns_name(x, &t->name);
	dkim_store_file(x, file);
	if (durable_read(s->dir, file, DKIM_PEM_MAX, &t->pem, e) < 0)
		return err_wrap(e, "%s", s->path);
	EVP_PKEY *key = dkim_key_parse(buf_view(&t->pem), x->algorithm, DKIM_RSA_BITS_LEAST, e);
	if (key) {
		t->bits = dkim_key_bits(key);
		rc = dkim_key_public(key, x->algorithm, &t->bytes, NULL, e);
		dkim_key_free(key);
	}
	if (rc < 0)
		return err_wrap(e, "%s/%s", s->path, file);
	dkim_record(x->algorithm, buf_view(&t->bytes), &t->record);
	return 0;
}

void
key_text_free(struct key_text *t)
{
	buf_free(&t->name);
	buf_free(&t->record);
	buf_free(&t->bytes);
	buf_wipe(&t->pem);
	buf_free(&t->pem);
}

/* The value of a tag without the blanks in it (RFC 6376, 3.2); false: there is no such tag. */
static bool
tag(struct view record, const char *name, struct buf *out)
{
	buf_clear(out);
	while (record.n) {
		struct view value = view_cut(&record, ';'), word = view_cut(&value, '=');
		if (!view_is(view_trim(word), name))
			continue;
		for (size_t i = 0; i < value.n; i++)
			if (!strchr(" \t\r\n", value.p[i]) || value.p[i] == '\0')
				buf_putc(out, value.p[i]);
		return true;
	}
	return false;
}

/* A colon-separated list names it, or a star does. */
static bool
lists(struct view list, const char *word)
{
	while (list.n) {
		struct view item = view_cut(&list, ':');
		if (view_is(item, word) || view_is(item, "*"))
			return true;
	}
	return false;
}

static const char *
problem(const struct key_text *t, const struct dkim_entry *x, struct view record, struct buf *v,
    struct buf *key)
{
	if (tag(record, "v", v) && !view_is(buf_view(v), "DKIM1"))
		return "not a DKIM record (v=)";
	const char *kind = x->algorithm == DKIM_RSA_SHA256 ? "rsa" : "ed25519";
	if (!tag(record, "k", v))
		buf_puts(v, "rsa");
	if (!view_is(buf_view(v), kind))
		return "the record is for keys of another kind (k=)";
	if (tag(record, "h", v) && !lists(buf_view(v), "sha256"))
		return "the record does not allow SHA-256 (h=)";
	if (tag(record, "s", v) && !lists(buf_view(v), "email"))
		return "the record is not for mail (s=)";
	if (!tag(record, "p", v))
		return "the record has no key (p=)";
	if (buf_len(v) == 0)
		return "the record says that the key is revoked (empty p=)";
	if (!base64_decode(buf_view(v), key))
		return "the key in the record is damaged: no base64 (p=)";
	if (!view_eq(buf_view(key), buf_view(&t->bytes)))
		return "the record has the key of another private key (p=)";
	return NULL;
}

const char *
record_problem(const struct key_text *t, const struct dkim_entry *x, struct view record)
{
	struct buf v = BUF_INIT(RECORD_MAX), key = BUF_INIT(RECORD_MAX);
	const char *why = problem(t, x, record, &v, &key);

	buf_free(&v);
	buf_free(&key);
	return why;
}
