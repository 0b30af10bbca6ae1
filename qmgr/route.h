/* SPDX-License-Identifier: ISC */
/*
 * Where a recipient's mail goes: the transport map's entry, the relayhost, or the MX of its domain.
 * Pure but for the look-up that it is given.
 *
 * The map is asked for the domain, then for each parent as ".parent", then for "*". A value is
 * domain[:port] (MX look-up), [host][:port] (none), or error:[x.y.z ]text; "smtp:" or "relay:" in front
 * is skipped, and with nothing behind it means the MX of the recipient's domain.
 */
#ifndef EKIDEN_QMGR_ROUTE_H
#define EKIDEN_QMGR_ROUTE_H

#include "lib/conf.h"
#include "lib/err.h"

struct group;
struct site;
struct source;

struct route_rules {
	const struct relay *relayhost; /* host NULL: none */
	bool relay_auth;	       /* credentials for it are configured */
	uint16_t port;		       /* of hosts found by MX */
	uint8_t tls;		       /* enum tls_policy */
	/* 1 found (appended to out), 0 not, -1 error. NULL: no map. */
	int (*lookup)(void *ctx, struct view key, struct buf *out, struct err *e);
	void *ctx;
};

struct route {
	char host[256]; /* without brackets; lower case */
	bool mx;
	uint16_t port;
	uint8_t tls;
	bool auth;	/* to the relayhost, with its credentials */
	bool copy;	/* of other mail: a lane of its own */
	struct site *site; /* the hosts of an MX; NULL: `host` itself */
	const struct group *group;	  /* never NULL in a lane */
	struct source *source; /* NULL: the system's choice */
};

/* 0, or -1: ERR_PERM returns the message, ERR_TEMP tries again later. `domain` as the sender wrote it. */
int route_resolve(const struct route_rules *r, struct view domain, struct route *out, struct err *e);
/* A host of the configuration, from out as it is. */
int route_to_relay(const struct route_rules *r, const struct relay *relay, struct route *out, struct err *e);
/* "copy:" of a copy; "example.jp", "example.jp:26", "[mx.example.jp]:25": how a lane is named; <= 300 bytes. */
void route_text(const struct route *r, uint16_t default_port, struct buf *out);

#endif
