/* SPDX-License-Identifier: ISC */
#include "lib/probe.h"

#ifdef EKIDEN_FAULTS
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_CONFINED = 255, LOWEST_PORT = 25 };

/* 0 when it was done, else errno. */
typedef int probe_fn(void);

static int
said(long rc)
{
	return rc < 0 ? errno : 0;
}

static int
open_path(const char *path, int flags)
{
	return said(open(path, flags | O_CLOEXEC, 0600));
}

static int read_shadow(void) { return open_path("/etc/shadow", O_RDONLY); }
static int climb_out(void) { return open_path("../../../../../../etc/shadow", O_RDONLY); }
static int list_root(void) { return open_path("/", O_RDONLY | O_DIRECTORY); }
static int list_proc(void) { return open_path("/proc", O_RDONLY | O_DIRECTORY); }
static int create_file(void)
{
	int rc = open_path("probe-made", O_RDWR | O_CREAT);

	if (rc == 0)
		unlink("probe-made");
	return rc;
}
static int
open_parents(const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", getppid(), what);
	return open_path(path, O_RDONLY);
}
static int read_parents_memory(void) { return open_parents("mem"); }
static int read_parents_socket(void) { return open_parents("fd/3"); }
static int open_tty(void) { return open_path("/dev/tty", O_RDWR); }
static int open_disk(void) { return open_path("/dev/vda", O_RDWR); }
static int
open_beneath(void)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC };

	return said(syscall(SYS_openat2, AT_FDCWD, "/etc/shadow", &how, sizeof(how)));
}
static int by_handle(void) { return said(syscall(SYS_open_by_handle_at, 3, NULL, O_RDONLY)); }
static int make_link(void) { return said(symlink("/etc/shadow", "probe-link")); }
static int make_node(void) { return said(mknod("probe-node", S_IFIFO | 0600, 0)); }
static int change_owner(void) { return said(chown(".", 0, 0)); }

static int socket_tcp(void) { return said(socket(AF_INET, SOCK_STREAM, 0)); }
static int socket_tcp6(void) { return said(socket(AF_INET6, SOCK_STREAM, 0)); }
static int socket_udp(void) { return said(socket(AF_INET, SOCK_DGRAM, 0)); }
static int socket_raw(void) { return said(socket(AF_INET, SOCK_RAW, 1)); }
static int socket_packet(void) { return said(socket(AF_PACKET, SOCK_RAW, 0)); }
static int socket_unix(void) { return said(socket(AF_UNIX, SOCK_STREAM, 0)); }
static int socket_netlink(void) { return said(socket(AF_NETLINK, SOCK_RAW, 0)); }
static int socket_vsock(void) { return said(socket(AF_VSOCK, SOCK_STREAM, 0)); }
static int socket_alg(void) { return said(socket(AF_ALG, SOCK_SEQPACKET, 0)); }
static int socket_pair(void)
{
	int fds[2];

	return said(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
}
static int
connect_out(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	return s >= 0 && connect(s, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == EINPROGRESS
		   ? 0
		   : said(s < 0 ? -1 : 0);
}
static int
bind_low(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(LOWEST_PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_STREAM, 0);

	return said(s < 0 ? -1 : bind(s, (struct sockaddr *)&at, sizeof(at)));
}
static int listen_on(void) { return said(listen(3, 1)); }
static int accept_from(void) { return said(accept4(3, NULL, NULL, SOCK_CLOEXEC)); }
static int
send_abstract(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "\0nobody" };

	return said(sendto(3, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof(to)));
}

static int
execute(void)
{
	char *argv[] = { (char *)(uintptr_t)"true", NULL };

	return said(execve("/bin/true", argv, argv + 1));
}
static int execute_fd(void) { return said(syscall(SYS_execveat, 3, "", NULL, NULL, AT_EMPTY_PATH)); }
static int
fork_one(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return said(pid);
}
static int trace_me(void) { return said(ptrace(PTRACE_TRACEME, 0, NULL, NULL)); }
static int trace_parent(void) { return said(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL)); }
static int kill_parent(void) { return said(kill(getppid(), 0)); }
static int kill_all(void) { return said(kill(-1, 0)); }
static int kill_thread(void) { return said(syscall(SYS_tgkill, getppid(), getppid(), 0)); }
static int queue_signal(void) { return said(syscall(SYS_rt_sigqueueinfo, getppid(), 0, NULL)); }
static int read_memory(void) { return said(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0)); }
static int write_memory(void) { return said(syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0)); }
static int open_pidfd(void) { return said(syscall(SYS_pidfd_open, getppid(), 0)); }
static int take_fd(void) { return said(syscall(SYS_pidfd_getfd, 3, 3, 0)); }
static int compare(void) { return said(syscall(SYS_kcmp, getpid(), getppid(), 0, 0, 0)); }
static int set_others_limit(void) { return said(syscall(SYS_prlimit64, getppid(), RLIMIT_CORE, NULL, NULL)); }

static int
map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0) == MAP_FAILED
		   ? errno
		   : 0;
}
static int
make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return said(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}
static int memory_file(void) { return said(memfd_create("probe", 0)); }
static int become_root(void) { return said(setresuid(0, 0, 0)); }
static int become_group(void) { return said(setresgid(0, 0, 0)); }
static int change_root(void) { return said(chroot(".")); }
static int mount_proc(void) { return said(mount("proc", "/", "proc", 0, NULL)); }
static int unshare_user(void) { return said(unshare(CLONE_NEWUSER)); }
static int join_namespace(void) { return said(setns(3, 0)); }
static int
raise_limit(void)
{
	struct rlimit r = { 5, 5 };

	return said(syscall(SYS_setrlimit, RLIMIT_NPROC, &r));
}
static int be_dumpable(void) { return said(syscall(SYS_prctl, 4 /* PR_SET_DUMPABLE */, 1, 0, 0, 0)); }
static int load_bpf(void) { return said(syscall(SYS_bpf, 0, NULL, 0)); }
static int use_keyring(void) { return said(syscall(SYS_keyctl, 0, 0, 0, 0, 0)); }
static int use_uring(void) { return said(syscall(SYS_io_uring_setup, 1, NULL)); }
static int use_userfaultfd(void) { return said(syscall(SYS_userfaultfd, 0)); }
static int use_perf(void) { return said(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)); }
static int use_shm(void) { return said(syscall(SYS_shmget, 1, 4096, 0600)); }
static int use_inotify(void) { return said(syscall(SYS_inotify_init1, 0)); }
static int load_module(void) { return said(syscall(SYS_init_module, NULL, 0, "")); }
static int set_clock(void) { return said(syscall(SYS_settimeofday, NULL, NULL)); }
static int set_name(void) { return said(sethostname("probe", 5)); }
static int feed_terminal(void) { return said(syscall(SYS_ioctl, 2, 0x5412 /* TIOCSTI */, "x")); }
static int use_32bit(void)
{
#ifdef __x86_64__
	/* getpid by its number of the other architecture: the filter must not be passed by on that way. */
	long rc;
	__asm__ volatile("int $0x80" : "=a"(rc) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	return rc < 0 ? (int)-rc : 0;
#else
	raise(SIGSYS);
	return 0;
#endif
}

static const struct {
	const char *name;
	probe_fn *run;
} actions[] = {
	{ "read-shadow", read_shadow }, { "climb-out", climb_out }, { "list-root", list_root },
	{ "list-proc", list_proc }, { "create-file", create_file },
	{ "read-parents-memory", read_parents_memory }, { "read-parents-socket", read_parents_socket },
	{ "open-tty", open_tty }, { "open-disk", open_disk }, { "open-beneath", open_beneath },
	{ "open-by-handle", by_handle }, { "make-link", make_link }, { "make-node", make_node },
	{ "change-owner", change_owner }, { "socket-tcp", socket_tcp }, { "socket-tcp6", socket_tcp6 },
	{ "socket-udp", socket_udp }, { "socket-raw", socket_raw }, { "socket-packet", socket_packet },
	{ "socket-unix", socket_unix }, { "socket-netlink", socket_netlink },
	{ "socket-vsock", socket_vsock }, { "socket-alg", socket_alg }, { "socket-pair", socket_pair },
	{ "connect", connect_out }, { "bind-low", bind_low }, { "listen", listen_on },
	{ "accept", accept_from }, { "send-abstract", send_abstract }, { "execute", execute },
	{ "execute-fd", execute_fd }, { "fork", fork_one }, { "trace-me", trace_me },
	{ "trace-parent", trace_parent }, { "kill-parent", kill_parent }, { "kill-all", kill_all },
	{ "kill-thread", kill_thread }, { "queue-signal", queue_signal },
	{ "read-memory", read_memory }, { "write-memory", write_memory }, { "open-pidfd", open_pidfd },
	{ "take-fd", take_fd }, { "compare", compare }, { "others-limit", set_others_limit },
	{ "map-code", map_code }, { "make-code", make_code }, { "memory-file", memory_file },
	{ "become-root", become_root }, { "become-group", become_group },
	{ "change-root", change_root }, { "mount", mount_proc }, { "unshare", unshare_user },
	{ "join-namespace", join_namespace }, { "raise-limit", raise_limit },
	{ "be-dumpable", be_dumpable }, { "bpf", load_bpf }, { "keyring", use_keyring },
	{ "io-uring", use_uring }, { "userfaultfd", use_userfaultfd }, { "perf", use_perf },
	{ "shm", use_shm }, { "inotify", use_inotify }, { "load-module", load_module },
	{ "set-clock", set_clock }, { "set-name", set_name }, { "feed-terminal", feed_terminal },
	{ "call-32bit", use_32bit },
};

static const char *
outcome(probe_fn *run, int (*confine)(void *ctx, pid_t parent), void *ctx)
{
	pid_t parent = getpid(), pid = fork();
	int status;

	if (pid == 0)
		_exit(confine(ctx, parent) < 0 ? NOT_CONFINED : run());
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return "not-tried";
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? "killed" : strsignal(WTERMSIG(status));
	if (WEXITSTATUS(status) == NOT_CONFINED)
		return "not-confined";
	return WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "done";
}

void
probe_run(const char *role, int (*confine)(void *ctx, pid_t parent), void *ctx)
{
	const char *fault = getenv("EKIDEN_FAULT");

	if (fault == NULL || strcmp(fault, "probe") != 0)
		return;
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		dprintf(STDERR_FILENO, "probe: %s %s %s\n", role, actions[i].name,
		    outcome(actions[i].run, confine, ctx));
}
#else
/* An empty translation unit is not ISO C. */
extern const int probes_compiled_in;
const int probes_compiled_in = 0;
#endif
