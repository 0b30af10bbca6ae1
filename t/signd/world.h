/* SPDX-License-Identifier: ISC */
/* The signd executable, with this process as its master and as an smtpd. One translation unit includes it. */
#ifndef EKIDEN_SIGND_WORLD_H
#define EKIDEN_SIGND_WORLD_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/rsa.h>

#include "lib/channel.h"
#include "lib/dkim_key.h"
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
	void (*answered)(struct world *w, const struct ipc_signature *m); /* or NULL */
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

UNUSED static bool
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

UNUSED static bool
smtpd_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct world *w = ch->ctx;
	struct ipc_signature m;

	(void)fd;
	if (type != IPC_TYPE_signature || !ipc_get(&ipc_desc_signature, body, &m))
		return false;
	w->answers++;
	w->last_ok = m.ok;
	if (w->answered)
		w->answered(w, &m);
	w->signature_len = m.signature.n;
	memcpy(w->signature, m.signature.p, m.signature.n);
	return true;
}

UNUSED static void
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

UNUSED static void
on_timer(struct loop_timer *t)
{
	struct world *w = CONTAINER(t, struct world, timer);

	if (*w->watch >= w->want || w->master_end || loop_now_ms(w->loop) > w->end_ms)
		loop_stop(w->loop);
	else
		loop_timer_set(w->loop, t, 1);
}

UNUSED static bool
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

UNUSED static void
send_config(struct world *w, unsigned certificates)
{
	int fd = memfd_create("config", MFD_CLOEXEC);

	dprintf(fd, "hostname mta1.example.jp\n");
	for (unsigned i = 0; i < certificates; i++)
		dprintf(fd, "certificate c%u { chain /nowhere/c%u.crt\nkey /nowhere/c%u.key\n}\n", i, i, i);
	IPC_SEND_FD(&w->master, fd, config, .serial = ++w->serial);
}

UNUSED static void
send_key(struct world *w, uint32_t number, EVP_PKEY *key)
{
	struct buf pem = BUF_INIT(65536);

	fixture_key_pem(key, &pem);
	IPC_SEND(&w->master, key, .key = number, .pem = buf_view(&pem));
	buf_free(&pem);
}

UNUSED static void
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

UNUSED static void
apply(struct world *w)
{
	IPC_SEND(&w->master, apply, .serial = w->serial);
}

UNUSED static void
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

UNUSED static uint64_t
pin_of(EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(key, &der);
	uint64_t pin = tls_key_pin(view_of(der, (size_t)n));

	OPENSSL_free(der);
	return pin;
}

/* A key for mail; its pin. */
UNUSED static uint64_t
send_dkim_key(struct world *w, enum dkim_algorithm a, unsigned bits, EVP_PKEY **key)
{
	struct buf pem = BUF_INIT(DKIM_PEM_MAX);
	uint64_t pin = 0;
	struct err e;

	if (dkim_key_make(a, bits, &pem, &e) < 0)
		exit(1);
	*key = dkim_key_parse(buf_view(&pem), a, DKIM_RSA_BITS_LEAST, &e);
	dkim_key_public(*key, a, NULL, &pin, &e);
	IPC_SEND(&w->master, dkim_key, .pin = pin, .algorithm = (uint8_t)a, .pem = buf_view(&pem));
	buf_wipe(&pem);
	buf_free(&pem);
	return pin;
}

#endif
