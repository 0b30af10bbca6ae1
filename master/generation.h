/* SPDX-License-Identifier: ISC */
/*
 * A configuration with all that belongs to it: listening sockets, certificates, keys, tickets,
 * secrets. It is made whole before anything of the former one is touched, and immutable then but for
 * the states of its sockets.
 */
#ifndef EKIDEN_MASTER_GENERATION_H
#define EKIDEN_MASTER_GENERATION_H

#include "lib/channel.h"
#include "lib/conf.h"
#include "master/dkim.h"
#include "master/plan.h"

enum { TICKET_KEY_BYTES = 80 };

struct gen_socket {
	uint32_t listener;
	char *address; /* as in the configuration */
	int fd;
	uint8_t state; /* enum listener_state: by command, kept as long as the address is */
};

struct gen_listen {
	/* One per listener: no ticket crosses over (atk-B9). The former one still opens tickets. */
	uint8_t ticket_key[TICKET_KEY_BYTES], former_ticket_key[TICKET_KEY_BYTES];
};

struct gen_certificate {
	char *name;
	int chain, key; /* memory files with PEM text */
};

struct generation {
	uint32_t serial;
	struct conf *conf;
	int conf_fd; /* memory file: what daemons parse */
	struct gen_listen *listens; /* one for each listen block */
	struct gen_socket *sockets;
	size_t socket_count;
	struct gen_certificate *certificates; /* one for each certificate block */
	struct dkim_set *dkim;
	int relay_secret, trust, anchor, nameservers; /* memory files, or -1 */
};

/*
 * Reads and checks the configuration and every file it names; has no effect on the host. NULL when
 * anything is wrong, with one line per error in `errors`, which also takes warnings.
 */
struct generation *generation_read(const char *path, uint32_t serial, struct buf *errors);
/*
 * Its effects: sockets are bound (those of `former`, which may be NULL, are shared), the transport map
 * is copied for qmgr, log files are tried. `mtactl`: the program that builds text maps. -1: nothing
 * of it needs to be undone but by generation_free().
 */
int generation_prepare(struct generation *g, const struct generation *former, const char *mtactl,
    bool foreground, struct err *e);
/* Listeners of the same name go on with the ticket keys that they had. */
void generation_keep_tickets(struct generation *g, const struct generation *former);
/* Closes its sockets. */
void generation_unlisten(struct generation *g);
/* Closes its sockets and wipes what is secret. */
void generation_free(struct generation **g);

/*
 * Sends configuration, logs and the material of the channel's role, without `apply`. -1: out of
 * descriptors, the channel is not usable then.
 */
int generation_send(const struct generation *g, struct channel *ch, bool foreground);
/* The log destinations alone, opened anew. One that cannot be opened is logged; the old one stays. */
void generation_send_logs(const struct generation *g, struct channel *ch, bool foreground);

#endif
