/* SPDX-License-Identifier: ISC */
/* The process: what all questions share. */
#ifndef EKIDEN_AUTHD_AUTHD_H
#define EKIDEN_AUTHD_AUTHD_H

#include "authd/counts.h"
#include "authd/live.h"
#include "authd/return_key.h"
#include "authd/secret.h"
#include "authd/settings.h"
#include "authd/store.h"
#include "authd/txt.h"
#include "authd/usage.h"
#include "lib/daemon.h"

struct client;

struct authd {
	struct daemon *daemon;
	struct authd_store *store;
	struct hasher hasher;
	struct txt_client txt;
	struct client *clients;
	struct settings set;
	struct usages usages;
	struct brute brute;
	struct live live;
	struct return_keys return_keys;
	struct counts connections; /* by client address, of all workers */
	uint32_t sessions;	   /* their sum */
	struct counts unknown_schedules; /* of keys, that were logged since the last reload */
	struct channel qmgr;
	struct loop_timer checkpoint, watch;
	bool ready;
	bool leased; /* since the last lease_end */
};

/* client.c: the channels from smtpd. */
void client_attach(struct authd *d, uint32_t instance, int fd);
void client_detach(struct authd *d, uint32_t instance);
/* Answers that were given in advance hold no more: records or settings changed, or a limit is near. */
void clients_end_leases(struct authd *d);
/* Nobody is there any more who could ask, and nobody will be. */
void authd_leave(struct authd *d);

/* queue.c: the channel to qmgr. */
void queue_attach(struct authd *d, uint32_t instance, int fd);
void queue_detach(struct authd *d);
/* What return addresses are made with, now and after each change. */
void queue_tell_return_key(struct authd *d);

#endif
