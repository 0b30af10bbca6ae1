/* SPDX-License-Identifier: ISC */
/*
 * A secret has 200 random bits, so nobody can search for it: one salted SHA-256 keeps it as well as
 * a slow password hash would, and a flood of wrong log-ins costs us a microsecond each. The SCRAM
 * material (RFC 5802, RFC 7677) is derived at issue as well, since the secret is gone afterwards.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/random.h>

#include "authd/secret.h"

static int
crypto_fail(struct err *e)
{
	return err_set(e, ERR_TEMP, ESC(4, 3, 0), "libcrypto failed");
}

int
secret_bytes(void *p, size_t n, struct err *e)
{
	/* Up to 256 bytes come whole or not at all. */
	if (n > 256 || getrandom(p, n, 0) != (ssize_t)n)
		return err_errno(e, "getrandom");
	return 0;
}

int
hasher_open(struct hasher *h, struct err *e)
{
	*h = (struct hasher){ .ctx = EVP_MD_CTX_new() };
	h->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (h->sha256 == NULL || h->ctx == NULL)
		return crypto_fail(e);
	unsigned char *const made[] = { h->nobody.hash, h->nobody.former_hash,
		h->nobody.scram_stored_key, h->nobody.former_scram_stored_key,
		h->nobody.scram_server_key };
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		if (secret_bytes(made[i], DIGEST_BYTES, e) < 0)
			return -1;
	return 0;
}

bool
hasher_seed(struct hasher *h, uint64_t seed)
{
	return EVP_Digest(&seed, sizeof(seed), h->nobody.scram_server_key, NULL, h->sha256, NULL);
}

void
hasher_close(struct hasher *h)
{
	EVP_MD_CTX_free(h->ctx);
	EVP_MD_free(h->sha256);
	explicit_bzero(h, sizeof(*h));
}

int
secret_text(char *out, size_t chars, struct err *e)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	unsigned char raw[256];
	size_t n = chars / 8 * 5;
	uint64_t five = 0;
	int rc = secret_bytes(raw, n, e);

	for (size_t i = 0, at = 0; rc == 0 && i < n; i++) {
		five = five << 8 | raw[i];
		if (i % 5 != 4)
			continue;
		for (int shift = 35; shift >= 0; shift -= 5)
			out[at++] = digits[five >> shift & 31];
		five = 0;
	}
	out[rc == 0 ? chars : 0] = '\0';
	explicit_bzero(raw, sizeof(raw));
	return rc;
}

/* SHA-256 of the salt and the secret. */
static bool
hash(struct hasher *h, const unsigned char *salt, struct view secret, unsigned char *out)
{
	return EVP_DigestInit_ex2(h->ctx, h->sha256, NULL) &&
	    EVP_DigestUpdate(h->ctx, salt, SALT_BYTES) &&
	    EVP_DigestUpdate(h->ctx, secret.p, secret.n) && EVP_DigestFinal_ex(h->ctx, out, NULL);
}

/* RFC 5802, 3. The secret is ASCII: SASLprep leaves it as it is. */
bool
secret_derive_scram(struct hasher *h, struct view secret, struct record_key *k)
{
	unsigned char salted[DIGEST_BYTES], client[DIGEST_BYTES];

	bool good = PKCS5_PBKDF2_HMAC(secret.p, (int)secret.n, k->scram_salt, SALT_BYTES,
			(int)k->scram_iterations, h->sha256, DIGEST_BYTES, salted) &&
	    HMAC(h->sha256, salted, DIGEST_BYTES, (const unsigned char *)"Client Key", 10, client,
		NULL) &&
	    HMAC(h->sha256, salted, DIGEST_BYTES, (const unsigned char *)"Server Key", 10,
		k->scram_server_key, NULL) &&
	    EVP_Digest(client, DIGEST_BYTES, k->scram_stored_key, NULL, h->sha256, NULL);
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client, sizeof(client));
	return good;
}

int
secret_derive(struct hasher *h, struct view secret, struct record_key *k, struct err *e)
{
	if (secret_bytes(k->salt, SALT_BYTES, e) < 0 ||
	    secret_bytes(k->scram_salt, SALT_BYTES, e) < 0)
		return -1;
	k->scram_iterations = SCRAM_ITERATIONS;
	if (k->former_until_us) {
		/* One challenge for both: nobody knows yet which of them the client has. */
		memcpy(k->scram_salt, k->former_scram_salt, SALT_BYTES);
		k->scram_iterations = k->former_scram_iterations;
	}
	if (!hash(h, k->salt, secret, k->hash) || !secret_derive_scram(h, secret, k)) {
		secret_forget(k);
		return crypto_fail(e);
	}
	return 0;
}

/* Whether the verifier before the last rotation still counts (A7). */
static bool
former_counts(const struct record_key *k, uint64_t now_us)
{
	return k && now_us < k->former_until_us;
}

static bool
hash_is(struct hasher *h, const unsigned char *salt, struct view secret, const unsigned char *want)
{
	unsigned char got[DIGEST_BYTES];

	h->checks++;
	bool good = hash(h, salt, secret, got);
	bool same = CRYPTO_memcmp(got, want, DIGEST_BYTES) == 0;
	explicit_bzero(got, sizeof(got));
	return good & same;
}

bool
secret_matches(struct hasher *h, const struct record_key *k, struct view secret, uint64_t now_us)
{
	const struct record_key *with = k ? k : &h->nobody;
	bool fits = secret.n <= SECRET_TRY_MAX;
	struct view tried = view_first(secret, SECRET_TRY_MAX);

	unsigned now = hash_is(h, with->salt, tried, with->hash);
	unsigned then = hash_is(h, with->former_salt, tried, with->former_hash);
	then &= former_counts(k, now_us);
	return (now | then) & fits & (k != NULL);
}

static bool
hmac(struct hasher *h, const unsigned char *key, struct view v, unsigned char *out)
{
	return HMAC(h->sha256, key, DIGEST_BYTES, (const unsigned char *)v.p, v.n, out, NULL) != NULL;
}

/* ClientKey := ClientProof XOR HMAC(StoredKey, AuthMessage); its hash has to be StoredKey. */
static bool
proof_is(struct hasher *h, const unsigned char *stored_key, struct view message,
    const unsigned char *proof)
{
	unsigned char key[DIGEST_BYTES], got[DIGEST_BYTES];

	h->checks++;
	bool good = hmac(h, stored_key, message, key);
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		key[i] ^= proof[i];
	good &= EVP_Digest(key, DIGEST_BYTES, got, NULL, h->sha256, NULL);
	bool same = CRYPTO_memcmp(got, stored_key, DIGEST_BYTES) == 0;
	explicit_bzero(key, sizeof(key));
	return good & same;
}

bool
secret_proves(struct hasher *h, const struct record_key *k, struct view message, struct view proof,
    uint64_t now_us, unsigned char signature[static DIGEST_BYTES])
{
	const struct record_key *with = k ? k : &h->nobody;
	unsigned char bytes[DIGEST_BYTES] = { 0 };
	bool fits = proof.n == DIGEST_BYTES;

	if (fits)
		memcpy(bytes, proof.p, DIGEST_BYTES);
	unsigned now = proof_is(h, with->scram_stored_key, message, bytes);
	unsigned then = proof_is(h, with->former_scram_stored_key, message, bytes);
	then &= former_counts(k, now_us);
	unsigned good = (now | then) & fits & (k != NULL);
	good &= hmac(h, now ? with->scram_server_key : with->former_scram_server_key, message,
	    signature);
	if (!good)
		memset(signature, 0, DIGEST_BYTES);
	return good;
}

void
secret_fake_salt(struct hasher *h, struct view user, unsigned char salt[static SALT_BYTES])
{
	unsigned char digest[DIGEST_BYTES] = { 0 };

	hmac(h, h->nobody.scram_server_key, user, digest);
	memcpy(salt, digest, SALT_BYTES);
}

void
secret_forget(struct record_key *k)
{
	explicit_bzero(k->salt, sizeof(k->salt));
	explicit_bzero(k->hash, sizeof(k->hash));
	explicit_bzero(k->scram_salt, sizeof(k->scram_salt));
	explicit_bzero(k->scram_stored_key, sizeof(k->scram_stored_key));
	explicit_bzero(k->scram_server_key, sizeof(k->scram_server_key));
	k->scram_iterations = 0;
	explicit_bzero(k->former_salt, sizeof(k->former_salt));
	explicit_bzero(k->former_hash, sizeof(k->former_hash));
	explicit_bzero(k->former_scram_salt, sizeof(k->former_scram_salt));
	explicit_bzero(k->former_scram_stored_key, sizeof(k->former_scram_stored_key));
	explicit_bzero(k->former_scram_server_key, sizeof(k->former_scram_server_key));
	k->former_scram_iterations = 0;
	k->former_until_us = 0;
}
