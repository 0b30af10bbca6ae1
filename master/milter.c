/* SPDX-License-Identifier: ISC */
/*
 * smtpd cannot connect: master does it, to the milters of the configuration and nowhere else, and hands the
 * connected descriptor over. Nothing here waits; what is under way for one process has a limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "master/master.h"

enum {
	DIALS_MAX = 256,	  /* under way for one process */
	BACKLOG_MAX = 64 << 10,	  /* of answers that it does not read */
	AGAIN_MS = 50		  /* a local socket whose queue is full says so at once */
};

struct dial {
	struct dial *next;
	struct master *m;
	struct proc *p; /* NULL: over */
	uint64_t req, end_ms;
	struct sockaddr_storage to;
	socklen_t to_len;
	struct loop_fd lf;
	struct loop_timer timer; /* the deadline, or another attempt */
	struct loop_reap reap;
};

static void
free_dial(struct loop_reap *r)
{
	free(CONTAINER(r, struct dial, reap));
}

static void
leave(struct dial *d)
{
	struct dial **at = &d->m->dials;

	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	d->p->dialling--;
	d->p = NULL;
	loop_timer_cancel(d->m->loop, &d->timer);
	if (d->lf.fd >= 0)
		loop_del(d->m->loop, &d->lf);
	d->reap.free = free_dial;
	loop_reap(d->m->loop, &d->reap);
}

static void
refuse(struct proc *p, uint64_t req, const char *why)
{
	IPC_SEND(&p->ch, milter, .req = req, .why = view_str(why));
}

static void
failed(struct dial *d, int fd, const char *why)
{
	struct proc *p = d->p;
	uint64_t req = d->req;

	leave(d);
	if (fd >= 0)
		close(fd);
	refuse(p, req, why);
}

static void
connected(struct dial *d, int fd)
{
	struct proc *p = d->p;
	uint64_t req = d->req;

	leave(d);
	IPC_SEND_FD(&p->ch, fd, milter, .req = req);
}

static void
on_decided(struct loop_fd *lf, unsigned events)
{
	struct dial *d = CONTAINER(lf, struct dial, lf);
	int fd = lf->fd, error = 0;
	socklen_t len = sizeof(error);

	if (!(events & (LOOP_WRITE | LOOP_HUP)))
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error)
		failed(d, fd, strerror(error));
	else
		connected(d, fd);
}

static void
attempt(struct dial *d)
{
	int fd = socket(d->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		failed(d, -1, strerror(errno));
	} else if (connect(fd, (const struct sockaddr *)&d->to, d->to_len) == 0) {
		connected(d, fd);
	} else if (errno == EINPROGRESS) {
		d->lf.fd = fd;
		if (loop_add(d->m->loop, &d->lf) < 0) {
			d->lf.fd = -1;
			failed(d, fd, strerror(errno));
		}
		/* else the timer is at its deadline: what is not local is tried once */
	} else if (errno == EAGAIN) {
		close(fd);
		loop_timer_set(d->m->loop, &d->timer, AGAIN_MS);
	} else {
		failed(d, fd, strerror(errno));
	}
}

static void
on_timer(struct loop_timer *t)
{
	struct dial *d = CONTAINER(t, struct dial, timer);

	if (loop_now_ms(d->m->loop) >= d->end_ms)
		failed(d, d->lf.fd, "connection timed out");
	else
		attempt(d);
}

static const struct conf_milter *
find(const struct conf *c, struct view name)
{
	for (size_t i = 0; i < c->milter_count; i++)
		if (view_is(name, c->milter[i].name))
			return &c->milter[i];
	return NULL;
}

bool
milter_dial(struct proc *p, const struct ipc_milter_want *w)
{
	struct master *m = p->m;
	const struct conf_milter *c = find(m->gen->conf, w->name);

	if (p->role != ROLE_SMTPD || channel_backlog(&p->ch) > BACKLOG_MAX)
		return false;
	if (c == NULL || p->dialling >= DIALS_MAX) {
		refuse(p, w->req, c ? "too many connections are under way" : "not in the configuration");
		return true;
	}
	struct dial *d = x_calloc(1, sizeof(*d));
	*d = (struct dial){ .next = m->dials, .m = m, .p = p, .req = w->req,
		.end_ms = loop_now_ms(m->loop) + c->timeout * 1000,
		.lf = { .fd = -1, .ready = on_decided }, .timer.fire = on_timer };
	conf_parse_socket(view_str(c->socket), &d->to, &d->to_len);
	m->dials = d;
	p->dialling++;
	loop_timer_set(m->loop, &d->timer, c->timeout * 1000);
	attempt(d);
	return true;
}

void
milter_hang_up(struct proc *p)
{
	for (struct dial *d, *next = p->m->dials; (d = next) != NULL;) {
		next = d->next;
		if (d->p != p)
			continue;
		int fd = d->lf.fd;
		leave(d);
		if (fd >= 0)
			close(fd);
	}
}
