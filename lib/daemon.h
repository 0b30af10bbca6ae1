/* SPDX-License-Identifier: ISC */
/*
 * The skeleton of every daemon: main() is daemon_run(&spec, argc, argv).
 *
 * Started by master with fd 3 = the channel to master and nothing else open but 0-2. All messages up
 * to the first `apply` are read blocking; then, in this order: rlimits, chdir/chroot, groups, gid,
 * uid (each verified), no_new_privs and the seccomp allow-list of the role. Only behind that is
 * anything parsed: the configuration, material, peers (in the order of their frames), then
 * spec->init, `ready`, loop. This file is the only place where privileges are given up.
 *
 * Every configuration comes with the whole set of its material (listeners, keys, ...), which replaces
 * the former set when it is applied; peers come and go at any time.
 *
 * SIGTERM, SIGINT, SIGHUP and SIGQUIT are ignored: master says when to stop. The end of the master
 * channel ends the process; so does drain (after its deadline at the latest).
 */
#ifndef EKIDEN_DAEMON_H
#define EKIDEN_DAEMON_H

#include "lib/channel.h"
#include "lib/conf.h"
#include "lib/log.h"
#include "lib/sandbox.h"

enum { DAEMON_MASTER_FD = 3 };

struct daemon;

struct daemon_spec {
	enum role role;
	size_t state_size; /* of the daemon's own struct; zeroed before init, reachable as d->state */
	enum sandbox_profile sandbox;
	/* Descriptors the process may hold; 0: keep the inherited soft limit raised to the hard one. */
	uint64_t max_fds;
	/*
	 * First configuration, sandbox closed, loop not yet running. -1: `refused` is sent with e and the
	 * process exits.
	 */
	int (*init)(struct daemon *d, struct err *e);
	/* A later configuration (d->conf is new, d->old_conf the former until this returns). -1: refused;
	 * the daemon must go on with what it had. May be NULL. */
	int (*reload)(struct daemon *d, struct err *e);
	/* Material from master beside config; NULL where the role gets none. Before init too. Same
	 * contract for fd as channel_ops.frame. */
	bool (*material)(struct daemon *d, uint16_t type, struct view body, int *fd);
	/* A channel to a peer: replace the former channel of this role and instance, if any. Takes fd. Also
	 * before init (state is zeroed then). */
	void (*peer)(struct daemon *d, enum role role, uint32_t instance, int fd);
	void (*peer_gone)(struct daemon *d, enum role role, uint32_t instance); /* may be NULL */
	/* An admin's control connection, for ctl_serve() (lib/ctl.h). Takes fd. */
	void (*admin)(struct daemon *d, uint32_t uid, int fd);
	/* Stop taking work; call daemon_exit() when done. NULL: exits at once. */
	void (*drain)(struct daemon *d);
};

struct daemon {
	const struct daemon_spec *spec;
	void *state;
	struct loop *loop;
	struct conf *conf, *old_conf;
	uint32_t conf_serial;
	uint32_t instance, instances;
	bool confined;	/* running as its own user id in a chroot */
	bool draining;
	struct channel master; /* open once init is done */
	char ident[64];
	struct loop_timer drain_timer;
	/* private */
	char host[256];
	struct conf *next_conf;	  /* sent, not yet applied */
	char conf_error[ERR_TEXT_MAX]; /* why next_conf is NULL */
};

/* The two scales are one. */
static inline enum log_level
log_level_of(enum conf_level level)
{
	_Static_assert((int)CONF_LEVEL_debug == (int)LOG_LEVEL_DEBUG &&
	        (int)CONF_LEVEL_info == (int)LOG_LEVEL_INFO &&
	        (int)CONF_LEVEL_warning == (int)LOG_LEVEL_WARNING &&
	        (int)CONF_LEVEL_error == (int)LOG_LEVEL_ERROR,
	    "levels of the configuration and of the log differ");
	return (enum log_level)level;
}

int daemon_run(const struct daemon_spec *spec, int argc, char **argv);
/* Leaves the loop; exit status 0. */
void daemon_exit(struct daemon *d);

#endif
