/* SPDX-License-Identifier: ISC */
/* One mail transaction: all that RSET clears. Starts and ends as zeroes. */
#ifndef EKIDEN_SMTPD_TXN_H
#define EKIDEN_SMTPD_TXN_H

#include "lib/header.h"
#include "lib/spool.h"
#include "smtpd/policy.h"
#include "smtpd/sign.h"

/* What authd said of the sender, beside yes. */
struct grant {
	uint8_t rewrite; /* enum sender_rewrite */
	struct view sender;
	uint32_t key_serial;
	bool header_from_tenant, hold, check_rcpts, may_future, may_priority;
	uint8_t priority;
	struct view retry; /* name of a retry schedule, or empty */
	uint64_t reserved_s; /* when quota was reserved; 0: it was not */
};
struct ipc_mail_result;
void grant_take(struct grant *g, struct arena *texts, const struct ipc_mail_result *m);

/* A recipient that authd has not judged yet. */
struct rcpt_ask {
	struct view addr;
	enum rcpt_kind kind;
	size_t late_at; /* where in `late` its reply belongs */
};
enum { ASKS_MAX = 128 };

struct txn {
	struct arena arena;
	struct envelope env;
	uint32_t rcpts_cap;
	struct view params;   /* behind the sender's path */
	struct rcpt_ask judged; /* by milters */
	uint32_t copies; /* recipients that are copies of others */
	enum right right;
	struct grant grant;
	/* Recipients gathered from one pipelined group, and the replies that wait for theirs. */
	struct rcpt_ask *ask; /* ASKS_MAX */
	uint32_t asks, rcpts_reserved;
	struct buf late;
	bool stored; /* the spool has it: what was reserved is used */
	bool leased; /* granted without a question (lease.h) */
	uint64_t declared; /* SIZE=, 0: not given */
	uint64_t hold_s;   /* HOLDFOR=, 0: not given */
	int8_t priority;   /* MT-PRIORITY= */
	bool prioritized;  /* it was given */
	uint64_t data_ms;  /* loop time of DATA */
	struct header_scan scan;
	struct header_list header;
	struct body_observer *observers;
	struct signing *signing; /* sign.c; NULL: not to be signed */
	struct buf content; /* the body, or what of it waits for the file */
	struct buf front;   /* our trace fields and the header, as they are stored */
	uint32_t hops;	    /* of the message as it came */
	uint8_t step;	    /* the next one at the end of the message (finish.c) */
	bool ended; /* the final dot was seen */
	bool discard; /* the answer will be `refused`: content is thrown away */
	struct verdict refused;
	/* The file of a message over the inline limit. */
	struct spool *big_spool; /* NULL: none was asked for */
	struct spool_big big;
	bool big_open;
	uint32_t crc; /* of the content written so far; at last of front and content */
	struct spool_msg msg;
};

/* Frees everything and tells authd what became of its reservation; a file that no stored message names goes back to qmgr. Not while spool has `msg`. */
void txn_clear(struct txn *t);
/* Gives the file up, also one that is not there yet; keep: a stored message names it. */
void txn_close_file(struct txn *t, bool keep);
/* A recipient; the text is copied. */
void txn_add_rcpt(struct txn *t, struct view addr, enum rcpt_kind kind);

#endif
