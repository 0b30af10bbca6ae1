/* SPDX-License-Identifier: ISC */
/*
 * From what DNS said about a next hop to the addresses to try, in order. Pure.
 *
 * RFC 5321, 5.1: by preference; within one preference shuffled, IPv6 and IPv4 taking turns; when
 * one of the hosts is this host, entries of equal or worse preference are dropped (S34).
 */
#ifndef EKIDEN_TARGET_H
#define EKIDEN_TARGET_H

#include "lib/conf.h"
#include "lib/ipc.h"

enum { TARGET_MAX = 16, TARGET_HOST_MAX = 255, TARGET_TEXT_MAX = TARGET_HOST_MAX + 64 };

struct target {
	union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} addr;
	socklen_t len;
	uint16_t pref;
	bool secure; /* DNSSEC */
	char host[TARGET_HOST_MAX + 1];
};

struct target_rules {
	const struct conf *conf; /* hostname, local-domains, listen, delivery.deny */
	const char *nexthop;	 /* for texts */
	bool mx;		 /* found by MX: our own names make a loop */
	uint16_t port;
	int family;    /* AF_UNSPEC, or that of the source address */
	uint32_t seed; /* of the shuffle */
};

/*
 * out takes up to TARGET_MAX. Result: how many, at least 1; or -1 with ERR_PERM (5.4.6 loop, 5.4.4
 * no address that may be used) or ERR_TEMP (4.4.3: a host could not be looked up now).
 */
int target_build(const struct target_rules *rules, const struct ipc_mx_answer *answer,
    struct target *out, struct err *e);
/* A next hop that is an address: "1.2.3.4", "2001:db8::1", "[1.2.3.4]", "[IPv6:...]". */
bool target_literal(struct view text, uint16_t port, struct target *out);
/* The same checks as target_build() makes, for a literal. 0 or -1 and *e. */
int target_allowed(const struct target_rules *rules, const struct target *t, struct err *e);
/* The address is on the loopback net. */
bool target_is_loopback(const struct target *t);
/* The address alone; empty when it is none. */
void target_ip(const struct target *t, char out[static INET6_ADDRSTRLEN]);
/* "host[ip]", or with `port` "host[ip]:port". */
void target_text(const struct target *t, bool port, char out[static TARGET_TEXT_MAX]);

#endif
