/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "smtpd/scram.h"

enum { AUTH_MESSAGE_MAX = 4096 };

void
scram_init(struct scram *s)
{
	buf_init(&s->user, SCRAM_MESSAGE_MAX);
	buf_init(&s->gs2, SCRAM_MESSAGE_MAX);
	buf_init(&s->message, AUTH_MESSAGE_MAX);
	buf_init(&s->nonce, SCRAM_NONCE_MAX + SCRAM_NONCE_CHARS);
}

void
scram_free(struct scram *s)
{
	buf_free(&s->user);
	buf_free(&s->gs2);
	buf_free(&s->message);
	buf_free(&s->nonce);
	explicit_bzero(s->proof, sizeof(s->proof));
}

/* saslname: "=2C" is ',', "=3D" is '='; no other '=' (RFC 5802, 5.1). false: malformed. */
static bool
take_name(struct view v, struct buf *out)
{
	while (v.n) {
		if (v.p[0] == '\0')
			return false;
		if (v.p[0] != '=') {
			buf_putc(out, v.p[0]);
			v = view_skip(v, 1);
			continue;
		}
		if (!view_starts(v, "=2C") && !view_starts(v, "=3D"))
			return false;
		buf_putc(out, v.p[1] == '2' ? ',' : '=');
		v = view_skip(v, 3);
	}
	return !out->bad;
}

/* printable: 0x21-0x2b, 0x2d-0x7e. */
static bool
nonce_ok(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] <= 0x20 || v.p[i] >= 0x7f || v.p[i] == ',')
			return false;
	return v.n > 0 && v.n <= SCRAM_NONCE_MAX;
}

/* The value of the attribute that is due, up to the next comma. false: another one is there. */
static bool
attribute(struct view *v, char name, struct view *value)
{
	if (v->n < 2 || v->p[0] != name || v->p[1] != '=')
		return false;
	*v = view_skip(*v, 2);
	*value = view_cut(v, ',');
	return true;
}

/* What may follow: attr-val of extensions, which we know none of and may ignore. */
static bool
extensions_ok(struct view v)
{
	while (v.n) {
		struct view one = view_cut(&v, ',');
		bool letter = one.n >= 3 && ((one.p[0] | 0x20) >= 'a' && (one.p[0] | 0x20) <= 'z');
		if (!letter || one.p[1] != '=' || memchr(one.p, '\0', one.n))
			return false;
	}
	return true;
}

/* gs2-cbind-flag "," [ authzid ] "," at the front of *v. */
static enum scram_result
take_gs2(struct scram *s, struct view *v, struct buf *authzid)
{
	struct view whole = *v;
	struct view flag = view_cut(v, ',');
	struct view name;

	if (view_starts(flag, "p="))
		return SCRAM_REFUSED;
	if (!view_is(flag, "n") && !view_is(flag, "y"))
		return SCRAM_MALFORMED;
	if (view_index(*v, ',') < 0)
		return SCRAM_MALFORMED;
	if (v->p[0] == ',')
		*v = view_skip(*v, 1);
	else if (!attribute(v, 'a', &name) || name.n == 0 || !take_name(name, authzid))
		return SCRAM_MALFORMED;
	buf_putv(&s->gs2, view_first(whole, whole.n - v->n));
	return SCRAM_GOOD;
}

enum scram_result
scram_first(struct scram *s, struct view v, const char *nonce)
{
	struct buf authzid = BUF_INIT(SCRAM_MESSAGE_MAX);
	struct view name, theirs;

	if (v.n > SCRAM_MESSAGE_MAX)
		return SCRAM_MALFORMED;
	enum scram_result rc = take_gs2(s, &v, &authzid);
	struct view bare = v;
	/* A mandatory extension ("m=") has no place here either: `n` is due. */
	if (rc == SCRAM_GOOD &&
	    (!attribute(&v, 'n', &name) || !take_name(name, &s->user) ||
		!attribute(&v, 'r', &theirs) || !nonce_ok(theirs) || !extensions_ok(v)))
		rc = SCRAM_MALFORMED;
	/* To act for somebody else is nothing that a key can do. */
	if (rc == SCRAM_GOOD && buf_len(&authzid) &&
	    !view_eq(buf_view(&authzid), buf_view(&s->user)))
		rc = SCRAM_REFUSED;
	buf_free(&authzid);
	if (rc != SCRAM_GOOD)
		return rc;
	buf_putv(&s->nonce, theirs);
	buf_puts(&s->nonce, nonce);
	buf_putv(&s->message, bare);
	return SCRAM_GOOD;
}

void
scram_challenge(struct scram *s, struct view salt, uint32_t iterations, struct buf *out)
{
	struct buf b = BUF_INIT(1024);

	buf_printf(&b, "r=" VIEW_FMT ",s=", VIEW_ARG(buf_view(&s->nonce)));
	base64_encode(salt, &b);
	buf_printf(&b, ",i=%u", iterations);
	buf_putc(&s->message, ',');
	buf_putv(&s->message, buf_view(&b));
	buf_putv(out, buf_view(&b));
	buf_free(&b);
}

/* The text decodes to exactly `want`. */
static bool
decodes_to(struct view text, struct view want)
{
	struct buf b = BUF_INIT(SCRAM_MESSAGE_MAX);
	bool good = base64_decode(text, &b) && view_eq(buf_view(&b), want);

	buf_free(&b);
	return good;
}

static bool
take_proof(struct scram *s, struct view text)
{
	struct buf b = BUF_INIT(SCRAM_PROOF);
	bool good = base64_decode(text, &b) && buf_len(&b) == SCRAM_PROOF;

	if (good)
		memcpy(s->proof, buf_view(&b).p, SCRAM_PROOF);
	buf_wipe(&b);
	buf_free(&b);
	return good;
}

/* The proof is the last attribute, and what stands before it is signed. */
enum scram_result
scram_final(struct scram *s, struct view v)
{
	struct view whole = v, binding, nonce;
	size_t signed_n = v.n;

	if (v.n > SCRAM_MESSAGE_MAX)
		return SCRAM_MALFORMED;
	while (signed_n && v.p[signed_n - 1] != ',')
		signed_n--;
	struct view proof = view_skip(v, signed_n);
	if (signed_n == 0 || !view_starts(proof, "p="))
		return SCRAM_MALFORMED;
	v = view_first(v, signed_n - 1);
	if (!attribute(&v, 'c', &binding) || !attribute(&v, 'r', &nonce) || !extensions_ok(v) ||
	    !take_proof(s, view_skip(proof, 2)))
		return SCRAM_MALFORMED;
	if (!decodes_to(binding, buf_view(&s->gs2)) || !view_eq(nonce, buf_view(&s->nonce)))
		return SCRAM_REFUSED;
	buf_putc(&s->message, ',');
	buf_putv(&s->message, view_first(whole, signed_n - 1));
	return s->message.bad ? SCRAM_MALFORMED : SCRAM_GOOD;
}
