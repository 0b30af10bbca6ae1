/* SPDX-License-Identifier: ISC */
/*
 * Guessing is slowed: failed log-ins are remembered by address, by network (/24, /64) and by user name,
 * whether a key of that name exists or not. Pure: the caller brings the clock.
 *
 * - An address with too many failures waits, twice as long with each further one.
 * - So does a network, but an address in it that proved a secret before does not.
 * - A user name that is guessed at from many places locks nobody out: an address or network without a
 *   failure of its own still gets its try, those with one wait.
 * The memory is a fixed table; when it is full, what says least is forgotten first. Who fills it with
 * invented names and addresses needs failures for that, which count where they come from.
 */
#ifndef EKIDEN_AUTHD_BRUTE_H
#define EKIDEN_AUTHD_BRUTE_H

#include "lib/buf.h"

enum {
	BRUTE_SETS = 1 << 14,
	BRUTE_WAYS = 4,
	/* Failures that are free, by kind: of an address it is a setting. */
	BRUTE_NETWORK_TIMES = 4, /* of a network: so many times that of an address */
	BRUTE_USER_TIMES = 2,
	BRUTE_FORGET_S = 3600,	 /* a failure counts half after this */
	BRUTE_TRUST_S = 30 * 86400
};

struct brute_settings {
	uint32_t failures;		 /* free ones of an address; 0: nothing is slowed */
	uint32_t backoff_s, backoff_max_s; /* the first wait and the longest */
};

struct brute_entry {
	uint64_t id; /* keyed hash of kind and name; 0: free */
	uint32_t failures, last_s, until_s, good_s;
};

struct brute {
	uint64_t seed;
	struct brute_entry *entry; /* BRUTE_SETS * BRUTE_WAYS */
};

void brute_init(struct brute *b, uint64_t seed);
void brute_free(struct brute *b);

/* Why a client has to wait, for the log; NULL: it has not. *wait_s: for how long. */
const char *brute_connect(const struct brute *b, const struct brute_settings *set, struct view client,
    uint32_t now_s, uint32_t *wait_s);
const char *brute_login(const struct brute *b, const struct brute_settings *set, struct view client,
    struct view user, uint32_t now_s, uint32_t *wait_s);
void brute_failed(struct brute *b, const struct brute_settings *set, struct view client,
    struct view user, uint32_t now_s);
/* A proven secret: the address is forgiven what it did wrong, and trusted for a time. */
void brute_good(struct brute *b, struct view client, struct view user, uint32_t now_s);

#endif
