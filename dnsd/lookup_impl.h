/* SPDX-License-Identifier: ISC */
/* Inside the look-ups: shared by lookup.c (their course) and lookup_reply.c (their answers). */
#ifndef EKIDEN_LOOKUP_IMPL_H
#define EKIDEN_LOOKUP_IMPL_H

#include "dnsd/answer.h"
#include "dnsd/lookup.h"

enum lookup_kind { LOOKUP_MX, LOOKUP_HOST, LOOKUP_PTR, LOOKUP_TXT };

struct request {
	uint64_t req;
	struct peer *peer;
	struct lookup *lookup;
	struct request *next;
	struct loop_timer timer;
	struct loop_reap reap;
};

/* A DNS question of a look-up. */
struct part {
	struct lookup *lookup;
	struct host *host; /* NULL: the first question */
	uint16_t type;
};

enum { V4, V6, FAMILIES };

struct host {
	uint16_t pref;
	struct answer_name name;
	struct part part[FAMILIES];
	bool asked[FAMILIES];
	enum dns_status status[FAMILIES];
	bool insecure;
	struct buf addr[FAMILIES]; /* concatenated */
};

struct lookup {
	struct dnsd *d;
	struct lookup *next; /* in its bucket */
	enum lookup_kind kind;
	unsigned generation;	 /* of the resolver that is asked */
	struct answer_name name; /* what is asked for */
	struct request *requests;
	unsigned pending; /* questions, and one while they are being asked */
	struct part first;
	enum dns_status status; /* of the first question */
	bool secure, implicit;
	uint32_t ttl_s;
	struct host *hosts;
	size_t host_count;
	struct buf strings; /* txt_string records */
	uint8_t ip[16];	    /* LOOKUP_PTR */
	size_t ip_len;
};

/* The answer as it is known now. */
void lookup_reply(const struct lookup *l, struct peer *p, uint64_t req);
/* The answer to a TXT question, to whoever asked it. */
void txt_answered(struct peer *p, const struct ipc_txt_answer *m);
void ptr_answered(struct peer *p, const struct ipc_ptr_answer *m);
/* The host's addresses of both families taken together. */
enum dns_status host_status(const struct host *h);

#endif
