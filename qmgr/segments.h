/* SPDX-License-Identifier: ISC */
/*
 * The pool of segments. A free segment is ready for use: pre-written, a new generation in its header,
 * an end mark where the first record will be, all of it synced.
 *
 * The descriptor that a writer gets holds an flock on its open file description. qmgr reads through a
 * description of its own and scans a tail or recycles only after it got that lock, which is when the
 * last copy of the writer's is closed.
 */
#ifndef EKIDEN_QMGR_SEGMENTS_H
#define EKIDEN_QMGR_SEGMENTS_H

#include "qmgr/qmgr.h"

enum segment_state {
	SEG_FREE,
	SEG_WRITER,  /* a writer appends to it */
	SEG_CLOSING, /* the writer let go or is gone: waits for the lock, then for its tail to be read */
	SEG_FULL,    /* read only */
	SEG_OWN	     /* qmgr appends to it (compaction) */
};

struct writer;

struct segment {
	struct table_node node;
	struct link link;  /* free */
	struct link dirty; /* store.dirty */
	char name[20];	   /* hexadecimal: its first generation */
	uint64_t gen, size;
	int fd, done_fd;   /* read-write, of our own descriptions */
	enum segment_state state;
	struct writer *writer;
	uint64_t told;	   /* up to here records are known */
	uint64_t sealed;   /* after a failed write nothing behind this counts; 0: not sealed */
	uint64_t done_at;  /* where the first of `marks` goes */
	struct buf marks;  /* not synced yet */
	size_t marks_written;
	bool marks_failed; /* and that was logged */
	bool stuck;	   /* a record of it cannot be read: not compacted */
	bool indexed;	   /* the database knows every live recipient: never scanned again */
	uint32_t live;	   /* messages not finished */
	uint64_t live_bytes;
	uint32_t mem;	   /* of them in memory */
	uint32_t loose;	   /* live recipients in memory without a row */
};

/* A process that appends: smtpd, bounce. */
struct writer {
	struct link link;
	struct channel ch;
	struct loop_reap reap;
	struct qmgr *q;
	uint32_t wanted, held;
	bool told_full;
};

/* Folders and segments; generations are known then. -1: cannot work. */
int segments_open(struct qmgr *q, struct err *e);
void segments_close(struct qmgr *q);
struct segment *segment_find(const struct qmgr *q, uint64_t gen);
uint64_t segments_next_gen(struct qmgr *q);
/* Gives what there is to writers that want it, and has more made. */
void segments_serve(struct qmgr *q);
/* A free one for qmgr's own use; NULL: none yet (it is made then). */
struct segment *segment_take_own(struct qmgr *q);
/* The writer let go (failed: nothing behind `sealed` counts) or is gone. */
void segment_closing(struct qmgr *q, struct segment *s);
/* Whether nobody writes to it any more; keeps the lock then. */
bool segment_lock(struct segment *s);
/* After any change of state or live: back to the pool, or flagged as indexed. */
void segment_check(struct qmgr *q, struct segment *s);
/* Closes and removes it. */
void segment_drop(struct qmgr *q, struct segment *s);
/* Forgets the marks not synced; the next one goes to `at` of the done file. */
void segment_marks_reset(struct segment *s, uint64_t at);
/* One more, or one less, live message of this many bytes. */
void segment_live(struct segment *s, int change, uint64_t bytes);
/* A new read-only description of it, or of a big file. -1 with errno. */
int segment_open_reader(struct qmgr *q, const struct segment *s);

/* Big files. */
void big_want(struct qmgr *q, struct writer *w, uint64_t req);
void big_named(struct qmgr *q, uint64_t number); /* a record refers to it now */
void big_remove(struct qmgr *q, uint64_t number);
void big_writer_gone(struct qmgr *q, struct writer *w);
bool big_drop(struct qmgr *q, struct writer *w, uint64_t number); /* false: not its own */
int big_open_reader(struct qmgr *q, uint64_t number);
/* Removes files of a former life that nothing refers to, once every segment was read. */
void big_sweep(struct qmgr *q);

#endif
