/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <sys/time.h>
#include <unbound-event.h>

#include "dnsd/unbound_loop.h"
#include "lib/buf.h"

struct base {
	struct ub_event_base ub; /* first: libunbound hands its address back */
	struct loop *loop;
};

/* What libunbound calls an event: an fd, a timeout, or both. */
struct event {
	struct ub_event ub; /* first */
	struct loop *loop;
	struct loop_fd lf; /* lf.fd is -1 while not watched */
	struct loop_timer timer;
	struct loop_reap reap;
	int fd;
	short bits;
	void (*cb)(int fd, short bits, void *arg);
	void *arg;
};

static struct event *
event_of(struct ub_event *ev)
{
	return CONTAINER(ev, struct event, ub);
}

static void
on_ready(struct loop_fd *lf, unsigned events)
{
	struct event *ev = CONTAINER(lf, struct event, lf);
	short bits = 0;

	if (events & (LOOP_READ | LOOP_HUP))
		bits |= UB_EV_READ;
	if (events & (LOOP_WRITE | LOOP_HUP))
		bits |= UB_EV_WRITE;
	bits &= ev->bits;
	if (bits)
		ev->cb(ev->fd, bits, ev->arg); /* may free ev */
}

static void
on_timeout(struct loop_timer *t)
{
	struct event *ev = CONTAINER(t, struct event, timer);

	ev->cb(ev->fd, UB_EV_TIMEOUT, ev->arg);
}

static uint64_t
timeval_ms(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * 1000 + ((uint64_t)tv->tv_usec + 999) / 1000;
}

static int
event_del(struct ub_event *ub)
{
	struct event *ev = event_of(ub);

	loop_del(ev->loop, &ev->lf);
	loop_timer_cancel(ev->loop, &ev->timer);
	return 0;
}

static int
event_add(struct ub_event *ub, struct timeval *tv)
{
	struct event *ev = event_of(ub);
	unsigned want = 0;

	event_del(ub);
	if (tv)
		loop_timer_set(ev->loop, &ev->timer, timeval_ms(tv));
	if (ev->bits & UB_EV_READ)
		want |= LOOP_READ;
	if (ev->bits & UB_EV_WRITE)
		want |= LOOP_WRITE;
	if (want == 0 || ev->fd < 0)
		return 0;
	ev->lf.fd = ev->fd;
	if (loop_add_level(ev->loop, &ev->lf, want) < 0) {
		ev->lf.fd = -1;
		return -1;
	}
	return 0;
}

static void
event_add_bits(struct ub_event *ub, short bits)
{
	event_of(ub)->bits |= bits;
}

static void
event_del_bits(struct ub_event *ub, short bits)
{
	event_of(ub)->bits &= (short)~bits;
}

static void
event_set_fd(struct ub_event *ub, int fd)
{
	event_of(ub)->fd = fd;
}

static void
event_reaped(struct loop_reap *r)
{
	free(CONTAINER(r, struct event, reap));
}

static void
event_free(struct ub_event *ub)
{
	struct event *ev = event_of(ub);

	event_del(ub);
	ev->reap.free = event_reaped;
	loop_reap(ev->loop, &ev->reap);
}

static int
event_add_timer(struct ub_event *ub, struct ub_event_base *base, void (*cb)(int, short, void *),
    void *arg, struct timeval *tv)
{
	struct event *ev = event_of(ub);

	(void)base;
	ev->cb = cb;
	ev->arg = arg;
	loop_timer_set(ev->loop, &ev->timer, timeval_ms(tv));
	return 0;
}

static int
event_del_timer(struct ub_event *ub)
{
	loop_timer_cancel(event_of(ub)->loop, &event_of(ub)->timer);
	return 0;
}

/* The rest of the interface is for signals and Windows; libunbound does not call it here. */
static int
no_signal(struct ub_event *ub, struct timeval *tv)
{
	(void)ub, (void)tv;
	return -1;
}

static int
no_signal_del(struct ub_event *ub)
{
	(void)ub;
	return -1;
}

static void
no_wouldblock(struct ub_event *ub, int bits)
{
	(void)ub, (void)bits;
}

static struct ub_event *
event_new(struct ub_event_base *ub, int fd, short bits, void (*cb)(int, short, void *), void *arg)
{
	static struct ub_event_vmt vmt = { .add_bits = event_add_bits,
		.del_bits = event_del_bits,
		.set_fd = event_set_fd,
		.free = event_free,
		.add = event_add,
		.del = event_del,
		.add_timer = event_add_timer,
		.del_timer = event_del_timer,
		.add_signal = no_signal,
		.del_signal = no_signal_del,
		.winsock_unregister_wsaevent = event_free,
		.winsock_tcp_wouldblock = no_wouldblock };
	struct base *b = CONTAINER(ub, struct base, ub);
	struct event *ev = x_calloc(1, sizeof(*ev));

	*ev = (struct event){ .ub = { UB_EVENT_MAGIC, &vmt },
		.loop = b->loop,
		.lf = { .fd = -1, .ready = on_ready },
		.timer.fire = on_timeout,
		.fd = fd,
		.bits = bits,
		.cb = cb,
		.arg = arg };
	return &ev->ub;
}

static struct ub_event *
no_signal_new(struct ub_event_base *ub, int fd, void (*cb)(int, short, void *), void *arg)
{
	(void)ub, (void)fd, (void)cb, (void)arg;
	return NULL;
}

static struct ub_event *
no_winsock(struct ub_event_base *ub, void *wsaevent, void (*cb)(int, short, void *), void *arg)
{
	(void)ub, (void)wsaevent, (void)cb, (void)arg;
	return NULL;
}

static void
base_kept(struct ub_event_base *ub)
{
	(void)ub; /* the owner frees it */
}

static int
no_dispatch(struct ub_event_base *ub)
{
	(void)ub;
	return -1;
}

static int
no_exit(struct ub_event_base *ub, struct timeval *tv)
{
	(void)ub, (void)tv;
	return 0;
}

struct ub_event_base *
unbound_base_new(struct loop *l)
{
	static struct ub_event_base_vmt vmt = { .free = base_kept,
		.dispatch = no_dispatch,
		.loopexit = no_exit,
		.new_event = event_new,
		.new_signal = no_signal_new,
		.winsock_register_wsaevent = no_winsock };
	struct base *b = x_calloc(1, sizeof(*b));

	*b = (struct base){ .ub = { UB_EVENT_MAGIC, &vmt }, .loop = l };
	return &b->ub;
}

void
unbound_base_free(struct ub_event_base **base)
{
	if (*base)
		free(CONTAINER(*base, struct base, ub));
	*base = NULL;
}
