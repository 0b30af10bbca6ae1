/* SPDX-License-Identifier: ISC */
/*
 * The limits of a group, shared by all of its lanes, or of one destination without a group (J5, J11, P2), and the
 * back-off of a lane. What may go now, and when to ask again.
 */
#ifndef EKIDEN_QMGR_SHAPE_H
#define EKIDEN_QMGR_SHAPE_H

#include "qmgr/lane.h"
#include "qmgr/stop.h"

struct shaper {
	struct table_node node;
	char *key;  /* identity: the group, or the site, or the host */
	char *name; /* of the group, or of the site */
	const struct group *group;
	uint32_t lanes, conns;
	struct pace rate, connect;
	uint64_t next_us; /* `interval`: not before */
	struct link starved; /* lanes without a connection, which wait for one of others */
	struct link dirty;   /* in qmgr.kept.paces: the pace is to be written */
	bool stored;	     /* its pace has a row */
	struct table tenants;
};

/* The key of the shaper that a route leads to. */
void shape_key(const struct route *r, struct buf *key);
/* That of a named group; made when it is not there. */
struct shaper *shaper_of_group(struct qmgr *q, const struct group *g);
/* By the lane's group; shape_leave() before the lane goes. */
void shape_join(struct lane *lane);
void shape_leave(struct lane *lane);

/* Recipients that may go now, for any tenant; 0: *why is filled. */
uint32_t shape_room(struct lane *lane, struct stop *why);
/* The tenant has no turn now, by what it is allowed at all or at this destination. */
bool lane_tenant_stop(struct lane *lane, const struct tenant *t, struct stop *why);
/* How many connections may be opened now, by the limits beside its window; 0: *why is filled. */
uint32_t shape_connections(struct lane *lane, struct stop *why);
/* What keeps the lane's next item from going just now; STOP_NONE: nothing, or it waits for its turn. */
void lane_stop(struct lane *lane, struct stop *why);
/* Connections that the lane may have, with its back-off. */
uint32_t shape_window(const struct lane *lane);

/* A job with n recipients of the tenant begins, ends; untried: they did not go. */
void shape_begin(struct lane *lane, struct tenant *t, uint32_t n);
void shape_end(struct lane *lane, struct tenant *t, uint32_t untried);
void shape_connect(struct lane *lane); /* a connection is opened */
void shape_disconnect(struct lane *lane);

/* Steps of recovery that are due; when the next one is (queue time), 0: none. */
uint64_t shape_recover(struct lane *lane);
/* New settings: shapers get their groups by name, while the former ones are still there. */
void shapers_rebind(struct qmgr *q);
/* Frees what no lane uses and no pace keeps. */
void shapers_sweep(struct qmgr *q);

/* A reply met the throttle block of this name, or (name empty) the connection was cut: `why` is the cause. */
void shape_signal(struct lane *lane, struct view throttle, uint8_t event, const struct outcome *why);

#endif
