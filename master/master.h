/* SPDX-License-Identifier: ISC */
/*
 * The state of master and what its parts offer each other.
 *
 * proc.c     processes: start, channels, supervision
 * reload.c   a new configuration, and back if a daemon refuses it
 * stop.c     the graceful end
 * control.c  the control socket and the commands that master answers itself
 * listeners.c  pause, drain and resume of a listening address
 * dkim_reload.c  the DKIM keys, which change without a new configuration
 * tickets.c  new keys for TLS session tickets from time to time
 * milter.c   connections to milters, for daemons that cannot connect
 * notify.c   systemd, and the process that started us
 *
 * Whatever comes from a daemon is hostile (atk-I12): master takes three messages from it: two
 * about the configuration that it got, and smtpd's wish for a connection to a milter of that; anything else
 * ends the daemon. Nothing here waits for a daemon.
 */
#ifndef EKIDEN_MASTER_H
#define EKIDEN_MASTER_H

#include <sys/stat.h>
#include <sys/types.h>

#include "lib/channel.h"
#include "lib/ctl.h"
#include "master/generation.h"
#include "master/plan.h"

enum { START_TIMEOUT_S = 120, RELOAD_TIMEOUT_S = 30, STOP_STEP_S = 10, END_GRACE_MS = 5000 };
enum { EXIT_RUNTIME = 1, EXIT_USAGE = 2 };

struct master;

enum proc_state {
	PROC_DOWN,     /* not running, will not be started by itself */
	PROC_WAITING,  /* not running, back-off */
	PROC_STARTING, /* running, not ready */
	PROC_READY,
	PROC_DRAINING, /* told to finish */
	PROC_ENDING    /* its channel ended, or it was killed: its end is awaited */
};

struct proc {
	struct loop_reap reap;
	struct master *m;
	enum role role;
	uint32_t instance;
	enum proc_state state;
	pid_t pid; /* 0: not running */
	bool exited; /* reaped; what it said last is still being read */
	int status;  /* of its end */
	struct channel ch;
	struct backoff backoff;
	struct loop_timer timer; /* of its state: start time-out, back-off, grace */
	uint32_t restarts;
	uint64_t started_ms;
	uint32_t awaited; /* serial that it has to answer, 0: none */
	unsigned dialling; /* connections to milters under way (milter.c) */
	bool surplus;	  /* a configuration with fewer processes: ends for good */
};

enum master_phase { MASTER_STARTING, MASTER_SERVING, MASTER_STOPPING };

struct reload {
	struct generation *next; /* being applied; NULL: none under way */
	bool back;		 /* `next` is the former one, sent again after a refusal */
	bool again;		 /* SIGHUP came meanwhile */
	struct loop_timer timer;
	struct ctl_call *call;	 /* who waits for the result; may be NULL */
	char why[ERR_TEXT_MAX];	 /* the first refusal */
};

struct stop {
	unsigned step;
	bool over;
	struct loop_timer timer;
	struct ctl_call *call;
};

struct control {
	struct loop_fd listener; /* fd -1: not open */
	struct loop_timer again; /* accepts again after a lack of descriptors */
	unsigned guests;
};

/* A system log that was started again listens on a new socket: the old connection leads nowhere. */
struct log_watch {
	struct loop_timer timer;
	struct stat socket; /* of SYSLOG_PATH when it was connected to */
};

struct master {
	struct loop *loop;
	enum master_phase phase;
	int exit_status;
	const char *conf_path;
	char *daemon_dir, *mtactl;
	bool foreground, root;
	unsigned cores;
	char ident[64], host[256];
	struct generation *gen;
	uint32_t serial; /* of the newest generation made */
	struct proc **procs;
	size_t proc_count;
	struct reload reload;
	struct stop stop;
	struct control control;
	struct log_watch log_watch;
	struct loop_timer tickets;
	struct dial *dials; /* milter.c */
	int pid_fd, parent_fd;
	uint64_t started_ms;
};

/* master.c */
/* Every process is ready for the first time. */
void master_serve(struct master *m);

/* proc.c */
/*
 * Adds and starts the processes that the current generation wants and there are not. -1 only while
 * the suite starts: later a failure is logged and tried again.
 */
int procs_add(struct master *m, struct err *e);
/* Ends those that it does not want any more. */
void procs_drop_surplus(struct master *m);
size_t procs_running(const struct master *m);
void proc_drain(struct proc *p, unsigned deadline_s);
void proc_kill(struct proc *p);
/* Restarts that waited for the end of a reload. */
void procs_resume(struct master *m);
/* Reaps children (SIGCHLD). */
void procs_reap(struct master *m);
/* Running, and not known to be on its way out. */
bool proc_reachable(const struct proc *p);
struct proc *proc_find(const struct master *m, enum role role, uint32_t instance);
const char *proc_state_name(enum proc_state s);
/* "smtpd/1" */
const char *proc_name(const struct proc *p, char room[static 32]);
void procs_free(struct master *m);

/* reload.c */
/* Starts a reload; call (may be NULL) is finished with its result. 0, or -1 with every error in text. */
int reload_begin(struct master *m, struct ctl_call *call, struct buf *errors);
/* A process answered a serial (why NULL: it serves with it) or is gone (serial 0). */
void reload_answered(struct master *m, struct proc *p, uint32_t serial, const char *why);
void logs_reopen(struct master *m);
/* Names, level and destination of master's own log. */
void log_use(struct master *m);

/* stop.c */
void stop_begin(struct master *m, struct ctl_call *call);
void stop_now(struct master *m);
/* A process ended while we stop. */
void stop_progress(struct master *m);
/* The start cannot succeed: everything ends, exit status 1. */
void start_failed(struct master *m, const char *why);

/* pidfile.c */
/* The lock is ours as long as we run; a second master must not touch what is in use. */
int pid_file_lock(struct master *m, struct err *e);
void pid_file_remove(struct master *m); /* idempotent */

/* control.c */
int control_open(struct master *m, struct err *e);
void control_close(struct master *m);
/* Ends a call with lines of errors. */
enum ctl_result control_refuse(struct ctl_call *call, struct view errors);

/* milter.c */
/* false: the daemon asks for what it must not. */
bool milter_dial(struct proc *p, const struct ipc_milter_want *w);
/* The process is gone: nothing is connected for it any more. */
void milter_hang_up(struct proc *p);

/* tickets.c */
/* Starts the clock of the configuration's ticket-rotation. */
void tickets_start(struct master *m);

/* The commands that master answers itself: control.c, listeners.c. */
CTL_MASTER(CTL_PROTOTYPE)

/* listeners.c */
/* Rows of the sockets: all, or those only that a command has closed to clients. */
void listener_rows(const struct master *m, struct ctl_call *call, bool all);

/* notify.c */
void notify_systemd(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Forks; the parent waits for notify_parent() or our end and never returns. -1 with errno. */
int daemonize(int *parent_fd);
/* Start-up is over: the parent exits 0, standard files become /dev/null. */
void notify_parent(int *parent_fd);

#endif
