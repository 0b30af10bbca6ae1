/* SPDX-License-Identifier: ISC */
/*
 * ekiden: the master. Reads the configuration, opens what needs privileges, starts every daemon with
 * nothing but its descriptors, and keeps them running.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/regex.h"
#include "master/folders.h"
#include "master/master.h"

enum { FILES_WANTED = 1 << 20, ERRORS_MAX = 1 << 20 };

struct options {
	const char *conf_path, *daemon_dir;
	bool foreground, test;
};

static const char usage_text[] =
    "usage: ekiden [-ft] [-c CONFIG] [--daemon-dir DIR]\n"
    "       ekiden --help | --version\n"
    "\n"
    "Starts the Ekiden mail relay.\n"
    "\n"
    "  -c, --config FILE     configuration (default: " EKIDEN_CONFDIR "/ekiden.conf)\n"
    "  -f, --foreground      do not detach; log to standard error if there is no other log\n"
    "  -t, --test            check the configuration, and exit\n"
    "      --daemon-dir DIR  programs of the daemons (default: those built with this one)\n"
    "      --help            this text\n"
    "      --version         the version\n"
    "\n"
    "Exit status: 0 done, 1 it could not be done, 2 wrong use or wrong configuration.\n"
    "Signals: HUP reads the configuration again, USR1 opens the logs again, TERM stops.\n";

/* Returns -1 to go on, else the exit status. */
static int
parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
		{ "foreground", no_argument, NULL, 'f' }, { "test", no_argument, NULL, 't' },
		{ "daemon-dir", required_argument, NULL, 'd' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 } };

	*o = (struct options){ .conf_path = EKIDEN_CONFDIR "/ekiden.conf" };
	for (int c; (c = getopt_long(argc, argv, "c:ft", longs, NULL)) != -1;)
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 'd':
			o->daemon_dir = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 't':
			o->test = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		case 'V':
			puts("ekiden " EKIDEN_VERSION);
			return 0;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	if (optind < argc) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	return -1;
}

static char *
joined(const char *dir, const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		abort();
	return path;
}

/*
 * Where the other programs are. A program that runs as <build>/master/ekiden takes those of its build;
 * an installed one those of its installation, and mtactl from beside itself.
 */
static void
find_programs(struct master *m, const char *daemon_dir)
{
	char self[4096] = "";
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = n > 0 ? strrchr(self, '/') : NULL;

	m->daemon_dir = x_strdup(daemon_dir ? daemon_dir : EKIDEN_DAEMONDIR);
	if (slash == NULL) {
		m->mtactl = x_strdup("mtactl");
		return;
	}
	*slash = '\0'; /* the folder of this program */
	m->mtactl = joined(self, "mtactl");
	slash = strrchr(self, '/');
	if (slash == NULL || strcmp(slash, "/master") != 0)
		return;
	*slash = '\0'; /* a build tree */
	free(m->mtactl);
	m->mtactl = joined(self, "mtactl/mtactl");
	if (daemon_dir == NULL) {
		free(m->daemon_dir);
		m->daemon_dir = x_strdup(self);
	}
}

static unsigned
core_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

/* Many sessions need many descriptors; daemons lower it to what they need. */
static void
raise_limits(bool root)
{
	struct rlimit r, none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	if (root && r.rlim_max < FILES_WANTED) {
		struct rlimit more = { FILES_WANTED, FILES_WANTED };
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return;
	}
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static void
on_signal(void *ctx, int signo)
{
	struct master *m = ctx;
	struct buf errors = BUF_INIT(ERRORS_MAX);

	switch (signo) {
	case SIGCHLD:
		procs_reap(m);
		break;
	case SIGHUP:
		log_info("reload asked for by a signal");
		reload_begin(m, NULL, &errors);
		break;
	case SIGUSR1:
		logs_reopen(m);
		break;
	default: /* SIGTERM, SIGINT; the second one means now */
		if (m->phase == MASTER_STOPPING)
			stop_now(m);
		else
			stop_begin(m, NULL);
		break;
	}
	buf_free(&errors);
}

void
master_serve(struct master *m)
{
	m->phase = MASTER_SERVING;
	tickets_start(m);
	log_info("ready: version " EKIDEN_VERSION ", configuration %s, %zu processes", m->conf_path,
	    m->proc_count);
	notify_systemd("READY=1\nMAINPID=%d\nSTATUS=serving", getpid());
	notify_parent(&m->parent_fd);
}

static int
check_only(const struct options *o)
{
	struct buf errors = BUF_INIT(ERRORS_MAX);
	struct generation *g = generation_read(o->conf_path, 1, &errors);

	fputs(buf_cstr(&errors), stderr);
	buf_free(&errors);
	if (g == NULL)
		return EXIT_USAGE;
	generation_free(&g);
	printf("%s: good\n", o->conf_path);
	return 0;
}

/* Everything before the loop. Exit status, or -1 to go on. */
static int
start(struct master *m)
{
	static const int signals[] = { SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT };
	struct buf errors = BUF_INIT(ERRORS_MAX);
	struct err e;

	m->gen = generation_read(m->conf_path, ++m->serial, &errors);
	fputs(buf_cstr(&errors), stderr);
	buf_free(&errors);
	if (m->gen == NULL)
		return EXIT_USAGE;
	if (folders_prepare(m->gen->conf, &e) < 0 || pid_file_lock(m, &e) < 0 ||
	    generation_prepare(m->gen, NULL, m->mtactl, m->foreground, &e) < 0)
		goto fail;
	log_use(m);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		loop_signal(m->loop, signals[i], on_signal, m);
	log_attach(m->loop);
	notify_systemd("EXTEND_TIMEOUT_USEC=%d\nSTATUS=starting", START_TIMEOUT_S * 1000000);
	if (control_open(m, &e) < 0 || procs_add(m, &e) < 0)
		goto fail;
	return -1;
fail:
	fprintf(stderr, "ekiden: %s\n", e.text);
	return EXIT_RUNTIME;
}

/* Also after a start that failed half-way: no daemon survives its master. */
static void
clean_up(struct master *m)
{
	for (size_t i = 0; i < m->proc_count; i++)
		proc_kill(m->procs[i]);
	control_close(m);
	pid_file_remove(m);
	procs_free(m);
	generation_free(&m->gen);
	log_flush();
	loop_free(m->loop);
	free(m->daemon_dir);
	free(m->mtactl);
}

int
main(int argc, char **argv)
{
	struct master m = { .pid_fd = -1, .parent_fd = -1, .control.listener.fd = -1 };
	struct options o;
	int status = parse_options(argc, argv, &o);

	if (status >= 0)
		return status;
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	conf_regex_check = regex_check;
	char *real = realpath(o.conf_path, NULL);
	if (real) /* else its absence is an error of the configuration */
		o.conf_path = real;
	m.conf_path = o.conf_path;
	if (o.test) {
		status = check_only(&o);
		free(real);
		return status;
	}
	if (!o.foreground && (daemonize(&m.parent_fd) < 0 || chdir("/") < 0)) {
		perror("ekiden: cannot detach");
		return EXIT_RUNTIME;
	}
	prctl(PR_SET_DUMPABLE, 0);
	m.root = geteuid() == 0;
	m.foreground = o.foreground;
	m.cores = core_count();
	raise_limits(m.root);
	find_programs(&m, o.daemon_dir);
	m.loop = loop_new();
	m.started_ms = loop_now_ms(m.loop);
	status = start(&m);
	if (status < 0) {
		status = EXIT_RUNTIME;
		if (loop_run(m.loop) < 0)
			log_error("epoll: %s", strerror(errno));
		else
			status = m.exit_status;
	}
	clean_up(&m);
	free(real);
	return status;
}
