/* SPDX-License-Identifier: ISC */
/* smtp processes, the connections they hold for us, and the jobs on these. */
#ifndef EKIDEN_QMGR_CONN_H
#define EKIDEN_QMGR_CONN_H

#include "qmgr/lane.h"

enum conn_state { LINK_OPENING, LINK_READY, LINK_CLOSING };

struct smtp {
	struct link link;
	struct channel ch;
	struct loop_reap reap;
	struct qmgr *q;
	struct link conns;
	uint32_t load;	     /* connections */
	struct table sent;   /* content numbers that it has a descriptor of */
};

struct conn {
	struct table_node node;
	struct link lane_link, smtp_link, idle;
	struct link job_list;
	uint64_t id;
	struct lane *lane;
	struct smtp *smtp;
	enum conn_state state;
	uint32_t jobs, given; /* under way; ever */
	uint32_t max_rcpts, max_mails; /* 0: no limit known */
};

struct job {
	struct table_node node;
	struct link link;
	uint64_t id;
	struct conn *conn;
	struct message *m;
	struct rcpt *rcpts;
	bool recalled;
};

/* Asks the least loaded process. -1: there is none. */
int conn_open(struct lane *lane);
/* Takes the next item of its lane and sends it as a job. */
void conn_give(struct conn *c);
/* Closes one connection without work, to make room; of this shaper or source alone, where one is given. */
void conn_close_idle(struct qmgr *q, const struct shaper *shaper, const struct source *source);
/* No process needs this segment or big file any more. */
void conn_drop_content(struct qmgr *q, uint64_t number);

void smtp_attach(struct qmgr *q, uint32_t instance, int fd);
/* Its jobs go back to their lanes. instance UINT32_MAX: all of them. */
void smtp_detach(struct qmgr *q, uint32_t instance);
/* Jobs of messages past their age limit are called back; qmgr hears of each as of any other. */
void jobs_recall_old(struct qmgr *q);
/* One result for a recipient that was in a job. */
void job_result(struct rcpt *r, const struct ipc_job_result *res, struct view relay);

#endif
