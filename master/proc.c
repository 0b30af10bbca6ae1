/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "master/folders.h"
#include "master/master.h"
#include "master/spawn.h"

/* Sessions of a process that is one too many have this long to end. */
enum { SURPLUS_S = 300, LAST_WORDS_MS = 1000 };

static void ended(struct proc *p);

const char *
proc_state_name(enum proc_state s)
{
	static const char *const names[] = { "down", "waiting", "starting", "ready", "draining",
		"ending" };

	return names[s];
}

const char *
proc_name(const struct proc *p, char room[static 32])
{
	snprintf(room, 32, "%s/%u", role_name(p->role), p->instance);
	return room;
}

struct proc *
proc_find(const struct master *m, enum role role, uint32_t instance)
{
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i]->role == role && m->procs[i]->instance == instance)
			return m->procs[i];
	return NULL;
}

size_t
procs_running(const struct master *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->proc_count; i++)
		n += m->procs[i]->pid != 0;
	return n;
}

void
proc_kill(struct proc *p)
{
	if (p->pid == 0 || p->exited)
		return;
	kill(p->pid, SIGKILL); /* not reaped yet, so the number is still its own */
	p->state = PROC_ENDING;
	loop_timer_cancel(p->m->loop, &p->timer);
}

void
proc_drain(struct proc *p, unsigned deadline_s)
{
	if (p->pid == 0 || p->exited || p->state == PROC_ENDING)
		return;
	p->state = PROC_DRAINING;
	IPC_SEND(&p->ch, drain, .deadline_s = deadline_s);
	loop_timer_set(p->m->loop, &p->timer, (uint64_t)deadline_s * 1000 + END_GRACE_MS);
}

static void
all_ready(struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i]->state != PROC_READY)
			return;
	if (m->phase == MASTER_STARTING)
		master_serve(m);
}

static bool
on_ready(struct master *m, struct channel *ch, struct ipc_ready *r, int *fd)
{
	struct proc *p = ch->ctx;

	(void)fd;
	if (r->serial == 0 || r->serial > m->serial)
		return false;
	if (p->state == PROC_STARTING) {
		p->state = PROC_READY;
		loop_timer_cancel(m->loop, &p->timer);
		all_ready(m);
	}
	reload_answered(m, p, r->serial, NULL);
	return true;
}

static bool
on_refused(struct master *m, struct channel *ch, struct ipc_refused *r, int *fd)
{
	struct proc *p = ch->ctx;
	char name[32], why[ERR_TEXT_MAX];

	(void)fd;
	if (r->serial > m->serial)
		return false;
	snprintf(why, sizeof(why), "%s: " VIEW_FMT, proc_name(p, name),
	    VIEW_ARG(view_first(r->why, 400)));
	if (p->state == PROC_STARTING) {
		log_error("cannot start: %s", why);
		if (m->phase == MASTER_STARTING)
			start_failed(m, why);
		return true; /* it ends by itself */
	}
	reload_answered(m, p, r->serial, why);
	return true;
}

static bool
on_milter_want(struct master *m, struct channel *ch, struct ipc_milter_want *w, int *fd)
{
	(void)m, (void)fd;
	return milter_dial(ch->ctx, w);
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct proc *p = ch->ctx;
	struct master *d = p->m;

	switch (type) {
		IPC_DAEMON_TO_MASTER(IPC_CASE)
	default:
		return false;
	}
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	struct proc *p = ch->ctx;
	char name[32];

	milter_hang_up(p);
	channel_close(ch);
	if (p->exited) {
		ended(p);
	} else if (e) {
		log_error("%s: %s: killed", proc_name(p, name), e->text);
		proc_kill(p);
	} else {
		/* Most likely its end, of which SIGCHLD tells; it may flush its log meanwhile. */
		if (p->state != PROC_DRAINING)
			p->state = PROC_ENDING;
		loop_timer_set(p->m->loop, &p->timer, END_GRACE_MS);
	}
}

static void
send_setup(struct proc *p, const struct account *who)
{
	const struct master *m = p->m;
	char *dir = home_of(m->gen->conf, p->role);

	IPC_SEND(&p->ch, setup, .role = (uint8_t)p->role, .instance = p->instance,
	    .instances = plan_instances(p->role, m->gen->conf, m->cores), .uid = who->uid,
	    .gid = who->gid, .confine = m->root, .dir = view_str(dir),
	    .foreground = m->foreground);
	free(dir);
}

/* From nothing to a process that has all but its peers and `apply`. */
static int
launch(struct proc *p, struct err *e)
{
	static const struct channel_ops ops = { on_frame, on_closed };
	struct master *m = p->m;
	struct account who;
	char path[4096];
	int pair[2];

	if (account_of(m->gen->conf, p->role, &who, e) < 0 ||
	    spawn_path(m->daemon_dir, p->role, path, sizeof(path), e) < 0)
		return -1;
	if (channel_pair(pair) < 0)
		return err_errno(e, "socketpair");
	pid_t pid = spawn_daemon(path, p->role, p->instance, pair[1], m->foreground, e);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -1;
	}
	p->pid = pid;
	p->state = PROC_STARTING;
	p->started_ms = loop_now_ms(m->loop);
	p->awaited = 0;
	p->exited = false;
	loop_timer_set(m->loop, &p->timer, START_TIMEOUT_S * 1000);
	if (channel_open(&p->ch, m->loop, pair[0], &ops, p, p->role, p->instance) < 0) {
		err_errno(e, "channel");
		close(pair[0]);
		proc_kill(p);
		return -1;
	}
	send_setup(p, &who);
	if (generation_send(m->gen, &p->ch, m->foreground) < 0) {
		err_errno(e, "descriptors for %s", role_name(p->role));
		proc_kill(p);
		return -1;
	}
	return 0;
}

bool
proc_reachable(const struct proc *p)
{
	return p->pid != 0 && !p->exited && p->state != PROC_ENDING && channel_is_open(&p->ch);
}

/* A fresh channel between two processes: each gets one end. */
static void
join(struct proc *a, struct proc *b)
{
	int pair[2];
	char name[32];

	if (channel_pair(pair) < 0) {
		log_error("%s: no channel to %s: %s", proc_name(a, name), role_name(b->role),
		    strerror(errno));
		return;
	}
	IPC_SEND_FD(&a->ch, pair[0], peer, .role = (uint8_t)b->role, .instance = b->instance);
	IPC_SEND_FD(&b->ch, pair[1], peer, .role = (uint8_t)a->role, .instance = a->instance);
}

static void
join_peers(struct proc *p)
{
	const struct master *m = p->m;

	for (size_t i = 0; i < m->proc_count; i++) {
		struct proc *q = m->procs[i];
		if (q != p && plan_linked(p->role, q->role) && proc_reachable(q))
			join(p, q);
	}
}

static void
leave_peers(struct proc *p)
{
	const struct master *m = p->m;

	for (size_t i = 0; i < m->proc_count; i++) {
		struct proc *q = m->procs[i];
		if (q != p && plan_linked(p->role, q->role) && proc_reachable(q))
			IPC_SEND(&q->ch, peer_gone, .role = (uint8_t)p->role,
			    .instance = p->instance);
	}
}

/* It is gone for now, or its start failed: when does it come back? */
static void
schedule(struct proc *p)
{
	struct master *m = p->m;
	char name[32];
	uint64_t up = p->started_ms ? loop_now_ms(m->loop) - p->started_ms : 0;
	uint64_t wait = backoff_died(&p->backoff, up);

	p->state = PROC_WAITING;
	p->restarts++;
	if (wait)
		log_warn("%s starts again in %llu s", proc_name(p, name),
		    (unsigned long long)wait / 1000);
	loop_timer_set(m->loop, &p->timer, wait);
}

static void
start_one(struct proc *p)
{
	struct err e;
	char name[32];

	if (launch(p, &e) < 0) {
		log_error("cannot start %s: %s", proc_name(p, name), e.text);
		if (p->pid == 0)
			schedule(p);
		return;
	}
	join_peers(p);
	IPC_SEND(&p->ch, apply, .serial = p->m->gen->serial);
}

void
procs_resume(struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++) {
		struct proc *p = m->procs[i];
		if (p->state == PROC_WAITING && !loop_timer_armed(&p->timer))
			start_one(p);
	}
}

static void
on_timer(struct loop_timer *t)
{
	struct proc *p = CONTAINER(t, struct proc, timer);
	char name[32];

	if (p->state == PROC_WAITING) {
		/* During a reload nobody knows yet which configuration it will get. */
		if (p->m->reload.next == NULL)
			start_one(p);
		return;
	}
	if (p->exited) {
		ended(p); /* somebody else holds its end of the channel: no matter */
		return;
	}
	log_error("%s does not %s: killed", proc_name(p, name),
	    p->state == PROC_STARTING ? "become ready" : "end");
	proc_kill(p);
}

static void
log_end(const struct proc *p)
{
	char name[32];
	int status = p->status;
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	proc_name(p, name);
	if (sig == SIGSYS)
		log_error("%s (pid %d) was killed by its sandbox: a forbidden system call", name,
		    p->pid);
	else if (sig)
		log_error("%s (pid %d) was killed by signal %d (%s)", name, p->pid, sig,
		    strsignal(sig));
	else if (WEXITSTATUS(status) == 127)
		log_error("%s (pid %d) could not be executed", name, p->pid);
	else if (WEXITSTATUS(status) || p->state != PROC_DRAINING)
		log_error("%s (pid %d) ended with status %d", name, p->pid, WEXITSTATUS(status));
	else
		log_debug("%s (pid %d) has finished", name, p->pid);
}

static void
proc_free(struct loop_reap *r)
{
	free(CONTAINER(r, struct proc, reap));
}

static void
forget(struct proc *p)
{
	struct master *m = p->m;
	size_t i = 0;

	while (m->procs[i] != p)
		i++;
	memmove(m->procs + i, m->procs + i + 1, (m->proc_count - i - 1) * sizeof(struct proc *));
	m->proc_count--;
	loop_timer_cancel(m->loop, &p->timer);
	p->reap.free = proc_free;
	loop_reap(m->loop, &p->reap);
}

/* Its end, after its last words. */
static void
ended(struct proc *p)
{
	struct master *m = p->m;
	char why[64], name[32];
	struct err e;

	log_end(p);
	milter_hang_up(p);
	channel_close(&p->ch);
	loop_timer_cancel(m->loop, &p->timer);
	p->pid = 0;
	p->state = PROC_DOWN;
	leave_peers(p);
	if (m->phase == MASTER_STOPPING) {
		stop_progress(m);
	} else if (m->phase == MASTER_STARTING) {
		snprintf(why, sizeof(why), "%s ended", proc_name(p, name));
		start_failed(m, why);
	} else if (p->surplus) {
		forget(p);
		procs_add(m, &e); /* it may be wanted again meanwhile */
	} else {
		schedule(p);
	}
	reload_answered(m, p, 0, NULL);
}

/* A refusal or a last log line may still be on the way: the end of the channel comes behind it. */
static void
exited(struct proc *p, int status)
{
	p->exited = true;
	p->status = status;
	if (channel_is_open(&p->ch))
		loop_timer_set(p->m->loop, &p->timer, LAST_WORDS_MS);
	else
		ended(p);
}

void
procs_reap(struct master *m)
{
	int status;

	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		for (size_t i = 0; i < m->proc_count; i++)
			if (m->procs[i]->pid == pid && !m->procs[i]->exited) {
				exited(m->procs[i], status);
				break;
			}
}

static struct proc *
add(struct master *m, enum role role, uint32_t instance)
{
	struct proc *p = x_calloc(1, sizeof(*p));

	p->m = m;
	p->role = role;
	p->instance = instance;
	p->timer.fire = on_timer;
	m->procs = x_realloc(m->procs, m->proc_count + 1, sizeof(struct proc *));
	m->procs[m->proc_count++] = p;
	return p;
}

/* All are launched and joined before the first gets its `apply`: they find their peers at once. */
int
procs_add(struct master *m, struct err *e)
{
	size_t first = m->proc_count;
	char name[32];

	for (int role = PLAN_FIRST_ROLE; role <= PLAN_LAST_ROLE; role++)
		for (uint32_t i = 0; i < plan_instances(role, m->gen->conf, m->cores); i++)
			if (proc_find(m, role, i) == NULL)
				add(m, role, i);
	for (size_t i = first; i < m->proc_count; i++) {
		struct proc *p = m->procs[i];
		if (launch(p, e) == 0) {
			join_peers(p);
			continue;
		}
		err_wrap(e, "cannot start %s", proc_name(p, name));
		if (m->phase == MASTER_STARTING)
			return -1;
		log_error("%s", e->text);
		if (p->pid == 0)
			schedule(p);
	}
	for (size_t i = first; i < m->proc_count; i++)
		IPC_SEND(&m->procs[i]->ch, apply, .serial = m->gen->serial);
	return 0;
}

void
procs_drop_surplus(struct master *m)
{
	for (size_t i = m->proc_count; i-- > 0;) {
		struct proc *p = m->procs[i];
		if (p->surplus || p->instance < plan_instances(p->role, m->gen->conf, m->cores))
			continue;
		p->surplus = true;
		if (p->pid)
			proc_drain(p, SURPLUS_S);
		else
			forget(p);
	}
}

void
procs_free(struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++) {
		milter_hang_up(m->procs[i]);
		channel_close(&m->procs[i]->ch);
		loop_timer_cancel(m->loop, &m->procs[i]->timer);
		free(m->procs[i]);
	}
	free(m->procs);
	m->procs = NULL;
	m->proc_count = 0;
}
