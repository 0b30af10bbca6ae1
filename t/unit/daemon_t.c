/* SPDX-License-Identifier: ISC */
/*
 * The start of a daemon, with a scripted master and a kernel that lies: every step of giving up
 * privileges must be noticed when it fails or has no effect.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/daemon.h"
#include "t/tap.h"

enum { UID = 61999 };

static char root_dir[] = "/tmp/daemon_t.XXXXXX";

/* What the running daemon saw, told in the text of its refusal to a later configuration. */
static int
tell(struct daemon *d, struct err *e)
{
	struct rlimit files, core;

	getrlimit(RLIMIT_NOFILE, &files);
	getrlimit(RLIMIT_CORE, &core);
	return err_set(e, ERR_PERM, ESC(5, 0, 0),
	    "fd7=%d files=%llu core=%llu umask=%o old=%s new=%s",
	    fcntl(7, F_GETFD) < 0 ? errno : 0, (unsigned long long)files.rlim_cur,
	    (unsigned long long)core.rlim_max, umask(077), d->old_conf->hostname, d->conf->hostname);
}

static int
no_init(struct daemon *d, struct err *e)
{
	return strcmp(d->conf->hostname, "refuse.test") == 0 ?
	    err_set(e, ERR_PERM, ESC(5, 0, 0), "init says no") : 0;
}

static bool
material(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	(void)d, (void)body, (void)fd;
	return type != IPC_TYPE_secret;
}

static const struct daemon_spec spec = { .role = ROLE_AUTHD,
	.sandbox = SANDBOX_AUTHD,
	.max_fds = 77,
	.init = no_init,
	.reload = tell,
	.material = material };

/* A system call that fails with `error`, or (0) does nothing and says that it worked. */
struct lie {
	int call, error;
};

struct run {
	int master;
	pid_t pid;
};

static struct run
start(struct lie lie)
{
	static char name[] = "authd";
	char *argv[] = { name, NULL };
	int pair[2];
	struct run r;

	if (channel_pair(pair) < 0)
		abort();
	r.master = pair[0];
	struct timeval limit = { 10, 0 };
	setsockopt(r.master, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	r.pid = fork();
	if (r.pid == 0) {
		dup2(pair[1], DAEMON_MASTER_FD);
		dup2(pair[1], 7);
		if (lie.call) {
			scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
			seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
			seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint16_t)lie.error), lie.call, 0);
			if (seccomp_load(ctx) < 0)
				_exit(99);
			seccomp_release(ctx);
		}
		_exit(daemon_run(&spec, 1, argv));
	}
	close(pair[1]);
	return r;
}

static int
memfd_with(const char *text)
{
	int fd = memfd_create("t", MFD_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	return fd;
}

static void
send_conf(struct run *r, const char *text, uint32_t serial)
{
	int fd = memfd_with(text);

	channel_sync_send(r->master, &ipc_desc_config, &(struct ipc_config){ .serial = serial }, fd, NULL);
	close(fd);
}

static void
send_hello(struct run *r)
{
	channel_sync_send(r->master, &ipc_desc_hello, &(struct ipc_hello){ .digest = ipc_digest() }, -1,
	    NULL);
}

static void
send_setup(struct run *r, enum role role, const char *dir)
{
	struct ipc_setup m = { .role = (uint8_t)role, .instances = 1, .uid = UID, .gid = UID,
		.confine = geteuid() == 0, .dir = view_str(dir) };

	channel_sync_send(r->master, &ipc_desc_setup, &m, -1, NULL);
}

static void
send_apply(struct run *r, uint32_t serial)
{
	channel_sync_send(r->master, &ipc_desc_apply, &(struct ipc_apply){ .serial = serial }, -1, NULL);
}

/* The next answer: "ready N", "refused N why" or "closed". */
static const char *
answer(struct run *r)
{
	static char text[1200];
	struct buf store = BUF_INIT(IPC_FRAME_MAX + IPC_HEADER);
	struct ipc_refused no;
	struct ipc_ready yes;
	struct view body;
	uint16_t type = IPC_TYPE_hello;
	int fd;

	snprintf(text, sizeof(text), "closed");
	while (type == IPC_TYPE_hello &&
	    channel_sync_recv(r->master, &store, &type, &body, &fd, NULL) == 0)
		if (type == IPC_TYPE_ready && ipc_get(&ipc_desc_ready, body, &yes))
			snprintf(text, sizeof(text), "ready %u", yes.serial);
		else if (type == IPC_TYPE_refused && ipc_get(&ipc_desc_refused, body, &no))
			snprintf(text, sizeof(text), "refused %u " VIEW_FMT, no.serial,
			    VIEW_ARG(no.why));
	buf_free(&store);
	return text;
}

static int
finish(struct run *r)
{
	int status;

	close(r->master);
	waitpid(r->pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

#define CONF "hostname h.test\n"

static struct run
start_whole(struct lie lie)
{
	struct run r = start(lie);

	send_hello(&r);
	send_setup(&r, ROLE_AUTHD, root_dir);
	send_conf(&r, CONF, 1);
	send_apply(&r, 1);
	return r;
}

static void
good(void)
{
	struct run r = start_whole((struct lie){ 0, 0 });

	is_str(answer(&r), "ready 1", "a daemon starts");
	if (geteuid() == 0) {
		char path[64], line[256] = "", ids[64];
		snprintf(path, sizeof(path), "/proc/%d/status", r.pid);
		snprintf(ids, sizeof(ids), "Uid:\t%d\t%d\t%d\t%d\n", UID, UID, UID, UID);
		FILE *f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f) && strncmp(line, "Uid:", 4))
			;
		if (f)
			fclose(f);
		is_str(line, ids, "as its own user");
	}
	for (int s = 1; s < 4; s++)
		kill(r.pid, (int[]){ 0, SIGTERM, SIGINT, SIGHUP }[s]);
	send_conf(&r, "hostname new.test\n", 2);
	send_apply(&r, 2);
	is_str(answer(&r), "refused 2 fd7=9 files=77 core=0 umask=77 old=h.test new=new.test",
	    "atk-I7 no other descriptor, its limits, and both configurations while it reloads");
	send_conf(&r, "hostname\n", 3);
	send_apply(&r, 3);
	ok(strstr(answer(&r), "refused 3 configuration:1:"), "a configuration that cannot be read");
	send_apply(&r, 4);
	ok(strstr(answer(&r), "refused 4 "), "apply without a configuration");
	is_int(finish(&r), 0, "the end of the channel ends it");
}

static void
bad_scripts(void)
{
	struct run r = start((struct lie){ 0, 0 });

	channel_sync_send(r.master, &ipc_desc_hello, &(struct ipc_hello){ .digest = 1 }, -1, NULL);
	is_str(answer(&r), "refused 0 master is of another version", "another schema");
	is_int(finish(&r), 1, "exit 1");
	r = start((struct lie){ 0, 0 });
	send_hello(&r);
	send_setup(&r, ROLE_QMGR, root_dir);
	is_str(answer(&r), "refused 0 this is authd, not qmgr", "another role");
	is_int(finish(&r), 1, "exit 1");
	r = start((struct lie){ 0, 0 });
	send_hello(&r);
	send_apply(&r, 1);
	is_str(answer(&r), "refused 0 no setup from master", "no setup");
	is_int(finish(&r), 1, "exit 1");
	r = start((struct lie){ 0, 0 });
	send_hello(&r);
	send_setup(&r, ROLE_AUTHD, "/nowhere");
	send_apply(&r, 1);
	ok(strstr(answer(&r), "refused 0 folder /nowhere: No such file"), "no folder");
	is_int(finish(&r), 1, "exit 1");
	r = start((struct lie){ 0, 0 });
	send_hello(&r);
	send_setup(&r, ROLE_AUTHD, root_dir);
	send_apply(&r, 5);
	is_str(answer(&r), "refused 5 no configuration was sent", "no configuration");
	is_int(finish(&r), 1, "exit 1");
	r = start((struct lie){ 0, 0 });
	send_hello(&r);
	send_setup(&r, ROLE_AUTHD, root_dir);
	send_conf(&r, "hostname refuse.test\n", 6);
	send_apply(&r, 6);
	is_str(answer(&r), "refused 6 init says no", "init refuses");
	is_int(finish(&r), 1, "exit 1");
	r = start((struct lie){ 0, 0 });
	send_hello(&r);
	send_setup(&r, ROLE_AUTHD, root_dir);
	send_conf(&r, CONF, 7);
	channel_sync_send(r.master, &ipc_desc_secret, &(struct ipc_secret){ .name = VIEW("x") }, -1, NULL);
	send_apply(&r, 7);
	is_str(answer(&r), "refused 7 bad frame secret from master", "material that it does not want");
	is_int(finish(&r), 1, "exit 1");
	r = start((struct lie){ 0, 0 });
	send_hello(&r);
	channel_sync_send(r.master, &ipc_desc_drain, &(struct ipc_drain){ 0 }, -1, NULL);
	is_str(answer(&r), "closed", "drained before it began");
	is_int(finish(&r), 0, "exit 0");
	r = start((struct lie){ 0, 0 });
	is_int(finish(&r), 1, "a master that goes away at once");
}

static void
lies(void)
{
	static const struct {
		struct lie lie;
		const char *what, *why;
	} rows[] = {
		{ { SCMP_SYS(setresuid), EAGAIN }, "setresuid fails", "setresuid 61999: " },
		{ { SCMP_SYS(setresuid), 0 }, "setresuid does nothing", "did not take" },
		{ { SCMP_SYS(setresgid), EPERM }, "setresgid fails", "setresgid 61999: " },
		{ { SCMP_SYS(setresgid), 0 }, "setresgid does nothing", "did not take" },
		{ { SCMP_SYS(setgroups), EPERM }, "setgroups fails", "setgroups: " },
		{ { SCMP_SYS(setgroups), 0 }, "setgroups does nothing", "did not take" },
		{ { SCMP_SYS(chroot), EPERM }, "chroot fails", "chroot to " },
		{ { SCMP_SYS(chroot), 0 }, "chroot does nothing", "did not take" },
		{ { SCMP_SYS(prlimit64), EPERM }, "limits cannot be set", "limit" },
		{ { SCMP_SYS(seccomp), EACCES }, "seccomp fails", "seccomp: " },
	};

	if (geteuid() != 0) {
		skip(2 * (int)(sizeof(rows) / sizeof(rows[0])), "needs root");
		return;
	}
	setgroups(1, &(gid_t){ 4 });
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct run r = start_whole(rows[i].lie);
		const char *said = answer(&r);
		if (!ok(strstr(said, "refused 0 ") && strstr(said, rows[i].why),
			"atk-I5 %s: refuses to run", rows[i].what))
			printf("# %s\n", said);
		is_int(finish(&r), 1, "atk-I5 %s: exit 1", rows[i].what);
	}
}

int
main(int argc, char **argv)
{
	(void)argc;
	if (mkdtemp(root_dir) == NULL)
		abort();
	if (geteuid() == 0 && chown(root_dir, UID, UID) < 0)
		abort();
	close(DAEMON_MASTER_FD);
	is_int(daemon_run(&spec, 1, argv), 2, "not by hand: exit 2");
	good();
	bad_scripts();
	lies();
	rmdir(root_dir);
	return done_testing();
}
