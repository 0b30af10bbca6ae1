/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "lib/ipc_schema.h"
#include "lib/tls.h"
#include "signd/keyring.h"

enum { DIGEST_MIN = 20, DIGEST_MAX = 64 };

struct key {
	uint32_t number;
	uint8_t scheme;
	uint64_t pin;
	size_t size; /* longest signature, bytes */
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *sign; /* ready to sign, used again and again */
};

struct keyring {
	struct key *keys;
	size_t count;
};

struct keyring *
keyring_new(void)
{
	/* The configuration file of OpenSSL is out of reach, and must not be looked for. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	return x_calloc(1, sizeof(struct keyring));
}

static void
key_clear(struct key *k)
{
	EVP_PKEY_CTX_free(k->sign);
	EVP_PKEY_free(k->pkey); /* wipes the private numbers */
	*k = (struct key){ 0 };
}

void
keyring_free(struct keyring **rp)
{
	struct keyring *r = *rp;

	if (r == NULL)
		return;
	for (size_t i = 0; i < r->count; i++)
		key_clear(&r->keys[i]);
	free(r->keys);
	free(r);
	*rp = NULL;
}

static struct key *
find(const struct keyring *r, uint32_t number)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->keys[i].number == number)
			return &r->keys[i];
	return NULL;
}

/* Without it OpenSSL would ask the terminal. */
static int
no_passphrase(char *out, int size, int writing, void *ctx)
{
	(void)out, (void)size, (void)writing, (void)ctx;
	return -1;
}

static EVP_PKEY *
parse(struct view pem)
{
	if (pem.n == 0 || pem.n > INT32_MAX)
		return NULL;
	BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *pkey = in ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL) : NULL;
	BIO_free(in);
	return pkey;
}

static uint64_t
pin_of(EVP_PKEY *pkey)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(pkey, &der);
	uint64_t pin = n > 0 ? tls_key_pin(view_of(der, (size_t)n)) : 0;

	OPENSSL_free(der);
	return pin;
}

/* Fills k from k->pkey. */
static int
prepare(struct key *k, struct err *e)
{
	bool rsa = EVP_PKEY_is_a(k->pkey, "RSA");

	if (!rsa && !EVP_PKEY_is_a(k->pkey, "EC"))
		return err_set(e, ERR_PERM, ESC(5, 7, 5), "neither RSA nor ECDSA");
	if (rsa && EVP_PKEY_get_bits(k->pkey) < KEYRING_RSA_BITS_MIN)
		return err_set(e, ERR_PERM, ESC(5, 7, 5), "RSA with %d bits: at least %d are needed",
		    EVP_PKEY_get_bits(k->pkey), KEYRING_RSA_BITS_MIN);
	int size = EVP_PKEY_get_size(k->pkey);
	if (size <= 0 || size > KEYRING_SIGNATURE_MAX)
		return err_set(e, ERR_PERM, ESC(5, 7, 5), "too large");
	k->size = (size_t)size;
	k->scheme = rsa ? SIGN_RSA_RAW : SIGN_ECDSA;
	k->pin = pin_of(k->pkey);
	k->sign = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
	if (k->pin == 0 || k->sign == NULL || EVP_PKEY_sign_init(k->sign) <= 0 ||
	    (rsa && EVP_PKEY_CTX_set_rsa_padding(k->sign, RSA_NO_PADDING) <= 0))
		return err_set(e, ERR_PERM, ESC(5, 7, 5), "cannot sign with it");
	return 0;
}

int
keyring_add(struct keyring *r, uint32_t number, struct view pem, struct err *e)
{
	struct key k = { .number = number };
	struct key *former = find(r, number);

	if (number == 0 || (former == NULL && r->count == KEYRING_KEYS_MAX))
		return err_set(e, ERR_PERM, ESC(5, 7, 5), "private key %u: no such number", number);
	ERR_clear_error();
	k.pkey = parse(pem);
	if (k.pkey == NULL) {
		ERR_clear_error();
		return err_set(e, ERR_PERM, ESC(5, 7, 5),
		    "private key %u: not a PEM private key, or encrypted", number);
	}
	if (prepare(&k, e) < 0) {
		key_clear(&k);
		ERR_clear_error();
		return err_wrap(e, "private key %u", number);
	}
	if (former) {
		key_clear(former);
		*former = k;
		return 0;
	}
	r->keys = x_realloc(r->keys, r->count + 1, sizeof(*r->keys));
	r->keys[r->count++] = k;
	return 0;
}

bool
keyring_has(const struct keyring *r, uint32_t number)
{
	return find(r, number) != NULL;
}

void
keyring_trim(struct keyring *r, uint32_t last)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		if (r->keys[i].number <= last)
			r->keys[kept++] = r->keys[i];
		else
			key_clear(&r->keys[i]);
	}
	r->count = kept;
}

static enum keyring_result
sign(struct key *k, uint8_t scheme, struct view in, unsigned char *out, size_t *len)
{
	if (scheme != k->scheme)
		return KEYRING_REFUSED;
	if (scheme == SIGN_RSA_RAW ? in.n != k->size : in.n < DIGEST_MIN || in.n > DIGEST_MAX)
		return KEYRING_REFUSED;
	*len = KEYRING_SIGNATURE_MAX;
	if (EVP_PKEY_sign(k->sign, out, len, (const unsigned char *)in.p, in.n) <= 0) {
		ERR_clear_error();
		return KEYRING_REFUSED;
	}
	return KEYRING_SIGNED;
}

enum keyring_result
keyring_sign(struct keyring *r, uint32_t number, uint64_t pin, uint8_t scheme, struct view in,
    unsigned char out[static KEYRING_SIGNATURE_MAX], size_t *len)
{
	struct key *k = find(r, number);

	if (k == NULL || (pin && k->pin != pin))
		return KEYRING_UNKNOWN;
	return sign(k, scheme, in, out, len);
}

enum keyring_result
keyring_sign_pin(struct keyring *r, uint64_t pin, uint8_t scheme, struct view in,
    unsigned char out[static KEYRING_SIGNATURE_MAX], size_t *len)
{
	for (size_t i = 0; i < r->count; i++)
		if (pin && r->keys[i].pin == pin)
			return sign(&r->keys[i], scheme, in, out, len);
	return KEYRING_UNKNOWN;
}
