/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <malloc.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/daemon.h"
#include "lib/event.h"
#include "lib/probe.h"

enum { CONF_TEXT_MAX = 16 << 20, CONF_ERRORS_MAX = 65536, FRAMES_MAX = 65536 };

/* A frame that came before the sandbox was closed: looked at behind it. */
struct early_frame {
	uint16_t type;
	int fd;
	struct buf body;
	struct early_frame *next;
};

struct early {
	struct ipc_setup setup; /* texts point into dir */
	char dir[4097];
	bool setup_seen;
	struct early_frame *head, **end;
};

/* Frames from master: one handler for each message of the list, or this does not compile. */
#define on_listener on_material
#define on_key on_material
#define on_cert on_material
#define on_ticket_key on_material
#define on_secret on_material
#define on_trust on_material
#define on_anchor on_material
#define on_nameservers on_material
#define on_listener_state on_material
#define on_dkim_key on_material
#define on_dkim_name on_material
#define on_dkim_apply on_material
#define on_ticket_next on_material
#define on_milter on_material

struct handler {
	uint16_t type;
	bool (*run)(struct daemon *d, uint16_t type, struct view body, int *fd);
};

static int
claim(int *fd)
{
	int mine = *fd;

	*fd = -1;
	return mine;
}

static bool
on_setup(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	(void)d, (void)type, (void)body, (void)fd;
	return false; /* once, and first */
}

static int
read_memfd(int fd, struct buf *out, struct err *e)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "configuration came without its file");
	if (st.st_size > CONF_TEXT_MAX)
		return err_set(e, ERR_PERM, ESC(5, 3, 0), "configuration too large");
	size_t want = (size_t)st.st_size;
	while (buf_len(out) < want) {
		size_t at = buf_len(out);
		ssize_t n = pread(fd, buf_reserve(out, want - at), want - at, (off_t)at);
		if (n <= 0)
			return err_errno(e, "configuration");
		buf_commit(out, (size_t)n);
	}
	return 0;
}

static bool
on_config(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	struct buf text = BUF_INIT(CONF_TEXT_MAX), errors = BUF_INIT(CONF_ERRORS_MAX);
	struct ipc_config m;
	struct err e;

	(void)type;
	if (!ipc_get(&ipc_desc_config, body, &m))
		return false;
	conf_free(&d->next_conf);
	if (read_memfd(*fd, &text, &e) < 0) {
		snprintf(d->conf_error, sizeof(d->conf_error), "%s", e.text);
	} else {
		d->next_conf = conf_read_text(buf_view(&text), "configuration", &errors);
		struct view all = buf_view(&errors), first = view_cut(&all, '\n');
		snprintf(d->conf_error, sizeof(d->conf_error), VIEW_FMT,
		    VIEW_ARG(view_first(first, sizeof(d->conf_error) - 1)));
	}
	buf_free(&text);
	buf_free(&errors);
	return true;
}

static bool
on_peer(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	struct ipc_peer m;

	(void)type;
	if (!ipc_get(&ipc_desc_peer, body, &m) || m.role >= ROLES || *fd < 0)
		return false;
	if (d->spec->peer)
		d->spec->peer(d, m.role, m.instance, claim(fd));
	return true;
}

static bool
on_peer_gone(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	struct ipc_peer_gone m;

	(void)type, (void)fd;
	if (!ipc_get(&ipc_desc_peer_gone, body, &m) || m.role >= ROLES)
		return false;
	if (d->spec->peer_gone)
		d->spec->peer_gone(d, m.role, m.instance);
	return true;
}

static bool
on_log(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	struct ipc_log m;

	(void)type;
	if (!ipc_get(&ipc_desc_log, body, &m) || *fd < 0 || m.kind > LOG_KIND_EVENTS)
		return false;
	if (m.kind == LOG_KIND_EVENTS)
		event_open(d->loop, claim(fd));
	else
		log_open(claim(fd), m.kind == LOG_KIND_SYSLOG);
	return true;
}

static bool
on_material(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	return d->spec->material == NULL || d->spec->material(d, type, body, fd);
}

static bool
on_admin(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	struct ipc_admin m;

	(void)type;
	if (!ipc_get(&ipc_desc_admin, body, &m) || *fd < 0)
		return false;
	if (d->spec->admin)
		d->spec->admin(d, m.uid, claim(fd));
	return true;
}

static bool
on_drain(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	struct ipc_drain m;

	(void)type, (void)fd;
	if (!ipc_get(&ipc_desc_drain, body, &m))
		return false;
	d->draining = true;
	loop_timer_set(d->loop, &d->drain_timer, (uint64_t)m.deadline_s * 1000);
	if (d->spec->drain)
		d->spec->drain(d);
	else
		daemon_exit(d);
	return true;
}

/* What the configuration says about logs; the files themselves come as descriptors. */
static void
use_log_conf(struct daemon *d)
{
	snprintf(d->ident, sizeof(d->ident), "%s/%s", d->conf->log.tag, role_name(d->spec->role));
	snprintf(d->host, sizeof(d->host), "%s",
	    *d->conf->hostname ? d->conf->hostname : "localhost");
	log_init(d->ident, d->host, log_level_of(d->conf->log.level));
	if (*d->conf->log.events == '\0')
		event_open(d->loop, -1);
}

/* A later configuration, left by on_config(), takes the place of the current one. */
static int
apply_conf(struct daemon *d, uint32_t serial, struct err *e)
{
	struct conf *next = d->next_conf;

	d->next_conf = NULL;
	if (next == NULL)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "%s",
		    *d->conf_error ? d->conf_error : "no configuration was sent");
	d->old_conf = d->conf;
	d->conf = next;
	if (d->spec->reload && d->spec->reload(d, e) < 0) {
		d->conf = d->old_conf;
		d->old_conf = NULL;
		conf_free(&next);
		return -1;
	}
	conf_free(&d->old_conf);
	d->conf_serial = serial;
	use_log_conf(d);
	return 0;
}

static bool
on_apply(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	struct ipc_apply m;
	struct err e;

	(void)type, (void)fd;
	if (!ipc_get(&ipc_desc_apply, body, &m))
		return false;
	if (apply_conf(d, m.serial, &e) < 0) {
		log_warn("configuration %u refused: %s", m.serial, e.text);
		IPC_SEND(&d->master, refused, .serial = m.serial, .why = view_str(e.text));
	} else {
		IPC_SEND(&d->master, ready, .serial = m.serial);
	}
	return true;
}

#define HANDLER_ROW(num, name) { num, on_##name },
static const struct handler handlers[] = { IPC_MASTER_TO_DAEMON(HANDLER_ROW) };

static bool
handle(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (handlers[i].type == type)
			return handlers[i].run(d, type, body, fd);
	return false;
}

static bool
on_master_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	return handle(ch->ctx, type, body, fd);
}

static void
on_master_closed(struct channel *ch, const struct err *e)
{
	struct daemon *d = ch->ctx;

	if (e)
		log_error("channel to master: %s", e->text);
	else if (!d->draining)
		log_warn("master is gone");
	channel_close(ch);
	loop_stop(d->loop);
}

static void
on_drain_deadline(struct loop_timer *t)
{
	struct daemon *d = CONTAINER(t, struct daemon, drain_timer);

	log_warn("stopping with unfinished work: the deadline is over");
	daemon_exit(d);
}

void
daemon_exit(struct daemon *d)
{
	loop_stop(d->loop);
}

/* Start: what master sent is collected, unread but for `setup`. */

static int
take_setup(struct early *early, struct view body, const struct daemon_spec *spec, struct err *e)
{
	if (early->setup_seen || !ipc_get(&ipc_desc_setup, body, &early->setup))
		return err_set(e, ERR_PEER, ESC(5, 3, 0), "bad setup");
	if (early->setup.role != spec->role)
		return err_set(e, ERR_PEER, ESC(5, 3, 0), "this is %s, not %s",
		    role_name(spec->role), role_name(early->setup.role));
	memcpy(early->dir, early->setup.dir.p, early->setup.dir.n);
	early->dir[early->setup.dir.n] = '\0';
	early->setup_seen = true;
	return 0;
}

static void
keep_frame(struct early *early, uint16_t type, struct view body, int fd)
{
	struct early_frame *f = x_calloc(1, sizeof(*f));

	f->type = type;
	f->fd = fd;
	buf_init(&f->body, IPC_FRAME_MAX);
	buf_putv(&f->body, body);
	*early->end = f;
	early->end = &f->next;
}

static void
drop_frame(struct early_frame *f)
{
	if (f->fd >= 0)
		close(f->fd);
	buf_wipe(&f->body);
	buf_free(&f->body);
	free(f);
}

/* One frame; 1: it was `apply`. */
static int
collect_one(struct early *early, const struct daemon_spec *spec, struct buf *store, bool *hello,
    struct err *e)
{
	struct ipc_hello h;
	struct view body;
	uint16_t type;
	int fd;

	if (channel_sync_recv(DAEMON_MASTER_FD, store, &type, &body, &fd, e) < 0)
		return -1;
	if (!*hello) {
		*hello = type == IPC_TYPE_hello && ipc_get(&ipc_desc_hello, body, &h) &&
		    h.digest == ipc_digest();
		return *hello ? 0 :
				err_set(e, ERR_PEER, ESC(5, 3, 0), "master is of another version");
	}
	if (type == IPC_TYPE_setup)
		return take_setup(early, body, spec, e);
	if (type == IPC_TYPE_drain)
		exit(0); /* stopped before it began */
	keep_frame(early, type, body, fd);
	return type == IPC_TYPE_apply;
}

static int
collect(struct early *early, const struct daemon_spec *spec, struct err *e)
{
	struct buf store = BUF_INIT(IPC_FRAME_MAX + IPC_HEADER);
	bool hello = false;
	int rc = 0;

	early->end = &early->head;
	for (int n = 0; rc == 0 && n < FRAMES_MAX; n++)
		rc = collect_one(early, spec, &store, &hello, e);
	buf_wipe(&store);
	buf_free(&store);
	if (rc < 0)
		return -1;
	if (rc == 0 || !early->setup_seen)
		return err_set(e, ERR_PEER, ESC(5, 3, 0), "no setup from master");
	return 0;
}

/* Privileges. */

static int
set_limit(int resource, rlim_t soft, rlim_t hard, const char *name, struct err *e)
{
	struct rlimit r = { soft, hard }, now;

	if (setrlimit(resource, &r) < 0)
		return err_errno(e, "setrlimit %s", name);
	if (getrlimit(resource, &now) < 0 || now.rlim_cur != soft || now.rlim_max != hard)
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "limit %s did not take", name);
	return 0;
}

/*
 * Buffers of a message of 100 KiB came from mmap() or the top of the heap and went back with each message:
 * a fifth of the CPU time of relaying such mail was page faults.
 */
static void
keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 32 << 20);
}

static int
limit_resources(const struct daemon_spec *spec, struct err *e)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_errno(e, "getrlimit");
	rlim_t hard = files.rlim_max;
	if (spec->max_fds && spec->max_fds < hard)
		hard = spec->max_fds;
	if (set_limit(RLIMIT_NOFILE, hard, hard, "NOFILE", e) < 0 ||
	    set_limit(RLIMIT_CORE, 0, 0, "CORE", e) < 0)
		return -1;
	return 0;
}

/* The folder becomes the root or, without privileges, the working directory. */
static int
enter_folder(const char *dir, bool confine, struct err *e)
{
	struct stat want, got;
	int fd = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &want) < 0 || fchdir(fd) < 0) {
		err_errno(e, "folder %s", dir);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	if (!confine)
		return 0;
	if (chroot(".") < 0 || chdir("/") < 0)
		return err_errno(e, "chroot to %s", dir);
	if (stat("/", &got) < 0 || got.st_dev != want.st_dev || got.st_ino != want.st_ino)
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "chroot to %s did not take", dir);
	if (stat("..", &got) < 0 || got.st_dev != want.st_dev || got.st_ino != want.st_ino)
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "the way out of %s is open", dir);
	return 0;
}

static int
verify_ids(uid_t uid, gid_t gid, struct err *e)
{
	uid_t ru, eu, su;
	gid_t rg, eg, sg;

	if (getresuid(&ru, &eu, &su) < 0 || getresgid(&rg, &eg, &sg) < 0)
		return err_errno(e, "getresuid");
	if (ru != uid || eu != uid || su != uid || rg != gid || eg != gid || sg != gid ||
	    getgroups(0, NULL) != 0)
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "user and group id did not take");
	if (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0 || chroot("/") == 0)
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "privileges can be regained");
	return 0;
}

static int
change_ids(uid_t uid, gid_t gid, struct err *e)
{
	if (uid == 0 || gid == 0)
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "user id 0 is not a user to change to");
	if (setgroups(0, NULL) < 0)
		return err_errno(e, "setgroups");
	if (setresgid(gid, gid, gid) < 0)
		return err_errno(e, "setresgid %u", gid);
	if (setresuid(uid, uid, uid) < 0)
		return err_errno(e, "setresuid %u", uid);
	return verify_ids(uid, gid, e);
}

/*
 * SCHED_BATCH: who wakes up does not push aside who wakes it, so that more work is there at each turn of the
 * loop. An idle core takes it at once all the same. Where that is not allowed, it is only slower.
 */
static void
take_turns(void)
{
	const struct sched_param none = { 0 };

	(void)sched_setscheduler(0, SCHED_BATCH, &none);
}

static int
drop_privileges(const struct daemon_spec *spec, const struct early *early, pid_t parent,
    struct err *e)
{
	const struct ipc_setup *s = &early->setup;

	/* The zone file is out of reach later. */
	time_t now = time(NULL);
	struct tm tm;
	tzset();
	localtime_r(&now, &tm);
	take_turns();
	if (limit_resources(spec, e) < 0 || enter_folder(early->dir, s->confine, e) < 0)
		return -1;
	if (s->confine && change_ids(s->uid, s->gid, e) < 0)
		return -1;
	/* Both are undone by a change of ids, so they come behind it. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_errno(e, "prctl");
	if (getppid() != parent)
		return err_set(e, ERR_TEMP, ESC(4, 3, 0), "master is gone");
	return sandbox_enter(spec->sandbox, e);
}

struct confinement {
	const struct daemon_spec *spec;
	const struct early *early;
};

static int
confine_probe(void *ctx, pid_t parent)
{
	const struct confinement *c = ctx;
	struct err e;

	return drop_privileges(c->spec, c->early, parent, &e);
}

/* Nothing but 0-3 may have come through exec, and 0-2 must be something. */
static void
tidy_descriptors(void)
{
	for (int fd = 0; fd < DAEMON_MASTER_FD; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(1);
	if (close_range(DAEMON_MASTER_FD + 1, ~0U, 0) < 0)
		_exit(1);
	fcntl(DAEMON_MASTER_FD, F_SETFD, FD_CLOEXEC);
}

static void
ignore_signals(void)
{
	static const int signals[] = { SIGPIPE, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN,
		SIGTTOU, SIGUSR1, SIGUSR2 };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
}

/* Before the loop runs master hears of a failure this way; it closes the channel then. */
static int
give_up(uint32_t serial, const struct err *e)
{
	struct ipc_refused m = { .serial = serial,
		.why = view_first(view_str(e->text), IPC_TEXT_MAX) };

	channel_sync_send(DAEMON_MASTER_FD, &ipc_desc_hello,
	    &(struct ipc_hello){ .digest = ipc_digest() }, -1, NULL);
	channel_sync_send(DAEMON_MASTER_FD, &ipc_desc_refused, &m, -1, NULL);
	log_flush();
	return 1;
}

static int
replay_one(struct daemon *d, struct early_frame *f, struct err *e)
{
	if (!handle(d, f->type, buf_view(&f->body), &f->fd)) {
		const struct ipc_desc *desc = ipc_desc_of(f->type);
		return err_set(e, ERR_PEER, ESC(5, 3, 0), "bad frame %s from master",
		    desc ? desc->name : "?");
	}
	if (f->type != IPC_TYPE_config || d->conf)
		return 0;
	/* The first one is in force at once, so that material and peers find it. */
	d->conf = d->next_conf;
	d->next_conf = NULL;
	if (d->conf == NULL)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "%s", d->conf_error);
	use_log_conf(d);
	return 0;
}

/* What was collected, in its order; the last one is `apply`. */
static int
replay(struct daemon *d, struct early *early, struct err *e)
{
	struct ipc_apply m;
	int rc = 0;

	for (struct early_frame *f; (f = early->head) != NULL; drop_frame(f)) {
		early->head = f->next;
		if (f->type == IPC_TYPE_apply && ipc_get(&ipc_desc_apply, buf_view(&f->body), &m))
			d->conf_serial = m.serial;
		else if (rc == 0)
			rc = replay_one(d, f, e);
	}
	if (rc == 0 && d->conf == NULL)
		return err_set(e, ERR_PEER, ESC(5, 3, 0), "no configuration was sent");
	return rc;
}

static int
start(struct daemon *d, struct early *early, struct err *e)
{
	static const struct channel_ops ops = { on_master_frame, on_master_closed };

	d->loop = loop_new();
	d->drain_timer.fire = on_drain_deadline;
	if (replay(d, early, e) < 0 || (d->spec->init && d->spec->init(d, e) < 0))
		return give_up(d->conf_serial, e);
	log_attach(d->loop);
	if (channel_open(&d->master, d->loop, DAEMON_MASTER_FD, &ops, d, ROLE_MASTER, 0) < 0)
		return 1;
	d->master.hello_seen = true; /* collect() has checked it */
	IPC_SEND(&d->master, ready, .serial = d->conf_serial);
	return 0;
}

int
daemon_run(const struct daemon_spec *spec, int argc, char **argv)
{
	struct daemon d = { .spec = spec };
	struct early early = { 0 };
	pid_t parent = getppid();
	struct stat st;
	struct err e;

	(void)argc;
	if (fstat(DAEMON_MASTER_FD, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "%s: started by ekiden(8) only\n", argv[0] ? argv[0] : "ekiden");
		return 2;
	}
	tidy_descriptors();
	umask(077);
	keep_memory();
	ignore_signals();
	log_init(role_name(spec->role), "localhost", LOG_LEVEL_INFO);
	if (collect(&early, spec, &e) < 0)
		return give_up(0, &e);
	probe_run(role_name(spec->role), confine_probe, &(struct confinement){ spec, &early });
	if (drop_privileges(spec, &early, parent, &e) < 0)
		return give_up(0, &e);
	d.instance = early.setup.instance;
	d.instances = early.setup.instances;
	d.confined = early.setup.confine;
	d.state = x_calloc(1, spec->state_size ? spec->state_size : 1);
	if (start(&d, &early, &e) != 0)
		return 1;
	int rc = loop_run(d.loop);
	event_flush();
	log_flush();
	return rc < 0 ? 1 : 0;
}
