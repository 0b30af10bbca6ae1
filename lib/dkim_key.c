/* SPDX-License-Identifier: ISC */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "lib/dkim_key.h"
#include "lib/tls.h"

static const char *
kind_of(enum dkim_algorithm a)
{
	return a == DKIM_RSA_SHA256 ? "RSA" : "ED25519";
}

static int
failed(struct err *e, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	err_set(e, ERR_BUG, ESC(5, 3, 0), "%s: %s", what, reason ? reason : "unknown reason");
	ERR_clear_error();
	return -1;
}

/* The memory is the BIO's, which wipes it. */
static int
put_pem(EVP_PKEY *key, struct buf *pem, struct err *e)
{
	BIO *b = BIO_new(BIO_s_secmem());
	char *p = NULL;

	if (b == NULL || !PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL)) {
		BIO_free(b);
		return failed(e, "PEM");
	}
	long n = BIO_get_mem_data(b, &p);
	buf_put(pem, p, (size_t)n);
	BIO_free(b);
	return pem->bad ? err_set(e, ERR_BUG, ESC(5, 3, 0), "key too large") : 0;
}

int
dkim_key_make(enum dkim_algorithm a, unsigned bits, struct buf *pem, struct err *e)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	if (a == DKIM_RSA_SHA256 && (bits < DKIM_RSA_BITS_LEAST || bits > DKIM_RSA_BITS_MOST))
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "RSA keys have %d to %d bits",
		    DKIM_RSA_BITS_LEAST, DKIM_RSA_BITS_MOST);
	EVP_PKEY *key = a == DKIM_RSA_SHA256 ? EVP_RSA_gen(bits) :
					       EVP_PKEY_Q_keygen(NULL, NULL, kind_of(a));
	if (key == NULL)
		return failed(e, "new key");
	int rc = put_pem(key, pem, e);
	EVP_PKEY_free(key);
	return rc;
}

/* Without it OpenSSL would ask the terminal. */
static int
no_passphrase(char *out, int size, int writing, void *ctx)
{
	(void)out, (void)size, (void)writing;
	*(bool *)ctx = true;
	return -1;
}

EVP_PKEY *
dkim_key_parse(struct view pem, enum dkim_algorithm a, unsigned bits_min, struct err *e)
{
	bool encrypted = false;
	BIO *in = NULL;

	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ERR_clear_error();
	if (pem.n && pem.n <= DKIM_PEM_MAX)
		in = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &encrypted) : NULL;
	BIO_free(in);
	ERR_clear_error();
	if (key == NULL)
		err_set(e, ERR_PERM, ESC(5, 3, 5), "%s", encrypted ?
		    "the key is protected by a pass phrase: store it without" :
		    "no private key in PEM form");
	else if (!EVP_PKEY_is_a(key, kind_of(a)))
		err_set(e, ERR_PERM, ESC(5, 3, 5), "not a key for %s", dkim_algorithm_name(a));
	else if (a == DKIM_RSA_SHA256 && dkim_key_bits(key) < bits_min)
		err_set(e, ERR_PERM, ESC(5, 3, 5), "RSA with %u bits: at least %u are needed",
		    dkim_key_bits(key), bits_min);
	else if (a == DKIM_RSA_SHA256 && dkim_key_bits(key) > DKIM_RSA_BITS_MOST)
		err_set(e, ERR_PERM, ESC(5, 3, 5), "RSA with more than %d bits",
		    DKIM_RSA_BITS_MOST);
	else
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

void
dkim_key_free(EVP_PKEY *key)
{
	EVP_PKEY_free(key);
}

unsigned
dkim_key_bits(const EVP_PKEY *key)
{
	int bits = EVP_PKEY_get_bits(key);

	return bits > 0 ? (unsigned)bits : 0;
}

int
dkim_key_public(const EVP_PKEY *key, enum dkim_algorithm a, struct buf *bytes, uint64_t *pin,
    struct err *e)
{
	unsigned char *der = NULL, raw[DKIM_HASH];
	size_t raw_len = sizeof(raw);
	int n = i2d_PUBKEY(key, &der);

	if (n <= 0 ||
	    (a == DKIM_ED25519_SHA256 && EVP_PKEY_get_raw_public_key(key, raw, &raw_len) != 1)) {
		OPENSSL_free(der);
		return failed(e, "public key");
	}
	if (pin)
		*pin = tls_key_pin(view_of(der, (size_t)n));
	if (bytes && a == DKIM_ED25519_SHA256)
		buf_put(bytes, raw, raw_len);
	else if (bytes)
		buf_put(bytes, der, (size_t)n);
	OPENSSL_free(der);
	return 0;
}

int
dkim_key_open(struct dkim_key *k, enum dkim_algorithm a, EVP_PKEY *pkey, struct err *e)
{
	bool ok;

	*k = (struct dkim_key){ .algorithm = a, .pkey = pkey };
	if (a == DKIM_RSA_SHA256) {
		k->rsa = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
		ok = k->rsa && EVP_PKEY_sign_init(k->rsa) > 0 &&
		    EVP_PKEY_CTX_set_rsa_padding(k->rsa, RSA_PKCS1_PADDING) > 0 &&
		    EVP_PKEY_CTX_set_signature_md(k->rsa, EVP_sha256()) > 0;
	} else {
		k->ed = EVP_MD_CTX_new();
		ok = k->ed && EVP_DigestSignInit_ex(k->ed, NULL, NULL, NULL, NULL, pkey, NULL) > 0;
	}
	if (ok)
		return 0;
	dkim_key_close(k);
	return failed(e, "cannot sign with the key");
}

void
dkim_key_close(struct dkim_key *k)
{
	EVP_PKEY_CTX_free(k->rsa);
	EVP_MD_CTX_free(k->ed);
	EVP_PKEY_free(k->pkey); /* wipes the private numbers */
	*k = (struct dkim_key){ 0 };
}

size_t
dkim_key_sign(struct dkim_key *k, const uint8_t digest[static DKIM_HASH],
    unsigned char out[static DKIM_SIGNATURE_MAX])
{
	size_t n = DKIM_SIGNATURE_MAX;
	int rc = k->rsa ? EVP_PKEY_sign(k->rsa, out, &n, digest, DKIM_HASH) :
			  EVP_DigestSign(k->ed, out, &n, digest, DKIM_HASH);

	if (rc > 0)
		return n;
	ERR_clear_error();
	return 0;
}
