/* SPDX-License-Identifier: ISC */
/*
 * Messages and recipients in memory. A message is here while one of its recipients is under way; all
 * recipients that are not finished are here with it. The others are in the database alone.
 *
 * Every change of a recipient goes through the functions here: they keep the counters, the rows and
 * marks on disk, and the segment's account. What they change is settled at the end of the turn: a
 * message without live recipients is removed, one that only waits leaves memory, failures are reported.
 */
#ifndef EKIDEN_QMGR_MESSAGE_H
#define EKIDEN_QMGR_MESSAGE_H

#include "qmgr/qmgr.h"

struct segment;
struct lane;
struct item;
struct dest;
struct message;

enum rcpt_state {
	R_NEW,	  /* just made; belongs nowhere */
	R_READY,  /* waits in a lane */
	R_JOB,	  /* with an smtp process */
	R_FAILED, /* for good: to be reported */
	R_REPORT, /* in a report under way */
	R_WAIT,	  /* deferred: has a row and a time */
	R_HELD,	  /* has a row; until released */
	R_DONE
};
/* What the admin wants of a recipient that is with an smtp process just now. */
enum rcpt_wish { WISH_NONE, WISH_HOLD, WISH_DELETE, WISH_BOUNCE, WISH_FREEZE };

struct rcpt {
	struct message *m;
	struct rcpt *next; /* in its item, job or report */
	struct item *item; /* R_READY */
	struct dest *dest; /* R_READY: whose hosts it goes to; NULL: a host that is named */
	struct view addr, orcpt;
	uint64_t due_us, last_us; /* queue time; wall clock of the last attempt */
	char *text, *relay;	  /* of the last reply; NULL: none */
	uint32_t index, attempts, esc;
	uint16_t code;
	uint8_t notify, state, wish, again;
	uint8_t kind; /* enum rcpt_kind */
	bool remote, in_db, expired;
	bool paused;	/* R_WAIT for the end of a pause; not a failure */
	bool scheduled; /* R_WAIT for the release time of its message; not a failure */
};

struct message {
	struct table_node node;
	struct link settle;
	uint64_t qid;
	struct segment *seg;
	uint64_t offset;       /* of the record in it */
	struct record rec;     /* its header */
	uint64_t big, size; /* size: of the content; whole_bytes() is what people are shown */
	uint64_t arrival_us, received_us; /* wall clock */
	uint64_t base_us;      /* arrival or release, in queue time: what age is counted from */
	uint64_t release_us;   /* wall clock: not before; 0: at once */
	uint64_t active_us;    /* wall clock: came into memory */
	struct view sender, user, tag, envid;
	struct view sender_original, return_domain, hold_reason, batch, label, header_from;
	struct view retry;     /* name of a schedule, or empty */
	struct view pool;      /* of sources, as the admin moved it; empty: as configured */
	uint32_t key_serial;
	uint8_t priority;      /* of the key */
	uint8_t mt_priority;   /* value + 10; 0: none */
	struct tenant *tenant;
	uint8_t ret;
	bool in_db, report_soon;
	uint32_t nrcpt;	       /* in rcpts[] */
	uint32_t total;	       /* as it was accepted */
	uint32_t live, busy;   /* not finished; of those not R_WAIT or R_HELD */
	uint32_t failed;       /* R_FAILED */
	struct rcpt *rcpts;
	struct report *report; /* under way */
	struct loop_timer report_timer;
	struct qmgr *q;
	struct arena mem;      /* holds this struct too */
};

/* A reply, or what stands for one. */
struct outcome {
	uint16_t code;
	struct esc esc;
	struct view text, relay;
	bool remote;
};

struct message *message_find(const struct qmgr *q, uint64_t qid);
/*
 * A message from a record, not yet known to anybody: copies all of env. Its recipients are R_NEW; the
 * caller makes each of them something, then calls message_enter().
 */
struct message *message_from_record(struct qmgr *q, struct segment *seg, uint64_t offset,
    const struct record *r, const struct envelope *env);
/* Counts it and puts it into the table. fresh: not yet counted as live in its segment. */
void message_enter(struct message *m, bool fresh);
/* For replay, before message_enter(): finished in a former life; deferred in a former life. */
struct rcpt_row;
void rcpt_forget(struct rcpt *r);
void rcpt_from_row(struct rcpt *r, const struct rcpt_row *row);
/* A stored record: all recipients become active, or go to the database when memory is full. */
void message_arrived(struct qmgr *q, struct segment *seg, uint64_t offset, const struct record *r,
    const struct envelope *env);
/* In memory already, or loaded from its rows. NULL: no such message (or an error, logged). */
struct message *message_get(struct qmgr *q, uint64_t qid);
/* The same where the rows are known to be in the database, as after store_apply() in this turn. */
struct message *message_load(struct qmgr *q, uint64_t qid);
/* Finds out at the end of the turn what is next. */
void message_settle(struct message *m);
void message_settle_all(struct loop_task *t); /* of qmgr.settle_task */
/* Older than the age limit, in whatever state. */
bool message_expired(const struct message *m);
void message_log_active(struct message *m);
/* Of key and sender together, -9 to 18, for sched_level(). */
int message_priority(const struct message *m);
/* When it is tried again and given up. */
const struct retry_rule *message_retry(const struct message *m);
/* Wall clock: when it is given up at the latest. */
uint64_t message_expires(const struct message *m);

/* A recipient that nothing has happened to yet: held, if the message came so, else started. */
void rcpt_begin(struct rcpt *r);
/* Activated, unless it is too early for its message: then it waits for that time (RFC 4865). */
void rcpt_start(struct rcpt *r);
/* Into its lane, unless memory is full (then due now, without an attempt) or it has no route. */
void rcpt_activate(struct rcpt *r);
/* Out of its lane, before any of the functions below. */
void rcpt_done(struct rcpt *r);
void rcpt_hold(struct rcpt *r);
/* Waits until due (queue time). */
void rcpt_wait(struct rcpt *r, uint64_t due_us);
/* A failed attempt: later, or given up. */
void rcpt_defer(struct rcpt *r, const struct outcome *o);
/* For good; reported to the sender if the sender wants that. */
void rcpt_bounce(struct rcpt *r, const struct outcome *o);
/* Older than the period: given up with what is known. */
void rcpt_expire(struct rcpt *r);
/* Came back from an smtp process without an attempt. */
void rcpt_again(struct rcpt *r);
/* Its content failed its checksum: all of the message is held and a copy kept in quarantine. */
void rcpt_damaged(struct rcpt *r);
void rcpt_set_outcome(struct rcpt *r, const struct outcome *o);
void rcpt_set_state(struct rcpt *r, enum rcpt_state state);
/* The sources of the message from now on; what waits in a lane goes by way of the database. */
void rcpt_move(struct rcpt *r, struct view pool);

#endif
