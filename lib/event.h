/* SPDX-License-Identifier: ISC */
/*
 * The event stream: one JSON object a line, for machines. Types and field names are stable; `v` is the
 * version of this list. Fields that do not apply are absent. Lines leave once a turn, as the log's.
 * Without event_open() nothing is formatted.
 */
#ifndef EKIDEN_EVENT_H
#define EKIDEN_EVENT_H

#include "lib/esc.h"
#include "lib/loop.h"

#define EVENT_VERSION 1
#define EVENT_TYPES(E)                                                                             \
	E(received) E(rejected) E(delivered) E(deferred) E(delayed) E(bounced) E(expired)          \
	E(suppressed) E(admin_bounced) E(late_bounce) E(complaint) E(auth_failed) E(throttled)     \
	E(released) E(config)

enum event_type {
#define EVENT_ENUM(name) EVENT_##name,
	EVENT_TYPES(EVENT_ENUM)
};

/* Zero or empty means absent. Views may hold any bytes. */
struct event {
	enum event_type type;
	uint64_t qid;
	struct view session, tenant, key, tag, batch, label;
	const struct view *sender; /* a pointer: the null sender is a value too */
	struct view sender_original;
	const uint32_t *rcpt_index; /* in the message; a pointer: 0 is a value */
	uint32_t key_serial;
	struct view rcpt, message_id;
	uint64_t size;
	uint32_t nrcpt;
	struct event_client {
		struct view addr, name, helo, tls;
	} client;
	struct view lane, site;
	struct event_source {
		struct view name, addr, helo; /* of the configuration; of the connection */
	} source;
	struct view relay;   /* "host[addr]:port": becomes mx{host,addr,port} */
	struct view tls;     /* protocol of the connection to the next host */
	uint32_t attempt;
	const uint64_t *delays_us; /* four; delay is their sum */
	uint16_t code;
	struct esc esc;
	struct view text;
	const char *stage;
	uint64_t next_attempt_us, expires_us; /* wall clock */
	const uint32_t *admin_uid;	      /* config: who did it, a pointer since 0 is root */
	const char *command;
};

/* fd is owned; replaces the former one. -1 ends the stream. Lines wait for the LOG phase of `l`. */
void event_open(struct loop *l, int fd);
bool event_enabled(void);
void event_write(const struct event *e);
void event_flush(void);

#endif
