/* SPDX-License-Identifier: ISC */
/*
 * The only caller of libunbound: a caching, validating resolver that lives on our loop. It forwards
 * to the servers it is given, or asks the authoritative servers itself when there are none. No
 * files are opened, no threads are made.
 */
#ifndef EKIDEN_RESOLVER_H
#define EKIDEN_RESOLVER_H

#include "lib/conf.h"
#include "lib/ipc_schema.h"
#include "lib/loop.h"

struct resolver;

struct resolver_conf {
	const struct hostport *servers; /* port 0: 53 */
	size_t server_count;
	uint64_t cache_bytes;
	bool dnssec;
	/*
	 * Answers that fail validation are used, unmarked, instead of refused: for servers that
	 * nobody chose for this purpose and that may not speak DNSSEC at all.
	 */
	bool permissive;
	struct view
	    anchor; /* trust anchors, DS or DNSKEY records in zone file form; may be empty */
};

struct resolver_result {
	enum dns_status
	    status;	    /* DNS_OK: `packet` is an answer; DNS_TEMP, DNS_BOGUS: there is none */
	struct view packet; /* borrowed */
	bool secure;
};
typedef void resolver_fn(void *ctx, const struct resolver_result *r);

/* NULL and *e when libunbound refuses the configuration. */
struct resolver *resolver_new(struct loop *l, const struct resolver_conf *c, struct err *e);
/* Sets NULL; questions under way are answered first. */
void resolver_free(struct resolver **r);
/*
 * Calls fn exactly once, possibly before it returns. `name` is a host name as text. There is no
 * cancelling: an answer that nobody waits for still fills the cache.
 */
void resolver_ask(struct resolver *r, const char *name, uint16_t type, resolver_fn *fn, void *ctx);

#endif
