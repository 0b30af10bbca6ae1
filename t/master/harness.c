/* SPDX-License-Identifier: ISC */
/*
 * A stand-in for every daemon, to test master and lib/daemon.c with: the role is its own name.
 * It notes what it gets, answers `fake state` with it over the control socket, and misbehaves on demand:
 * by command (fake crash, fake forbidden, fake forge, fake dial, fake exit, fake close) and by configuration:
 * "postmaster refuse-ROLE@x" makes that role refuse it, "stall-ROLE@x" makes it answer never.
 * As `harness digest` it prints the digest of the IPC schema.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/ctl.h"
#include "lib/daemon.h"

enum { PEERS_MAX = 64, MATERIAL_MAX = 4096 };

struct fake {
	struct fake_peer {
		enum role role;
		uint32_t instance;
		int fd; /* -1: gone */
	} peers[PEERS_MAX];
	size_t peer_count, gone;
	char material[MATERIAL_MAX], fresh[MATERIAL_MAX]; /* applied; of the next configuration */
	int listener;
};

static void
note(struct fake *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void
note(struct fake *f, const char *fmt, ...)
{
	size_t at = strlen(f->fresh);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->fresh + at, sizeof(f->fresh) - at, fmt, ap);
	va_end(ap);
}

static long long
size_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? (long long)st.st_size : -1;
}

static bool
material(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	struct fake *f = d->state;
	union {
		struct ipc_listener listener;
		struct ipc_key key;
		struct ipc_cert cert;
		struct ipc_ticket_key ticket_key;
		struct ipc_secret secret;
	} m;
	const struct ipc_desc *desc = ipc_desc_of(type);

	if (!ipc_get(desc, body, &m))
		return false;
	if (type == IPC_TYPE_listener) {
		int on = 0;
		socklen_t len = sizeof(on);
		getsockopt(*fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len);
		note(f, "listener=%u,%.*s,%s ", m.listener.listener, VIEW_ARG(m.listener.address),
		    on ? "listens" : "deaf");
		if (f->listener)
			close(f->listener);
		f->listener = *fd;
		*fd = -1;
	} else if (type == IPC_TYPE_key) {
		note(f, "key=%u,%s ", m.key.key, view_starts(m.key.pem, "-----BEGIN") ? "pem" : "?");
	} else if (type == IPC_TYPE_cert) {
		note(f, "cert=%u,%.*s ", m.cert.key, VIEW_ARG(m.cert.name));
	} else if (type == IPC_TYPE_ticket_key) {
		note(f, "ticket=%u,%02x%02x%02x%02x ", m.ticket_key.listener,
		    (uint8_t)m.ticket_key.key.p[0], (uint8_t)m.ticket_key.key.p[1],
		    (uint8_t)m.ticket_key.key.p[2], (uint8_t)m.ticket_key.key.p[79]);
	} else if (type == IPC_TYPE_secret) {
		note(f, "secret=%.*s,%.*s,%.*s ", VIEW_ARG(m.secret.name), VIEW_ARG(m.secret.user),
		    VIEW_ARG(m.secret.secret));
	} else {
		note(f, "%s=%lld ", desc->name, size_of(*fd));
	}
	return true;
}

static int
apply(struct daemon *d, struct err *e)
{
	struct fake *f = d->state;
	char want[64];

	snprintf(want, sizeof(want), "refuse-%s@x", role_name(d->spec->role));
	if (!strcmp(d->conf->postmaster, want)) {
		f->fresh[0] = '\0';
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "told to refuse");
	}
	snprintf(want, sizeof(want), "stall-%s@x", role_name(d->spec->role));
	while (!strcmp(d->conf->postmaster, want))
		usleep(100000);
	memcpy(f->material, f->fresh, sizeof(f->material));
	f->fresh[0] = '\0';
	log_info("fake applied %s", d->conf->postmaster);
	return 0;
}

static void
peer(struct daemon *d, enum role role, uint32_t instance, int fd)
{
	struct fake *f = d->state;
	size_t i = 0;

	while (i < f->peer_count && (f->peers[i].role != role || f->peers[i].instance != instance))
		i++;
	if (i == PEERS_MAX)
		abort();
	if (i == f->peer_count)
		f->peers[f->peer_count++].fd = -1;
	if (f->peers[i].fd >= 0)
		close(f->peers[i].fd);
	f->peers[i] = (struct fake_peer){ role, instance, fd };
}

static void
peer_gone(struct daemon *d, enum role role, uint32_t instance)
{
	struct fake *f = d->state;

	for (size_t i = 0; i < f->peer_count; i++)
		if (f->peers[i].role == role && f->peers[i].instance == instance &&
		    f->peers[i].fd >= 0) {
			close(f->peers[i].fd);
			f->peers[i].fd = -1;
			f->gone++;
		}
}

/* Whether the other end of a peer's channel is open. */
static bool
alive(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);

	return n != 0;
}

static enum ctl_result
say_state(struct ctl_call *call)
{
	const struct daemon *d = call->daemon;
	const struct fake *f = d->state;
	struct buf peers = BUF_INIT(4096);

	for (size_t i = 0; i < f->peer_count; i++)
		buf_printf(&peers, "%s/%u%s ", role_name(f->peers[i].role), f->peers[i].instance,
		    f->peers[i].fd < 0 ? ":gone" : alive(f->peers[i].fd) ? "" : ":dead");
	ctl_number(call, "serial", d->conf_serial);
	ctl_number(call, "instances", d->instances);
	ctl_bool(call, "confined", d->confined);
	ctl_str(call, "postmaster", d->conf->postmaster);
	ctl_str(call, "material", f->material);
	ctl_text(call, "peers", buf_view(&peers));
	ctl_number(call, "gone", f->gone);
	ctl_number(call, "admin", call->uid);
	ctl_row_end(call);
	buf_free(&peers);
	return CTL_DONE;
}

static enum ctl_result
do_crash(struct ctl_call *call)
{
	(void)call;
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
	return CTL_DONE;
}

static enum ctl_result
do_forbidden(struct ctl_call *call)
{
	(void)call;
	execve("/bin/true", (char *[]){ NULL }, (char *[]){ NULL });
	return CTL_DONE;
}

/* A message to master that only master may send. */
static enum ctl_result
do_forge(struct ctl_call *call)
{
	struct daemon *d = call->daemon;

	IPC_SEND(&d->master, drain, .deadline_s = 0);
	return CTL_DONE;
}

/* Many connections at once: one to a milter of the configuration, if it has it, and to others. */
static enum ctl_result
do_dial(struct ctl_call *call)
{
	struct daemon *d = call->daemon;

	for (uint64_t req = 1; req <= 600; req++)
		IPC_SEND(&d->master, milter_want, .req = req, .name = req % 2 ? VIEW("nobody") : VIEW("far"));
	return CTL_DONE;
}

static enum ctl_result
do_exit(struct ctl_call *call)
{
	daemon_exit(call->daemon);
	return CTL_DONE;
}

/* Leaves master but stays. */
static enum ctl_result
do_close(struct ctl_call *call)
{
	struct daemon *d = call->daemon;

	channel_close(&d->master);
	return CTL_DONE;
}

static void
admin(struct daemon *d, uint32_t uid, int fd)
{
	static const struct ctl_command commands[] = { { "fake state", say_state },
		{ "fake crash", do_crash }, { "fake forbidden", do_forbidden },
		{ "fake forge", do_forge }, { "fake dial", do_dial }, { "fake exit", do_exit }, { "fake close", do_close },
		{ NULL, NULL } };

	ctl_serve(d->loop, fd, uid, commands, d);
}

static void
drain(struct daemon *d)
{
	char slow[64];

	log_info("fake drains");
	snprintf(slow, sizeof(slow), "slow-%s@x", role_name(d->spec->role));
	if (strcmp(d->conf->postmaster, slow) != 0)
		daemon_exit(d);
}

static enum role
own_role(const char *name)
{
	const char *slash = strrchr(name, '/');

	for (unsigned role = ROLE_SMTPD; role <= ROLE_DNSD; role++)
		if (!strcmp(slash ? slash + 1 : name, role_name(role)))
			return role;
	return ROLE_MASTER;
}

int
main(int argc, char **argv)
{
	static const enum sandbox_profile profiles[] = { [ROLE_SMTPD] = SANDBOX_SMTPD,
		[ROLE_AUTHD] = SANDBOX_AUTHD, [ROLE_SIGND] = SANDBOX_SIGND,
		[ROLE_QMGR] = SANDBOX_QMGR, [ROLE_SMTP] = SANDBOX_SMTP,
		[ROLE_BOUNCE] = SANDBOX_BOUNCE, [ROLE_DNSD] = SANDBOX_DNSD };

	if (argc > 1 && !strcmp(argv[1], "digest")) {
		printf("%" PRIu64 "\n", ipc_digest());
		return 0;
	}
	enum role role = own_role(argv[0]);
	struct daemon_spec spec = { .role = role, .state_size = sizeof(struct fake),
		.sandbox = profiles[role], .max_fds = 1000, .init = apply, .reload = apply,
		.material = material, .peer = peer, .peer_gone = peer_gone, .admin = admin,
		.drain = drain };
	return role == ROLE_MASTER ? 2 : daemon_run(&spec, argc, argv);
}
