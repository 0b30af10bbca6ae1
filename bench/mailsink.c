/* SPDX-License-Identifier: ISC */
/*
 * mailsink: SMTP server that takes everything and keeps nothing.
 * A parent that counts, and worker processes that each have a listening socket of their own.
 * SIGUSR1 prints totals; SIGTERM and SIGINT end it (with totals, if --stats).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* accept4 */
#endif
#include "bench/sink.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256 };

enum opt_id {
	OPT_LISTEN = 1,
	OPT_WORKERS,
	OPT_STARTTLS,
	OPT_CERT,
	OPT_KEY,
	OPT_DISCARD,
	OPT_LOG,
	OPT_FAIL,
	OPT_MAX_MESSAGES,
	OPT_DELAY,
	OPT_TRACK,
	OPT_STATS,
	OPT_JSON,
	OPT_HELP,
};

static const struct option long_options[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"starttls", no_argument, NULL, OPT_STARTTLS},
    {"cert", required_argument, NULL, OPT_CERT},
    {"key", required_argument, NULL, OPT_KEY},
    {"discard", no_argument, NULL, OPT_DISCARD},
    {"log", required_argument, NULL, OPT_LOG},
    {"fail", required_argument, NULL, OPT_FAIL},
    {"max-messages", required_argument, NULL, OPT_MAX_MESSAGES},
    {"delay", required_argument, NULL, OPT_DELAY},
    {"track", required_argument, NULL, OPT_TRACK},
    {"stats", no_argument, NULL, OPT_STATS},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static const char usage_text[] =
    "usage: mailsink --listen HOST:PORT [options]\n"
    "  --workers N          worker processes (1)\n"
    "  --starttls --cert FILE --key FILE\n"
    "  --discard            keep nothing (default)\n"
    "  --log FILE           append a line a message: message-id, recipients, bytes on the wire,\n"
    "                       SHA-256 of the whole and of the body (dots unstuffed)\n"
    "  --fail PATTERN=CODE  refuse recipients that contain PATTERN; may be repeated\n"
    "  --max-messages N     end after N messages\n"
    "  --delay MS           answer the end of data so much later\n"
    "  --track PATTERN      times from mailsource's MAIL to here, of messages with such a "
    "recipient\n"
    "  --stats              print totals at the end (SIGUSR1 prints them at any time)\n"
    "  --json               totals as one line of JSON\n"
    "prints \"listening PORT\" when it is ready\n";

static int
usage(FILE *fp, int status)
{
	fputs(usage_text, fp);
	return status;
}

static int
parse_number(const char *text, uint64_t high, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno != 0 || end == text || *end != '\0' || *out == 0 || *out > high ? -1 : 0;
}

static int
parse_rule(struct sink_options *o, const char *text)
{
	const char *eq = strrchr(text, '=');
	struct sink_rule *r = &o->rule[o->rules];
	uint64_t code;

	if (o->rules == SINK_RULES_MAX || eq == NULL || eq == text ||
	    parse_number(eq + 1, 599, &code) == -1 || code < 400)
		return -1;
	r->pattern = text;
	r->len = (size_t)(eq - text);
	r->code = (int)code;
	o->rules++;
	return 0;
}

static int
parse_one(struct sink_options *o, int id, const char *arg)
{
	uint64_t n;

	switch (id) {
	case OPT_LISTEN:
		return net_addr_parse(&o->listen, arg);
	case OPT_WORKERS:
		if (parse_number(arg, SINK_WORKERS_MAX, &n) == -1)
			return -1;
		o->workers = (unsigned)n;
		return 0;
	case OPT_STARTTLS:
		o->starttls = true;
		return 0;
	case OPT_CERT:
		o->cert = arg;
		return 0;
	case OPT_KEY:
		o->key = arg;
		return 0;
	case OPT_DISCARD:
		o->log = NULL;
		return 0;
	case OPT_LOG:
		o->log = arg;
		return 0;
	case OPT_FAIL:
		return parse_rule(o, arg);
	case OPT_MAX_MESSAGES:
		return parse_number(arg, UINT64_MAX, &o->max_messages);
	case OPT_TRACK:
		o->track = arg;
		return 0;
	case OPT_DELAY:
		if (parse_number(arg, 60000, &n) == -1)
			return -1;
		o->delay_ms = (unsigned)n;
		return 0;
	case OPT_STATS:
		o->stats = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	default:
		return -1;
	}
}

static void
options_read(struct sink_options *o, int argc, char **argv)
{
	int id;

	*o = (struct sink_options){.workers = 1};
	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (id == OPT_HELP)
			exit(usage(stdout, 0));
		if (id == '?' || parse_one(o, id, optarg) == -1)
			exit(usage(stderr, 2));
	}
	if (optind != argc || o->listen.len == 0 ||
	    (o->starttls && (o->cert == NULL || o->key == NULL)))
		exit(usage(stderr, 2));
}

/* -- worker -- */

static void
accept_all(struct sink_worker *w, int listen_fd)
{
	int fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1)
		sink_session_open(w, fd);
}

static uint64_t
total_messages(const struct sink *sink)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i < sink->opt.workers; i++)
		sum += atomic_load_explicit(&sink->cell[i].messages, memory_order_relaxed);
	return sum;
}

static void
worker_init(struct sink_worker *w, struct sink *sink, unsigned n)
{
	static const char ehlo[] = "250-mailsink.invalid\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
				   "%s250-SIZE %d\r\n250 ENHANCEDSTATUSCODES\r\n";
	struct epoll_event ev = {.events = EPOLLIN};

	*w = (struct sink_worker){.sink = sink, .cell = &sink->cell[n]};
	w->ep = epoll_create1(EPOLL_CLOEXEC);
	if (w->ep == -1 || epoll_ctl(w->ep, EPOLL_CTL_ADD, sink->listen_fd[n], &ev) == -1) {
		perror("mailsink: epoll");
		_exit(1);
	}
	snprintf(w->ehlo_plain, sizeof(w->ehlo_plain), ehlo, "", SINK_SIZE_MAX);
	snprintf(w->ehlo_tls, sizeof(w->ehlo_tls), ehlo, "250-STARTTLS\r\n", SINK_SIZE_MAX);
}

_Noreturn void
sink_worker_run(struct sink *sink, unsigned n)
{
	struct sink_worker w;
	struct epoll_event ev[EVENTS];
	bool told = false;
	sigset_t none;
	int i, got, wait_ms = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	worker_init(&w, sink, n);
	/* SIGTERM is let in only while waiting, so a reply or a log line is never cut in two. */
	sigfillset(&none);
	sigdelset(&none, SIGTERM);
	for (;;) {
		got = epoll_pwait(w.ep, ev, EVENTS, wait_ms, &none);
		for (i = 0; i < got; i++) {
			if (ev[i].data.ptr == NULL)
				accept_all(&w, sink->listen_fd[n]);
			else
				sink_session_event(ev[i].data.ptr);
		}
		wait_ms = sink_held_step(&w);
		if (sink->opt.max_messages != 0 && !told &&
		    total_messages(sink) >= sink->opt.max_messages) {
			kill(getppid(), SIGTERM);
			told = true;
		}
	}
}

/* -- parent -- */

struct totals {
	uint64_t messages, recipients, bytes, connections, handshakes, refused, first, last;
	double cpu_s, seconds, rate;
	struct hist end_to_end;
};

static uint64_t
get(const atomic_uint_least64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static double
cpu_of(pid_t pid)
{
	struct timespec ts;
	clockid_t id;

	if (pid == 0 || clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &ts) == -1)
		return 0;
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct totals
totals(const struct sink *sink)
{
	struct totals t = {0};
	unsigned i;

	for (i = 0; i < sink->opt.workers; i++)
		hist_merge(&t.end_to_end, &sink->cell[i].end_to_end);

	for (i = 0; i < sink->opt.workers; i++) {
		const struct sink_cell *c = &sink->cell[i];
		uint64_t first = get(&c->first_connect), last = get(&c->last_message);

		t.messages += get(&c->messages);
		t.recipients += get(&c->recipients);
		t.bytes += get(&c->bytes);
		t.connections += get(&c->connections);
		t.handshakes += get(&c->handshakes);
		t.refused += get(&c->refused);
		if (first != 0 && (t.first == 0 || first < t.first))
			t.first = first;
		if (last > t.last)
			t.last = last;
		t.cpu_s += cpu_of(sink->pid[i]);
	}
	t.seconds = t.last > t.first ? (double)(t.last - t.first) / 1e9 : 0;
	t.rate = t.seconds > 0 ? (double)t.messages / t.seconds : 0;
	return t;
}

static void
report(const struct sink *sink)
{
	static const char text[] =
	    "messages=%llu recipients=%llu bytes=%llu connections=%llu handshakes=%llu "
	    "refused=%llu "
	    "first_connect=%.6f last_message=%.6f seconds=%.6f rate=%.1f cpu=%.6f ";
	static const char json[] =
	    "{\"messages\":%llu,\"recipients\":%llu,\"bytes\":%llu,\"connections\":%llu,"
	    "\"handshakes\":%llu,\"refused\":%llu,\"first_connect\":%.6f,\"last_message\":%.6f,"
	    "\"seconds\":%.6f,\"rate\":%.1f,\"cpu\":%.6f,";
	struct totals t = totals(sink);

	printf(sink->opt.json ? json : text, (unsigned long long)t.messages,
	    (unsigned long long)t.recipients, (unsigned long long)t.bytes,
	    (unsigned long long)t.connections, (unsigned long long)t.handshakes,
	    (unsigned long long)t.refused, (double)t.first / 1e9, (double)t.last / 1e9, t.seconds,
	    t.rate, t.cpu_s);
	hist_print(&t.end_to_end, "end_to_end", sink->opt.json, stdout);
	if (sink->opt.json)
		fputs("}\n", stdout);
	fflush(stdout);
}

static int
sink_open(struct sink *sink)
{
	size_t size = sink->opt.workers * sizeof(struct sink_cell);
	unsigned i;

	sink->log_fd = -1;
	if (sink->opt.log != NULL) {
		sink->log_fd = open(sink->opt.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (sink->log_fd == -1)
			return -1;
	}
	if (sink->opt.starttls) {
		sink->tls = net_tls_server(sink->opt.cert, sink->opt.key);
		if (sink->tls == NULL)
			return -1;
	}
	sink->cell = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sink->cell == MAP_FAILED)
		return -1;
	for (i = 0; i < sink->opt.workers; i++) {
		sink->listen_fd[i] = net_listen(&sink->opt.listen);
		if (sink->listen_fd[i] == -1)
			return -1;
	}
	return 0;
}

static void
workers_start(struct sink *sink)
{
	unsigned i;

	for (i = 0; i < sink->opt.workers; i++) {
		sink->pid[i] = fork();
		if (sink->pid[i] == -1) {
			perror("mailsink: fork");
			exit(1); /* the others go with the parent */
		}
		if (sink->pid[i] == 0) {
			signal(SIGTERM, SIG_DFL);
			sink_worker_run(sink, i);
		}
	}
	for (i = 0; i < sink->opt.workers; i++)
		close(sink->listen_fd[i]);
}

static void
workers_stop(struct sink *sink)
{
	unsigned i;

	for (i = 0; i < sink->opt.workers; i++)
		kill(sink->pid[i], SIGTERM);
	for (i = 0; i < sink->opt.workers; i++)
		waitpid(sink->pid[i], NULL, 0);
}

/* Returns the signal that ended the run. */
static uint32_t
parent_wait(struct sink *sink, int sigfd)
{
	struct signalfd_siginfo si;

	for (;;) {
		if (read(sigfd, &si, sizeof(si)) != (ssize_t)sizeof(si))
			continue;
		if (si.ssi_signo != SIGUSR1)
			return si.ssi_signo;
		report(sink);
	}
}

int
main(int argc, char **argv)
{
	struct sink sink = {0};
	sigset_t set;
	uint32_t sig;
	int sigfd;

	options_read(&sink.opt, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	net_raise_nofile();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC);
	if (sigfd == -1 || sink_open(&sink) == -1) {
		perror("mailsink: cannot start");
		return 1;
	}
	workers_start(&sink);
	printf("listening %u\n", net_addr_port(&sink.opt.listen));
	fflush(stdout);
	sig = parent_wait(&sink, sigfd);
	if (sig == SIGCHLD)
		fputs("mailsink: a worker died\n", stderr);
	if (sink.opt.stats)
		report(&sink);
	workers_stop(&sink);
	SSL_CTX_free(sink.tls);
	return sig == SIGCHLD ? 1 : 0;
}
