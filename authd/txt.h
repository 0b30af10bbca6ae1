/* SPDX-License-Identifier: ISC */
/* TXT look-ups through dnsd, for the verification of domains. */
#ifndef EKIDEN_AUTHD_TXT_H
#define EKIDEN_AUTHD_TXT_H

#include "lib/channel.h"

struct txt_wait;

struct txt_client {
	struct loop *loop;
	struct channel ch;
	struct txt_wait *waits;
	uint64_t last_req;
};

struct txt_wait {
	/*
	 * Called once, unless cancelled. strings: txt_string records; text: what went wrong. The
	 * wait may be freed in it.
	 */
	void (*done)(
	    struct txt_wait *w, enum dns_status status, struct view strings, struct view text);
	/* private */
	struct txt_client *client;
	uint64_t req;
	struct loop_timer deadline;
	struct txt_wait *next;
};

void txt_client_init(struct txt_client *c, struct loop *l);
/* A (new) channel to dnsd; takes fd. What waits for an answer on the former one fails. */
void txt_client_connect(struct txt_client *c, int fd, uint32_t instance);
void txt_client_disconnect(struct txt_client *c);
/* Fills the private part of w (its owner's memory). Without dnsd the answer is DNS_TEMP, later. */
void txt_query(struct txt_client *c, struct txt_wait *w, struct view name);
/* The answer is not wanted any more. Idempotent. */
void txt_cancel(struct txt_wait *w);

#endif
