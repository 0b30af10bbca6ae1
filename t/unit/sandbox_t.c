/* SPDX-License-Identifier: ISC */
/* What each role may and may not ask of the kernel: every probe runs in a process of its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/sandbox.h"
#include "t/tap.h"

/* Made before the sandbox closes. */
struct hand {
	int pair[2], listener, file, port;
	char dir[64];
};

enum { KILLED = -1, WORKS = 0 }; /* else the errno */

/* A probe: 0, or errno. */
typedef int probe(struct hand *h);
#define SAY(expr) ((expr) < 0 ? errno : 0)

static int p_open(struct hand *h) { (void)h; return SAY(open("/etc/passwd", O_RDONLY)); }
static int p_create(struct hand *h)
{
	(void)h;
	return SAY(openat(AT_FDCWD, "probe", O_CREAT | O_RDWR, 0600));
}
static int p_stat(struct hand *h) { struct stat st; (void)h; return SAY(stat("/etc/passwd", &st)); }
static int p_fstat(struct hand *h) { struct stat st; return SAY(fstat(h->file, &st)); }
static int p_rename(struct hand *h) { (void)h; return SAY(rename("there", "here")); }
static int p_unlink(struct hand *h) { (void)h; return SAY(unlink("there")); }
static int p_flock(struct hand *h) { return SAY(flock(h->file, LOCK_EX)); }
static int p_pread(struct hand *h) { char c; return SAY(pread(h->file, &c, 1, 0)); }
static int p_pwrite(struct hand *h) { return SAY(pwrite(h->file, "x", 1, 0)); }
static int p_sync(struct hand *h) { return SAY(fdatasync(h->file)); }
static int p_tcp4(struct hand *h) { (void)h; return SAY(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
static int p_tcp6(struct hand *h)
{
	(void)h;
	int rc = SAY(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
	return rc == EAFNOSUPPORT ? 0 : rc;
}
static int p_udp(struct hand *h) { (void)h; return SAY(socket(AF_INET, SOCK_DGRAM, 0)); }
static int p_raw(struct hand *h) { (void)h; return SAY(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }
static int p_unix(struct hand *h) { (void)h; return SAY(socket(AF_UNIX, SOCK_STREAM, 0)); }
static int p_netlink(struct hand *h) { (void)h; return SAY(socket(AF_NETLINK, SOCK_RAW, 0)); }
static int p_accept(struct hand *h) { return SAY(accept4(h->listener, NULL, NULL, SOCK_CLOEXEC)); }
static int p_listen(struct hand *h) { return SAY(listen(h->listener, 5)); }
static int p_exec(struct hand *h)
{
	char *argv[] = { (char *)"true", NULL };
	(void)h;
	return SAY(execve("/bin/true", argv, argv + 1));
}
static int p_fork(struct hand *h)
{
	(void)h;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return SAY(pid);
}
static int p_ptrace(struct hand *h) { (void)h; return SAY(ptrace(PTRACE_TRACEME, 0, NULL, NULL)); }
static int p_kill(struct hand *h) { (void)h; return SAY(kill(getppid(), 0)); }
static int p_setuid(struct hand *h) { (void)h; return SAY(setuid(getuid())); }
static int p_chroot(struct hand *h) { (void)h; return SAY(chroot(".")); }
static int p_mount(struct hand *h) { (void)h; return SAY(syscall(SYS_mount, "", "/", "", 0, "")); }
static int p_keyctl(struct hand *h) { (void)h; return SAY(syscall(SYS_keyctl, 0, 0, 0, 0, 0)); }
static int p_bpf(struct hand *h) { (void)h; return SAY(syscall(SYS_bpf, 0, NULL, 0)); }
static int p_userfaultfd(struct hand *h) { (void)h; return SAY(syscall(SYS_userfaultfd, 0)); }
static int p_uring(struct hand *h) { (void)h; return SAY(syscall(SYS_io_uring_setup, 1, NULL)); }
static int p_readmem(struct hand *h)
{
	(void)h;
	return SAY(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
}
static int p_exec_memory(struct hand *h)
{
	(void)h;
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
	    -1, 0);
	return p == MAP_FAILED ? errno : 0;
}
static int p_make_exec(struct hand *h)
{
	(void)h;
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return SAY(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}
static int p_raise_limit(struct hand *h)
{
	struct rlimit r = { 5, 5 };
	(void)h;
	return SAY(setrlimit(RLIMIT_NPROC, &r));
}
static int p_read_limit(struct hand *h)
{
	struct rlimit r;
	(void)h;
	return SAY(getrlimit(RLIMIT_NOFILE, &r));
}
static int p_prctl(struct hand *h) { (void)h; return SAY(prctl(PR_SET_DUMPABLE, 1)); }
static int p_tty(struct hand *h) { return isatty(h->file) ? 0 : errno; }
static int p_abstract(struct hand *h)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "\0nobody" };
	return SAY(sendto(h->pair[0], "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof(to)));
}
static int p_connect(struct hand *h)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = (in_port_t)h->port,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (s < 0)
		return errno;
	return connect(s, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS ? errno : 0;
}
/* What every daemon does all the time. */
static int p_daily(struct hand *h)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET }, got;
	char c[16];
	int ep = epoll_create1(EPOLL_CLOEXEC), one = 1;

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, h->pair[0], &ev) < 0 ||
	    fcntl(h->pair[0], F_SETFL, O_NONBLOCK) < 0 ||
	    send(h->pair[1], "hello", 5, MSG_NOSIGNAL) != 5 || epoll_wait(ep, &got, 1, 1000) != 1 ||
	    recv(h->pair[0], c, sizeof(c), 0) != 5 ||
	    setsockopt(h->pair[0], SOL_SOCKET, SO_RCVBUF, &one, sizeof(one)) < 0 ||
	    getrandom(c, sizeof(c), 0) != sizeof(c))
		return errno;
	free(realloc(malloc(1 << 20), 8 << 20));
	time_t now = time(NULL);
	struct tm tm;
	return localtime_r(&now, &tm) && sysconf(_SC_OPEN_MAX) > 0 && close(ep) == 0 ? 0 : errno;
}
static int p_abort(struct hand *h)
{
	(void)h;
	signal(SIGABRT, SIG_IGN);
	return SAY(raise(SIGABRT));
}

/* Expected results by role, in the order of enum sandbox_profile. */
struct row {
	const char *what;
	probe *run;
	int want[7];
};
#define ALL(x) { (x), (x), (x), (x), (x), (x), (x) }
#define K KILLED
#define W WORKS
#define N ENOENT
static const struct row rows[] = {
	/*				smtpd authd signd qmgr smtp bounce dnsd */
	{ "do its daily work", p_daily, ALL(W) },
	{ "raise a signal", p_abort, ALL(W) },
	{ "read its limits", p_read_limit, ALL(W) },
	{ "stat a descriptor", p_fstat, ALL(W) },
	{ "read a descriptor", p_pread, ALL(W) },
	{ "open /etc/passwd", p_open, { N, W, N, W, N, W, N } },
	{ "stat /etc/passwd", p_stat, { N, W, N, W, N, W, N } },
	{ "create a file", p_create, { N, W, N, W, N, W, N } },
	{ "rename", p_rename, { K, W, K, W, K, W, K } },
	{ "unlink", p_unlink, { K, W, K, W, K, W, K } },
	{ "lock a file", p_flock, { K, W, K, W, K, W, K } },
	{ "write into a file", p_pwrite, { W, W, K, W, K, W, K } },
	{ "sync a file", p_sync, { W, W, K, W, K, W, K } },
	{ "accept", p_accept, { W, K, K, K, K, K, K } },
	{ "make a TCP socket", p_tcp4, { K, K, K, K, W, K, W } },
	{ "make a TCP6 socket", p_tcp6, { K, K, K, K, W, K, W } },
	{ "connect", p_connect, { K, K, K, K, W, K, W } },
	{ "make a UDP socket", p_udp, { K, K, K, K, K, K, W } },
	{ "make a raw socket", p_raw, ALL(K) },
	{ "make a unix socket", p_unix, ALL(K) },
	{ "make a netlink socket", p_netlink, ALL(K) },
	{ "listen", p_listen, ALL(K) },
	{ "execute a program", p_exec, ALL(K) },
	{ "trace", p_ptrace, ALL(K) },
	{ "signal another process", p_kill, ALL(K) },
	{ "change its user id", p_setuid, ALL(K) },
	{ "chroot", p_chroot, ALL(K) },
	{ "mount", p_mount, ALL(K) },
	{ "use the key ring", p_keyctl, ALL(K) },
	{ "load a BPF program", p_bpf, ALL(K) },
	{ "use userfaultfd", p_userfaultfd, ALL(K) },
	{ "use io_uring", p_uring, ALL(K) },
	{ "read another's memory", p_readmem, ALL(K) },
	{ "map memory executable", p_exec_memory, ALL(K) },
	{ "make memory executable", p_make_exec, ALL(K) },
	{ "set a limit", p_raise_limit, ALL(K) },
	{ "become dumpable again", p_prctl, ALL(EPERM) },
	{ "ask a file whether it is a terminal", p_tty, ALL(ENOTTY) },
};
static const char *const names[] = { "smtpd", "authd", "signd", "qmgr", "smtp", "bounce", "dnsd" };

static int
outcome(enum sandbox_profile profile, probe *run, struct hand *h)
{
	struct err e;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (sandbox_enter(profile, &e) < 0) {
			fprintf(stderr, "# %s\n", e.text);
			_exit(200);
		}
		_exit(run(h));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 201;
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : 300 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

static void
prepare(struct hand *h)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);

	snprintf(h->dir, sizeof(h->dir), "/tmp/sandbox_t.XXXXXX");
	if (mkdtemp(h->dir) == NULL || chdir(h->dir) < 0)
		abort();
	h->file = open("file", O_CREAT | O_RDWR, 0600);
	h->listener = socket(AF_INET, SOCK_STREAM, 0);
	if (h->file < 0 || bind(h->listener, (struct sockaddr *)&sin, len) < 0 ||
	    listen(h->listener, 64) < 0 || getsockname(h->listener, (struct sockaddr *)&sin, &len) < 0)
		abort();
	h->port = sin.sin_port;
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, h->pair) < 0)
		abort();
}

/* accept() needs somebody who waits, rename and unlink a file. */
static void
supply(struct hand *h, probe *run)
{
	if (run == p_rename || run == p_unlink)
		close(open("there", O_CREAT | O_RDWR, 0600));
	if (run == p_accept) {
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = (in_port_t)h->port,
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int s = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(s, (struct sockaddr *)&to, sizeof(to)) < 0)
			abort();
	}
}

int
main(void)
{
	static const char *const files[] = { "file", "there", "here", "probe" };
	struct hand h;

	prepare(&h);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int role = SANDBOX_SMTPD; role <= SANDBOX_DNSD; role++) {
			supply(&h, rows[i].run);
			is_int(outcome(role, rows[i].run, &h), rows[i].want[role],
			    "atk-I13 %s may %s%s", names[role],
			    rows[i].want[role] == WORKS ? "" : "not ", rows[i].what);
		}
	for (int role = SANDBOX_SMTPD; role <= SANDBOX_SMTP; role++)
		is_int(outcome(role, p_abstract, &h), KILLED, "%s cannot name the receiver of a datagram",
		    names[role]);
#if defined(__SANITIZE_ADDRESS__)
	int fork_wants = EPERM;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	int fork_wants = EPERM;
#else
	int fork_wants = KILLED;
#endif
#else
	int fork_wants = KILLED;
#endif
	for (int role = SANDBOX_SMTPD; role <= SANDBOX_DNSD; role++)
		is_int(outcome(role, p_fork, &h), fork_wants, "atk-I13 %s cannot fork", names[role]);
	is_int(outcome(99, p_daily, &h), 200, "there is no other profile");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlink(files[i]);
	rmdir(h.dir);
	return done_testing();
}
