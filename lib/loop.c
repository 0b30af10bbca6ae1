/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fault.h"
#include "lib/loop.h"

enum { EVENTS_PER_TURN = 512, ROUNDS_PER_TURN = 8 };

struct signal_cb {
	void (*cb)(void *ctx, int signo);
	void *ctx;
};

struct loop {
	int ep;
	bool stop;
	uint64_t now_ms, wall_us;
	struct loop_timer **heap;
	size_t timers, heap_cap;
	struct task_queue {
		struct loop_task *head, **end;
	} tasks[LOOP_PHASES];
	struct loop_reap *reap;
	struct loop_fd signal_fd;
	sigset_t signals;
	struct signal_cb signal_cb[65];
	struct epoll_event events[EVENTS_PER_TURN];
	int ready; /* events of this turn */
};

static uint64_t
clock_us(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t
clock_mono_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

uint64_t
clock_wall_us(void)
{
	return clock_us(CLOCK_REALTIME) + (uint64_t)FAULT_CLOCK_US();
}

static void
read_clocks(struct loop *l)
{
	l->now_ms = clock_mono_us() / 1000;
	l->wall_us = clock_wall_us();
}

struct loop *
loop_new(void)
{
	struct loop *l = x_calloc(1, sizeof(*l));

	l->ep = epoll_create1(EPOLL_CLOEXEC);
	if (l->ep < 0)
		abort();
	for (int i = 0; i < LOOP_PHASES; i++)
		l->tasks[i].end = &l->tasks[i].head;
	l->signal_fd.fd = -1;
	sigemptyset(&l->signals);
	read_clocks(l);
	return l;
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	if (l->signal_fd.fd >= 0)
		close(l->signal_fd.fd);
	close(l->ep);
	free(l->heap);
	free(l);
}

static int
watch(struct loop *l, int op, struct loop_fd *lf, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = lf };
	return epoll_ctl(l->ep, op, lf->fd, &ev);
}

int
loop_add(struct loop *l, struct loop_fd *lf)
{
	return watch(l, EPOLL_CTL_ADD, lf, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

int
loop_add_read(struct loop *l, struct loop_fd *lf)
{
	return watch(l, EPOLL_CTL_ADD, lf, EPOLLIN | EPOLLET);
}

int
loop_add_listener(struct loop *l, struct loop_fd *lf)
{
	return watch(l, EPOLL_CTL_ADD, lf, EPOLLIN | EPOLLEXCLUSIVE);
}

void
loop_requeue_listener(struct loop *l, struct loop_fd *lf)
{
	epoll_ctl(l->ep, EPOLL_CTL_DEL, lf->fd, NULL);
	loop_add_listener(l, lf);
}

static uint32_t
level_events(unsigned events)
{
	return (events & LOOP_READ ? EPOLLIN : 0u) | (events & LOOP_WRITE ? EPOLLOUT : 0u);
}

int
loop_add_level(struct loop *l, struct loop_fd *lf, unsigned events)
{
	return watch(l, EPOLL_CTL_ADD, lf, level_events(events));
}

int
loop_mod_level(struct loop *l, struct loop_fd *lf, unsigned events)
{
	return watch(l, EPOLL_CTL_MOD, lf, level_events(events));
}

void
loop_del(struct loop *l, struct loop_fd *lf)
{
	if (lf->fd < 0)
		return;
	epoll_ctl(l->ep, EPOLL_CTL_DEL, lf->fd, NULL);
	for (int i = 0; i < l->ready; i++)
		if (l->events[i].data.ptr == lf)
			l->events[i].data.ptr = NULL;
	lf->fd = -1;
}

/* Timers: a binary heap by deadline; slot is the place + 1. */
static void
heap_place(struct loop *l, size_t at, struct loop_timer *t)
{
	l->heap[at] = t;
	t->slot = at + 1;
}

static void
heap_up(struct loop *l, size_t at, struct loop_timer *t)
{
	while (at > 0 && l->heap[(at - 1) / 2]->at_ms > t->at_ms) {
		heap_place(l, at, l->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_place(l, at, t);
}

static void
heap_down(struct loop *l, size_t at, struct loop_timer *t)
{
	for (size_t child; (child = 2 * at + 1) < l->timers; at = child) {
		if (child + 1 < l->timers && l->heap[child + 1]->at_ms < l->heap[child]->at_ms)
			child++;
		if (l->heap[child]->at_ms >= t->at_ms)
			break;
		heap_place(l, at, l->heap[child]);
	}
	heap_place(l, at, t);
}

void
loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t ms)
{
	uint64_t before = t->at_ms;

	t->at_ms = l->now_ms + ms;
	if (t->slot == 0) {
		if (l->timers == l->heap_cap) {
			l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 64;
			l->heap = x_realloc(l->heap, l->heap_cap, sizeof(struct loop_timer *));
		}
		heap_up(l, l->timers++, t);
	} else if (t->at_ms < before) {
		heap_up(l, t->slot - 1, t);
	} else {
		heap_down(l, t->slot - 1, t);
	}
}

void
loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
	if (t->slot == 0)
		return;
	size_t at = t->slot - 1;
	struct loop_timer *last = l->heap[--l->timers];
	t->slot = 0;
	if (last == t)
		return;
	if (last->at_ms < t->at_ms)
		heap_up(l, at, last);
	else
		heap_down(l, at, last);
}

void
loop_post(struct loop *l, enum loop_phase phase, struct loop_task *t)
{
	if (t->posted)
		return;
	t->posted = true;
	t->phase = (uint8_t)phase;
	t->next = NULL;
	*l->tasks[phase].end = t;
	l->tasks[phase].end = &t->next;
}

void
loop_unpost(struct loop *l, struct loop_task *t)
{
	if (!t->posted)
		return;
	struct task_queue *q = &l->tasks[t->phase];
	struct loop_task **at = &q->head;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	if (t->next == NULL)
		q->end = at;
	t->posted = false;
}

void
loop_reap(struct loop *l, struct loop_reap *r)
{
	r->next = l->reap;
	l->reap = r;
}

static void
signal_ready(struct loop_fd *lf, unsigned events)
{
	struct loop *l = CONTAINER(lf, struct loop, signal_fd);
	struct signalfd_siginfo si;

	(void)events;
	while (read(lf->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		struct signal_cb *s = &l->signal_cb[si.ssi_signo < 65 ? si.ssi_signo : 0];
		if (s->cb)
			s->cb(s->ctx, (int)si.ssi_signo);
	}
}

void
loop_signal(struct loop *l, int signo, void (*cb)(void *ctx, int signo), void *ctx)
{
	sigaddset(&l->signals, signo);
	sigprocmask(SIG_BLOCK, &l->signals, NULL);
	l->signal_cb[signo] = (struct signal_cb){ cb, ctx };
	int fd = signalfd(l->signal_fd.fd, &l->signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		abort();
	if (l->signal_fd.fd < 0) {
		l->signal_fd = (struct loop_fd){ .fd = fd, .ready = signal_ready };
		loop_add_level(l, &l->signal_fd, LOOP_READ);
	}
}

static int
wait_ms(const struct loop *l)
{
	for (int i = 0; i < LOOP_PHASES; i++)
		if (l->tasks[i].head)
			return 0;
	if (l->timers == 0)
		return -1;
	uint64_t now = clock_mono_us() / 1000, at = l->heap[0]->at_ms;
	if (at <= now)
		return 0;
	return at - now > 3600000 ? 3600000 : (int)(at - now);
}

static void
run_timers(struct loop *l)
{
	/* A timer armed with 0 by a callback waits for the next turn: the bound ends the walk. */
	for (size_t bound = l->timers; bound && l->timers && l->heap[0]->at_ms <= l->now_ms; bound--) {
		struct loop_timer *t = l->heap[0];
		loop_timer_cancel(l, t);
		t->fire(t);
	}
}

/*
 * Tasks posted by a task of the same phase run too, in rounds; the bound keeps a peer that sends without
 * end from holding up the commits and replies of the turn.
 */
static void
run_tasks(struct loop *l, enum loop_phase phase)
{
	struct task_queue *q = &l->tasks[phase];

	for (int round = 0; q->head && round < ROUNDS_PER_TURN; round++) {
		/* Any task may be unposted meanwhile, so a mark of our own ends the round. */
		struct loop_task *t, mark = { .run = NULL };
		loop_post(l, phase, &mark);
		for (;;) {
			t = q->head;
			q->head = t->next;
			if (q->head == NULL)
				q->end = &q->head;
			t->posted = false;
			if (t == &mark)
				break;
			t->run(t);
		}
	}
}

static void
run_reap(struct loop *l)
{
	for (struct loop_reap *r; (r = l->reap) != NULL;) {
		l->reap = r->next;
		r->free(r);
	}
}

static unsigned
ready_bits(uint32_t e)
{
	unsigned bits = 0;
	if (e & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		bits |= LOOP_READ;
	if (e & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		bits |= LOOP_WRITE;
	if (e & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		bits |= LOOP_HUP;
	return bits;
}

static int
turn(struct loop *l)
{
	l->ready = 0;
	int n = epoll_wait(l->ep, l->events, EVENTS_PER_TURN, wait_ms(l));
	if (n < 0 && errno != EINTR)
		return -1;
	l->ready = n < 0 ? 0 : n;
	read_clocks(l);
	for (int i = 0; i < l->ready; i++) {
		struct loop_fd *lf = l->events[i].data.ptr;
		if (lf)
			lf->ready(lf, ready_bits(l->events[i].events));
	}
	run_timers(l);
	for (int phase = 0; phase < LOOP_PHASES; phase++)
		run_tasks(l, phase);
	run_reap(l);
	return 0;
}

int
loop_run(struct loop *l)
{
	while (!l->stop)
		if (turn(l) < 0)
			return -1;
	l->stop = false;
	return 0;
}

void
loop_stop(struct loop *l)
{
	l->stop = true;
}

uint64_t
loop_now_ms(const struct loop *l)
{
	return l->now_ms;
}

uint64_t
loop_wall_us(const struct loop *l)
{
	return l->wall_us;
}
