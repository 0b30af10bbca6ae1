/* SPDX-License-Identifier: ISC */
/*
 * What keeps mail from going now. The same answer decides (lane.c asks before it gives work, and wakes up
 * when it frees) and is shown (`mtactl why`, `lane show`): what is said is what is done.
 */
#ifndef EKIDEN_QMGR_STOP_H
#define EKIDEN_QMGR_STOP_H

#include "lib/buf.h"

/* X(name, "words for people") in the order in which they are looked at. */
#define STOP_CAUSES(X)                                                                             \
	X(none, "nothing")                                                                         \
	X(draining, "the queue manager is stopping")                                               \
	X(no_process, "no smtp process is there")                                                  \
	X(resolving, "DNS is asked for the MX")                                                    \
	X(paused_site, "paused by the administrator: site")                                        \
	X(paused_domain, "paused by the administrator: domain")                                    \
	X(paused_tenant, "paused by the administrator: tenant")                                    \
	X(paused_source, "paused by the administrator: source")                                    \
	X(no_source, "no source address can be used")                                              \
	X(warm_up, "the sources are at today's limit of their warm-up")                            \
	X(resting, "the next hop could not be reached")                                            \
	X(hours, "outside of the group's hours")                                                   \
	X(backoff_pause, "the destination asked for a pause")                                      \
	X(backoff_rate, "slowed down after a reply of the destination")                            \
	X(rate, "rate of the group")                                                               \
	X(interval, "interval of the group")                                                       \
	X(source_rate, "rate of the source")                                                       \
	X(tenant_rate, "rate of the tenant at this site")                                          \
	X(tenant_connections, "connections of the tenant at this site")                            \
	X(tenant_slowed, "the tenant is slowed for its failures")                                  \
	X(turn, "others have their turn first")                                                    \
	X(window, "all connections of the lane are busy")                                          \
	X(group_connections, "connections of the group")                                           \
	X(source_connections, "connections of the source")                                         \
	X(connect_rate, "connection rate of the group")                                            \
	X(connect_pause, "the next hop refused a further connection")                              \
	X(total, "connections to all destinations")                                                \
	X(opening, "a connection is being opened")

enum stop_cause {
#define STOP_ENUM(name, text) STOP_##name,
	STOP_CAUSES(STOP_ENUM)
	STOP_COUNT
};

struct stop {
	enum stop_cause cause;
	uint64_t until_us;    /* queue time when it frees; 0: when something else happens */
	uint64_t used, limit; /* the counter, where there is one */
	uint32_t per_s;	      /* of a rate: its interval */
	char what[320];	      /* which group, source, tenant, reply; "" where it is plain */
};

const char *stop_name(enum stop_cause cause); /* "tenant_rate": stable, for machines */
const char *stop_words(enum stop_cause cause);

#endif
