/* SPDX-License-Identifier: ISC */
/*
 * Starts the bounce executable and plays its master and qmgr: harness BOUNCE DIR. TAP on standard
 * output. As root bounce runs confined, as another user without.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/log.h"
#include "lib/segment.h"
#include "t/tap.h"

enum { MASTER_FD = 3, UNPRIVILEGED = 65534, SEGMENT_BYTES = 8 << 20, GEN = 0x123456789 };

#define ORIGINAL "From: a@example.jp\r\nSubject: original\r\n\r\nbody\r\n"

struct world {
	struct loop *loop;
	struct channel master, qmgr;
	const char *dir;
	pid_t pid;
	int segment;
	unsigned ready, stored, done, done_ok, qmgr_ends;
	uint64_t new_qid;
	bool master_end;
	const unsigned *watch;
	unsigned want;
	struct loop_timer timer;
	uint64_t end_ms;
};

static int
temp_file(struct world *w, const char *name, size_t size)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND * (size == 0), 0600);
	if (fd < 0 || (size && ftruncate(fd, (off_t)size) < 0))
		exit(1);
	return fd;
}

static bool
master_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct world *w = ch->ctx;

	(void)body;
	(void)fd;
	w->ready += type == IPC_TYPE_ready;
	return true;
}

static bool
qmgr_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct world *w = ch->ctx;
	struct ipc_report_done m;

	(void)fd;
	if (type == IPC_TYPE_segment_want && w->segment < 0) {
		w->segment = temp_file(w, "segment", SEGMENT_BYTES);
		IPC_SEND_FD(ch, dup(w->segment), segment, .gen = GEN, .start = SEGMENT_DATA,
		    .size = SEGMENT_BYTES);
	} else if (type == IPC_TYPE_stored) {
		w->stored++;
	} else if (type == IPC_TYPE_report_done && ipc_get(&ipc_desc_report_done, body, &m)) {
		w->done++;
		w->done_ok += m.ok;
		w->new_qid = m.new_qid;
	}
	return true;
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	struct world *w = ch->ctx;

	(void)e;
	if (ch == &w->master)
		w->master_end = true;
	else
		w->qmgr_ends++;
	channel_close(ch);
}

static void
on_timer(struct loop_timer *t)
{
	struct world *w = CONTAINER(t, struct world, timer);

	if (*w->watch >= w->want || w->master_end || loop_now_ms(w->loop) > w->end_ms)
		loop_stop(w->loop);
	else
		loop_timer_set(w->loop, t, 1);
}

static bool
reaches(struct world *w, const unsigned *watch, unsigned want)
{
	w->watch = watch;
	w->want = want;
	w->end_ms = loop_now_ms(w->loop) + 10000;
	loop_timer_set(w->loop, &w->timer, 0);
	loop_run(w->loop);
	loop_timer_cancel(w->loop, &w->timer);
	return *watch >= want;
}

static void
send_qmgr(struct world *w)
{
	static const struct channel_ops ops = { qmgr_frame, on_closed };
	int fds[2];

	if (channel_pair(fds) < 0)
		exit(1);
	IPC_SEND_FD(&w->master, fds[1], peer, .role = ROLE_QMGR);
	channel_close(&w->qmgr);
	channel_open(&w->qmgr, w->loop, fds[0], &ops, w, ROLE_BOUNCE, 0);
}

static void
start(struct world *w, const char *program)
{
	static const struct channel_ops ops = { master_frame, on_closed };
	int config = memfd_create("config", MFD_CLOEXEC), fds[2];

	if (channel_pair(fds) < 0 || config < 0)
		exit(1);
	fflush(stdout);
	w->pid = fork();
	if (w->pid == 0) {
		dup2(fds[1], MASTER_FD);
		fcntl(MASTER_FD, F_SETFD, 0);
		execl(program, "bounce", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	dprintf(config, "hostname mta1.example.jp\n");
	channel_open(&w->master, w->loop, fds[0], &ops, w, ROLE_BOUNCE, 0);
	IPC_SEND(&w->master, setup, .role = ROLE_BOUNCE, .instances = 1, .uid = UNPRIVILEGED,
	    .gid = UNPRIVILEGED, .confine = geteuid() == 0, .dir = view_str(w->dir));
	IPC_SEND_FD(&w->master, config, config, .serial = 1);
	IPC_SEND_FD(&w->master, temp_file(w, "log", 0), log, .kind = LOG_KIND_FILE);
	send_qmgr(w);
	IPC_SEND(&w->master, apply, .serial = 1);
}

static void
ask(struct world *w, uint8_t kind, const char *sender)
{
	struct buf rcpts = BUF_INIT(50000);
	int fd = memfd_create("original", MFD_CLOEXEC);

	dprintf(fd, "%s", ORIGINAL);
	IPC_RECORD(&rcpts, report_rcpt, .rcpt = VIEW("bob@example.net"), .code = 550,
	    .esc = esc_pack(ESC(5, 1, 1)), .text = VIEW("No such user"), .remote = true,
	    .relay = VIEW("mx.example.net[192.0.2.1]:25"));
	IPC_SEND_FD(&w->qmgr, fd, report, .req = 7, .qid = qid_make(GEN, 5), .kind = kind,
	    .sender = view_str(sender), .tenant = VIEW("acme"), .content_len = sizeof(ORIGINAL) - 1,
	    .rcpts = buf_view(&rcpts));
	buf_free(&rcpts);
}

/* Whether "QID: text" with the new id stands in the log, from service bounce. */
static bool
logged(struct world *w, uint64_t qid, const char *fmt)
{
	char text[65536], want[256], id[QID_CHARS + 1], new[QID_CHARS + 1];
	int fd = temp_file(w, "log", 0);
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	snprintf(want, sizeof(want), "]: %s: %s%s\n", qid_text(qid, id), fmt, qid_text(w->new_qid, new));
	return strstr(text, want) && strstr(text, " ekiden/bounce[");
}

int
main(int argc, char **argv)
{
	struct world w = { .loop = loop_new(), .timer.fire = on_timer, .segment = -1 };
	int status = -1;

	if (argc != 3)
		return 2;
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	log_init("test/bounce", "localhost", LOG_LEVEL_ERROR + 1);
	w.dir = argv[2];
	start(&w, argv[1]);
	ok(reaches(&w, &w.ready, 1), "bounce is ready behind its sandbox");
	ask(&w, REPORT_FAILED, "alice@example.jp");
	ok(reaches(&w, &w.done, 1) && w.done_ok == 1 && w.stored == 1, "S36 a report is stored");
	ok(w.new_qid == qid_make(GEN, 0) || w.new_qid == qid_make(GEN, 1), "... under an id of its own");
	ok(logged(&w, qid_make(GEN, 5), "sender non-delivery notification: "), "... and logged");
	ask(&w, REPORT_DELAYED, "alice@example.jp");
	ok(reaches(&w, &w.done, 2) && logged(&w, qid_make(GEN, 5), "sender delay notification: "),
	    "a delay notification");
	ask(&w, REPORT_FAILED, "");
	ok(reaches(&w, &w.done, 3) && w.new_qid == 0 && w.stored == 2, "atk-H1 none about a report");
	ask(&w, 77, "alice@example.jp");
	ok(reaches(&w, &w.qmgr_ends, 1), "atk-I4 a wrong frame closes the channel");
	close(w.segment);
	w.segment = -1;
	send_qmgr(&w);
	ask(&w, REPORT_EXPIRED, "alice@example.jp");
	ok(reaches(&w, &w.done, 4) && w.done_ok == 4, "... and bounce serves the next qmgr");
	IPC_SEND(&w.master, drain, .deadline_s = 5);
	ok(!reaches(&w, &w.ready, UINT32_MAX) && w.master_end, "drain");
	waitpid(w.pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "... exit 0 (%#x)", (unsigned)status);
	channel_close(&w.qmgr);
	close(w.segment);
	loop_free(w.loop);
	return done_testing();
}
