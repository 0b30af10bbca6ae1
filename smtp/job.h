/* SPDX-License-Identifier: ISC */
/* One message for some recipients on one connection, and what became of each of them. */
#ifndef EKIDEN_JOB_H
#define EKIDEN_JOB_H

#include "lib/arena.h"
#include "lib/ipc.h"
#include "smtp/content.h"

struct session;

enum { THROTTLE_NAME_MAX = 64 };

/* What is to be told about one or all recipients, or about a connection. */
struct verdict {
	enum err_class class; /* ERR_NONE: good */
	uint8_t stage;	      /* enum smtp_stage */
	uint16_t code;	      /* 0: no reply */
	struct esc esc;
	bool remote;		 /* the remote host said so */
	bool too_many;		 /* S23: not this recipient, the number of them */
	uint8_t event;		 /* enum conn_event: what became of the TCP connection */
	char throttle[THROTTLE_NAME_MAX + 1]; /* the block that the reply matches; empty: none */
	char text[IPC_TEXT_MAX]; /* whole, for the log */
	size_t bare;		 /* where in it begins what is told with `code` and `esc` apart */
};

struct rcpt {
	uint32_t index;
	struct view addr, orcpt;
	uint8_t notify;
	uint8_t status; /* enum rcpt_status; 0: not decided */
	bool sent, accepted, too_many;
	uint8_t stage;
	uint16_t code;
	struct esc esc;
	bool remote;
	struct view throttle;
	struct view text; /* bare */
	struct view said; /* whole */
};

struct job {
	struct job *next;
	struct arena arena; /* all texts, and rcpts */
	uint64_t id, qid, content, offset, big, content_len;
	uint32_t front_len, crc, flags;
	uint64_t arrival_us, active_us; /* wall clock */
	struct view sender, sender_original, tenant, user, tag, batch, label, lane, site, source_name,
	    envid;
	bool copy; /* of another one's mail: no events */
	uint8_t ret;
	uint8_t mt_priority; /* value + 10; 0: none */
	uint32_t attempt;
	struct rcpt *rcpts;
	uint32_t count;
	/* progress */
	bool started;  /* its commands were sent */
	bool answered; /* a reply to one of them came */
	bool mail_refused;
	uint8_t await;	  /* enum step: the reply that is due */
	uint64_t asked_at; /* output of the connection up to what it answers */
	uint32_t rcpt_at; /* recipient whose reply is due */
	uint32_t accepted;
	uint32_t use;	     /* number of this message on its connection */
	uint64_t started_us; /* wall clock */
	struct reader reader;
};

/* NULL when its recipients are not valid. Copies everything. */
struct job *job_new(const struct ipc_deliver *m);
void job_free(struct job *j);
/* The recipient is decided; a decision is final (G7). */
void job_decide(struct job *j, struct rcpt *r, const struct verdict *v);
/* The same with a status that is no verdict: RCPT_AGAIN, RCPT_DAMAGED. */
void job_set(struct job *j, struct rcpt *r, enum rcpt_status status, const struct verdict *v);
/* Keeps what was said of the recipient, without deciding it. */
void job_note(struct job *j, struct rcpt *r, const struct verdict *v);
/* All recipients not yet decided; with `accepted_only` only those the server took. false: there were none. */
bool job_decide_rest(struct job *j, const struct verdict *v, bool accepted_only);
/* Bytes of the message, for SIZE. */
uint64_t job_size(const struct job *j);
/* Some address of the envelope needs SMTPUTF8. */
bool job_needs_utf8(const struct job *j);
/*
 * Logs each recipient and tells qmgr, in as many frames as it takes. All are decided. event (enum conn_event):
 * what ended the connection under the job.
 */
void job_report(const struct job *j, struct session *s, uint8_t event);

#endif
