/* SPDX-License-Identifier: ISC */
/*
 * The limits of a group, shared by all of its lanes, or of one destination without a group (J5, J11, P2), and the
 * back-off of a lane. What may go now, and when to ask again.
 */
#ifndef EKIDEN_QMGR_SHAPE_H
#define EKIDEN_QMGR_SHAPE_H

#include "qmgr/lane.h"

struct shaper {
	struct table_node node;
	char *name; /* of the group, or of the lane */
	const struct group *group;
	uint32_t lanes, conns;
	struct pace rate, connect;
	uint64_t next_us; /* `interval`: not before */
	struct table tenants;
};

/* By the lane's group; shape_leave() before the lane goes. */
void shape_join(struct lane *lane);
void shape_leave(struct lane *lane);

/* Recipients that may go now, for any tenant; 0: *until_us says when some may (0: not by time). */
uint32_t shape_room(struct lane *lane, uint64_t *until_us);
/* The tenant is over a limit of its own at this destination. */
bool shape_tenant_full(struct lane *lane, const struct tenant *t);
/* How many connections may be opened now; 0 with *until_us as above. */
uint32_t shape_connections(struct lane *lane, uint64_t *until_us);
/* Connections that the lane may have, with its back-off. */
uint32_t shape_window(const struct lane *lane);

/* A job with n recipients of the tenant begins, ends; untried: they did not go. */
void shape_begin(struct lane *lane, struct tenant *t, uint32_t n);
void shape_end(struct lane *lane, struct tenant *t, uint32_t untried);
void shape_connect(struct lane *lane); /* a connection is opened */
void shape_disconnect(struct lane *lane);

/* Steps of recovery that are due; when the next one is (queue time), 0: none. */
uint64_t shape_recover(struct lane *lane);
/* Frees what no lane uses and no pace keeps. */
void shapers_sweep(struct qmgr *q);

/* A reply met the throttle block of this name, or (name empty) the connection was cut: `why` is the cause. */
void shape_signal(struct lane *lane, struct view throttle, uint8_t event, const struct outcome *why);

#endif
