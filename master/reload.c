/* SPDX-License-Identifier: ISC */
/*
 * A reload is: read and check everything, bind what is new, send it to all, wait for their answers.
 * Until the last step the running configuration is untouched. If a daemon refuses (or does not
 * answer), all of them get the former one again, and the refusal is the result.
 */
#include <stdio.h>
#include <string.h>

#include "lib/daemon.h"
#include "master/files.h"
#include "master/master.h"

enum { LOG_WATCH_MS = 5000 };

static void
on_log_watch(struct loop_timer *t)
{
	struct master *m = CONTAINER(t, struct master, log_watch.timer);
	const struct stat *was = &m->log_watch.socket;
	struct stat now;

	loop_timer_set(m->loop, t, LOG_WATCH_MS);
	if (stat(SYSLOG_PATH, &now) == 0 &&
	    (now.st_dev != was->st_dev || now.st_ino != was->st_ino ||
		now.st_ctim.tv_sec != was->st_ctim.tv_sec ||
		now.st_ctim.tv_nsec != was->st_ctim.tv_nsec))
		logs_reopen(m);
}

/* Standard error in its place, while it is down, does not end the watch. */
static void
log_watch(struct master *m, enum log_kind kind)
{
	struct log_watch *w = &m->log_watch;

	w->timer.fire = on_log_watch;
	if (*m->gen->conf->log.file)
		loop_timer_cancel(m->loop, &w->timer);
	else if (kind == LOG_KIND_SYSLOG && stat(SYSLOG_PATH, &w->socket) == 0)
		loop_timer_set(m->loop, &w->timer, LOG_WATCH_MS);
}

void
log_use(struct master *m)
{
	const struct conf *c = m->gen->conf;
	enum log_kind kind;
	struct err e;

	snprintf(m->ident, sizeof(m->ident), "%s/master", c->log.tag);
	snprintf(m->host, sizeof(m->host), "%s", c->hostname);
	log_init(m->ident, m->host, log_level_of(c->log.level));
	int fd = log_target_open(c, m->foreground, &kind, &e);
	if (fd < 0) {
		log_error("%s", e.text);
		return;
	}
	log_open(fd, kind == LOG_KIND_SYSLOG);
	log_watch(m, kind);
}

void
logs_reopen(struct master *m)
{
	log_use(m);
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i]->pid)
			generation_send_logs(m->gen, &m->procs[i]->ch, m->foreground);
	log_info("logs are open anew");
}

static bool
takes_part(const struct proc *p)
{
	return p->pid && !p->exited && (p->state == PROC_READY || p->state == PROC_STARTING);
}

/* Sends g to all that run; their answers are awaited. */
static void
round_begin(struct master *m, struct generation *g)
{
	size_t asked = 0;

	m->reload.next = g;
	for (size_t i = 0; i < m->proc_count; i++) {
		struct proc *p = m->procs[i];
		p->awaited = 0;
		if (!takes_part(p))
			continue;
		if (generation_send(g, &p->ch, m->foreground) < 0) {
			log_error("%s: out of descriptors: killed", role_name(p->role));
			proc_kill(p);
			continue;
		}
		IPC_SEND(&p->ch, apply, .serial = g->serial);
		p->awaited = g->serial;
		asked++;
	}
	loop_timer_set(m->loop, &m->reload.timer, asked ? RELOAD_TIMEOUT_S * 1000 : 0);
}

static void
finish(struct master *m)
{
	struct reload *r = &m->reload;

	if (*r->why)
		log_error("the configuration was refused, the former one stays: %s", r->why);
	else
		log_info("serving with configuration %u", m->gen->serial);
	if (r->call) {
		ctl_end(r->call, *r->why ? 1 : 0, "%s", r->why);
		ctl_finish(r->call);
		r->call = NULL;
	}
	notify_systemd("READY=1\nSTATUS=%s", *r->why ? "the last reload was refused" : "serving");
	procs_resume(m);
	if (r->again) {
		struct buf errors = BUF_INIT(65536);
		r->again = false;
		reload_begin(m, NULL, &errors);
		buf_free(&errors);
	}
}

static void
commit(struct master *m)
{
	struct err e;

	generation_free(&m->gen);
	m->gen = m->reload.next;
	m->reload.next = NULL;
	log_use(m);
	tickets_start(m);
	procs_drop_surplus(m);
	procs_add(m, &e);
}

/* Everybody has answered (or is gone). */
static void
round_over(struct master *m)
{
	struct reload *r = &m->reload;

	loop_timer_cancel(m->loop, &r->timer);
	if (r->back) {
		r->back = false;
		r->next = NULL;
		finish(m);
		return;
	}
	if (*r->why == '\0') {
		commit(m);
		finish(m);
		return;
	}
	generation_free(&r->next);
	r->back = true;
	m->gen->serial = ++m->serial;
	round_begin(m, m->gen);
}

void
reload_answered(struct master *m, struct proc *p, uint32_t serial, const char *why)
{
	if (p->awaited == 0 || (serial && serial != p->awaited))
		return;
	p->awaited = 0;
	if (why && m->reload.back) {
		/* It has neither: only a fresh start helps. */
		log_error("%s: refuses its former configuration: killed", why);
		proc_kill(p);
	} else if (why && *m->reload.why == '\0') {
		snprintf(m->reload.why, sizeof(m->reload.why), "%s", why);
	}
	for (size_t i = 0; i < m->proc_count; i++)
		if (m->procs[i]->awaited)
			return;
	if (m->reload.next && m->phase == MASTER_SERVING)
		round_over(m);
}

/* Whoever has not answered by now hangs: it is started afresh. */
static void
on_timeout(struct loop_timer *t)
{
	struct master *m = CONTAINER(t, struct master, reload.timer);
	char name[32], why[64];

	for (size_t i = 0; i < m->proc_count; i++) {
		struct proc *p = m->procs[i];
		if (p->awaited == 0)
			continue;
		p->awaited = 0;
		snprintf(why, sizeof(why), "%s does not answer", proc_name(p, name));
		log_error("%s: killed", why);
		proc_kill(p);
		if (!m->reload.back && *m->reload.why == '\0')
			snprintf(m->reload.why, sizeof(m->reload.why), "%s", why);
	}
	round_over(m);
}

/* The caller may go away; the reload goes on. */
static void
on_cancel(struct ctl_call *call)
{
	struct master *m = call->daemon;

	m->reload.call = NULL;
}

static struct generation *
prepare(struct master *m, struct buf *errors)
{
	struct err e;
	struct generation *g = generation_read(m->conf_path, m->serial + 1, errors);

	if (g == NULL)
		return NULL;
	m->serial++;
	const char *fixed = plan_fixed(m->gen->conf, g->conf);
	if (fixed)
		err_set(&e, ERR_PERM, ESC(5, 3, 5), "%s: a reload cannot change it: restart",
		    fixed);
	if (!fixed && generation_prepare(g, m->gen, m->mtactl, m->foreground, &e) == 0)
		return g;
	buf_printf(errors, "%s\n", e.text);
	generation_free(&g);
	return NULL;
}

/* What conf_read_file() and others said. */
static void
log_lines(struct view text, bool error)
{
	while (text.n) {
		struct view line = view_cut(&text, '\n');
		if (error)
			log_error(VIEW_FMT, VIEW_ARG(line));
		else
			log_warn(VIEW_FMT, VIEW_ARG(line));
	}
}

int
reload_begin(struct master *m, struct ctl_call *call, struct buf *errors)
{
	struct reload *r = &m->reload;

	if (m->phase != MASTER_SERVING) {
		buf_puts(errors, "the suite is starting or stopping\n");
		return -1;
	}
	if (r->next) {
		r->again |= call == NULL;
		buf_puts(errors, "another reload is under way\n");
		return -1;
	}
	notify_systemd("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_mono_us());
	struct generation *g = prepare(m, errors);
	log_lines(buf_view(errors), g == NULL);
	if (g == NULL) {
		log_error("the former configuration stays");
		notify_systemd("READY=1\nSTATUS=the last reload was refused");
		return -1;
	}
	*r->why = '\0';
	r->call = call;
	r->timer.fire = on_timeout;
	if (call)
		call->cancel = on_cancel;
	round_begin(m, g);
	return 0;
}
