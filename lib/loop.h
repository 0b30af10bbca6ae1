/* SPDX-License-Identifier: ISC */
/*
 * The event loop of every daemon: epoll (edge-triggered), timers, signals, and the turn.
 *
 * One turn is: wait; run the callbacks of ready fds, due timers and signals; run the posted tasks by
 * phase (WORK; COMMIT makes things durable; REPLY answers what became durable; LOG writes the log
 * lines, so that they stand before those of their consequences elsewhere; FLUSH writes every output
 * with one system call each; AFTER is for those who wait for that); reap.
 * That turn is what makes group commit: all that became complete in a turn shares one sync.
 *
 * An object that contains a loop_fd, loop_timer or loop_task is never freed inside a callback:
 * detach its parts and hand it to loop_reap(), which frees it when the turn is over.
 * A process has one loop, single-threaded.
 */
#ifndef EKIDEN_LOOP_H
#define EKIDEN_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 };

/* Readiness is edge-triggered: read until a short count or EAGAIN. */
struct loop_fd {
	int fd; /* not owned; -1 while detached */
	void (*ready)(struct loop_fd *lf, unsigned events);
};

struct loop_timer {
	void (*fire)(struct loop_timer *t);
	uint64_t at_ms; /* monotonic */
	size_t slot;	/* place in the heap + 1; 0 = not armed */
};

enum loop_phase { LOOP_WORK, LOOP_COMMIT, LOOP_REPLY, LOOP_LOG, LOOP_FLUSH, LOOP_AFTER, LOOP_PHASES };

struct loop_task {
	void (*run)(struct loop_task *t);
	struct loop_task *next;
	uint8_t phase;
	bool posted;
};

struct loop_reap {
	void (*free)(struct loop_reap *r);
	struct loop_reap *next;
};

struct loop *loop_new(void);
void loop_free(struct loop *l);
/* Runs until loop_stop(); returns 0, or -1 with errno when epoll fails. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* Watches for reading and writing, edge-triggered. 0 or -1 with errno. */
int loop_add(struct loop *l, struct loop_fd *lf);
/* Each edge of reading alone: of an eventfd without reading it, whatever else the kernel tells of it. */
int loop_add_read(struct loop *l, struct loop_fd *lf);
/* Watches a listening socket: level-triggered reads, one waiter woken per event (EPOLLEXCLUSIVE). */
int loop_add_listener(struct loop *l, struct loop_fd *lf);
/*
 * Puts this process behind the others that wait for the listener: the kernel wakes the first in line, so
 * whoever took connections goes to the end, and sessions spread over the processes.
 */
void loop_requeue_listener(struct loop *l, struct loop_fd *lf);
/* Level-triggered watch with the events given, for libraries with their own fds. */
int loop_add_level(struct loop *l, struct loop_fd *lf, unsigned events);
int loop_mod_level(struct loop *l, struct loop_fd *lf, unsigned events);
/* Detaches; does not close. No callback follows, not even one already collected in this turn. */
void loop_del(struct loop *l, struct loop_fd *lf);

/* (Re)arms; ms from now, 0 fires in the next turn. Moving a deadline is cheap: O(log n). */
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t ms);
void loop_timer_cancel(struct loop *l, struct loop_timer *t);
static inline bool
loop_timer_armed(const struct loop_timer *t)
{
	return t->slot != 0;
}

/*
 * Runs the task once, in its phase of this turn; a phase that is over means the next turn, which then
 * starts at once. Posting a posted task does nothing.
 */
void loop_post(struct loop *l, enum loop_phase phase, struct loop_task *t);
void loop_unpost(struct loop *l, struct loop_task *t);
void loop_reap(struct loop *l, struct loop_reap *r);

/* Delivers the signal as a callback on the loop (signalfd). Call before loop_run(). */
void loop_signal(struct loop *l, int signo, void (*cb)(void *ctx, int signo), void *ctx);

uint64_t loop_now_ms(const struct loop *l);  /* monotonic, read once a turn */
uint64_t loop_wall_us(const struct loop *l); /* wall clock, microseconds, read once a turn */
/* Monotonic microseconds now, not cached. */
uint64_t clock_mono_us(void);
uint64_t clock_wall_us(void);

/* The struct that contains a member, from the pointer to the member. */
#define CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
