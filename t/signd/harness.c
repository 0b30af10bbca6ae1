/* SPDX-License-Identifier: ISC */
/*
 * Starts the signd executable and plays its master and an smtpd: harness SIGND DIR. TAP on standard
 * output. As root signd runs confined, as another user without.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/rsa.h>

#include "lib/channel.h"
#include "lib/log.h"
#include "lib/tls.h"
#include "t/tap.h"
#include "t/unit/tls_fixture.h"

enum { MASTER_FD = 3, UNPRIVILEGED = 65534 };

struct world {
	struct loop *loop;
	struct channel master, smtpd;
	pid_t pid;
	uint32_t serial;
	EVP_PKEY *rsa, *ec, *fresh;
	/* what came back */
	unsigned ready, refused, answers, smtpd_ends;
	bool master_end, last_ok;
	char why[IPC_TEXT_MAX + 1];
	unsigned char signature[1024];
	size_t signature_len;
	/* waiting: until the counter at `watch` reaches `want` */
	const unsigned *watch;
	unsigned want;
	struct loop_timer timer;
	uint64_t end_ms;
};

static bool
master_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct world *w = ch->ctx;
	struct ipc_refused m;

	(void)fd;
	if (type == IPC_TYPE_ready) {
		w->ready++;
	} else if (type == IPC_TYPE_refused && ipc_get(&ipc_desc_refused, body, &m)) {
		w->refused++;
		snprintf(w->why, sizeof(w->why), VIEW_FMT, VIEW_ARG(m.why));
	}
	return true;
}

static bool
smtpd_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct world *w = ch->ctx;
	struct ipc_signature m;

	(void)fd;
	if (type != IPC_TYPE_signature || !ipc_get(&ipc_desc_signature, body, &m))
		return false;
	w->answers++;
	w->last_ok = m.ok;
	w->signature_len = m.signature.n;
	memcpy(w->signature, m.signature.p, m.signature.n);
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
		w->smtpd_ends++;
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
send_config(struct world *w, unsigned certificates)
{
	int fd = memfd_create("config", MFD_CLOEXEC);

	dprintf(fd, "hostname mta1.example.jp\n");
	for (unsigned i = 0; i < certificates; i++)
		dprintf(fd, "certificate c%u { chain /nowhere/c%u.crt\nkey /nowhere/c%u.key\n}\n", i, i, i);
	IPC_SEND_FD(&w->master, fd, config, .serial = ++w->serial);
}

static void
send_key(struct world *w, uint32_t number, EVP_PKEY *key)
{
	struct buf pem = BUF_INIT(65536);

	fixture_key_pem(key, &pem);
	IPC_SEND(&w->master, key, .key = number, .pem = buf_view(&pem));
	buf_free(&pem);
}

static void
send_peer(struct world *w)
{
	static const struct channel_ops ops = { smtpd_frame, on_closed };
	int fds[2];

	if (channel_pair(fds) < 0)
		exit(1);
	IPC_SEND_FD(&w->master, fds[1], peer, .role = ROLE_SMTPD, .instance = 0);
	channel_close(&w->smtpd);
	channel_open(&w->smtpd, w->loop, fds[0], &ops, w, ROLE_SIGND, 0);
}

static void
apply(struct world *w)
{
	IPC_SEND(&w->master, apply, .serial = w->serial);
}

static void
start(struct world *w, const char *program, const char *dir)
{
	static const struct channel_ops ops = { master_frame, on_closed };
	bool confine = geteuid() == 0;
	int fds[2];

	if (channel_pair(fds) < 0)
		exit(1);
	fflush(stdout);
	w->pid = fork();
	if (w->pid == 0) {
		dup2(fds[1], MASTER_FD);
		fcntl(MASTER_FD, F_SETFD, 0);
		execl(program, "signd", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	channel_open(&w->master, w->loop, fds[0], &ops, w, ROLE_SIGND, 0);
	IPC_SEND(&w->master, setup, .role = ROLE_SIGND, .instances = 1, .uid = UNPRIVILEGED,
	    .gid = UNPRIVILEGED, .confine = confine, .dir = view_str(dir));
	send_config(w, 2);
	send_key(w, 1, w->rsa);
	send_key(w, 2, w->ec);
	send_peer(w);
	apply(w);
}

static uint64_t
pin_of(EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(key, &der);
	uint64_t pin = tls_key_pin(view_of(der, (size_t)n));

	OPENSSL_free(der);
	return pin;
}

/* Asks for a signature by key `number`; true when it came and is the one of `key`. */
static bool
signs(struct world *w, uint32_t number, EVP_PKEY *key)
{
	unsigned char in[256] = { 0, 1, 2, 3 }, back[256];
	bool rsa = EVP_PKEY_is_a(key, "RSA");
	size_t n = rsa ? 256 : 32, len = sizeof(back);

	IPC_SEND(&w->smtpd, sign, .req = 9, .key = number, .pin = pin_of(key),
	    .scheme = rsa ? SIGN_RSA_RAW : SIGN_ECDSA, .in = view_of(in, n));
	if (!reaches(w, &w->answers, w->answers + 1) || !w->last_ok)
		return false;
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	bool good;
	if (rsa)
		good = EVP_PKEY_verify_recover_init(c) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(c, RSA_NO_PADDING) == 1 &&
		    EVP_PKEY_verify_recover(c, back, &len, w->signature, w->signature_len) == 1 &&
		    memcmp(back, in, n) == 0;
	else
		good = EVP_PKEY_verify_init(c) == 1 &&
		    EVP_PKEY_verify(c, w->signature, w->signature_len, in, n) == 1;
	EVP_PKEY_CTX_free(c);
	return good;
}

/* Occurrences of a text in the writable memory of a process; -1: that cannot be read. */
static int
count_in_memory(pid_t pid, const char *what, size_t n)
{
	char path[64], line[512];
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	int mem = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *maps = fopen(path, "r");
	if (mem < 0 || maps == NULL)
		return -1;
	while (fgets(line, sizeof(line), maps)) {
		unsigned long from, to;
		char mode[5];
		if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || mode[1] != 'w' ||
		    to - from > 64 << 20)
			continue;
		char *copy = x_malloc(to - from);
		ssize_t got = pread(mem, copy, to - from, (off_t)from);
		for (char *p = copy; got > 0 && (p = memmem(p, (size_t)(copy + got - p), what, n)); p++)
			found++;
		free(copy);
	}
	fclose(maps);
	close(mem);
	return found;
}

static void
test_memory(struct world *w)
{
	struct buf pem = BUF_INIT(65536);

	if (WITH_ASAN || geteuid() != 0) {
		skip(2, "needs root, and no AddressSanitizer: it keeps freed memory as it was");
		return;
	}
	int sane = count_in_memory(w->pid, "mta1.example.jp", 15);
	ok(sane > 0, "signd's memory can be read (%d)", sane);
	fixture_key_pem(w->rsa, &pem);
	struct view rest = buf_view(&pem), line;
	view_cut(&rest, '\n');
	int found = 0, lines = 0;
	while ((line = view_cut(&rest, '\n')).n == 64) {
		found += count_in_memory(w->pid, line.p, line.n);
		lines++;
	}
	ok(lines > 10 && found == 0, "B15 no line of the PEM text is left in it (%d of %d)", found, lines);
	buf_wipe(&pem);
	buf_free(&pem);
}

static void
test_reload(struct world *w)
{
	send_config(w, 2);
	send_key(w, 1, w->fresh);
	send_key(w, 2, w->ec);
	ok(signs(w, 1, w->rsa) && !signs(w, 1, w->fresh), "new keys are not used before apply");
	apply(w);
	ok(reaches(w, &w->ready, 2), "reload: ready");
	ok(signs(w, 1, w->fresh), "... with the new key");
	ok(signs(w, 1, w->rsa), "... and the former one for sessions of the former certificate");

	send_config(w, 3);
	send_key(w, 1, w->rsa);
	send_key(w, 2, w->rsa);
	IPC_SEND(&w->master, key, .key = 3, .pem = VIEW("not a key"));
	apply(w);
	ok(reaches(w, &w->refused, 1), "C26 a configuration with a bad key is refused");
	ok(strstr(w->why, "c2") && strstr(w->why, "/nowhere/c2.key"), "... by name: %s", w->why);
	ok(signs(w, 1, w->fresh) && signs(w, 2, w->ec), "... and the old keys stay");

	send_config(w, 1);
	send_key(w, 1, w->fresh);
	apply(w);
	ok(reaches(w, &w->ready, 3) && signs(w, 1, w->fresh), "reload to fewer keys");
	send_config(w, 1);
	send_key(w, 1, w->fresh);
	apply(w);
	ok(reaches(w, &w->ready, 4) && !signs(w, 2, w->ec), "... a removed key is gone one reload later");
}

int
main(int argc, char **argv)
{
	struct world w = { .loop = loop_new(), .timer.fire = on_timer };
	int status = -1;

	if (argc != 3)
		return 2;
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	log_init("test/signd", "localhost", LOG_LEVEL_ERROR + 1);
	w.rsa = fixture_key("RSA");
	w.ec = fixture_key("P-256");
	w.fresh = fixture_key("P-256");
	start(&w, argv[1], argv[2]);
	ok(reaches(&w, &w.ready, 1), "signd is ready behind its sandbox %s", w.why);
	ok(signs(&w, 1, w.rsa) && signs(&w, 2, w.ec), "B15 it signs with RSA and ECDSA");
	ok(!signs(&w, 2, w.fresh) && !signs(&w, 7, w.fresh), "but not for a key it does not hold");
	test_reload(&w);
	test_memory(&w);
	IPC_SEND(&w.smtpd, report_done, .req = 1);
	ok(reaches(&w, &w.smtpd_ends, 1), "atk-I4 a wrong frame closes that channel");
	send_peer(&w);
	ok(signs(&w, 1, w.fresh), "... and signd serves a new one");
	IPC_SEND(&w.master, drain, .deadline_s = 5);
	ok(!reaches(&w, &w.ready, UINT32_MAX) && w.master_end, "drain");
	waitpid(w.pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "... exit 0 (%#x)", (unsigned)status);
	channel_close(&w.smtpd);
	EVP_PKEY_free(w.rsa);
	EVP_PKEY_free(w.ec);
	EVP_PKEY_free(w.fresh);
	loop_free(w.loop);
	return done_testing();
}
