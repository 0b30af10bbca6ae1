/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/dkim_key.h"
#include "lib/log.h"
#include "smtpd/command.h"
#include "smtpd/steps.h"

enum { SIGNATURES_MAX = 2 }; /* one of each algorithm */

struct signing {
	struct session *session;
	struct body_observer observer;
	struct dkim_body body;
	bool observes; /* there were keys when the body began */
	bool hashed;   /* `hash` is that of the body */
	uint8_t hash[DKIM_HASH];
	struct view from_domain, domain;
	struct one {
		struct tls_sign_op op;
		struct view selector;
		struct buf field;
		uint8_t digest[DKIM_HASH];
		bool pending;
	} v[SIGNATURES_MAX];
	size_t n, pending;
	bool failed;
	enum outcome { NOT_YET, SIGNED, HAS_ONE, NO_KEY } outcome;
};

static void
on_body(void *ctx, struct view bytes)
{
	struct signing *g = ctx;

	dkim_body_put(&g->body, bytes);
}

void
sign_begin(struct session *s)
{
	const struct sign_rules *r = &s->listener->site->sign;
	struct txn *t = &s->txn;

	if (!r->on || t->right != RIGHT_RELAY)
		return;
	struct signing *g = arena_alloc(&t->arena, sizeof(*g));
	t->signing = g;
	g->session = s;
	if (s->d->sign_keys.n == 0)
		return;
	g->observes = true;
	dkim_body_init(&g->body, r->dkim.body);
	g->observer = (struct body_observer){ .body = on_body, .ctx = g };
	stage_observe(t, &g->observer);
}

void
sign_body_again(struct txn *t)
{
	struct signing *g = t->signing;

	if (g == NULL || !g->observes)
		return;
	dkim_body_free(&g->body);
	dkim_body_init(&g->body, g->session->listener->site->sign.dkim.body);
}

void
sign_clear(struct txn *t)
{
	struct signing *g = t->signing;

	if (g == NULL)
		return;
	t->signing = NULL;
	dkim_body_free(&g->body);
	for (size_t i = 0; i < g->n; i++) {
		if (g->v[i].pending)
			signer_cancel(g->session->d->signer, &g->v[i].op);
		buf_free(&g->v[i].field);
	}
}

/* The first author's domain, as far as it was met. */
struct first_author {
	bool met;
	struct buf domain; /* canonical; empty: it has none */
};

static void
meet_author(void *ctx, const struct addr *a)
{
	struct first_author *f = ctx;

	if (!f->met && !domain_canonical(a->domain, &f->domain))
		buf_clear(&f->domain);
	f->met = true;
}

/* The canonical domain of the first address of From; empty when it has none. */
static struct view
from_domain(struct txn *t)
{
	ptrdiff_t i = header_list_find(&t->header, HEADER_FROM, 0);
	struct first_author f = { .domain = BUF_INIT(1024) };
	struct view found = VIEW("");

	if (i >= 0 && header_from_read(header_list_value(&t->header, (uint32_t)i), meet_author, &f))
		found = arena_view(&t->arena, buf_view(&f.domain));
	buf_free(&f.domain);
	return found;
}

/* Never without a word: sign_trace() or the refusal says so (atk-F10). */
static enum step_result
without_key(struct session *s, struct signing *g, struct verdict *v)
{
	g->outcome = NO_KEY;
	switch (s->listener->site->sign.without_key) {
	case CONF_UNSIGNED_defer:
		log_warn("deferred: no DKIM key for " VIEW_FMT " of %s", VIEW_ARG(g->from_domain),
		    s->user ? s->user : s->ip);
		return step_refuse(v, 451, ESC(4, 7, 5), "Error: the sender domain has no DKIM key");
	case CONF_UNSIGNED_refuse:
		return step_refuse(v, 550, ESC(5, 7, 5), "Error: the sender domain has no DKIM key");
	case CONF_UNSIGNED_send:
		break;
	}
	return STEP_GO_ON;
}

static int
hash_fields(struct txn *t, struct dkim_fields *f, struct err *e)
{
	for (uint32_t i = t->header.count; i-- > 0;)
		if (!t->header.fields[i].deleted)
			dkim_fields_put(
			    f, header_list_name(&t->header, i), header_list_raw(&t->header, i));
	return dkim_fields_end(f, e);
}

static void
on_signature(struct tls_sign_op *op, bool ok, struct view signature)
{
	static const struct verdict none = { 451, { 4, 3, 0 }, "Error: no signature, try again later" };
	struct signing *g = op->ctx;
	struct one *x = CONTAINER(op, struct one, op);

	x->pending = false;
	g->failed |= !ok;
	if (ok)
		dkim_field_end(&x->field, signature);
	if (--g->pending)
		return;
	g->outcome = SIGNED;
	finish_continue(g->session, g->failed ? &none : NULL);
}

/* The field up to its signature; the names are copied, as the keys may be replaced meanwhile. */
static int
prepare(struct session *s, struct signing *g, const struct dkim_fields *f, const struct sign_key *k,
    struct err *e)
{
	struct txn *t = &s->txn;
	struct one *x = &g->v[g->n++];
	struct dkim_signature sig = { g->domain, view_str(k->selector), k->algorithm,
		loop_wall_us(s->d->loop) / 1000000 };

	x->selector = arena_view(&t->arena, sig.selector);
	buf_init(&x->field, DKIM_FIELD_MAX);
	x->op = (struct tls_sign_op){ .pin = k->pin, .in = view_of(x->digest, DKIM_HASH),
		.scheme = k->algorithm == DKIM_RSA_SHA256 ? SIGN_DKIM_RSA : SIGN_DKIM_ED25519,
		.done = on_signature, .ctx = g };
	return dkim_field_begin(f, &sig, g->hash, &x->field, x->digest, e);
}

static int
prepare_all(struct session *s, struct signing *g, const struct sign_key *first, struct err *e)
{
	const struct sign_keys *keys = &s->d->sign_keys;
	struct dkim_fields f;

	g->domain = arena_view(&s->txn.arena, view_str(first->domain));
	if (!g->hashed && !dkim_body_end(&g->body, g->hash))
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "hash of the body failed");
	g->hashed = true;
	dkim_fields_init(&f, &s->listener->site->sign.dkim);
	int rc = hash_fields(&s->txn, &f, e);
	for (const struct sign_key *k = first;
	     rc == 0 && k < keys->v + keys->n && view_is(g->domain, k->domain) && g->n < SIGNATURES_MAX; k++)
		rc = prepare(s, g, &f, k, e);
	dkim_fields_free(&f);
	return rc;
}

enum step_result
sign_message(struct session *s, struct verdict *v)
{
	struct txn *t = &s->txn;
	struct signing *g = t->signing;
	struct err e;

	if (g == NULL)
		return STEP_GO_ON;
	if (t->header.counts[HEADER_DKIM]) { /* A19; A20: it is not judged */
		g->outcome = HAS_ONE;
		return STEP_GO_ON;
	}
	g->from_domain = from_domain(t);
	const struct sign_key *first =
	    sign_keys_for(&s->d->sign_keys, &s->listener->site->sign, g->from_domain);
	if (first == NULL || !g->observes)
		return without_key(s, g, v);
	if (prepare_all(s, g, first, &e) < 0)
		return step_refuse(v, e.class == ERR_PERM ? 550 : 451, e.esc, "Error: cannot be signed");
	for (size_t i = 0; i < g->n; i++) {
		if (signer_start(s->d->signer, &g->v[i].op) < 0)
			return step_refuse(v, 451, ESC(4, 3, 0), "Error: no signature, try again later");
		g->v[i].pending = true;
		g->pending++;
	}
	return STEP_WAIT;
}

void
sign_put(const struct txn *t, struct buf *out)
{
	const struct signing *g = t->signing;

	for (size_t i = 0; g && i < g->n; i++)
		buf_putv(out, buf_view(&g->v[i].field));
}

void
sign_trace(const struct session *s, uint64_t qid)
{
	const struct signing *g = s->txn.signing;
	char id[QID_CHARS + 1];

	if (g == NULL)
		return;
	qid_text(qid, id);
	if (g->outcome == NO_KEY)
		log_info("%s: not signed: no DKIM key for " VIEW_FMT, id, VIEW_ARG(g->from_domain));
	else if (g->outcome == HAS_ONE)
		log_info("%s: not signed: it has a DKIM-Signature field", id);
	for (size_t i = 0; g->outcome == SIGNED && i < g->n; i++)
		log_info("%s: DKIM-Signature field added (s=" VIEW_FMT ", d=" VIEW_FMT ")", id,
		    VIEW_ARG(g->v[i].selector), VIEW_ARG(g->domain));
}
