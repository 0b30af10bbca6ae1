/* SPDX-License-Identifier: ISC */
/*
 * Keys without their private half: the private operation goes to signd.
 *
 * OpenSSL 3 has no other way to hang a remote key into a server short of a provider of its own; the
 * methods of 1.1 do it in a page, and this is the only file that may use them (hence the macro).
 *
 * The callbacks run on the stack of an ASYNC job (SSL_MODE_ASYNC): they start the operation,
 * leave the job, and find the answer when the handshake is called again.
 *
 * AddressSanitizer says once in a process that it ignores a no-return call on such a stack (OpenSSL
 * leaves it by longjmp). That is right: the frames stay alive, and as every job is run to its
 * end, what the sanitizer has poisoned there is always undone. No false report follows.
 */
#define OPENSSL_API_COMPAT 10101

#include <string.h>

#include <openssl/async.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "lib/ipc_schema.h"
#include "lib/tls_impl.h"

/* Our struct tls_key; OpenSSL leaves the first place of every kind of object to the application. */
enum { KEY_DATA = 0 };

static void
on_signature(struct tls_sign_op *op, bool ok, struct view signature)
{
	struct tls *t = op->ctx;
	struct tls_park *p = t->park;

	p->decided = true;
	p->ok = ok && signature.n <= sizeof(p->signature);
	if (p->ok) {
		p->len = signature.n;
		memcpy(p->signature, signature.p, signature.n);
	}
	t->wake(t->arg);
}

/* Whose handshake this job is. NULL outside a job: a synchronous caller cannot be served. */
static struct tls *
current_session(void)
{
	ASYNC_JOB *job = ASYNC_get_current_job();
	ASYNC_callback_fn callback;
	void *ssl = NULL;

	if (job == NULL || !ASYNC_WAIT_CTX_get_callback(ASYNC_get_wait_ctx(job), &callback, &ssl))
		return NULL;
	return ssl ? SSL_get_app_data((SSL *)ssl) : NULL;
}

/*
 * Asks for a signature and parks the job until tls_handshake() is called with the answer, or
 * tls_free() without one: the job always comes back here, so its stack is always released.
 */
static bool
remote_sign(const struct tls_key *k, uint8_t scheme, struct view in, struct tls_park *p)
{
	struct tls *t = current_session();

	if (t == NULL || k == NULL)
		return false;
	*p = (struct tls_park){ .op = { .key = k->number, .pin = k->pin, .scheme = scheme, .in = in,
		.done = on_signature, .ctx = t } };
	t->park = p;
	if (k->signer->start(k->signer, &p->op) < 0) {
		t->park = NULL;
		t->unsigned_ = true;
		return false;
	}
	k->signer->parked++;
	ASYNC_pause_job();
	k->signer->parked--;
	if (!p->decided)
		k->signer->cancel(k->signer, &p->op);
	t->park = NULL;
	t->unsigned_ = !p->ok;
	return p->ok;
}

static int
rsa_private(int len, const unsigned char *from, unsigned char *to, RSA *rsa, int padding)
{
	unsigned char block[TLS_SIGNATURE_MAX];
	struct tls_park park;
	int size = RSA_size(rsa);

	if (size > (int)sizeof(block))
		return -1;
	if (padding == RSA_PKCS1_PADDING) {
		if (!RSA_padding_add_PKCS1_type_1(block, size, from, len))
			return -1;
	} else if (padding == RSA_NO_PADDING && len == size) {
		memcpy(block, from, (size_t)len); /* PSS was applied above us */
	} else {
		return -1;
	}
	if (!remote_sign(RSA_get_ex_data(rsa, KEY_DATA), SIGN_RSA_RAW, view_of(block, (size_t)size), &park) ||
	    park.len != (size_t)size)
		return -1;
	memcpy(to, park.signature, park.len);
	return size;
}

/*
 * Key exchange by RSA would need decryption; the ciphers for it are off, and signd does not do
 * it.
 */
static int
rsa_no_decrypt(int len, const unsigned char *from, unsigned char *to, RSA *rsa, int padding)
{
	(void)len, (void)from, (void)to, (void)rsa, (void)padding;
	return -1;
}

static int
ec_sign(int type, const unsigned char *digest, int digest_len, unsigned char *sig,
    unsigned int *sig_len, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *ec)
{
	struct tls_park park;

	(void)type, (void)kinv, (void)r;
	if (!remote_sign(EC_KEY_get_ex_data(ec, KEY_DATA), SIGN_ECDSA,
		view_of(digest, (size_t)digest_len), &park) ||
	    park.len > (size_t)ECDSA_size(ec))
		return 0;
	memcpy(sig, park.signature, park.len);
	*sig_len = (unsigned int)park.len;
	return 1;
}

/*
 * The method is set before EVP_PKEY takes the key: that is what makes it a legacy, foreign key to
 * EVP.
 */
static bool
rsa_attach(struct tls_key *k, EVP_PKEY *pub, EVP_PKEY *key)
{
	const RSA *from = EVP_PKEY_get0_RSA(pub);
	RSA *rsa = RSA_new();
	BIGNUM *n = from ? BN_dup(RSA_get0_n(from)) : NULL,
	       *e = from ? BN_dup(RSA_get0_e(from)) : NULL;

	k->rsa = RSA_meth_dup(RSA_PKCS1_OpenSSL());
	if (rsa == NULL || n == NULL || e == NULL || k->rsa == NULL ||
	    !RSA_set0_key(rsa, n, e, NULL)) {
		BN_free(n);
		BN_free(e);
		RSA_free(rsa);
		return false;
	}
	RSA_meth_set_priv_enc(k->rsa, rsa_private);
	RSA_meth_set_priv_dec(k->rsa, rsa_no_decrypt);
	if (!RSA_set_method(rsa, k->rsa) || !RSA_set_ex_data(rsa, KEY_DATA, k) || !EVP_PKEY_assign_RSA(key, rsa)) {
		RSA_free(rsa);
		return false;
	}
	return true;
}

static bool
ec_attach(struct tls_key *k, EVP_PKEY *pub, EVP_PKEY *key)
{
	const EC_KEY *from = EVP_PKEY_get0_EC_KEY(pub);
	EC_KEY *ec = EC_KEY_new();

	k->ec = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
	if (k->ec)
		EC_KEY_METHOD_set_sign(k->ec, ec_sign, NULL, NULL);
	if (from == NULL || ec == NULL || k->ec == NULL ||
	    !EC_KEY_set_group(ec, EC_KEY_get0_group(from)) ||
	    !EC_KEY_set_public_key(ec, EC_KEY_get0_public_key(from)) ||
	    !EC_KEY_set_method(ec, k->ec) || !EC_KEY_set_ex_data(ec, KEY_DATA, k) || !EVP_PKEY_assign_EC_KEY(key, ec)) {
		EC_KEY_free(ec);
		return false;
	}
	return true;
}

EVP_PKEY *
tls_key_new(struct tls_key *k, EVP_PKEY *pub, struct err *e)
{
	EVP_PKEY *key = EVP_PKEY_new();
	bool ok;

	switch (EVP_PKEY_base_id(pub)) {
	case EVP_PKEY_RSA:
		ok = key && EVP_PKEY_bits(pub) <= 8 * TLS_SIGNATURE_MAX && rsa_attach(k, pub, key);
		break;
	case EVP_PKEY_EC:
		ok = key && ec_attach(k, pub, key);
		break;
	default:
		err_set(e, ERR_PERM, ESC(5, 7, 5), "the certificate's key is neither RSA nor ECDSA");
		EVP_PKEY_free(key);
		return NULL;
	}
	if (!ok) {
		tls_error(e, ERR_PERM, "public key of the certificate");
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

void
tls_key_clear(struct tls_key *k)
{
	RSA_meth_free(k->rsa);
	if (k->ec) /* unlike its siblings it does not take NULL */
		EC_KEY_METHOD_free(k->ec);
	k->rsa = NULL;
	k->ec = NULL;
}
