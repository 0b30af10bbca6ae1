/* SPDX-License-Identifier: ISC */
/*
 * The life of one connection that qmgr asked for: names to addresses and one address after the
 * other until a server greets (smtp/connect.h), its dialogue (smtp/dialogue.h), the wait for work,
 * the end.
 *
 * qmgr hears exactly one conn_closed for each conn_open. Whatever happens to the connection, every
 * job is told of exactly once: by job_done, or, if none of its recipients was tried, by
 * conn_closed.
 */
#ifndef EKIDEN_SESSION_H
#define EKIDEN_SESSION_H

#include "lib/io.h"
#include "lib/reply.h"
#include "smtp/ehlo.h"
#include "smtp/job.h"
#include "smtp/smtp.h"
#include "smtp/target.h"

enum {
	SESSION_IN_MAX = 16384,	    /* replies not yet read: more than the longest line */
	SESSION_OUT_MAX = 16 << 20, /* a chunk of content and the envelope of the next message */
	SESSION_GREETED_MAX = 4,    /* servers that answered but refused, before we give up */
	SESSION_QUIT_MS = 5000	    /* wait for the answer to QUIT */
};

/* What the client waits for. */
enum step {
	STEP_CONNECT,
	STEP_GREETING,
	STEP_EHLO,
	STEP_HELO,
	STEP_STARTTLS,
	STEP_TLS,
	STEP_AUTH,
	STEP_AUTH_USER,
	STEP_AUTH_SECRET,
	STEP_IDLE,
	STEP_RSET,
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,
	STEP_BODY,
	STEP_EOD,
	STEP_QUIT,
	STEPS
};

/* One TCP connection. It outlives its use by a session until the turn is over. */
struct link {
	struct io io;
	struct session *session; /* NULL: given up */
	struct loop_reap reap;
};

struct session {
	struct smtp *smtp;
	struct session *prev, *next; /* of all */
	struct session *conn_next;   /* in its bucket */
	/* as asked for */
	uint64_t conn;
	char *nexthop, *source, *source6, *helo, *auth, *group;
	bool mx;
	uint16_t port;
	uint8_t policy; /* enum tls_policy */
	uint64_t idle_ms;
	/* where to */
	struct target *targets;
	size_t target_count, target_at; /* at: the one in use */
	unsigned greeted;
	bool knocked; /* an address was tried, now or shortly before */
	bool unbound; /* a source address cannot be used */
	struct verdict *last; /* why the last address did not do; NULL: none tried */
	/* the connection */
	struct link *link;
	struct reply reply;
	struct caps caps;
	uint8_t step; /* enum step, while no job is under way */
	bool tls_on, no_tls, ready, told, close_wanted, dying;
	bool need_rset;		      /* the server still holds an unfinished transaction */
	char tls_text[16];	      /* "TLSv1.3"; empty: plain */
	char relay[TARGET_TEXT_MAX];  /* HOST[IP]:PORT */
	char local[INET6_ADDRSTRLEN]; /* our address */
	uint64_t opened_us, setup_us; /* wall clock; duration */
	struct loop_timer reply_timer, total_timer;
	struct loop_task pump, pumped; /* content goes out in pieces */
	struct loop_reap reap;
	struct probe *probe; /* an admin's; NULL: qmgr's */
	/* work: the first is under way, the others wait or are sent ahead */
	struct job *jobs, **jobs_end;
	uint32_t uses; /* messages begun */
};

/* Not yet begun: connect_start() follows. */
struct session *session_new(struct smtp *p, const struct ipc_conn_open *m);
void session_open(struct smtp *p, const struct ipc_conn_open *m);
struct session *session_find(struct smtp *p, uint64_t conn);
void session_deliver(struct session *s, const struct ipc_deliver *m);
/*
 * The job has become too old. It goes back if the server has not heard of it; one under way is broken off
 * with its connection. Behind the final dot only the reply can tell what became of it: that is waited for.
 */
void session_recall(struct session *s, uint64_t job);
/* Ends it when its jobs are done. */
void session_close_soon(struct session *s);
/* At once, without a word to anybody: qmgr is gone. */
void session_drop(struct session *s);

/* For the dialogue. */
static inline struct channel *
session_qmgr(const struct session *s)
{
	return &s->smtp->qmgr;
}
static inline const struct target *
session_target(const struct session *s)
{
	return &s->targets[s->target_at];
}
static inline const struct conf *
session_conf(const struct session *s)
{
	return s->smtp->daemon->conf;
}
static inline struct loop *
session_loop(const struct session *s)
{
	return s->smtp->daemon->loop;
}
/* The reply that is due now. */
enum step session_step(const struct session *s);
/* (Re)arms the time limit for the next reply, by the step that is due. */
void session_expect(struct session *s);
/* The name that we give of ourselves. */
static inline const char *
session_helo(const struct session *s)
{
	return *s->helo ? s->helo : session_conf(s)->hostname;
}
/*
 * Starts a connection; its outcome goes to connect_done(). 0; when it failed at once -1, or IO_UNBOUND as
 * io_connect(), with its errno.
 */
int session_link(
    struct session *s, const struct target *to, const struct target *local, struct err *e);
/* Gives the connection up without a word; the session stays. */
void session_unlink(struct session *s);
/* Greeted, secured, authenticated. */
void session_ready(struct session *s);
/* No job is under way: the next one, or waiting, or QUIT. */
void session_idle(struct session *s);
/* Sends QUIT and lets go. */
void session_quit(struct session *s);
/*
 * The connection cannot be used any more (closed, timed out, 421, broken protocol). v is what the
 * recipients under way get, or the address.
 */
void session_broken(struct session *s, const struct verdict *v);
/* Tells qmgr, and ends the session. */
void session_end(struct session *s, enum conn_why why, const struct verdict *v);

#endif
