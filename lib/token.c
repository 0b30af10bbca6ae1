/* SPDX-License-Identifier: ISC */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "lib/token.h"

#define PREFIX "b-"

enum {
	PREFIX_CHARS = sizeof(PREFIX) - 1,
	SIGNED = 19, /* bytes under the MAC */
	RAW = SIGNED + TOKEN_MAC,
	BASE32_CHARS = (RAW * 8 + 4) / 5
};
_Static_assert((int)TOKEN_CHARS == (int)PREFIX_CHARS + (int)BASE32_CHARS, "another length");

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

static void
encode(const unsigned char *p, size_t n, struct buf *out)
{
	uint32_t bits = 0, have = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | p[i];
		for (have += 8; have >= 5; have -= 5)
			buf_putc(out, alphabet[bits >> (have - 5) & 31]);
	}
	if (have)
		buf_putc(out, alphabet[bits << (5 - have) & 31]);
}

static int
digit(char c)
{
	if (c >= '2' && c <= '7')
		return c - '2' + 26;
	c |= 0x20;
	return c >= 'a' && c <= 'z' ? c - 'a' : -1;
}

/* Of exactly BASE32_CHARS characters; the bits behind the last byte must be zero: one token, one text. */
static bool
decode(struct view v, unsigned char out[static RAW])
{
	uint32_t bits = 0, have = 0;
	size_t n = 0;

	for (size_t i = 0; i < v.n; i++) {
		int d = digit(v.p[i]);
		if (d < 0)
			return false;
		bits = bits << 5 | (uint32_t)d;
		have += 5;
		if (have >= 8 && n < RAW) {
			have -= 8;
			out[n++] = (unsigned char)(bits >> have);
		}
	}
	return n == RAW && (bits & ((1u << have) - 1)) == 0;
}

static bool
sign(const struct token_secret *s, const unsigned char *p, unsigned char mac[static EVP_MAX_MD_SIZE])
{
	return HMAC(EVP_sha256(), s->key, s->n, p, SIGNED, mac, NULL) != NULL;
}

void
token_make(const struct token_secret *secret, const struct token *t, struct buf *out)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	struct buf raw = BUF_INIT(RAW);

	buf_put_u8(&raw, secret->id);
	buf_put_u64(&raw, t->qid);
	buf_put_u32(&raw, t->rcpt);
	buf_put_u32(&raw, t->key_serial);
	buf_put_u16(&raw, t->last_day);
	if (sign(secret, (const unsigned char *)buf_view(&raw).p, mac)) {
		buf_put(&raw, mac, TOKEN_MAC);
		buf_puts(out, PREFIX);
		encode((const unsigned char *)buf_view(&raw).p, RAW, out);
	} else {
		out->bad = true;
	}
	buf_free(&raw);
}

bool
token_like(struct view local)
{
	unsigned char raw[RAW];

	return local.n == TOKEN_CHARS && view_istarts(local, PREFIX) &&
	    decode(view_skip(local, PREFIX_CHARS), raw);
}

static const struct token_secret *
find(const struct token_secret *secrets, unsigned count, uint8_t id)
{
	for (unsigned i = 0; i < count; i++)
		if (secrets[i].n && secrets[i].id == id)
			return &secrets[i];
	return NULL;
}

enum token_result
token_parse(const struct token_secret *secrets, unsigned count, struct view local, uint16_t today,
    struct token *t)
{
	unsigned char raw[RAW], mac[EVP_MAX_MD_SIZE];

	if (local.n != TOKEN_CHARS || !view_istarts(local, PREFIX) ||
	    !decode(view_skip(local, PREFIX_CHARS), raw))
		return TOKEN_MALFORMED;
	struct view v = view_of(raw, RAW);
	uint8_t id = view_get_u8(&v);
	t->qid = view_get_u64(&v);
	t->rcpt = view_get_u32(&v);
	t->key_serial = view_get_u32(&v);
	t->last_day = view_get_u16(&v);
	const struct token_secret *s = find(secrets, count, id);
	if (s == NULL || !sign(s, raw, mac) || CRYPTO_memcmp(mac, raw + SIGNED, TOKEN_MAC) != 0)
		return TOKEN_FORGED;
	return today > t->last_day ? TOKEN_EXPIRED : TOKEN_GOOD;
}
