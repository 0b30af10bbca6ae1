/* SPDX-License-Identifier: ISC */
/*
 * The writing side of the spool, for processes that accept messages (smtpd, bounce): appends complete
 * messages to the segment this process owns. All that is there when a batch begins (LOOP_COMMIT) shares
 * one write and one fdatasync, which runs beside the loop (lib/aio.h); what completes meanwhile is the
 * next batch. When a batch is durable, qmgr is told (`stored`) and each message's `committed` is called.
 *
 * qmgr keeps one segment in use and one spare here. The descriptor that carries a segment holds its
 * flock: when it is closed (release, crash), qmgr may read the tail and recycle it. When the channel
 * to qmgr ends, segments are given up at once; messages not yet written fail with 4xx, those whose sync
 * is under way are answered when it ends, and qmgr's scan finds what it was not told.
 */
#ifndef EKIDEN_SPOOL_H
#define EKIDEN_SPOOL_H

#include "lib/channel.h"
#include "lib/segment.h"

struct spool;
struct spool_msg;

enum spool_state { SPOOL_READY, SPOOL_WAIT /* for a segment */, SPOOL_FULL /* 452 4.3.1 */ };

/* A message under way; embedded in the caller's transaction. Contents stay the caller's until done. */
struct spool_msg {
	struct envelope *env;	/* env->qid is set by spool_store() */
	struct view front;	/* headers to put in front */
	struct view content;	/* inline content; empty for a big one */
	uint32_t content_crc;	/* big only: of front and content */
	/* e == NULL: durable, answer 250. Else answer e's 4xx; nothing is kept. Called as a callback of
	 * the loop or in LOOP_COMMIT, exactly once, unless cancelled. */
	void (*committed)(struct spool_msg *m, const struct err *e);
	struct spool_msg *next;
	bool queued;
};

/* qmgr: the channel's frames go to spool_frame(); a new channel is announced by spool_attach(). */
struct spool *spool_new(struct loop *l, uint32_t writer);
void spool_attach(struct spool *s, struct channel *qmgr);
void spool_detach(struct spool *s); /* the channel is gone */
/* Handles an IPC_QMGR_TO_WRITER frame; false: not valid. */
bool spool_frame(struct spool *s, uint16_t type, struct view body, int *fd);
void spool_free(struct spool **s);

/*
 * Queues m for this turn's commit. Without a segment it waits, up to SPOOL_WAIT_MS, then fails 4.3.0;
 * without space it fails with 4.3.1.
 */
enum { SPOOL_WAIT_MS = 10000 };
void spool_store(struct spool *s, struct spool_msg *m);
/*
 * So many more (or fewer) messages are on their way that spool_store() has not seen: a sync may wait for
 * them, twice as long as the last ones took, and 6 ms at most.
 */
void spool_expect(struct spool *s, int more);
/* The session is gone: committed will not be called. The message may still become durable if its
 * commit is under way; otherwise it is dropped. */
void spool_cancel(struct spool *s, struct spool_msg *m);
/* Known lack of space: MAIL is answered 452 at once. */
enum spool_state spool_state(const struct spool *s);

/* A content file for a message over the inline limit. */
struct spool_big {
	/* fd >= 0: write to it with spool_big_write(); -1: no space (e). */
	void (*opened)(struct spool_big *b, const struct err *e);
	uint64_t number; /* of the file */
	int fd;
	uint64_t size, req;
	struct spool_big *next;
};
void spool_big_open(struct spool *s, struct spool_big *b);
int spool_big_write(struct spool_big *b, struct view v, struct err *e);
int spool_big_sync(struct spool_big *b, struct err *e); /* fdatasync; then spool_store() may name it */
/* keep: a stored message names it; else qmgr removes the file. Closes fd. */
void spool_big_close(struct spool *s, struct spool_big *b, bool keep);

#endif
