/* SPDX-License-Identifier: ISC */
/* The turn of the loop: timers, phases, signals, detaching; and io over it, plain. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "t/tap.h"

static struct loop *loop;
static char order[256];

static void
note(char c)
{
	size_t n = strlen(order);
	if (n < sizeof(order) - 1)
		order[n] = c;
}

struct named_timer {
	struct loop_timer t;
	char name;
	bool stop;
};

static void
on_timer(struct loop_timer *t)
{
	struct named_timer *n = CONTAINER(t, struct named_timer, t);
	note(n->name);
	if (n->stop)
		loop_stop(loop);
}

static void
timers(void)
{
	struct named_timer t[200];
	unsigned seed = 1;

	loop = loop_new();
	memset(order, 0, sizeof(order));
	for (int i = 0; i < 200; i++) {
		t[i] = (struct named_timer){ .t = { .fire = on_timer }, .name = (char)('a' + i / 8) };
		loop_timer_set(loop, &t[i].t, 1000 + (uint64_t)i);
	}
	/* Move all of them about; then to their place. Every third is cancelled. */
	for (int round = 0; round < 20; round++)
		for (int i = 0; i < 200; i++) {
			seed = seed * 1103515245 + 12345;
			loop_timer_set(loop, &t[i].t, seed / 65536 % 50);
		}
	for (int i = 199; i >= 0; i--)
		loop_timer_set(loop, &t[i].t, (uint64_t)i / 8);
	for (int i = 0; i < 200; i += 3)
		loop_timer_cancel(loop, &t[i].t);
	t[199].stop = true;
	loop_run(loop);
	bool sorted = true;
	for (size_t i = 1; order[i]; i++)
		sorted &= order[i - 1] <= order[i];
	ok(sorted, "timers fire in the order of their deadlines");
	is_int(strlen(order), 200 - 67, "cancelled ones do not fire");
	ok(!loop_timer_armed(&t[1].t), "a fired timer is not armed");
	loop_free(loop);
}

struct named_task {
	struct loop_task t;
	char name;
	struct loop_task *then;
	enum loop_phase phase;
};

static void
on_task(struct loop_task *t)
{
	struct named_task *n = CONTAINER(t, struct named_task, t);
	note(n->name);
	if (n->then)
		loop_post(loop, n->phase, n->then);
	if (n->name == 'Z')
		loop_stop(loop);
}

static void
phases(void)
{
	struct named_task z = { .t.run = on_task, .name = 'Z' };
	struct named_task late = { .t.run = on_task, .name = 'w', .then = &z.t, .phase = LOOP_LOG };
	struct named_task flush = { .t.run = on_task, .name = 'f', .then = &late.t, .phase = LOOP_WORK };
	struct named_task log = { .t.run = on_task, .name = 'l' };
	struct named_task reply = { .t.run = on_task, .name = 'r' };
	struct named_task commit = { .t.run = on_task, .name = 'c', .then = &reply.t, .phase = LOOP_REPLY };
	struct named_task work = { .t.run = on_task, .name = 'a', .then = &commit.t, .phase = LOOP_COMMIT };
	struct named_task gone = { .t.run = on_task, .name = 'X' };

	loop = loop_new();
	memset(order, 0, sizeof(order));
	loop_post(loop, LOOP_FLUSH, &flush.t);
	loop_post(loop, LOOP_LOG, &log.t);
	loop_post(loop, LOOP_WORK, &gone.t);
	loop_post(loop, LOOP_WORK, &work.t);
	loop_post(loop, LOOP_WORK, &work.t);
	loop_unpost(loop, &gone.t);
	loop_run(loop);
	is_str(order, "acrlfwZ", "work, commit, reply, log, flush; work posted by flush waits for the next turn");
	loop_free(loop);
}

/* A task that comes again and again, and takes away the one that stood last. */
struct greedy {
	struct loop_task t, *other;
	int runs;
};

static void
on_greedy(struct loop_task *t)
{
	struct greedy *g = CONTAINER(t, struct greedy, t);

	loop_unpost(loop, g->other);
	if (++g->runs < 100000)
		loop_post(loop, LOOP_WORK, t);
}

static void
fairness(void)
{
	struct named_task other = { .t.run = on_task, .name = 'X' };
	struct named_task reply = { .t.run = on_task, .name = 'Z' };
	struct greedy g = { .t.run = on_greedy, .other = &other.t };

	loop = loop_new();
	memset(order, 0, sizeof(order));
	loop_post(loop, LOOP_WORK, &g.t);
	loop_post(loop, LOOP_WORK, &other.t);
	loop_post(loop, LOOP_REPLY, &reply.t);
	loop_run(loop);
	ok(g.runs < 100, "atk-J11 work without end does not hold up the turn: %d rounds", g.runs);
	is_str(order, "Z", "whose replies leave");
	loop_free(loop);
}

static void
on_signal(void *ctx, int signo)
{
	(*(int *)ctx)++;
	if (signo == SIGUSR1)
		loop_stop(loop);
}

static void
signals(void)
{
	int n = 0;

	loop = loop_new();
	loop_signal(loop, SIGUSR2, on_signal, &n);
	loop_signal(loop, SIGUSR1, on_signal, &n);
	kill(getpid(), SIGUSR2);
	kill(getpid(), SIGUSR1);
	loop_run(loop);
	is_int(n, 2, "atk-I8 signals arrive as callbacks of the loop");
	loop_free(loop);
}

/* io: an echo server and a client that writes a lot and half-closes. */
struct peer {
	struct io io;
	struct loop_reap reap;
	uint64_t got, sent;
	unsigned inputs, drained;
	bool echo, closed, failed, sum_ok;
	uint32_t rng_in, rng_out;
};

static void
on_input(struct io *io)
{
	struct peer *p = CONTAINER(io, struct peer, io);
	struct view v = buf_view(&io->in);

	p->inputs++;
	p->got += v.n;
	if (p->echo)
		buf_putv(io_out(io), v);
	for (size_t i = 0; !p->echo && i < v.n; i++)
		if ((unsigned char)v.p[i] != (unsigned char)((p->rng_in = p->rng_in * 69069 + 1) >> 24))
			p->sum_ok = false;
	buf_consume(&io->in, v.n);
	if (p->echo && io->eof)
		io_finish(io);
}

static void
on_drained(struct io *io)
{
	CONTAINER(io, struct peer, io)->drained++;
}

static void
on_closed(struct io *io, const struct err *e)
{
	struct peer *p = CONTAINER(io, struct peer, io);
	p->closed = true;
	p->failed = e != NULL;
	if (!p->echo)
		loop_stop(loop);
	io_close(io);
}

static const struct io_ops ops = { .input = on_input, .drained = on_drained, .closed = on_closed };

static void
on_late(struct loop_timer *t)
{
	(void)t;
	printf("Bail out! timeout\n");
	exit(1);
}

static void
streams(void)
{
	struct loop_timer late = { .fire = on_late };
	struct peer client = { .sum_ok = true, .rng_in = 1, .rng_out = 1 }, server = { .echo = true };
	int pair[2];

	loop = loop_new();
	loop_timer_set(loop, &late, 20000);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	io_open(&client.io, loop, pair[0], &ops, 65536, 8 << 20);
	io_open(&server.io, loop, pair[1], &ops, 65536, 8 << 20);
	for (int i = 0; i < 3000000; i++)
		buf_putc(io_out(&client.io), (char)((client.rng_out = client.rng_out * 69069 + 1) >> 24));
	io_pause(&server.io);
	struct named_timer go = { .t.fire = on_timer, .name = 'g', .stop = true };
	loop_timer_set(loop, &go.t, 30);
	loop_run(loop);
	is_int(server.inputs, 0, "a paused stream gives no input");
	ok(client.io.blocked, "and its peer is blocked");
	io_resume(&server.io);
	go.stop = true;
	loop_timer_set(loop, &go.t, 300);
	loop_run(loop);
	is_int(client.got, 3000000, "everything comes back");
	ok(client.sum_ok, "unchanged and in order");
	ok(client.drained == 1, "drained is told once");
	ok(client.io.in.cap == 0 && client.io.out.cap == 0 && server.io.in.cap == 0,
	    "empty buffers take no memory");
	shutdown(io_fd(&client.io), SHUT_WR);
	loop_run(loop);
	ok(server.closed && !server.failed, "end of stream, then io_finish: closed without error");
	ok(client.closed && !client.failed, "the other side sees the end");
	loop_free(loop);
}

static void
log_lines(void)
{
	struct buf b = BUF_INIT(4096);
	char got[4096] = { 0 };
	int pipefd[2];

	log_escape(&b, VIEW("a\r\nb\x1b[0m\xff\\>"), 100, ">");
	is_str(buf_cstr(&b), "a\\015\\012b\\033[0m\\377\\134\\076", "atk-J8 every odd byte is escaped");
	buf_clear(&b);
	log_escape(&b, VIEW("abcdef"), 3, NULL);
	is_str(buf_cstr(&b), "abc...", "a long value is cut");
	buf_free(&b);
	if (pipe(pipefd) < 0)
		abort();
	log_init("ekiden/test", "host1", LOG_LEVEL_INFO);
	log_open(pipefd[1], false);
	log_info("line\nforged %s", "x\x07");
	log_debug("hidden");
	ssize_t n = read(pipefd[0], got, sizeof(got) - 1);
	char want[128];
	snprintf(want, sizeof(want), " host1 ekiden/test[%d]: line\\012forged x\\007\n", getpid());
	ok(n > 15 && strcmp(got + 15, want) == 0, "atk-J8 one call is one line of printable ASCII");
	log_open(STDERR_FILENO, false);
	close(pipefd[0]);
}

int
main(void)
{
	timers();
	phases();
	fairness();
	signals();
	streams();
	log_lines();
	return done_testing();
}
