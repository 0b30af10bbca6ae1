/* SPDX-License-Identifier: ISC */
/*
 * The control socket. A guest says which daemon it wants (hello, ctl_open: two frames of fixed size)
 * and is handed over to it with every byte that follows unread. Malformed bytes or silence end the
 * guest, nothing else (atk-I4).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "master/master.h"

enum {
	GUESTS_MAX = 64,
	GUEST_MS = 10000,
	ACCEPT_PAUSE_MS = 1000,
	HELLO_BODY = 8,
	OPEN_BODY = 1 + 4,
	OPENING = IPC_HEADER + HELLO_BODY + IPC_HEADER + OPEN_BODY
};

struct guest {
	struct loop_reap reap;
	struct master *m;
	struct loop_fd lf;
	struct loop_timer timer;
	uint32_t uid, pid;
	bool answered; /* by us: only its end is awaited */
	size_t have;
	char bytes[OPENING];
};

static void
guest_free(struct loop_reap *r)
{
	free(CONTAINER(r, struct guest, reap));
}

/* Ends our part; the descriptor is handed out, or closed here. */
static int
guest_leave(struct guest *g)
{
	int fd = g->lf.fd;

	loop_timer_cancel(g->m->loop, &g->timer);
	loop_del(g->m->loop, &g->lf);
	g->m->control.guests--;
	g->reap.free = guest_free;
	loop_reap(g->m->loop, &g->reap);
	return fd;
}

static void
guest_drop(struct guest *g, const char *why)
{
	log_warn("control connection of user %u, pid %u: %s", g->uid, g->pid, why);
	close(guest_leave(g));
}

/* One frame with a body of fixed size; false: it is something else. */
static bool
take(struct view *v, const struct ipc_desc *d, uint32_t size, void *m)
{
	if (view_get_u32(v) != size || view_get_u16(v) != d->type || view_get_u16(v) != 0)
		return false;
	return ipc_get(d, view_get(v, size), m);
}

/* The answer to whatever it will ask; its own bytes are read and dropped until it hangs up. */
static void
answer_absent(struct guest *g, enum role role)
{
	char text[64];

	snprintf(text, sizeof(text), "%s is not running at the moment", role_name(role));
	channel_sync_send(g->lf.fd, &ipc_desc_hello, &(struct ipc_hello){ .digest = ipc_digest() },
	    -1, NULL);
	channel_sync_send(g->lf.fd, &ipc_desc_ctl_end,
	    &(struct ipc_ctl_end){ .status = 1, .text = view_str(text) }, -1, NULL);
	g->answered = true;
}

static const struct ctl_command commands[] = { CTL_MASTER(CTL_ROW){ NULL, NULL } };

static void
hand_over(struct guest *g, enum role role, uint32_t instance)
{
	struct master *m = g->m;
	struct proc *p = proc_find(m, role, instance);

	if (role == ROLE_MASTER)
		ctl_serve(m->loop, guest_leave(g), g->uid, commands, m);
	else if (p && proc_reachable(p))
		IPC_SEND_FD(&p->ch, guest_leave(g), admin, .uid = g->uid, .pid = g->pid);
	else
		answer_absent(g, role);
}

/* Reads exactly the opening; false: there is more to come, or the guest has left. */
static bool
read_opening(struct guest *g)
{
	while (g->have < OPENING) {
		ssize_t n = recv(g->lf.fd, g->bytes + g->have, OPENING - g->have, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0) {
			close(guest_leave(g));
			return false;
		}
		g->have += (size_t)n;
	}
	return true;
}

/* At most what one call can be; who sends more is cut off by the timer. */
static void
read_and_drop(struct guest *g)
{
	char waste[4096];
	ssize_t n;

	do
		n = recv(g->lf.fd, waste, sizeof(waste), 0);
	while (n == (ssize_t)sizeof(waste) || (n < 0 && errno == EINTR));
	if (n == 0 || (n < 0 && errno != EAGAIN))
		close(guest_leave(g));
}

static void
guest_read(struct loop_fd *lf, unsigned events)
{
	struct guest *g = CONTAINER(lf, struct guest, lf);
	struct ipc_hello hello;
	struct ipc_ctl_open open_;

	(void)events;
	if (g->answered) {
		read_and_drop(g);
		return;
	}
	if (!read_opening(g))
		return;
	struct view v = view_of(g->bytes, OPENING);
	if (!take(&v, &ipc_desc_hello, HELLO_BODY, &hello))
		guest_drop(g, "malformed opening");
	else if (hello.digest != ipc_digest())
		guest_drop(g, "mtactl is of another version");
	else if (!take(&v, &ipc_desc_ctl_open, OPEN_BODY, &open_) || open_.role > PLAN_LAST_ROLE)
		guest_drop(g, "malformed opening");
	else
		hand_over(g, open_.role, open_.instance);
}

static void
guest_late(struct loop_timer *t)
{
	guest_drop(CONTAINER(t, struct guest, timer), "does not end its opening");
}

static void
guest_new(struct master *m, int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 ||
	    (who.uid != 0 && who.uid != geteuid())) {
		log_warn("control connection of user %d refused",
		    len == sizeof(who) ? (int)who.uid : -1);
		close(fd);
		return;
	}
	if (m->control.guests >= GUESTS_MAX) {
		log_warn("too many control connections");
		close(fd);
		return;
	}
	struct guest *g = x_calloc(1, sizeof(*g));
	*g = (struct guest){ .m = m, .lf = { fd, guest_read }, .timer.fire = guest_late,
		.uid = who.uid, .pid = (uint32_t)who.pid };
	if (loop_add(m->loop, &g->lf) < 0) {
		close(fd);
		free(g);
		return;
	}
	m->control.guests++;
	loop_timer_set(m->loop, &g->timer, GUEST_MS);
}

static void
on_again(struct loop_timer *t)
{
	struct master *m = CONTAINER(t, struct master, control.again);

	loop_mod_level(m->loop, &m->control.listener, LOOP_READ);
}

static void
on_guests(struct loop_fd *lf, unsigned events)
{
	struct master *m = CONTAINER(lf, struct master, control.listener);

	(void)events;
	int fd = accept4(lf->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		guest_new(m, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		/* Level-triggered, it would come at once again. */
		log_warn("control socket: accept: %s", strerror(errno));
		loop_mod_level(m->loop, lf, 0);
		loop_timer_set(m->loop, &m->control.again, ACCEPT_PAUSE_MS);
	}
}

int
control_open(struct master *m, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int n = snprintf(at.sun_path, sizeof(at.sun_path), "%s/control", m->gen->conf->run_dir);

	if (n < 0 || (size_t)n >= sizeof(at.sun_path))
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "run-dir: the path is too long");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, "control socket");
	unlink(at.sun_path); /* of a former run: the lock on the pid file says that it is over */
	mode_t mask = umask(0177);
	int rc = bind(fd, (struct sockaddr *)&at, sizeof(at));
	umask(mask);
	if (rc < 0 || listen(fd, GUESTS_MAX) < 0) {
		err_errno(e, "control socket %s", at.sun_path);
		close(fd);
		return -1;
	}
	m->control.listener = (struct loop_fd){ fd, on_guests };
	m->control.again.fire = on_again;
	if (loop_add_level(m->loop, &m->control.listener, LOOP_READ) < 0) {
		close(fd);
		m->control.listener.fd = -1;
		return err_errno(e, "control socket");
	}
	return 0;
}

void
control_close(struct master *m)
{
	int fd = m->control.listener.fd;
	char path[200];

	if (fd < 0)
		return;
	loop_timer_cancel(m->loop, &m->control.again);
	loop_del(m->loop, &m->control.listener);
	close(fd);
	snprintf(path, sizeof(path), "%s/control", m->gen->conf->run_dir);
	unlink(path);
}

/* The commands of master itself. */

enum ctl_result
ctl_status(struct ctl_call *call)
{
	const struct master *m = call->daemon;
	uint64_t now = loop_now_ms(m->loop);

	ctl_str(call, "role", "master");
	ctl_number(call, "instance", 0);
	ctl_number(call, "pid", (uint64_t)getpid());
	ctl_number(call, "uptime", (now - m->started_ms) / 1000);
	ctl_number(call, "restarts", 0);
	ctl_str(call, "state", m->phase == MASTER_SERVING ? "ready" :
		m->phase == MASTER_STARTING ? "starting" : "stopping");
	ctl_row_end(call);
	for (size_t i = 0; i < m->proc_count; i++) {
		const struct proc *p = m->procs[i];
		ctl_str(call, "role", role_name(p->role));
		ctl_number(call, "instance", p->instance);
		ctl_number(call, "pid", (uint64_t)p->pid);
		ctl_number(call, "uptime", p->pid ? (now - p->started_ms) / 1000 : 0);
		ctl_number(call, "restarts", p->restarts);
		ctl_str(call, "state", proc_state_name(p->state));
		ctl_row_end(call);
	}
	listener_rows(m, call, false);
	return CTL_DONE;
}

/* The first error is the result; if there are more, all of them are rows. */
enum ctl_result
control_refuse(struct ctl_call *call, struct view errors)
{
	struct view first = view_cut(&errors, '\n');

	if (errors.n) {
		ctl_text(call, "error", first);
		ctl_row_end(call);
	}
	while (errors.n) {
		ctl_text(call, "error", view_cut(&errors, '\n'));
		ctl_row_end(call);
	}
	return ctl_end(call, 1, VIEW_FMT, VIEW_ARG(first));
}

enum ctl_result
ctl_reload(struct ctl_call *call)
{
	struct buf errors = BUF_INIT(65536);
	enum ctl_result result = CTL_WAIT;

	log_info("reload asked for by user %u", call->uid);
	if (reload_begin(call->daemon, call, &errors) < 0)
		result = control_refuse(call, buf_view(&errors));
	buf_free(&errors);
	return result;
}

enum ctl_result
ctl_stop(struct ctl_call *call)
{
	struct master *m = call->daemon;

	log_info("stop asked for by user %u", call->uid);
	if (m->phase == MASTER_STOPPING)
		return ctl_end(call, 1, "already stopping");
	stop_begin(m, call);
	return CTL_WAIT;
}
