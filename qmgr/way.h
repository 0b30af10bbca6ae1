/* SPDX-License-Identifier: ISC */
/*
 * Which way a recipient goes (J8, J9): a conditional route, its group's relay, the transport map, relayhost, or the
 * hosts of its domain.
 */
#ifndef EKIDEN_QMGR_WAY_H
#define EKIDEN_QMGR_WAY_H

#include "qmgr/dest.h"

struct way {
	struct route route;
	struct dest *dest; /* whose hosts these are; NULL: no domain's */
};

/* 0, or -1: ERR_PERM returns the message, ERR_TEMP tries again later. */
int way_find(const struct rcpt *r, struct way *out, struct err *e);

#endif
