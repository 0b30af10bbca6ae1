/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/dkim_key.h"
#include "lib/dkim_store.h"
#include "master/dkim.h"
#include "master/files.h"

struct set_key {
	char *domain, *selector;
	enum dkim_algorithm algorithm;
	enum dkim_state state;
	uint64_t pin;
	unsigned bits;
	struct buf pem;
};

struct dkim_set {
	struct set_key *v; /* in the order of the index */
	size_t n;
};

void
dkim_set_free(struct dkim_set **sp)
{
	struct dkim_set *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].domain);
		free(s->v[i].selector);
		buf_wipe(&s->v[i].pem);
		buf_free(&s->v[i].pem);
	}
	free(s->v);
	free(s);
}

size_t
dkim_set_count(const struct dkim_set *s)
{
	return s->n;
}

/* Parsing a key takes longer than all else; `at` is where the former set most likely has it. */
static bool
known(const struct dkim_set *former, size_t at, struct set_key *k)
{
	for (size_t i = at; former && i < former->n && i < at + 2; i++) {
		const struct set_key *old = &former->v[i];
		if (old->algorithm != k->algorithm || !view_eq(buf_view(&old->pem), buf_view(&k->pem)))
			continue;
		k->pin = old->pin;
		k->bits = old->bits;
		return true;
	}
	return false;
}

static int
check_key(struct set_key *k, unsigned bits_min, struct err *e)
{
	EVP_PKEY *pkey = dkim_key_parse(buf_view(&k->pem), k->algorithm, bits_min, e);

	if (pkey == NULL)
		return -1;
	k->bits = dkim_key_bits(pkey);
	int rc = dkim_key_public(pkey, k->algorithm, NULL, &k->pin, e);
	dkim_key_free(pkey);
	return rc;
}

static int
read_key(const struct conf *c, const struct dkim_store *store, const struct dkim_set *former, size_t at,
    struct set_key *k, struct err *e)
{
	const struct dkim_entry *x = &store->v[at];
	struct buf path = BUF_INIT(8192);
	char file[DKIM_FILE_MAX];

	*k = (struct set_key){ x_strdup(x->domain), x_strdup(x->selector), x->algorithm, x->state, 0, 0,
		BUF_INIT(DKIM_PEM_MAX + 2 * 65536) };
	dkim_store_file(x, file);
	buf_printf(&path, "%s/%s", store->path, file);
	int rc = file_read(buf_cstr(&path), DKIM_PEM_MAX, true, &k->pem, e);
	if (rc == 0 && (!known(former, at, k) ||
			   (k->algorithm == DKIM_RSA_SHA256 && k->bits < c->dkim.rsa_bits))) {
		rc = check_key(k, (unsigned)c->dkim.rsa_bits, e);
		if (rc < 0)
			err_wrap(e, "%s", buf_cstr(&path));
	}
	buf_free(&path);
	if (rc < 0)
		err_wrap(e, "%s/index:%u: %s %s", store->path, x->line, x->domain, x->selector);
	return rc;
}

struct dkim_set *
dkim_set_read(const struct conf *c, const struct dkim_set *former, struct buf *errors)
{
	struct dkim_set *s = x_calloc(1, sizeof(*s));
	struct dkim_store store;
	struct err e;
	bool good = true;

	if (dkim_store_open(&store, c->state_dir, false, &e) < 0) {
		buf_printf(errors, "%s\n", e.text);
		dkim_set_free(&s);
		return NULL;
	}
	s->v = x_calloc(store.n + 1, sizeof(*s->v));
	for (size_t i = 0; i < store.n; i++) {
		if (read_key(c, &store, former, s->n++, &s->v[i], &e) == 0)
			continue;
		good = false;
		buf_printf(errors, "%s: make a new key (mtactl dkim new %s), or revoke this one (mtactl dkim "
				   "revoke %s %s)\n",
		    e.text, s->v[i].domain, s->v[i].domain, s->v[i].selector);
	}
	dkim_store_close(&store);
	if (!good)
		dkim_set_free(&s);
	return s;
}

void
dkim_set_send_keys(const struct dkim_set *s, struct channel *ch)
{
	for (size_t i = 0; i < s->n; i++)
		IPC_SEND(ch, dkim_key, .pin = s->v[i].pin, .algorithm = (uint8_t)s->v[i].algorithm,
		    .pem = buf_view(&s->v[i].pem));
	IPC_SEND(ch, dkim_apply, .count = (uint32_t)s->n);
}

void
dkim_set_send_names(const struct dkim_set *s, struct channel *ch)
{
	uint32_t count = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct set_key *k = &s->v[i];
		if (k->state != DKIM_ACTIVE)
			continue;
		count++;
		IPC_SEND(ch, dkim_name, .domain = view_str(k->domain), .selector = view_str(k->selector),
		    .algorithm = (uint8_t)k->algorithm, .pin = k->pin);
	}
	IPC_SEND(ch, dkim_apply, .count = count);
}
