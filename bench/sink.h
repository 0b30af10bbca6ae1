/* SPDX-License-Identifier: ISC */
/* The sink's state: options, shared counters, one worker process, one server session. */
#ifndef BENCH_SINK_H
#define BENCH_SINK_H

#include <sys/types.h>

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/hist.h"
#include "bench/net.h"

enum {
	SINK_WORKERS_MAX = 64,
	SINK_RULES_MAX = 16,
	SINK_SIZE_MAX = 1 << 30, /* announced by SIZE */
};

struct sink_rule {
	const char *pattern; /* plain substring of the recipient, any letter case */
	size_t len;
	int code;
};

/* Written by one worker, read by the parent; a cache line or two of its own. */
struct sink_cell {
	alignas(128) atomic_uint_least64_t messages;
	atomic_uint_least64_t recipients, bytes, connections, handshakes, refused;
	atomic_uint_least64_t first_connect, last_message; /* monotonic, ns; 0: none */
	struct hist end_to_end; /* of tracked messages; exact once the worker is quiet */
};

struct sink_options {
	struct net_addr listen;
	unsigned workers;
	bool starttls, stats, json;
	const char *cert, *key, *log, *track;
	unsigned delay_ms;
	uint64_t max_messages; /* 0: no limit */
	struct sink_rule rule[SINK_RULES_MAX];
	unsigned rules;
};

struct sink {
	struct sink_options opt;
	int log_fd; /* -1: discard */
	SSL_CTX *tls;
	struct sink_cell *cell; /* opt.workers of them, shared memory */
	pid_t pid[SINK_WORKERS_MAX];
	int listen_fd[SINK_WORKERS_MAX];
};

struct sink_session;
struct sink_record;

/* What a worker's sessions share. */
struct sink_worker {
	struct sink *sink;
	struct sink_cell *cell;
	int ep;
	struct sink_session *held_first, *held_last; /* --delay: in the order of their time */
	char ehlo_plain[256], ehlo_tls[256];
};

/* Never returns.  Serves listen_fd[n] until SIGTERM. */
_Noreturn void sink_worker_run(struct sink *sink, unsigned n);

void sink_session_open(struct sink_worker *w, int fd);
void sink_session_event(struct sink_session *s);
/* Answers the held messages whose time has come.  Milliseconds until the next one, -1: none. */
int sink_held_step(struct sink_worker *w);

/* Message record for --log.  Content comes in wire form, in pieces, without the final dot. */
struct sink_record *sink_record_new(void);
void sink_record_free(struct sink_record *r);
void sink_record_begin(struct sink_record *r);
void sink_record_rcpt(struct sink_record *r, const char *addr, size_t len);
void sink_record_content(struct sink_record *r, const char *data, size_t len);
/* One line, by one write. */
void sink_record_write(struct sink_record *r, uint64_t bytes, int fd);

#endif
