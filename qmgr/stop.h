/* SPDX-License-Identifier: ISC */
/*
 * Why something does not go now. Whatever decides about that fills one of these, so that what an admin is told is what
 * was decided, not a second opinion.
 */
#ifndef EKIDEN_QMGR_STOP_H
#define EKIDEN_QMGR_STOP_H

#include <stdint.h>

/* X(cause, "words for people") */
#define STOP_CAUSES(X)                                                                             \
	X(NONE, "")                                                                                \
	X(RESOLVING, "DNS is asked for the hosts of its domain")                                   \
	X(HOURS, "the hours of its group")                                                         \
	X(PAUSED_BACKOFF, "a pause that the destination asked for")                                \
	X(INTERVAL, "the interval between messages")                                               \
	X(RATE, "rate")                                                                            \
	X(RATE_BACKOFF, "the rate of its back-off")                                                \
	X(SOURCE_UNUSABLE, "no source address that can be used")                                   \
	X(SOURCE_SUSPENDED, "its source is suspended at this destination")                         \
	X(SOURCE_RATE, "the rate of its source")                                                   \
	X(WARM_UP, "the daily number of its source's warm-up")                                     \
	X(TENANT_PACE, "its tenant is slowed")                                                     \
	X(TENANT_CONNECTIONS, "tenant-connections")                                                \
	X(TENANT_RATE, "tenant-rate")                                                              \
	X(CONNECT_PAUSE, "a host that wants no more connections just now")                         \
	X(CONNECT_RATE, "connect-rate")                                                            \
	X(CONNECTIONS, "connections")                                                              \
	X(SOURCE_CONNECTIONS, "the connections of its source")                                     \
	X(CONNECTIONS_TOTAL, "connections-total")                                                  \
	X(RESERVED, "the last quarter of connections-total, which is for destinations that work")  \
	X(WINDOW, "connections that the destination takes at present")

enum stop_cause {
#define STOP_ENUM(name, words) STOP_##name,
	STOP_CAUSES(STOP_ENUM)
};

struct stop {
	enum stop_cause cause;
	uint64_t until_us;    /* queue time when it ends; 0: not by time */
	uint32_t used, limit; /* of a counter; limit 0: none is concerned */
	uint32_t per_ms;      /* of a rate */
};

/* "" of STOP_NONE. */
const char *stop_words(enum stop_cause cause);

#endif
