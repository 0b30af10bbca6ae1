/* SPDX-License-Identifier: ISC */
/* The load generator's state: options, counters, and one SMTP client session per slot. */
#ifndef BENCH_SOURCE_H
#define BENCH_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/hist.h"
#include "bench/net.h"

enum {
	SOURCE_ADDR_MAX = 256,
	SOURCE_RCPT_MAX = 1000,
	SOURCE_SESSIONS_MAX = 50000,
	SOURCE_HEADER_MAX = 2048,
};

struct source_options {
	struct net_addr target;
	uint64_t messages;
	unsigned sessions, recipients, per_connection, timeout_s, idle, hold_s, interval_ms;
	uint64_t size_bytes;
	bool pipelining, starttls, implicit_tls, tls_resume, json, gather;
	const char *auth, *from, *to;
};

enum source_error {
	SOURCE_ERR_CONNECT,
	SOURCE_ERR_TLS,
	SOURCE_ERR_LOST,     /* connection closed in the middle */
	SOURCE_ERR_PROTOCOL, /* not an SMTP reply, or TLS not offered */
	SOURCE_ERR_MAX,
};

struct session;

struct source {
	struct source_options opt;
	int ep;
	SSL_CTX *tls;
	SSL_SESSION *ticket; /* latest TLS session, for resumption */
	struct session *session;
	unsigned slots, slots_done;   /* sessions that exist, that have ended for good */
	unsigned slots_opened;	      /* so far; idle and gather mode open them in batches */
	unsigned idle_now, idle_lost; /* stand after EHLO, and did not come so far */
	bool go;		      /* gather mode: the sessions may send */
	char *auth_line;
	char *body; /* shared content after the header, with the final dot */
	size_t body_len;
	char date[64];
	char run_id[40]; /* makes the message ids of this run unique */
	uint64_t next_message, accepted, failed, recipients_ok;
	uint64_t connections, handshakes, resumed, bytes;
	uint64_t t_first, t_last, t_idle; /* monotonic: first connect, last 250, all idle */
	uint64_t reply_errors[1000];
	uint64_t errors[SOURCE_ERR_MAX];
	struct hist banner, transaction, end_of_data;
};

/* Builds what all messages share: body, date, AUTH line, TLS context.  0/-1. */
int source_prepare(struct source *src);
void source_release(struct source *src);
/* Opens the first sessions. */
void source_begin(struct source *src);
/* Gather mode: every session stands after EHLO, or is lost. */
bool source_gathered(const struct source *src);
/* Gather mode: all sessions begin; the clock of the run starts here. */
void source_go(struct source *src);
/* Interval mode: begins the messages whose time has come. */
void source_tick(struct source *src);
/* Begins no further message. */
void source_stop(struct source *src);
/* An epoll event of the session behind ptr. */
void source_event(struct source *src, void *ptr, uint32_t events);
/* Every message is accounted for and every session closed (idle mode: all stand or are lost). */
bool source_finished(const struct source *src);

/* Header of message number n whose MAIL went out at t_mail; its length depends on the options only.
 */
size_t source_header(
    const struct source *src, uint64_t n, uint64_t t_mail, char out[SOURCE_HEADER_MAX]);
/* The address pattern with %d replaced by n in ten digits, %n by n modulo 10,000 in four. */
void source_address(const char *pattern, uint64_t n, char out[SOURCE_ADDR_MAX + 16]);

void source_report(const struct source *src, FILE *fp);

#endif
