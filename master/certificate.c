/* SPDX-License-Identifier: ISC */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "master/certificate.h"

enum { RSA_BITS_MIN = 2048, WARN_DAYS = 14 };

/* No terminal is asked for a pass phrase. */
static int
no_passphrase(char *room, int size, int writing, void *ctx)
{
	(void)room, (void)size, (void)writing;
	*(bool *)ctx = true;
	return -1;
}

static X509 *
read_leaf(struct view pem, struct err *e)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	if (leaf == NULL)
		err_set(e, ERR_PERM, ESC(5, 3, 5), "no certificate in PEM form at its beginning");
	return leaf;
}

static EVP_PKEY *
read_key(struct view pem, struct err *e)
{
	bool encrypted = false;
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &encrypted) : NULL;

	BIO_free(bio);
	if (key == NULL)
		err_set(e, ERR_PERM, ESC(5, 3, 5), "%s", encrypted ?
		    "the key is protected by a pass phrase: store it without" :
		    "no private key in PEM form");
	return key;
}

static int
check_kind(const EVP_PKEY *key, struct err *e)
{
	int kind = EVP_PKEY_base_id(key), bits = EVP_PKEY_bits(key);

	if (kind != EVP_PKEY_RSA && kind != EVP_PKEY_EC)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "keys are RSA or EC (P-256, P-384)");
	if (kind == EVP_PKEY_RSA && bits < RSA_BITS_MIN)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "an RSA key of %d bits is too short",
		    bits);
	return 0;
}

static void
check_dates(const X509 *leaf, struct buf *warning)
{
	int days, seconds;

	if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(leaf)))
		return;
	if (days < 0 || seconds < 0)
		buf_puts(warning, "the certificate has expired");
	else if (days < WARN_DAYS)
		buf_printf(warning, "the certificate expires in %d days", days);
}

int
certificate_check(struct view chain_pem, struct view key_pem, struct buf *warning, struct err *e)
{
	X509 *leaf = read_leaf(chain_pem, e);
	EVP_PKEY *key = leaf ? read_key(key_pem, e) : NULL;
	int rc = key ? check_kind(key, e) : -1;

	if (rc == 0 && X509_check_private_key(leaf, key) != 1)
		rc = err_set(e, ERR_PERM, ESC(5, 3, 5),
		    "certificate and key do not belong together");
	if (rc == 0)
		check_dates(leaf, warning);
	ERR_clear_error();
	EVP_PKEY_free(key);
	X509_free(leaf);
	return rc;
}
