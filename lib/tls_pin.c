/* SPDX-License-Identifier: ISC */
/* Apart from the rest of lib/tls, so that signd does not link libssl. */
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "lib/tls.h"

uint64_t
tls_key_pin(struct view spki_der)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	SHA256((const unsigned char *)spki_der.p, spki_der.n, digest);
	struct view v = view_of(digest, sizeof(digest));
	uint64_t pin = view_get_u64(&v);
	return pin ? pin : 1;
}
