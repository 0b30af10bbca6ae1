/* SPDX-License-Identifier: ISC */
/*
 * Starts the qmgr executable and plays its master, smtpd, smtp, bounce and mtactl: harness QMGR DIR.
 * TAP on standard output. As root qmgr runs confined, as another user without.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/durable.h"
#include "lib/log.h"
#include "lib/segment.h"
#include "lib/token.h"
#include "t/tap.h"

enum { MASTER_FD = 3, UNPRIVILEGED = 65534, WAIT_MS = 15000, QUIET_MS = 400, SEGS = 16, TEXT = 65536 };

/* One end of a channel, used blocking. */
struct peer {
	int sock;
	struct buf store;
	uint16_t type; /* of the frame received last */
	struct view body;
	int fd;
};

struct seg {
	int fd;
	uint64_t gen, at, size;
	uint32_t index;
};

static struct world {
	const char *qmgr, *dir;
	pid_t pid;
	struct peer master, writer, smtp, bounce, authd;
	struct seg seg[SEGS];
	size_t segs;
	int content[64]; /* descriptors by order of arrival */
	uint64_t content_number[64];
	size_t contents;
	uint32_t serial;
	char log[4096];
	char frame[70000]; /* a copy of the body kept last by keep() */
} w;

static void
die(const char *what)
{
	printf("Bail out! %s\n", what);
	exit(1);
}

/* Frames. */

static bool
receive(struct peer *p, int ms)
{
	struct pollfd pfd = { .fd = p->sock, .events = POLLIN };
	struct err e;

	if (p->sock < 0 || poll(&pfd, 1, ms) <= 0)
		return false;
	if (channel_sync_recv(p->sock, &p->store, &p->type, &p->body, &p->fd, &e) < 0) {
		close(p->sock);
		p->sock = -1;
		buf_free(&p->store);
		return false;
	}
	return true;
}

/* What comes beside what a test waits for. */
static void
note(struct peer *p)
{
	struct ipc_segment s;
	struct ipc_content c;

	if (p->type == IPC_TYPE_segment && ipc_get(&ipc_desc_segment, p->body, &s) && w.segs < SEGS)
		w.seg[w.segs++] = (struct seg){ p->fd, s.gen, s.start, s.size, 0 };
	else if (p->type == IPC_TYPE_content && ipc_get(&ipc_desc_content, p->body, &c)) {
		w.content_number[w.contents] = c.content;
		w.content[w.contents++ % 64] = p->fd;
	} else if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

/* The next frame of this type; others are noted. false: it did not come. */
static bool
await_ms(struct peer *p, uint16_t type, void *m, int ms)
{
	uint64_t end = clock_mono_us() / 1000 + (uint64_t)ms;

	for (;;) {
		uint64_t now = clock_mono_us() / 1000;
		if (now >= end || !receive(p, (int)(end - now)))
			return false;
		if (p->type == type)
			break;
		note(p);
	}
	if (p->body.n > sizeof(w.frame))
		return false;
	memcpy(w.frame, p->body.p, p->body.n);
	return ipc_get(ipc_desc_of(type), view_of(w.frame, p->body.n), m);
}

#define AWAIT(p, name, m) await_ms((p), IPC_TYPE_##name, (m), WAIT_MS)
/* Nothing of this kind comes for a while. */
#define QUIET(p, name, m) (!await_ms((p), IPC_TYPE_##name, (m), QUIET_MS))
#define SEND(p, fd_, name, ...)                                                                    \
	channel_sync_send((p)->sock, &ipc_desc_##name, &(struct ipc_##name){ __VA_ARGS__ }, (fd_), NULL)

static void
peer_close(struct peer *p)
{
	if (p->sock >= 0)
		close(p->sock);
	p->sock = -1;
	buf_free(&p->store);
}

static void
peer_open(struct peer *p, enum role role)
{
	int fds[2];

	if (channel_pair(fds) < 0)
		die("socketpair");
	*p = (struct peer){ .sock = fds[0], .store = BUF_INIT(1 << 20), .fd = -1 };
	SEND(p, -1, hello, .digest = ipc_digest());
	SEND(&w.master, fds[1], peer, .role = (uint8_t)role);
	close(fds[1]);
}

/* Start and end. */

static const char base_conf[] = "hostname mta.test\n"
				"spool { segment-size 8M; spare-segments 0; compact-percent 25; }\n";

static int
conf_fd(const char *extra)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);
	struct buf b = BUF_INIT(TEXT);

	buf_printf(&b, "%s%s", base_conf, extra);
	if (fd < 0 || write(fd, b.p + b.off, buf_len(&b)) < 0)
		die("configuration");
	buf_free(&b);
	return fd;
}

static bool
configure(const char *extra)
{
	int fd = conf_fd(extra);
	struct ipc_ready r;

	SEND(&w.master, fd, config, .serial = ++w.serial);
	close(fd);
	SEND(&w.master, -1, apply, .serial = w.serial);
	while (receive(&w.master, WAIT_MS) && w.master.type == IPC_TYPE_hello)
		;
	return w.master.type == IPC_TYPE_ready && ipc_get(&ipc_desc_ready, w.master.body, &r) &&
	    r.serial == w.serial;
}

static void
spawn(int sock)
{
	w.pid = fork();
	if (w.pid < 0)
		die("fork");
	if (w.pid > 0)
		return;
	if (sock == MASTER_FD)
		fcntl(sock, F_SETFD, 0);
	else
		dup2(sock, MASTER_FD);
	close_range(MASTER_FD + 1, ~0u, 0);
	execl(w.qmgr, w.qmgr, (char *)NULL);
	_exit(127);
}

static bool
start(const char *extra)
{
	int fds[2], log = open(w.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	bool root = geteuid() == 0;

	if (channel_pair(fds) < 0 || log < 0)
		die("start");
	spawn(fds[1]);
	close(fds[1]);
	w.master = (struct peer){ .sock = fds[0], .store = BUF_INIT(1 << 20), .fd = -1 };
	SEND(&w.master, -1, hello, .digest = ipc_digest());
	SEND(&w.master, -1, setup, .role = ROLE_QMGR, .instances = 1, .uid = UNPRIVILEGED,
	    .gid = UNPRIVILEGED, .confine = root, .dir = view_str(w.dir), .foreground = true);
	SEND(&w.master, log, log, .kind = LOG_KIND_FILE);
	close(log);
	return configure(extra);
}

static void
peers(void)
{
	peer_open(&w.writer, ROLE_SMTPD);
	peer_open(&w.smtp, ROLE_SMTP);
	peer_open(&w.bounce, ROLE_BOUNCE);
}

static int
wait_exit(void)
{
	int status = -1;

	for (int i = 0; i < WAIT_MS / 10; i++) {
		if (waitpid(w.pid, &status, WNOHANG) == w.pid)
			return status;
		usleep(10000);
	}
	kill(w.pid, SIGKILL);
	waitpid(w.pid, &status, 0);
	return -1;
}

static void
forget_segments(void)
{
	for (size_t i = 0; i < w.segs; i++)
		if (w.seg[i].fd >= 0)
			close(w.seg[i].fd);
	w.segs = 0;
	for (size_t i = 0; i < w.contents; i++)
		close(w.content[i]);
	w.contents = 0;
}

static void
hang_up(bool segments)
{
	peer_close(&w.master);
	peer_close(&w.writer);
	peer_close(&w.smtp);
	peer_close(&w.bounce);
	if (segments)
		forget_segments();
}

static void
kill_qmgr(bool segments)
{
	kill(w.pid, SIGKILL);
	waitpid(w.pid, NULL, 0);
	hang_up(segments);
}

static int
drain(void)
{
	SEND(&w.master, -1, drain, .deadline_s = 5);
	int status = wait_exit();
	hang_up(true);
	return status;
}

/* The log, and files. */

static bool
logged(const char *text)
{
	for (int i = 0; i < WAIT_MS / 20; i++) {
		struct buf b = BUF_INIT(64 << 20);
		struct err e;
		bool found = durable_read(AT_FDCWD, w.log, 64 << 20, &b, &e) == 0 &&
		    strstr(buf_cstr(&b), text) != NULL;
		buf_free(&b);
		if (found)
			return true;
		usleep(20000);
	}
	return false;
}

static size_t
count_files(const char *folder)
{
	char path[4200];
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%s", w.dir, folder);
	DIR *d = opendir(path);
	for (struct dirent *de; d && (de = readdir(d)) != NULL;)
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static void
wipe(const char *folder)
{
	char path[8400];

	snprintf(path, sizeof(path), "rm -rf '%s/%s'", w.dir, folder);
	if (system(path) != 0)
		die("rm");
}

/* A fresh spool. */
static void
fresh(const char *extra)
{
	static const char *const folders[] = { "seg", "big", "db", "quarantine" };

	for (size_t i = 0; i < 4; i++)
		wipe(folders[i]);
	unlink(w.log);
	if (!start(extra))
		die("qmgr does not start");
	peers();
}

/* The writer. */

static struct seg *
segment(size_t n)
{
	struct ipc_no_space none;

	if (w.segs <= n)
		SEND(&w.writer, -1, segment_want, .count = (uint32_t)(n + 1 - w.segs));
	while (w.segs <= n) {
		await_ms(&w.writer, IPC_TYPE_no_space, &none, 10);
		if (w.writer.sock < 0)
			die("no segment");
	}
	return &w.seg[n];
}

struct mail {
	const char *sender;
	const char *rcpts[16];
	uint8_t notify;
	const char *kinds; /* a digit for each recipient; NULL: all 0 */
	uint32_t flags;
	size_t size; /* of the content; 0: a short one */
	uint64_t big;
	uint64_t age_s;
	uint64_t release_us;
	uint8_t priority, mt_priority;
	bool untold;
	/* filled */
	uint64_t qid, offset;
	struct record r;
};

static char content_bytes[1 << 20];

static void
put_record(struct buf *b, struct seg *s, struct mail *m, struct segment_rcpt *rcpts)
{
	static const char front[] = "Received: by mta.test\r\n";
	struct view body = view_of(content_bytes, m->size ? m->size : 40);
	uint64_t now = clock_wall_us() - m->age_s * 1000000;
	struct envelope env = { .qid = qid_make(s->gen, s->index++), .arrival_us = now,
		.received_us = now, .sender = view_str(m->sender), .tenant = VIEW("acme"),
		.user = VIEW("app1"), .size = body.n, .rcpts = rcpts, .flags = m->flags,
		.return_domain = VIEW("bounce.test"), .key_serial = 9, .hold_reason = VIEW("held: over quota"),
		.tag = VIEW("campaign"), .header_from = VIEW("news@from.test"), .retry = VIEW("gentle"),
		.release_us = m->release_us, .priority = m->priority, .mt_priority = m->mt_priority };

	while (m->rcpts[env.nrcpt]) {
		rcpts[env.nrcpt] = (struct segment_rcpt){ view_str(m->rcpts[env.nrcpt]), VIEW(""),
			m->notify, m->kinds ? (uint8_t)(m->kinds[env.nrcpt] - '0') : (uint8_t)RCPT_NORMAL };
		env.nrcpt++;
	}
	uint32_t crc = crc32c(crc32c(0, front, sizeof(front) - 1), body.p, body.n);
	if (m->big) {
		env.flags |= SEGMENT_BIG;
		env.big = m->big;
	}
	record_head_put(b, s->gen, &env, sizeof(front) - 1, m->big ? 0 : body.n, crc, &m->r);
	buf_puts(b, front);
	if (m->big == 0)
		buf_putv(b, body);
	while (buf_len(b) < m->r.length)
		buf_putc(b, '\0');
	m->qid = env.qid;
}

static void
store_in(struct seg *s, struct mail *m)
{
	struct segment_rcpt rcpts[16];
	struct buf b = BUF_INIT(4 << 20);

	put_record(&b, s, m, rcpts);
	end_mark_put(&b, s->gen);
	m->offset = s->at;
	if (pwrite(s->fd, b.p + b.off, buf_len(&b), (off_t)s->at) != (ssize_t)buf_len(&b) ||
	    fdatasync(s->fd) < 0)
		die("cannot write to a segment");
	s->at += m->r.length;
	if (!m->untold)
		SEND(&w.writer, -1, stored, .gen = s->gen, .offset = m->offset, .end = s->at,
		    .head = view_first(buf_view(&b), RECORD_HEADER + m->r.envelope_len));
	buf_free(&b);
}

static void
store(struct mail *m)
{
	store_in(segment(0), m);
}

#define MAIL(...) (&(struct mail){ .sender = "a@from.test", .rcpts = { __VA_ARGS__ } })

static bool
log_id(uint64_t qid, const char *text)
{
	char line[512], id[QID_CHARS + 1];

	snprintf(line, sizeof(line), "%s: %s", qid_text(qid, id), text);
	return logged(line);
}

/* smtp. */

/* Takes the next job, with a connection if one is asked for first. */
static bool
take_job(struct ipc_deliver *d)
{
	uint64_t end = clock_mono_us() / 1000 + WAIT_MS;
	struct ipc_conn_open o;

	while (clock_mono_us() / 1000 < end && receive(&w.smtp, WAIT_MS)) {
		if (w.smtp.type == IPC_TYPE_conn_open && ipc_get(&ipc_desc_conn_open, w.smtp.body, &o))
			SEND(&w.smtp, -1, conn_ready, .conn = o.conn,
			    .relay = VIEW("mx.test[192.0.2.1]:25"));
		else if (w.smtp.type == IPC_TYPE_deliver) {
			memcpy(w.frame, w.smtp.body.p, w.smtp.body.n);
			return ipc_get(&ipc_desc_deliver, view_of(w.frame, w.smtp.body.n), d);
		} else
			note(&w.smtp);
	}
	return false;
}

static void
finish(const struct ipc_deliver *d, enum rcpt_status status, uint16_t code, struct esc esc,
    const char *text)
{
	struct buf results = BUF_INIT(50000);
	struct view v = d->rcpts;
	struct ipc_job_rcpt r;

	while (ipc_next(&ipc_desc_job_rcpt, &v, &r))
		IPC_RECORD(&results, job_result, .index = r.index, .status = (uint8_t)status,
		    .code = code, .esc = esc_pack(esc), .text = view_str(text), .remote = true);
	SEND(&w.smtp, -1, job_done, .conn = d->conn, .job = d->job,
	    .relay = VIEW("mx.test[192.0.2.1]:25"), .results = buf_view(&results));
	buf_free(&results);
}

static void
sent(const struct ipc_deliver *d)
{
	finish(d, RCPT_SENT, 250, ESC(2, 0, 0), "250 2.0.0 ok");
}

static void
deferred(const struct ipc_deliver *d)
{
	finish(d, RCPT_DEFERRED, 450, ESC(4, 2, 1), "450 4.2.1 wait");
}

static size_t
count_rcpts(const struct ipc_deliver *d)
{
	struct view v = d->rcpts;
	struct ipc_job_rcpt r;
	size_t n = 0;

	while (ipc_next(&ipc_desc_job_rcpt, &v, &r))
		n++;
	return n;
}

static int
content_fd(uint64_t number)
{
	for (size_t i = w.contents; i-- > 0;)
		if (w.content_number[i] == number)
			return w.content[i];
	return -1;
}

/* What smtp would send has the sum that the job says. */
static bool
content_good(const struct ipc_deliver *d)
{
	static char bytes[1 << 20];
	ssize_t n = pread(content_fd(d->content), bytes, d->front_len, (off_t)d->offset);
	uint32_t crc = n == (ssize_t)d->front_len ? crc32c(0, bytes, d->front_len) : 0;
	int fd = content_fd(d->big ? d->big : d->content);
	uint64_t at = d->big ? 0 : d->offset + d->front_len;

	n = pread(fd, bytes, d->content_len, (off_t)at);
	return n == (ssize_t)d->content_len && crc32c(crc, bytes, d->content_len) == d->crc;
}

/* mtactl: the fields of all rows as "name=value " text, then "end=STATUS". */
static const char *
ctl_call(const char *command, const char *const args[][2])
{
	static struct buf out = BUF_INIT(1 << 20);
	struct buf blob = BUF_INIT(60000);
	struct peer p;
	int fds[2];

	buf_clear(&out);
	if (channel_pair(fds) < 0)
		die("socketpair");
	p = (struct peer){ .sock = fds[0], .store = BUF_INIT(1 << 20), .fd = -1 };
	SEND(&w.master, fds[1], admin, .uid = 0, .pid = 1);
	close(fds[1]);
	for (; args && (*args)[0]; args++)
		IPC_RECORD(&blob, ctl_arg, .name = view_str((*args)[0]), .value = view_str((*args)[1]));
	SEND(&p, -1, hello, .digest = ipc_digest());
	SEND(&p, -1, ctl_call, .command = view_str(command), .args = buf_view(&blob));
	while (receive(&p, WAIT_MS)) {
		struct ipc_ctl_row row;
		struct ipc_ctl_end end;
		struct ipc_ctl_field f;
		if (p.type == IPC_TYPE_ctl_row && ipc_get(&ipc_desc_ctl_row, p.body, &row)) {
			while (ipc_next(&ipc_desc_ctl_field, &row.fields, &f))
				buf_printf(&out, "%.*s=%.*s ", (int)f.name.n, f.name.p, (int)f.value.n,
				    f.value.p);
			buf_puts(&out, "| ");
		} else if (p.type == IPC_TYPE_ctl_end && ipc_get(&ipc_desc_ctl_end, p.body, &end)) {
			buf_printf(&out, "end=%u %.*s", end.status, (int)end.text.n, end.text.p);
			break;
		}
	}
	peer_close(&p);
	buf_free(&blob);
	return buf_cstr(&out);
}

#define CTL(command, ...) ctl_call((command), (const char *const[][2]){ __VA_ARGS__, { NULL, NULL } })

static bool
has(const char *text, const char *part)
{
	bool found = strstr(text, part) != NULL;

	if (!found)
		printf("# \"%s\" is not in: %s\n", part, text);
	return found;
}

/* Polls `queue count` until it says so. */
static bool
counted(const char *want)
{
	const char *got = "";

	for (int i = 0; i < WAIT_MS / 20; i++) {
		got = ctl_call("queue count", NULL);
		if (strstr(got, want))
			return true;
		usleep(20000);
	}
	return has(got, want);
}

/* Tests. */

#define SLOW "retry { method linear; a 3000; period 86400; }\n"
#define FAST "retry { method linear; a 1; period 3600; }\n"

static void
test_deliver(void)
{
	struct mail *m = MAIL("b@to.test", "c@to.test");
	struct ipc_deliver d;
	struct ipc_conn_open o;

	fresh(SLOW);
	store(m);
	ok(AWAIT(&w.smtp, conn_open, &o), "a stored message asks for a connection");
	is_view(o.nexthop, "to.test", "A1: to the domain of its recipients");
	ok(o.mx && o.port == 25 && o.tls == TLS_POLICY_MAY && view_is(o.helo, "mta.test"), "by MX");
	SEND(&w.smtp, -1, conn_ready, .conn = o.conn, .relay = VIEW("mx.test[192.0.2.1]:25"));
	ok(take_job(&d) && d.qid == m->qid && count_rcpts(&d) == 2,
	    "recipients of one domain share a job");
	ok(content_good(&d), "its content can be read");
	is_view(d.sender, "a@from.test", "sender");
	ok(view_is(d.tenant, "acme") && view_is(d.user, "app1") && d.attempt == 1 &&
		view_is(d.lane, "to.test"), "tenant, key, attempt, lane");
	ok(log_id(m->qid, "from=<a@from.test>, size=63, nrcpt=2 (queue active)"), "log: queue active");
	ok(counted("messages=1 recipients=2 bytes=63 active=2 deferred=0 held=0"), "queue count");
	sent(&d);
	ok(log_id(m->qid, "removed"), "log: removed");
	ok(counted("messages=0 recipients=0 bytes=0 active=0 deferred=0 held=0"), "the queue is empty");
	struct mail *n = MAIL("b@to.test", "x@other.test");
	store(n);
	struct ipc_deliver one, two;
	ok(take_job(&one) && count_rcpts(&one) == 1, "different domains: different jobs");
	finish(&one, RCPT_SENT, 250, ESC(2, 0, 0), "ok");
	ok(take_job(&two) && !view_eq(one.lane, two.lane), "in different lanes");
	sent(&two);
	ok(log_id(n->qid, "removed"), "both done");
	usleep(150000);
	kill_qmgr(true);
	start(SLOW);
	peers();
	ok(QUIET(&w.smtp, conn_open, &o), "after kill -9 done recipients stay done");
	is_int(drain(), 0, "drain: exit 0");
}

static void
test_defer(void)
{
	struct mail *m = MAIL("b@to.test", "c@to.test");
	struct ipc_deliver d;

	fresh(FAST);
	store(m);
	take_job(&d);
	deferred(&d);
	ok(counted("active=0 deferred=2"), "E9: a temporary failure is kept");
	ok(has(CTL("queue list", { "domain", "TO.test" }), "reason=450 4.2.1 wait"), "with its reply");
	usleep(200000);
	kill_qmgr(true);
	ok(start(SLOW), "restart with a queue");
	peers();
	ok(counted("messages=1 recipients=2 bytes=63"), "kill -9: it is still there");
	ok(take_job(&d) && d.attempt == 2 && count_rcpts(&d) == 2, "C7: tried again when due");
	ok(content_good(&d), "from the same segment");
	deferred(&d);
	ok(counted("active=0 deferred=2"), "fails again");
	ok(has(CTL("queue flush", { "sender", "a@from.test" }), "recipients=2"), "queue flush");
	ok(take_job(&d) && d.attempt == 3, "flush: tried now");
	sent(&d);
	ok(log_id(m->qid, "removed"), "removed");
	is_int(drain(), 0, "drain");
	start(SLOW);
	peers();
	ok(counted("messages=0"), "nothing is left");
	drain();
}

/* Messages that are durable, but that qmgr was not told of. */
static void
test_live_writer(void)
{
	struct mail *told = MAIL("b@to.test"), *untold = MAIL("c@to.test");
	struct ipc_deliver d;
	struct ipc_conn_open o;

	fresh(SLOW);
	untold->untold = true;
	store(told);
	store(untold);
	take_job(&d);
	kill_qmgr(false);
	ok(start(SLOW), "kill -9 of qmgr with a live writer: it starts");
	peers();
	ok(QUIET(&w.smtp, conn_open, &o), "what the writer still holds is not touched");
	/* A new segment is not the one that is held. */
	size_t held = w.segs;
	ok(segment(held)->gen != w.seg[0].gen, "the writer gets another segment");
	close(w.seg[0].fd);
	w.seg[0].fd = -1;
	uint64_t qids = 0;
	for (int i = 0; i < 2 && take_job(&d); i++) {
		qids += d.qid;
		ok(content_good(&d), "replayed when the writer let go");
		sent(&d);
	}
	ok(qids == told->qid + untold->qid, "atk: S35: both messages, told or not");
	ok(log_id(untold->qid, "removed"), "the message qmgr was never told of is delivered");
	drain();
}

static void
test_tail(void)
{
	struct mail *m = MAIL("b@to.test");
	struct ipc_deliver d;

	fresh(SLOW);
	m->untold = true;
	store(m);
	peer_close(&w.writer);
	close(w.seg[0].fd);
	w.seg[0].fd = -1;
	ok(take_job(&d) && d.qid == m->qid && content_good(&d),
	    "the end of a writer: what it had not told is found");
	sent(&d);
	ok(log_id(m->qid, "removed"), "and done");
	/* Live through a recycling. */
	w.segs = 0;
	peer_open(&w.writer, ROLE_SMTPD);
	struct mail *n = MAIL("b@to.test");
	store(n);
	ok(take_job(&d) && d.qid == n->qid && n->qid != m->qid && content_good(&d),
	    "a new writer, a new generation");
	sent(&d);
	drain();
}

static void
damage(struct seg *s, uint64_t at)
{
	char path[4300], byte = '\xff';

	snprintf(path, sizeof(path), "%s/seg", w.dir);
	DIR *d = opendir(path);
	for (struct dirent *de; (de = readdir(d)) != NULL;) {
		struct segment_header h;
		char page[SEGMENT_DATA], file[4700];
		if (strlen(de->d_name) < 5 || strchr(de->d_name, '.'))
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, de->d_name);
		int fd = open(file, O_RDWR);
		if (pread(fd, page, sizeof(page), 0) == sizeof(page) &&
		    segment_header_get(view_of(page, sizeof(page)), &h) && h.gen == s->gen &&
		    pwrite(fd, &byte, 1, (off_t)at) != 1)
			die("damage");
		close(fd);
	}
	closedir(d);
}

static void
test_damaged(void)
{
	struct mail *m[6];
	struct ipc_deliver d;
	char hex[64];
	uint64_t sum = 0;

	fresh(SLOW);
	static const char *const rcpts[] = { "r0@to.test", "r1@to.test", "r2@to.test", "r3@to.test",
		"r4@to.test", "r5@to.test" };
	struct mail mails[6];
	for (int i = 0; i < 6; i++) {
		mails[i] = (struct mail){ .sender = "a@from.test", .rcpts = { rcpts[i] }, .untold = true };
		m[i] = &mails[i];
		store(m[i]);
	}
	struct seg s = w.seg[0];
	kill_qmgr(true);
	damage(&s, m[1]->offset + 20);				      /* header */
	damage(&s, m[2]->offset + RECORD_HEADER + 8);		      /* envelope */
	damage(&s, m[4]->offset + record_front_at(&m[4]->r) + 5);     /* content */
	ok(start(SLOW), "atk-I11: a damaged segment: qmgr starts");
	peers();
	for (int i = 0; i < 3 && take_job(&d); i++) {
		sum += d.qid;
		sent(&d);
	}
	ok(sum == m[0]->qid + m[3]->qid + m[5]->qid, "atk-I11: the other records flow");
	is_int(count_files("quarantine"), 3, "atk-I11: damaged ones are kept in quarantine");
	snprintf(hex, sizeof(hex), "kept in quarantine/%llx-%llx", (unsigned long long)s.gen,
	    (unsigned long long)m[2]->offset);
	ok(logged(hex), "atk-I11: and reported with their place");
	drain();
}

/* A record whose write was cut: nothing says that it was acknowledged. */
static void
test_torn(void)
{
	struct mail *m = MAIL("b@to.test"), *torn = MAIL("c@to.test");
	struct ipc_deliver d;
	struct ipc_conn_open o;
	char zeros[END_MARK + 64] = { 0 };

	fresh(SLOW);
	m->untold = torn->untold = true;
	store(m);
	store(torn);
	struct seg *s = &w.seg[0];
	if (pwrite(s->fd, zeros, sizeof(zeros), (off_t)(s->at - 64)) < 0)
		die("tear");
	kill_qmgr(true);
	start(SLOW);
	peers();
	ok(take_job(&d) && d.qid == m->qid, "a torn tail: what is before it is delivered");
	sent(&d);
	ok(QUIET(&w.smtp, conn_open, &o) && count_files("quarantine") == 0,
	    "the torn record is neither delivered nor an alarm");
	drain();
}

static void
test_failed_sync(void)
{
	struct mail *m = MAIL("b@to.test"), *refused = MAIL("c@to.test");
	struct ipc_deliver d;
	struct ipc_conn_open o;

	fresh(SLOW);
	refused->untold = true;
	store(m);
	uint64_t told = w.seg[0].at;
	store(refused); /* its fdatasync failed, the client was told 451 */
	close(w.seg[0].fd);
	w.seg[0].fd = -1;
	SEND(&w.writer, -1, segment_release, .gen = w.seg[0].gen, .end = told, .failed = true);
	take_job(&d);
	deferred(&d);
	ok(counted("messages=1 "), "atk-J5: what was not acknowledged is not taken from the tail");
	usleep(200000);
	kill_qmgr(true);
	start(SLOW);
	peers();
	ok(counted("messages=1 ") && QUIET(&w.smtp, conn_open, &o), "atk-J5: nor at the next start");
	drain();
}

static void
test_compaction(void)
{
	enum { COUNT = 24, SIZE = 300000 };
	struct mail mails[COUNT];
	struct ipc_deliver d;
	struct ipc_conn_open o;
	uint64_t old = 0;

	fresh(SLOW);
	for (int i = 0; i < COUNT; i++) {
		mails[i] = (struct mail){ .sender = "a@from.test", .rcpts = { "b@to.test" },
			.size = SIZE };
		store(&mails[i]);
	}
	for (int i = 0; i < COUNT && take_job(&d); i++) {
		old = d.content;
		if (i % 12 == 5)
			deferred(&d);
		else
			sent(&d);
	}
	ok(counted("messages=2 recipients=2"), "two of many are deferred");
	close(w.seg[0].fd);
	w.seg[0].fd = -1;
	SEND(&w.writer, -1, segment_release, .gen = w.seg[0].gen, .end = w.seg[0].at);
	ok(logged("compacted: 2 messages"), "the nearly dead segment is compacted");
	ok(counted("messages=2 recipients=2"), "nothing is lost");
	struct ipc_content_drop drop;
	ok(AWAIT(&w.smtp, content_drop, &drop) && drop.content == old,
	    "and recycled: smtp drops its descriptor");
	CTL("queue flush", { "all", "" });
	ok(take_job(&d) && d.content != old && content_good(&d), "delivered from where it is now");
	sent(&d);
	ok(counted("messages=1 recipients=1"), "one is done");
	usleep(200000);
	kill_qmgr(true);
	ok(start(SLOW), "kill -9 after compaction");
	peers();
	ok(counted("messages=1 recipients=1 bytes=300023 active=0 deferred=1") &&
		QUIET(&w.smtp, conn_open, &o), "copies do not bring finished mail to life");
	CTL("queue flush", { "all", "" });
	ok(take_job(&d) && content_good(&d), "the other one is there");
	sent(&d);
	ok(counted("messages=0"), "all delivered");
	usleep(200000);
	kill_qmgr(true);
	start(SLOW);
	peers();
	ok(QUIET(&w.smtp, conn_open, &o) && counted("messages=0"), "and done");
	drain();
}

/* The writer is through with a segment whose messages are under way, and qmgr is killed. */
static void
test_released(void)
{
	struct mail *m = MAIL("b@to.test"), *done = MAIL("b@to.test");
	struct ipc_deliver d;
	struct ipc_conn_open o;

	fresh(SLOW);
	store(done);
	take_job(&d);
	sent(&d);
	store(m);
	take_job(&d);
	close(w.seg[0].fd);
	w.seg[0].fd = -1;
	SEND(&w.writer, -1, segment_release, .gen = w.seg[0].gen, .end = w.seg[0].at);
	usleep(300000);
	kill_qmgr(true);
	start(SLOW);
	peers();
	ok(take_job(&d) && d.qid == m->qid, "what no row knows is replayed from a released segment");
	sent(&d);
	ok(QUIET(&w.smtp, conn_open, &o), "what was done is not");
	drain();
}

static void
test_admin(void)
{
	struct mail *m = MAIL("b@to.test", "c@other.test");
	struct ipc_deliver d;
	struct ipc_conn_open o;
	char id[QID_CHARS + 1];

	fresh(SLOW);
	store(m);
	qid_text(m->qid, id);
	AWAIT(&w.smtp, conn_open, &o);
	AWAIT(&w.smtp, conn_open, &o);
	ok(has(CTL("queue hold", { "id", id }), "recipients=2 | end=0"), "queue hold");
	ok(counted("active=0 deferred=0 held=2"), "held");
	ok(has(CTL("queue list", { "state", "held" }, { "limit", "1" }), "state=held"), "queue list");
	usleep(200000);
	kill_qmgr(true);
	start(SLOW);
	peers();
	ok(counted("active=0 deferred=0 held=2") && QUIET(&w.smtp, conn_open, &o),
	    "a hold survives kill -9");
	ok(has(CTL("queue release", { "domain", "other.test" }), "recipients=1"), "queue release");
	ok(take_job(&d) && view_is(d.lane, "other.test"), "released: goes");
	ok(has(CTL("queue delete", { "id", id }), "recipients=2"),
	    "queue delete, one of them with an smtp process");
	deferred(&d);
	ok(log_id(m->qid, "removed"), "deleted without a report");
	ok(has(CTL("queue delete", { "id", id }), "end=1"), "deleted again: not found");
	ok(has(CTL("queue delete", { "tenant", "nobody" }), "recipients=0 | end=0"), "no match");
	ok(has(ctl_call("queue delete", NULL), "end=2"), "without ids, filter or --all: refused");
	ok(has(CTL("queue list", { "id", "nonsense" }), "end=2"), "a wrong id is wrong use");
	ok(has(CTL("queue list", { "age", "x" }), "end=2"), "so is a wrong age");

	struct mail *n = MAIL("b@to.test");
	struct ipc_report rep;
	store(n);
	qid_text(n->qid, id);
	take_job(&d);
	deferred(&d);
	counted("deferred=1");
	ok(has(CTL("queue show", { "id", id }, { "content", "" }), "content=Received: by mta.test\r\n"),
	    "queue show --content");
	ok(has(CTL("queue show", { "id", id }), "rcpt=b@to.test state=deferred attempts=1"),
	    "queue show");
	ok(has(CTL("queue bounce", { "key", "app1" }), "recipients=1"), "queue bounce");
	ok(AWAIT(&w.bounce, report, &rep) && rep.qid == n->qid && w.bounce.fd >= 0,
	    "returned to the sender");
	SEND(&w.bounce, -1, report_done, .req = rep.req, .ok = true);
	ok(log_id(n->qid, "removed"), "and removed");
	drain();
}

static void
test_reports(void)
{
	struct mail *m = MAIL("b@to.test", "c@to.test"), *null = MAIL("b@to.test");
	struct mail *never = MAIL("b@to.test");
	struct ipc_deliver d;
	struct ipc_report rep;
	struct ipc_report_rcpt rr;

	fresh("retry { method linear; a 1; period 3600; attempts 2; }\n");
	store(m);
	take_job(&d);
	finish(&d, RCPT_BOUNCED, 550, ESC(5, 1, 1), "550 5.1.1 no such user");
	ok(AWAIT(&w.bounce, report, &rep) && rep.kind == REPORT_FAILED, "E9: 5xx is reported at once");
	ok(rep.qid == m->qid && view_is(rep.sender, "a@from.test") &&
		view_is(rep.tenant, "acme") && rep.content_len == 23 + 40, "with what is needed");
	struct view v = rep.rcpts;
	size_t n = 0;
	while (ipc_next(&ipc_desc_report_rcpt, &v, &rr))
		n += rr.code == 550 && rr.remote && view_is(rr.text, "550 5.1.1 no such user");
	is_int(n, 2, "all failed recipients in one report");
	ok(counted("messages=1"), "kept until the report is durable");
	SEND(&w.bounce, -1, report_done, .req = rep.req, .ok = false, .text = VIEW("no space"));
	peer_close(&w.bounce);
	peer_open(&w.bounce, ROLE_BOUNCE);
	kill_qmgr(true);
	start("retry { method linear; a 1; period 3600; attempts 2; }\n");
	peers();
	take_job(&d);
	finish(&d, RCPT_BOUNCED, 550, ESC(5, 1, 1), "550 5.1.1 no such user");
	AWAIT(&w.bounce, report, &rep);
	SEND(&w.bounce, -1, report_done, .req = rep.req, .ok = true, .new_qid = 1);
	ok(log_id(m->qid, "removed"), "after kill -9 reported again, then removed");

	w.segs = 0;
	null->sender = "";
	store(null);
	take_job(&d);
	finish(&d, RCPT_BOUNCED, 550, ESC(5, 1, 1), "no");
	ok(log_id(null->qid, "removed") && QUIET(&w.bounce, report, &rep),
	    "the null sender gets no report");
	never->notify = NOTIFY_NEVER;
	store(never);
	take_job(&d);
	finish(&d, RCPT_BOUNCED, 550, ESC(5, 1, 1), "no");
	ok(log_id(never->qid, "removed") && QUIET(&w.bounce, report, &rep), "D07: NOTIFY=NEVER");

	struct mail *old = MAIL("b@to.test");
	store(old);
	take_job(&d);
	deferred(&d);
	take_job(&d);
	is_int(d.attempt, 2, "C11: the second of two attempts");
	deferred(&d);
	ok(AWAIT(&w.bounce, report, &rep) && rep.kind == REPORT_EXPIRED, "C11: then it is given up");
	ok(log_id(old->qid, "from=<a@from.test>, status=expired, returned to sender"), "log: expired");
	SEND(&w.bounce, -1, report_done, .req = rep.req, .ok = true);
	ok(log_id(old->qid, "removed"), "removed");
	drain();
}

/* C7-C11: the age limit holds for what is with an smtp process, too. */
static void
test_recall(void)
{
	struct mail *m = MAIL("b@to.test"), *behind = MAIL("c@to.test");
	struct ipc_deliver d, d2;
	struct ipc_job_recall back;
	struct ipc_report rep;

	fresh("retry { period 3600; }\n delivery { connections 1; }\n");
	m->age_s = behind->age_s = 3598;
	store(m);
	store(behind);
	ok(take_job(&d) && take_job(&d2) && d.conn == d2.conn, "one under way, one behind it");
	uint64_t first = d.job, second = d2.job;
	ok(AWAIT(&w.smtp, job_recall, &back) && back.conn == d.conn &&
		(back.job == first || back.job == second), "C11: an old job is called back");
	uint64_t other = back.job == first ? second : first;
	ok(AWAIT(&w.smtp, job_recall, &back) && back.job == other, "and the other one");
	SEND(&w.smtp, -1, job_done, .conn = d2.conn, .job = second);
	ok(AWAIT(&w.bounce, report, &rep) && rep.qid == behind->qid && rep.kind == REPORT_EXPIRED,
	    "C11: what comes back untried has expired");
	SEND(&w.bounce, -1, report_done, .req = rep.req, .ok = true);
	struct buf results = BUF_INIT(1000);
	IPC_RECORD(&results, job_result, .status = RCPT_SENT, .code = 250);
	SEND(&w.smtp, -1, job_done, .conn = d.conn, .job = first, .results = buf_view(&results));
	buf_free(&results);
	ok(log_id(m->qid, "removed") && QUIET(&w.bounce, report, &rep), "the server's yes to the other one counts");
	drain();
}

static void
test_connections(void)
{
	struct mail *m = MAIL("b@to.test"), *late = MAIL("b@to.test"), *no = MAIL("x@nowhere.test");
	struct ipc_conn_open o;
	struct ipc_deliver d;
	struct ipc_report rep;

	fresh(SLOW);
	store(m);
	AWAIT(&w.smtp, conn_open, &o);
	SEND(&w.smtp, -1, conn_closed, .conn = o.conn, .why = CONN_FAILED, .code = 0,
	    .esc = esc_pack(ESC(4, 4, 1)), .text = VIEW("connect to mx.test: refused"));
	ok(counted("deferred=1"), "a host that cannot be reached: deferred");
	ok(log_id(m->qid, "to=<b@to.test>, relay=none, delay=0"), "log: relay=none");
	ok(logged("/0/0, dsn=4.4.1, status=deferred (connect to mx.test: refused) tenant=acme"),
	    "log: delays, dsn, status");
	store(late);
	ok(counted("deferred=2") && QUIET(&w.smtp, conn_open, &o),
	    "S27: its lane rests: what comes later is deferred without a try");
	CTL("queue flush", { "all", "" });
	ok(take_job(&d), "flush ends the rest");
	/* The connection is given up under the job: nothing counts. */
	uint64_t dead = d.conn;
	SEND(&w.smtp, -1, conn_closed, .conn = dead, .why = CONN_IDLE);
	while (take_job(&d) && d.conn == dead)
		; /* sent ahead to the connection that is gone */
	ok(d.conn != dead && d.attempt == 2, "C14: a dead pooled connection costs no retry");
	finish(&d, RCPT_AGAIN, 0, ESC(0, 0, 0), "");
	ok(take_job(&d) && d.attempt == 2, "untried: no attempt counted");
	/* The process dies with its jobs. */
	peer_close(&w.smtp);
	peer_open(&w.smtp, ROLE_SMTP);
	ok(take_job(&d) && d.attempt == 2, "smtp process gone: its jobs go to the next one");
	sent(&d);
	ok(take_job(&d), "the other message");
	sent(&d);
	ok(counted("messages=0"), "all delivered");
	store(no);
	AWAIT(&w.smtp, conn_open, &o);
	SEND(&w.smtp, -1, conn_closed, .conn = o.conn, .why = CONN_REFUSED, .code = 0,
	    .esc = esc_pack(ESC(5, 1, 10)), .text = VIEW("nowhere.test takes no mail"));
	ok(AWAIT(&w.bounce, report, &rep), "E3: a null MX is reported at once");
	ok(logged("dsn=5.1.10, status=bounced (nowhere.test takes no mail)"), "log: bounced");
	SEND(&w.bounce, -1, report_done, .req = rep.req, .ok = true);
	is_int(drain(), 0, "exit 0");
}

#define SPECIAL FAST "bcc-forward [archive.test]:2525\nenvelope-sender { bounce-domain bounce.test; }\n"

/* A17: a transaction, and a return address, for each recipient; copies keep the client's sender (C15). */
static void
test_return_addresses(void)
{
	static const struct token_secret secret = { 3, 32, "0123456789abcdef0123456789abcdef" };
	struct mail *m = MAIL("b@to.test", "c@to.test", "b@to.test", "c@to.test");
	struct ipc_conn_open o;
	struct ipc_deliver d;
	struct token t;
	unsigned seen = 0, copies = 0;

	m->kinds = "0011";
	m->flags = SEGMENT_VERP;
	fresh(SPECIAL);
	store(m);
	ok(take_job(&d) && d.copy && count_rcpts(&d) == 2, "C15: both copies in one job, in a lane of their own");
	ok(view_is(d.lane, "copy:[archive.test]:2525") && view_is(d.sender, "a@from.test"), "C15: to bcc-forward");
	finish(&d, RCPT_BOUNCED, 550, ESC(5, 0, 0), "550 no");
	ok(log_id(m->qid, "to=<b@to.test>, no report: a copy"), "C16: what becomes of a copy is not reported");
	ok(QUIET(&w.smtp, conn_open, &o), "A17: without a secret no return address is made, and nothing sent");
	peer_open(&w.authd, ROLE_AUTHD);
	SEND(&w.authd, -1, token_key, .id = secret.id, .key = view_of(secret.key, secret.n), .current = true);
	for (int i = 0; i < 2 && take_job(&d); i++) {
		struct view local = d.sender, domain = local;
		is_int((long long)count_rcpts(&d), 1, "A17: one recipient in a transaction");
		local = view_cut(&domain, '@');
		ok(view_is(domain, "bounce.test"), "A17: at the bounce domain");
		is_int(token_parse(&secret, 1, local, token_day(clock_wall_us()), &t), TOKEN_GOOD, "A17: a good token");
		ok(t.qid == m->qid && t.key_serial == 9, "A17: of the message and its key");
		is_int(t.last_day - token_day(clock_wall_us()), 14, "A17: for token-lifetime");
		is_view(d.sender_original, "a@from.test", "A17: the client's own is told beside it");
		ok(view_is(d.tag, "campaign"), "P8: and the tag");
		seen |= 1u << t.rcpt;
		copies += d.copy;
		sent(&d);
	}
	is_int(seen, 3, "A17: each recipient has its own");
	is_int(copies, 0, "C15: none of them a copy");
	ok(log_id(m->qid, "removed"), "all done");
	peer_close(&w.authd);
	drain();
}

static void
test_simulator(void)
{
	struct mail *m = MAIL("success@sim.test", "hard@sim.test", "soft+1@sim.test", "complaint@sim.test",
	    "suppressed@sim.test");
	struct ipc_report rep;
	struct ipc_conn_open o;

	m->kinds = "33333";
	fresh(SLOW);
	store(m);
	ok(log_id(m->qid, "to=<success@sim.test>, relay=simulator, "), "P25: success");
	ok(logged("dsn=2.0.0, status=sent (Ok (simulated)) tenant=acme key=app1 tag=campaign"), "P25 P8: sent, with its tag");
	ok(logged("to=<hard@sim.test>, relay=simulator") && logged("dsn=5.1.1, status=bounced"), "P25: hard");
	ok(logged("to=<soft+1@sim.test>, relay=simulator") && logged("dsn=4.2.2, status=deferred"), "P25: soft");
	ok(logged("to=<suppressed@sim.test>, relay=simulator") && logged("dsn=5.7.1, status=bounced"), "P25: suppressed");
	ok(AWAIT(&w.bounce, report, &rep), "P25: the bounces are reported as real ones");
	SEND(&w.bounce, -1, report_done, .req = rep.req, .ok = true);
	ok(counted("messages=1 recipients=1") && QUIET(&w.smtp, conn_open, &o), "P25: soft waits; no connection was made");
	drain();
}

static void
test_returned(void)
{
	struct mail *m = MAIL("b-token@bounce.test");
	struct ipc_returned r;

	m->sender = "";
	m->kinds = "2";
	fresh(FAST);
	store(m);
	ok(AWAIT(&w.bounce, returned, &r) && r.qid == m->qid && view_is(r.rcpt, "b-token@bounce.test"),
	    "A17: returned mail goes to bounce");
	peer_close(&w.bounce);
	peer_open(&w.bounce, ROLE_BOUNCE);
	ok(AWAIT(&w.bounce, returned, &r), "A17: again, when that was gone before it answered");
	SEND(&w.bounce, -1, returned_done, .req = r.req);
	ok(log_id(m->qid, "removed"), "A17: then it is done");
	SEND(&w.bounce, -1, returned_done, .req = r.req);
	ok(!receive(&w.bounce, WAIT_MS) && w.bounce.sock < 0, "an answer to no question drops the peer");
	drain();
}

static void
test_held(void)
{
	struct mail *m = MAIL("b@to.test");
	struct ipc_deliver d;
	char id[QID_CHARS + 1];

	m->flags = SEGMENT_HELD;
	fresh(SLOW);
	store(m);
	ok(counted("messages=1 recipients=1 bytes=63 active=0 deferred=0 held=1"), "A29: queued held");
	qid_text(m->qid, id);
	ok(has(CTL("queue list", { "id", id }), "over quota"), "A29: with the reason");
	kill_qmgr(true);
	ok(start(SLOW), "A29: kill -9");
	peers();
	ok(counted("held=1"), "A29: and it stays held");
	ok(has(CTL("queue release", { "id", id }), "recipients=1"), "A29: until it is released");
	ok(take_job(&d), "then it is delivered");
	sent(&d);
	ok(log_id(m->qid, "removed"), "and gone");
	drain();
}

/* RFC 4865: not before its time, whatever happens meanwhile. */
static void
test_scheduled(void)
{
	struct mail *m = MAIL("b@to.test", "c@to.test"), *far = MAIL("f@to.test");
	struct ipc_conn_open o;
	struct ipc_deliver d;
	char id[QID_CHARS + 1];

	m->age_s = 3598; /* its age counts from the release on */
	fresh("retry { method linear; a 1; period 3600; }\n");
	uint64_t release = m->release_us = clock_wall_us() + 3000000;
	store(m);
	ok(counted("messages=1 recipients=2 bytes=63 active=0 deferred=2 held=0"), "RFC 4865: it waits");
	ok(has(CTL("queue list", { "state", "scheduled" }), "state=scheduled") &&
		has(CTL("queue list", { "state", "deferred" }), "end=0") &&
		!strstr(CTL("queue list", { "state", "deferred" }), "b@to.test"), "shown as scheduled, not as deferred");
	qid_text(m->qid, id);
	ok(has(CTL("queue show", { "id", id }), "header_from=news@from.test retry=gentle") &&
		has(CTL("queue show", { "id", id }), "attempts=0"), "J9 C11: what routes and retries it is kept");
	kill_qmgr(true);
	ok(start("retry { method linear; a 1; period 3600; }\n"), "RFC 4865: kill -9 before the row is on disk");
	peers();
	ok(counted("active=0 deferred=2") && has(CTL("queue list", { "id", id }), "state=scheduled"), "still scheduled");
	usleep(200000);
	kill_qmgr(true);
	start("retry { method linear; a 1; period 3600; }\n");
	peers();
	ok(counted("active=0 deferred=2") && has(CTL("queue list", { "id", id }), "state=scheduled"), "and behind it");
	ok(has(CTL("queue flush", { "all", "" }), "recipients=0"), "a flush of all leaves it");
	CTL("queue hold", { "id", id });
	CTL("queue release", { "id", id });
	ok(has(CTL("queue list", { "id", id }), "state=scheduled"), "so does the end of a hold");
	ok(take_job(&d) && d.qid == m->qid && d.attempt == 1 && count_rcpts(&d) == 2, "RFC 4865: it goes, a first attempt");
	ok(clock_wall_us() >= release, "RFC 4865: not before its time");
	deferred(&d);
	ok(counted("deferred=2") && has(CTL("queue list", { "id", id }), "state=deferred"), "age counts from the release");
	ok(take_job(&d) && d.attempt == 2, "and it is tried again");
	sent(&d);
	ok(log_id(m->qid, "removed"), "removed");
	far->release_us = clock_wall_us() + 86400000000u;
	w.segs = 0;
	store(far);
	counted("deferred=1");
	ok(QUIET(&w.smtp, conn_open, &o), "one for tomorrow waits");
	qid_text(far->qid, id);
	ok(has(CTL("queue flush", { "id", id }), "recipients=1") && take_job(&d), "the admin sends it by its id");
	sent(&d);
	drain();
}

/* Of what waits, the higher priority goes first: the key's and the sender's together. */
static void
test_priority(void)
{
	enum { COUNT = 4 };
	struct mail mails[COUNT];
	static const uint8_t key[COUNT] = { 0, 0, 3, 0 }, mt[COUNT] = { 0, 1, 0, 19 };
	static const int order[COUNT] = { 3, 2, 0, 1 };
	struct ipc_conn_open o;
	struct ipc_deliver d;

	fresh(SLOW "delivery { connections 1; }\n");
	for (int i = 0; i < COUNT; i++) {
		mails[i] = (struct mail){ .sender = "a@from.test", .rcpts = { "b@to.test" },
			.priority = key[i], .mt_priority = mt[i] };
		store(&mails[i]);
	}
	AWAIT(&w.smtp, conn_open, &o);
	counted("active=4");
	SEND(&w.smtp, -1, conn_ready, .conn = o.conn, .relay = VIEW("mx.test[192.0.2.1]:25"));
	for (int i = 0; i < COUNT; i++) {
		const struct mail *m = &mails[order[i]];
		ok(take_job(&d) && d.qid == m->qid, "RFC 6710, 6: priority %d of key and %d of sender is number %d",
		    m->priority, m->mt_priority ? m->mt_priority - 10 : 0, i + 1);
		is_int(d.mt_priority, m->mt_priority, "the next host is told the sender's");
		sent(&d);
	}
	drain();
}

static void
test_damaged_content(void)
{
	struct mail *m = MAIL("b@to.test", "c@other.test");
	struct ipc_deliver d, other;
	struct ipc_conn_open o;

	fresh(SLOW);
	store(m);
	take_job(&d);
	char rcpts[1000];
	memcpy(rcpts, d.rcpts.p, d.rcpts.n);
	d.rcpts.p = rcpts;
	take_job(&other);
	finish(&d, RCPT_DAMAGED, 0, ESC(0, 0, 0), "");
	finish(&other, RCPT_AGAIN, 0, ESC(0, 0, 0), "");
	ok(counted("messages=1 recipients=2 bytes=63 active=0 deferred=0 held=2"),
	    "atk-I11: damaged content: the message is held");
	is_int(count_files("quarantine"), 1, "atk-I11: a copy is kept");
	ok(logged("content is damaged in the spool"), "atk-I11: and it is reported");
	ok(QUIET(&w.smtp, conn_open, &o), "nothing of it is sent");
	drain();
}

static void
test_overflow(void)
{
	enum { COUNT = 150 };
	static struct mail mails[COUNT];
	struct ipc_deliver d;

	fresh(SLOW "delivery { active 100; connections 1; }\n");
	for (int i = 0; i < COUNT; i++) {
		mails[i] = (struct mail){ .sender = "a@from.test", .rcpts = { "b@to.test" } };
		store(&mails[i]);
	}
	ok(counted("messages=150 recipients=150 bytes=9450 active=100 deferred=50"),
	    "atk-J14: what is over the limit waits on disk");
	int got = 0, attempts = 0;
	while (got < COUNT && take_job(&d)) {
		attempts += d.attempt == 1;
		sent(&d);
		got++;
	}
	is_int(got, COUNT, "atk-J14: and is delivered when there is room");
	is_int(attempts, COUNT, "without an attempt counted");
	ok(counted("messages=0"), "all gone");
	drain();
}

static void
test_big(void)
{
	struct ipc_big b;
	struct ipc_deliver d;
	struct mail *m = MAIL("b@to.test");

	fresh(SLOW);
	segment(0);
	SEND(&w.writer, -1, big_want, .req = 7);
	ok(AWAIT(&w.writer, big, &b) && b.req == 7 && b.big && w.writer.fd >= 0,
	    "a file of its own for a large message");
	if (write(w.writer.fd, content_bytes, 500000) != 500000)
		die("write");
	close(w.writer.fd);
	m->big = b.big;
	m->size = 500000;
	store(m);
	ok(take_job(&d) && d.big == b.big && d.content_len == 500000 && content_good(&d),
	    "its content is read from the file");
	deferred(&d);
	counted("deferred=1");
	SEND(&w.writer, -1, big_want, .req = 8);
	AWAIT(&w.writer, big, &b);
	is_int(count_files("big"), 2, "another one, under way");
	usleep(200000);
	kill_qmgr(true);
	start(SLOW);
	peers();
	counted("messages=1");
	for (int i = 0; i < 200 && count_files("big") != 1; i++)
		usleep(10000);
	is_int(count_files("big"), 1, "after kill -9 the file that no record names is removed");
	CTL("queue flush", { "all", "" });
	ok(take_job(&d) && content_good(&d), "the named one is there");
	sent(&d);
	log_id(m->qid, "removed");
	for (int i = 0; i < 200 && count_files("big"); i++)
		usleep(10000);
	is_int(count_files("big"), 0, "and goes with its message");
	drain();
}

static void
test_hostile(void)
{
	struct mail *m = MAIL("b@to.test"), *n = MAIL("c@to.test");
	struct ipc_deliver d;
	struct ipc_conn_open o;
	struct ipc_segment s;

	fresh(SLOW);
	store(m);
	SEND(&w.writer, -1, stored, .gen = w.seg[0].gen, .offset = 4096, .end = 4160,
	    .head = VIEW("rubbish"));
	await_ms(&w.writer, IPC_TYPE_segment, &s, 2000);
	is_int(w.writer.sock, -1, "a writer that lies is dropped");
	ok(take_job(&d) && d.qid == m->qid, "its earlier message is delivered");
	SEND(&w.smtp, -1, job_done, .conn = d.conn, .job = d.job + 1000);
	await_ms(&w.smtp, IPC_TYPE_conn_open, &o, 2000);
	is_int(w.smtp.sock, -1, "so is an smtp process");
	peer_open(&w.smtp, ROLE_SMTP);
	ok(take_job(&d) && d.qid == m->qid, "the next one gets the job");
	sent(&d);
	close(w.seg[0].fd);
	w.segs = 0;
	peer_open(&w.writer, ROLE_SMTPD);
	store(n);
	ok(take_job(&d) && d.qid == n->qid, "and the next writer works");
	sent(&d);
	is_int(drain(), 0, "exit 0");
}

static void
test_reload(void)
{
	struct mail *m = MAIL("b@to.test");
	struct ipc_conn_open o;

	fresh(SLOW);
	ok(configure("relayhost [relay.test]:2525\n"), "reload");
	store(m);
	ok(AWAIT(&w.smtp, conn_open, &o) && view_is(o.nexthop, "relay.test") && o.port == 2525 && !o.mx,
	    "a new relayhost holds for what comes next");
	ok(!configure("transport text:/nowhere\n"), "a map that is not there is refused");
	drain();
}

static void
test_space(void)
{
#ifdef EKIDEN_FAULTS
	struct ipc_no_space none;
	struct ipc_segment s;

	setenv("EKIDEN_FAULT", "make.write:3:ENOSPC", 1);
	fresh(SLOW);
	unsetenv("EKIDEN_FAULT");
	SEND(&w.writer, -1, segment_want, .count = 1);
	ok(AWAIT(&w.writer, no_space, &none) && none.count == 1, "atk-J4: disk full: writers are told");
	ok(AWAIT(&w.writer, segment, &s), "atk-J4: and served when space is back");
	close(w.writer.fd);
	drain();
	setenv("EKIDEN_FAULT", "store.sync:1:EIO", 1);
	struct mail *m = MAIL("b@to.test");
	struct ipc_deliver d;
	fresh(SLOW);
	unsetenv("EKIDEN_FAULT");
	store(m);
	take_job(&d);
	deferred(&d);
	ok(logged("queue database: opened again"), "atk-J5: a failed database is opened again");
	ok(counted("deferred=1"), "nothing is lost");
	usleep(300000);
	kill_qmgr(true);
	start(SLOW);
	peers();
	ok(counted("deferred=1"), "and all is on disk then");
	drain();
#else
	skip(5, "no fault points in this build");
#endif
}

#ifdef EKIDEN_FAULTS
static bool
killed_itself(void)
{
	for (int i = 0; i < WAIT_MS / 10; i++) {
		int status;
		if (waitpid(w.pid, &status, WNOHANG) == w.pid)
			return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		usleep(10000);
	}
	return false;
}

/* Delivers everything until the queue is empty; how many of the ids in list were met. */
static size_t
deliver_all(const uint64_t *list, size_t n)
{
	bool met[8] = { false };
	struct ipc_deliver d;
	size_t count = 0;

	CTL("queue flush", { "all", "" });
	for (int i = 0; i < 20 && !strstr(ctl_call("queue count", NULL), "messages=0"); i++) {
		if (!take_job(&d))
			break;
		for (size_t k = 0; k < n; k++)
			met[k] |= list[k] == d.qid;
		sent(&d);
		usleep(50000);
	}
	for (size_t k = 0; k < n; k++)
		count += met[k];
	return counted("messages=0") ? count : 0;
}

static void
crash_at(const char *point)
{
	struct mail mails[4];
	struct ipc_deliver d;
	uint64_t ids[3];

	setenv("EKIDEN_FAULT", point, 1);
	fresh(SLOW);
	unsetenv("EKIDEN_FAULT");
	for (int i = 0; i < 4; i++) {
		mails[i] = (struct mail){ .sender = "a@from.test", .rcpts = { "b@to.test" } };
		store(&mails[i]);
	}
	for (int i = 0; i < 3; i++)
		ids[i] = mails[i + 1].qid;
	take_job(&d);
	sent(&d);
	take_job(&d);
	ids[0] = d.qid;
	deferred(&d);
	ok(killed_itself(), "crash point %s is reached", point);
	hang_up(true);
	ok(start(SLOW), "start after it");
	peers();
	is_int(deliver_all(ids, 3), 3, "S35: nothing is lost at %s", point);
	is_int(drain(), 0, "exit 0");
}

/* While a segment is made or taken back. */
static void
crash_in_pool(const char *point)
{
	struct mail *m = MAIL("b@to.test");
	struct ipc_deliver d;
	struct ipc_no_space none;

	setenv("EKIDEN_FAULT", point, 1);
	fresh(SLOW);
	unsetenv("EKIDEN_FAULT");
	SEND(&w.writer, -1, segment_want, .count = 1);
	while (w.segs == 0 && w.writer.sock >= 0)
		await_ms(&w.writer, IPC_TYPE_no_space, &none, 50);
	if (w.segs) {
		close(w.seg[0].fd);
		w.seg[0].fd = -1;
		SEND(&w.writer, -1, segment_release, .gen = w.seg[0].gen, .end = SEGMENT_DATA);
	}
	ok(killed_itself(), "crash point %s is reached", point);
	hang_up(true);
	ok(start(SLOW), "start after it");
	peers();
	store(m);
	ok(take_job(&d) && d.qid == m->qid && content_good(&d), "S35: the pool works after %s", point);
	sent(&d);
	is_int(drain(), 0, "exit 0");
}
#endif

static void
test_crash_points(void)
{
#ifdef EKIDEN_FAULTS
	static const char *const points[] = { "done.write", "done.sync", "store.sync" };
	static const char *const pool[] = { "make.write", "make.write:9", "make.sync", "recycle.sync" };

	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		crash_at(points[i]);
	for (size_t i = 0; i < sizeof(pool) / sizeof(pool[0]); i++)
		crash_in_pool(pool[i]);
#else
	skip(28, "no fault points in this build");
#endif
}

int
main(int argc, char **argv)
{
	if (argc != 3)
		die("usage: harness QMGR DIR");
	signal(SIGPIPE, SIG_IGN);
	w.qmgr = argv[1];
	w.dir = argv[2];
	snprintf(w.log, sizeof(w.log), "%s/log", w.dir);
	if (geteuid() == 0 && chown(w.dir, UNPRIVILEGED, UNPRIVILEGED) < 0)
		die("chown");
	for (size_t i = 0; i < sizeof(content_bytes); i++)
		content_bytes[i] = (char)('a' + i % 23);
	test_deliver();
	test_defer();
	test_live_writer();
	test_tail();
	test_damaged();
	test_torn();
	test_failed_sync();
	test_compaction();
	test_released();
	test_admin();
	test_reports();
	test_recall();
	test_connections();
	test_return_addresses();
	test_simulator();
	test_returned();
	test_held();
	test_scheduled();
	test_priority();
	test_damaged_content();
	test_overflow();
	test_big();
	test_hostile();
	test_reload();
	test_space();
	test_crash_points();
	return done_testing();
}
