/* SPDX-License-Identifier: ISC */
/* State of the resolver process. */
#ifndef EKIDEN_DNSD_H
#define EKIDEN_DNSD_H

#include "dnsd/resolver.h"
#include "lib/channel.h"
#include "lib/daemon.h"

enum { LOOKUP_BUCKETS = 4096, LOOKUPS_MAX = 50000 };

struct lookup;
struct ctl_call;

/* One asking process. Kept until its channel is closed and no request points here. */
struct peer {
	struct channel ch;
	struct dnsd *d;
	struct peer *next;
	size_t requests;
	bool closed;
	/* For a question that no channel brought (admin.c): takes the answer. */
	void (*txt)(struct peer *p, const struct ipc_txt_answer *m);
	void (*ptr)(struct peer *p, const struct ipc_ptr_answer *m);
	struct ctl_call *call; /* NULL: it is gone */
	struct loop_reap reap;
};

struct dnsd {
	struct daemon *daemon;
	struct resolver *resolver;
	unsigned generation;	/* of the resolver */
	struct buf anchor;	/* trust anchors */
	struct buf nameservers; /* of the host's resolv.conf */
	bool changed;		/* one of these, since the resolver was made */
	struct peer *peers;
	struct lookup *lookups[LOOKUP_BUCKETS]; /* under way, by kind and name */
	size_t lookup_count;
};

/* Nobody waits for p any more when its channel is closed too. */
void peer_release(struct peer *p);

/* A control connection. */
void dnsd_admin(struct daemon *daemon, uint32_t uid, int fd);

#endif
