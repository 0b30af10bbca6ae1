/* SPDX-License-Identifier: ISC */
/* The end: step by step, each with a deadline, then by force. */
#include <stdio.h>

#include "lib/log.h"
#include "master/master.h"

enum { FAREWELL_MS = 100 };

static bool
step_running(const struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i]->pid && plan_role(m->procs[i]->role)->drain_step <= m->stop.step)
			return true;
	return false;
}

static void
on_farewell(struct loop_timer *t)
{
	loop_stop(CONTAINER(t, struct master, stop.timer)->loop);
}

static void
finish(struct master *m)
{
	if (m->stop.over)
		return;
	m->stop.over = true;
	loop_timer_cancel(m->loop, &m->stop.timer);
	log_info("stopped");
	control_close(m);
	pid_file_remove(m);
	if (m->stop.call) {
		/* The answer leaves, and whoever asked has the time to hang up first. */
		ctl_end(m->stop.call, 0, "%s", "");
		ctl_finish(m->stop.call);
		m->stop.call = NULL;
		m->stop.timer.fire = on_farewell;
		loop_timer_set(m->loop, &m->stop.timer, FAREWELL_MS);
	} else {
		loop_stop(m->loop);
	}
}

static void
drain_step(struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++)
		if (plan_role(m->procs[i]->role)->drain_step == m->stop.step)
			proc_drain(m->procs[i], STOP_STEP_S);
	loop_timer_set(m->loop, &m->stop.timer, STOP_STEP_S * 1000 + 1000);
}

void
stop_progress(struct master *m)
{
	if (procs_running(m) == 0) {
		finish(m);
		return;
	}
	bool moved = false;
	while (m->stop.step < PLAN_DRAIN_STEPS - 1 && !step_running(m)) {
		m->stop.step++;
		moved = true;
	}
	if (moved)
		drain_step(m);
}

static void
on_step_timeout(struct loop_timer *t)
{
	struct master *m = CONTAINER(t, struct master, stop.timer);
	char name[32];

	for (size_t i = 0; i < m->proc_count; i++) {
		struct proc *p = m->procs[i];
		if (p->pid && plan_role(p->role)->drain_step <= m->stop.step) {
			log_warn("%s does not end: killed", proc_name(p, name));
			proc_kill(p);
		}
	}
}

static void
on_cancel(struct ctl_call *call)
{
	struct master *m = call->daemon;

	m->stop.call = NULL;
}

/* Nothing comes back from here on. */
static void
enter(struct master *m)
{
	m->phase = MASTER_STOPPING;
	m->stop.timer.fire = on_step_timeout;
	loop_timer_cancel(m->loop, &m->reload.timer);
	if (!m->reload.back)
		generation_free(&m->reload.next);
	m->reload.next = NULL;
	if (m->reload.call) {
		ctl_end(m->reload.call, 1, "the suite is stopping");
		ctl_finish(m->reload.call);
		m->reload.call = NULL;
	}
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i]->pid == 0) {
			loop_timer_cancel(m->loop, &m->procs[i]->timer);
			m->procs[i]->state = PROC_DOWN;
		}
}

void
stop_begin(struct master *m, struct ctl_call *call)
{
	if (call) {
		call->cancel = on_cancel;
		m->stop.call = call;
	}
	if (m->phase == MASTER_STARTING) {
		stop_now(m);
		return;
	}
	log_info("stopping");
	notify_systemd("STOPPING=1\nSTATUS=stopping");
	enter(m);
	/* When smtpd has closed its own, no new connection waits for somebody who will not come. */
	generation_unlisten(m->gen);
	drain_step(m);
	stop_progress(m);
}

void
stop_now(struct master *m)
{
	enter(m);
	for (size_t i = 0; i < m->proc_count; i++)
		proc_kill(m->procs[i]);
	m->stop.step = PLAN_DRAIN_STEPS - 1;
	if (procs_running(m) == 0)
		finish(m);
}

void
start_failed(struct master *m, const char *why)
{
	if (m->phase == MASTER_STOPPING)
		return;
	log_error("the suite cannot start: %s", why);
	fprintf(stderr, "ekiden: cannot start: %s\n", why);
	m->exit_status = EXIT_RUNTIME;
	stop_now(m);
}
