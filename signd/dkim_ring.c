/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "signd/dkim_ring.h"

struct entry {
	uint64_t pin;
	enum dkim_algorithm algorithm;
	struct buf pem;
	struct dkim_key key; /* zeroes: not parsed yet */
	bool unusable;	     /* it was tried */
};

struct dkim_ring {
	struct entry *v;
	size_t n, cap;
};

struct dkim_ring *
dkim_ring_new(void)
{
	return x_calloc(1, sizeof(struct dkim_ring));
}

static void
entry_clear(struct entry *x)
{
	dkim_key_close(&x->key);
	buf_wipe(&x->pem);
	buf_free(&x->pem);
}

void
dkim_ring_free(struct dkim_ring **rp)
{
	struct dkim_ring *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->n; i++)
		entry_clear(&r->v[i]);
	free(r->v);
	free(r);
}

int
dkim_ring_add(struct dkim_ring *r, uint64_t pin, uint8_t algorithm, struct view pem, struct err *e)
{
	if (r->n == DKIM_RING_MAX)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "more than %d DKIM keys", DKIM_RING_MAX);
	if (dkim_algorithm_name(algorithm) == NULL)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "DKIM algorithm %u", algorithm);
	if (r->n == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 64;
		r->v = x_realloc(r->v, r->cap, sizeof(*r->v));
	}
	struct entry *x = &r->v[r->n++];
	*x = (struct entry){ .pin = pin, .algorithm = algorithm, .pem = BUF_INIT(DKIM_PEM_MAX) };
	buf_putv(&x->pem, pem);
	return 0;
}

static int
by_pin(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->pin < y->pin ? -1 : x->pin > y->pin;
}

static struct entry *
find(const struct dkim_ring *r, uint64_t pin)
{
	struct entry want = { .pin = pin };

	return r->n ? bsearch(&want, r->v, r->n, sizeof(*r->v), by_pin) : NULL;
}

void
dkim_ring_ready(struct dkim_ring *r, struct dkim_ring **former)
{
	if (r->n)
		qsort(r->v, r->n, sizeof(*r->v), by_pin);
	for (size_t i = 0; *former && i < r->n; i++) {
		struct entry *x = &r->v[i], *old = find(*former, x->pin);
		if (old == NULL || old->key.pkey == NULL || old->algorithm != x->algorithm ||
		    !view_eq(buf_view(&old->pem), buf_view(&x->pem)))
			continue;
		x->key = old->key;
		old->key = (struct dkim_key){ 0 };
	}
	dkim_ring_free(former);
}

static int
open_key(struct entry *x, struct err *e)
{
	/* How short a key may be is the configuration's business, which master has looked at. */
	EVP_PKEY *pkey =
	    dkim_key_parse(buf_view(&x->pem), x->algorithm, DKIM_RSA_BITS_LEAST, e);

	x->unusable = pkey == NULL || dkim_key_open(&x->key, x->algorithm, pkey, e) < 0;
	return x->unusable ? -1 : 0;
}

size_t
dkim_ring_sign(struct dkim_ring *r, uint64_t pin, enum dkim_algorithm a, struct view digest,
    unsigned char out[static DKIM_SIGNATURE_MAX], struct err *e)
{
	struct entry *x = find(r, pin);

	if (x == NULL || x->unusable || x->algorithm != a || digest.n != DKIM_HASH) {
		err_set(e, ERR_PERM, ESC(5, 7, 5), "%s", x == NULL ? "no such DKIM key" : "refused");
		return 0;
	}
	if (x->key.pkey == NULL && open_key(x, e) < 0)
		return 0;
	size_t n = dkim_key_sign(&x->key, (const uint8_t *)digest.p, out);
	if (n == 0)
		err_set(e, ERR_BUG, ESC(5, 7, 5), "the key does not sign");
	return n;
}
