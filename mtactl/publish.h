/* SPDX-License-Identifier: ISC */
/* DNS records that the world should find: which, and how they are written. Pure. */
#ifndef EKIDEN_MTACTL_PUBLISH_H
#define EKIDEN_MTACTL_PUBLISH_H

#include <netinet/in.h>

#include "lib/err.h"

enum { PUBLISH_ADDRESSES_MAX = 64 };

struct publish_addr {
	int family;
	unsigned char addr[16];
};

struct publish {
	const char *hostname, *spf_name;
	struct publish_addr addresses[PUBLISH_ADDRESSES_MAX];
	size_t count;
	void *ctx;
	/*
	 * One record: what it is for, its name without the last dot, type and data as in a zone file, but
	 * a TXT as the bare text. only_if: "" when it is needed, else the condition.
	 */
	void (*record)(void *ctx, const char *purpose, const char *name, const char *type,
	    const char *data, const char *only_if);
};

/* What a domain's record in authd says about it. */
struct publish_domain {
	char name[256];
	char txt_name[320], txt_value[320]; /* empty: verified already */
	bool hosted;
};

/* false: not an address, or too many. */
bool publish_add_address(struct publish *p, struct view text);
void publish_spf(const struct publish *p, const char *domain);
/* The record that others include, and those that name the addresses (A = PTR = HELO). */
void publish_host(const struct publish *p);
void publish_domain(const struct publish *p, const struct publish_domain *d);
/* A line of a zone file. A text over 255 bytes is split into strings (RFC 1035, 3.3). */
void publish_zone_line(const char *name, const char *type, const char *data, const char *only_if,
    struct buf *out);

#endif
