/* SPDX-License-Identifier: ISC */
/*
 * The serving side of signd: the channels of smtpd, smtp and bounce, and their requests.
 *
 * A signature is computed in the process, one at a time. Requests wait in a queue per channel; a
 * turn of the loop computes a few, taking the channels in rotation, and sends what is ready:
 * neither a long queue nor a peer gone wild delays another peer's request by more than its own
 * share.
 */
#ifndef EKIDEN_SIGND_SERVER_H
#define EKIDEN_SIGND_SERVER_H

#include "lib/channel.h"
#include "signd/dkim_ring.h"
#include "signd/keyring.h"

/* Signatures a turn; requests waiting on one channel, above which they are answered ok = false. */
enum { SERVER_TURN = 8, SERVER_QUEUE_MAX = 8192 };

struct peer;

/* Embedded in the daemon's state; starts as zeroes. */
struct server {
	struct loop *loop;
	struct keyring *now;	/* NULL before the first configuration: all is refused */
	struct keyring *former; /* of the configuration before: its certificates may be in use */
	struct dkim_ring *dkim; /* NULL: none */
	struct peer *peers;
	struct loop_timer again;
	uint64_t complained_ms; /* when an unknown key was last logged */
};

void server_init(struct server *s, struct loop *l);
/* Takes fd; replaces the channel of the same role and instance. */
void server_peer(struct server *s, enum role role, uint32_t instance, int fd);
void server_peer_gone(struct server *s, enum role role, uint32_t instance);
/* The keys of a new configuration; takes the keyring. */
void server_use(struct server *s, struct keyring *keys);
/* The DKIM keys; takes the ring. */
void server_use_dkim(struct server *s, struct dkim_ring *keys);
/* Closes all channels and frees all keys; the loop must turn once more to free the rest. */
void server_close(struct server *s);

#endif
