/* SPDX-License-Identifier: ISC */
/*
 * The process: what all sessions share. Channels to the other daemons and the requests on them
 * (peers.c), listeners (listener.c), the table of sessions.
 */
#ifndef EKIDEN_SMTPD_H
#define EKIDEN_SMTPD_H

#include "lib/channel.h"
#include "lib/conf.h"
#include "lib/signer.h"
#include "lib/spool.h"
#include "lib/watch.h"
#include "smtpd/milter.h"
#include "smtpd/policy.h"
#include "smtpd/sign.h"

struct session;

/* What header fields may say of a message beside its content (P8, A25). */
enum tag { TAG_TAG, TAG_BATCH, TAG_LABEL, TAGS };

/* Of one configuration; sessions of a former one keep theirs. */
struct site {
	unsigned refs;
	char *hostname, *postmaster;
	struct conf_limits limits;
	enum conf_received received;
	enum conf_duplicates duplicates;
	/* Empty when not set. */
	char *tags[TAGS]; /* names of header fields */
	char *simulator, *bounce_domain;
	struct conf_list legacy; /* domains with misplaced dots */
	bool copies; /* of every message, for bcc-forward */
	struct sign_rules sign;
};

struct listener {
	unsigned refs;
	uint32_t number; /* of its listen block */
	struct site *site; /* a reference */
	char *name;
	struct policy policy;
	bool reverse_lookup;
	struct tls_ctx *tls; /* NULL: none */
	struct milter_list milters;
	bool by_name;	     /* it has certificates for more than one name */
};

struct gate;	 /* of the address of a listening socket (gate.h) */
struct door;	 /* a listening socket (listener.c) */
struct material; /* what master sent for the next configuration (listener.c) */

struct smtpd {
	struct loop *loop; /* NULL before smtpd_setup() */
	uint32_t instance, started_s;
	bool others; /* there are more processes that accept */
	struct channel authd, qmgr, dnsd;
	struct channel *master; /* NULL: none (tests) */
	struct milter_conn *milter_wants; /* connections that master was asked for */
	uint64_t milter_request;
	struct signer *signer;
	struct sign_keys sign_keys, next_sign_keys; /* next: not whole yet */
	struct spool *spool;
	struct watch watch;
	struct door *doors;
	struct gate *gates;
	struct material *next;
	struct loop_timer accept_timer; /* until listeners are watched again */
	uint32_t ahead, admitting; /* of connect_result; questions of that kind under way */
	int fd_limit; /* sessions use those below: frames bring descriptors, too */
	/* Sessions by slot; `request` numbers what they ask of other daemons. */
	struct session_slot {
		struct session *s;  /* NULL: free */
		uint32_t next_free; /* slot + 1, 0: none */
	} *slots;
	uint32_t slots_count, slots_cap, slot_free;
	uint32_t sessions, request;
	uint64_t session_serial;
	bool draining;
	void (*drained)(struct smtpd *d); /* the last session of a drain has ended */
	uint64_t date_s; /* the second that `date` is for */
	char date[40];
};

/* Idempotent; what material and peers need. */
void smtpd_setup(struct smtpd *d, struct loop *l, uint32_t instance);
/* No new sessions; idle ones are ended. d->drained follows, perhaps at once. */
void smtpd_drain(struct smtpd *d);
/* The date of this turn for header fields, formatted once a second. */
const char *smtpd_date(struct smtpd *d);

/* listener.c */
/* A frame of material; false: not valid. */
bool listeners_material(struct smtpd *d, uint16_t type, struct view body, int *fd);
/* Uses `c` and the material collected since the last call. -1: all stays as it was. */
int listeners_apply(struct smtpd *d, const struct conf *c, struct err *e);
void listeners_close(struct smtpd *d);
/* A frame ticket_next. */
bool listeners_ticket(struct smtpd *d, struct view body);
struct listener *listener_ref(struct listener *l);
void listener_unref(struct listener **l);

/* peers.c */
void peers_attach(struct smtpd *d, enum role role, uint32_t instance, int fd);
void peers_detach(struct smtpd *d, enum role role, uint32_t instance);
/* Each puts the question and returns true, or false when the daemon is not there; the answer comes to
 * the session's function of session.h, or none when session_forget() came first. */
bool peers_ask_name(struct session *s, const struct sockaddr *sa);
bool peers_ask_connect(struct session *s);
bool peers_ask_auth(struct session *s, const char *method, struct view user, struct view secret);
bool peers_ask_salt(struct session *s, struct view user); /* SCRAM */
bool peers_ask_proof(struct session *s, struct view user, struct view message, struct view proof);
bool peers_ask_mail(struct session *s, struct view sender, uint64_t size);
bool peers_ask_rcpts(struct session *s, uint32_t count, struct view rcpts); /* rcpt_name records */
/* from_domain records; the answer (NULL: authd went away) comes to got(). */
struct ipc_from_result;
bool peers_ask_from(struct session *s, struct view domains,
    void (*got)(struct session *s, const struct ipc_from_result *m));
/* The client's place is free again. Idempotent. */
void peers_disconnect(struct session *s);
/* What became of the transaction that authd reserved quota for. */
void peers_end_txn(struct session *s);
/* So many messages with so many recipients were stored on a lease. */
void peers_tell_leased(struct session *s, uint32_t messages, uint32_t rcpts);

#endif
