/* SPDX-License-Identifier: ISC */
/*
 * Recipients that go another way than their domain says: simulator addresses end here, return addresses
 * go to bounce, copies go to one host.
 */
#ifndef EKIDEN_QMGR_SPECIAL_H
#define EKIDEN_QMGR_SPECIAL_H

#include "qmgr/message.h"

struct returned {
	struct table_node node;
	uint64_t req;
	struct rcpt *r;
};

/* True: r was one that ends here or with bounce, and has a new state. */
bool special_take(struct rcpt *r);
/* The route of a copy. -1: there is none any more. */
int special_copy_route(const struct qmgr *q, struct route *out, struct err *e);
/* r is sent from a return address of its own, that is, in a transaction of its own (A17). */
bool special_verp(const struct rcpt *r);
/* What r is sent from: the message's sender, or its return address, made in `room`. */
struct view special_sender(const struct rcpt *r, struct buf *room);
/* false: nothing of ours. */
bool returned_answer(struct qmgr *q, uint64_t req);
/* bounce is gone: what it had is tried again. */
void returned_detach(struct qmgr *q);

#endif
