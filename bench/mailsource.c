/* SPDX-License-Identifier: ISC */
/*
 * mailsource: SMTP load generator.  One thread, one epoll loop, many sessions.
 * Exit status 0: every message was accepted (--idle: every session stood); 1: not so; 2: usage.
 */
#include "bench/source.h"

#include <sys/epoll.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EVENTS = 256 };

enum opt_id {
	OPT_TARGET = 1,
	OPT_MESSAGES,
	OPT_SESSIONS,
	OPT_SIZE,
	OPT_RECIPIENTS,
	OPT_PER_CONNECTION,
	OPT_PIPELINING,
	OPT_STARTTLS,
	OPT_IMPLICIT_TLS,
	OPT_AUTH,
	OPT_FROM,
	OPT_TO,
	OPT_TLS_RESUME,
	OPT_TIMEOUT,
	OPT_JSON,
	OPT_IDLE,
	OPT_HOLD,
	OPT_GATHER,
	OPT_INTERVAL,
	OPT_HELP,
};

static const struct option long_options[] = {
    {"target", required_argument, NULL, OPT_TARGET},
    {"messages", required_argument, NULL, OPT_MESSAGES},
    {"sessions", required_argument, NULL, OPT_SESSIONS},
    {"size", required_argument, NULL, OPT_SIZE},
    {"recipients", required_argument, NULL, OPT_RECIPIENTS},
    {"per-connection", required_argument, NULL, OPT_PER_CONNECTION},
    {"pipelining", no_argument, NULL, OPT_PIPELINING},
    {"starttls", no_argument, NULL, OPT_STARTTLS},
    {"implicit-tls", no_argument, NULL, OPT_IMPLICIT_TLS},
    {"auth", required_argument, NULL, OPT_AUTH},
    {"from", required_argument, NULL, OPT_FROM},
    {"to", required_argument, NULL, OPT_TO},
    {"tls-resume", required_argument, NULL, OPT_TLS_RESUME},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"json", no_argument, NULL, OPT_JSON},
    {"idle", required_argument, NULL, OPT_IDLE},
    {"hold", required_argument, NULL, OPT_HOLD},
    {"gather", no_argument, NULL, OPT_GATHER},
    {"interval", required_argument, NULL, OPT_INTERVAL},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static const char usage_text[] =
    "usage: mailsource --target HOST:PORT [options]\n"
    "  --messages N         messages to send (1000)\n"
    "  --sessions S         sessions at a time (10)\n"
    "  --size BYTES         size of a message, header included (4096)\n"
    "  --recipients R       recipients of a message (1)\n"
    "  --per-connection M   messages on one connection, 0 = no limit (0);\n"
    "                       LIMITS MAILMAX of the target is kept in any case\n"
    "  --pipelining         MAIL, RCPT and DATA in one write, if the target offers it\n"
    "  --starttls | --implicit-tls\n"
    "  --tls-resume yes|no  resume TLS sessions (no)\n"
    "  --auth USER:SECRET   AUTH PLAIN\n"
    "  --from ADDR          sender (source@mailsource.invalid)\n"
    "  --to PATTERN         recipient; %d becomes a counter of ten digits, %n its\n"
    "                       last four\n"
    "                       (rcpt%d@mailsink.invalid)\n"
    "  --idle N             only open N sessions (at most S at once under way),\n"
    "  --hold SECONDS       print \"idle ready\", and keep them that long (10)\n"
    "  --gather             open all sessions first, print \"gathered\", send after a line on\n"
    "                       standard input; connections stay open until that is at its end\n"
    "  --interval MS        a session begins at most one message in so long; SIGTERM ends the run\n"
    "                       after the messages under way\n"
    "  --timeout SECONDS    end of the run, come what may (300)\n"
    "  --json               one line of JSON instead of text\n";

static int
usage(FILE *fp, int status)
{
	fputs(usage_text, fp);
	return status;
}

/* Number in [low, high]; ends the program otherwise. */
static uint64_t
number(const char *text, uint64_t low, uint64_t high)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || v < low || v > high) {
		fprintf(stderr, "mailsource: %s is not a number from %llu to %llu\n", text,
		    (unsigned long long)low, (unsigned long long)high);
		exit(2);
	}
	return v;
}

static const char *
address(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len >= SOURCE_ADDR_MAX || strpbrk(text, "\r\n<>") != NULL) {
		fprintf(stderr, "mailsource: %s: not a usable address\n", text);
		exit(2);
	}
	return text;
}

static int
parse_flag(struct source_options *o, int id)
{
	switch (id) {
	case OPT_PIPELINING:
		o->pipelining = true;
		return 0;
	case OPT_STARTTLS:
		o->starttls = true;
		return 0;
	case OPT_IMPLICIT_TLS:
		o->implicit_tls = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_GATHER:
		o->gather = true;
		return 0;
	default:
		return -1;
	}
}

static int
parse_text(struct source_options *o, int id, const char *arg)
{
	switch (id) {
	case OPT_TARGET:
		return net_addr_parse(&o->target, arg);
	case OPT_AUTH:
		o->auth = arg;
		return strchr(arg, ':') != NULL ? 0 : -1;
	case OPT_FROM:
		o->from = address(arg);
		return 0;
	case OPT_TO:
		o->to = address(arg);
		return 0;
	case OPT_TLS_RESUME:
		o->tls_resume = strcmp(arg, "yes") == 0;
		return o->tls_resume || strcmp(arg, "no") == 0 ? 0 : -1;
	default:
		return parse_flag(o, id);
	}
}

static int
parse_one(struct source_options *o, int id, const char *arg)
{
	switch (id) {
	case OPT_MESSAGES:
		o->messages = number(arg, 1, 1000000000);
		return 0;
	case OPT_SESSIONS:
		o->sessions = (unsigned)number(arg, 1, SOURCE_SESSIONS_MAX);
		return 0;
	case OPT_SIZE:
		o->size_bytes = number(arg, 0, 1u << 30);
		return 0;
	case OPT_RECIPIENTS:
		o->recipients = (unsigned)number(arg, 1, SOURCE_RCPT_MAX);
		return 0;
	case OPT_PER_CONNECTION:
		o->per_connection = (unsigned)number(arg, 0, 1000000000);
		return 0;
	case OPT_TIMEOUT:
		o->timeout_s = (unsigned)number(arg, 1, 86400);
		return 0;
	case OPT_IDLE:
		o->idle = (unsigned)number(arg, 1, SOURCE_SESSIONS_MAX);
		return 0;
	case OPT_INTERVAL:
		o->interval_ms = (unsigned)number(arg, 1, 1000000);
		return 0;
	case OPT_HOLD:
		o->hold_s = (unsigned)number(arg, 0, 86400);
		return 0;
	default:
		return parse_text(o, id, arg);
	}
}

static void
options_read(struct source_options *o, int argc, char **argv)
{
	int id;

	*o = (struct source_options){.messages = 1000,
	    .sessions = 10,
	    .recipients = 1,
	    .size_bytes = 4096,
	    .timeout_s = 300,
	    .hold_s = 10,
	    .from = "source@mailsource.invalid",
	    .to = "rcpt%d@mailsink.invalid"};
	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (id == OPT_HELP)
			exit(usage(stdout, 0));
		if (id == '?' || parse_one(o, id, optarg) == -1)
			exit(usage(stderr, 2));
	}
	if (optind != argc || o->target.len == 0 || (o->starttls && o->implicit_tls) ||
	    (o->gather && (o->idle > 0 || o->interval_ms > 0)))
		exit(usage(stderr, 2));
}

typedef bool done_fn(const struct source *src);

static volatile sig_atomic_t stop_wanted;

static void
on_term(int sig)
{
	(void)sig;
	stop_wanted = 1;
}

static bool
never(const struct source *src)
{
	(void)src;
	return false;
}

/* Runs until the work is done or the clock says deadline. */
static void
run_until(struct source *src, uint64_t deadline, done_fn *done)
{
	struct epoll_event ev[EVENTS];
	uint64_t now = net_now_ns();
	int i, n, wait_ms;

	while (now < deadline && !done(src)) {
		wait_ms = src->opt.interval_ms > 0 ? 1 : (int)((deadline - now) / 1000000) + 1;
		n = epoll_wait(src->ep, ev, EVENTS, wait_ms);
		for (i = 0; i < n; i++)
			source_event(src, ev[i].data.ptr, ev[i].events);
		if (stop_wanted) {
			source_stop(src);
			stop_wanted = 0;
		}
		if (src->opt.interval_ms > 0)
			source_tick(src);
		now = net_now_ns();
	}
}

static int
run_idle(struct source *src, uint64_t deadline)
{
	uint64_t hold;

	run_until(src, deadline, source_finished);
	if (!source_finished(src) || src->idle_lost > 0) {
		printf("idle failed: %u stand, %u lost\n", src->idle_now, src->idle_lost);
		source_report(src, stdout);
		return 1;
	}
	printf("idle ready %u after %.3f s\n", src->idle_now,
	    (double)(src->t_idle - src->t_first) / 1e9);
	fflush(stdout);
	hold = net_now_ns() + (uint64_t)src->opt.hold_s * 1000000000u;
	run_until(src, hold < deadline ? hold : deadline, never);
	printf("idle end: %u stand, %u lost\n", src->idle_now, src->idle_lost);
	return src->idle_lost == 0 ? 0 : 1;
}

/* Waits for a line or the end of standard input; peers may wait that long. */
static void
wait_for_line(void)
{
	char ch;

	while (read(STDIN_FILENO, &ch, 1) == 1 && ch != '\n')
		;
}

static int
gather(struct source *src, uint64_t deadline)
{
	run_until(src, deadline, source_gathered);
	if (!source_gathered(src) || src->idle_lost > 0) {
		fprintf(stderr, "mailsource: %u sessions stand, %u lost\n", src->idle_now,
		    src->idle_lost);
		return -1;
	}
	printf("gathered %u after %.3f s\n", src->idle_now,
	    (double)(net_now_ns() - src->t_first) / 1e9);
	fflush(stdout);
	wait_for_line();
	source_go(src);
	return 0;
}

static int
run_messages(struct source *src, uint64_t deadline)
{
	if (src->opt.gather && gather(src, deadline) == -1)
		return 1;
	run_until(src, deadline, source_finished);
	if (!source_finished(src))
		fprintf(stderr, "mailsource: timeout, %llu messages without a result\n",
		    (unsigned long long)(src->opt.messages - src->accepted - src->failed));
	source_report(src, stdout);
	if (src->opt.gather)
		wait_for_line();
	return src->accepted == src->opt.messages ? 0 : 1;
}

int
main(int argc, char **argv)
{
	static struct source src; /* too large for the stack */
	uint64_t deadline;
	int status;

	options_read(&src.opt, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (src.opt.interval_ms > 0)
		signal(SIGTERM, on_term);
	alarm(src.opt.timeout_s + 10); /* should the loop itself ever hang */
	net_raise_nofile();
	src.ep = epoll_create1(EPOLL_CLOEXEC);
	if (src.ep == -1 || source_prepare(&src) == -1) {
		fputs("mailsource: cannot start\n", stderr);
		return 1;
	}
	deadline = net_now_ns() + (uint64_t)src.opt.timeout_s * 1000000000u;
	source_begin(&src);
	status = src.opt.idle > 0 ? run_idle(&src, deadline) : run_messages(&src, deadline);
	source_release(&src);
	return status;
}
