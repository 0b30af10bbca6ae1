/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/sandbox.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/*
 * Calls are grouped into sets; a profile is a union of sets. A call in no set of the profile, or with
 * arguments that no rule of it admits, kills the process: libraries were run under strace to see that
 * they make none of those. What they probe for and do without (files, terminals) fails as it would in
 * an empty folder.
 */
enum set {
	BASE = 1,	/* memory, clocks, the loop, frames on sockets that are there */
	NO_FILES = 2,	/* path names are refused, not fatal: OpenSSL, the zone, /proc probes */
	ACCEPT = 4,	/* on the listeners that master gave */
	COMMIT = 8,	/* write and sync files that are open */
	FILES = 16,	/* path names; the chroot and the user id say how far they reach */
	TCP = 32,	/* own connections */
	UDP = 64,	/* own datagrams */
	SANITIZER = 128 /* what its runtime asks for when it reports */
};

static const unsigned profiles[] = {
	[SANDBOX_SMTPD] = BASE | NO_FILES | ACCEPT | COMMIT,
	[SANDBOX_AUTHD] = BASE | COMMIT | FILES,
	[SANDBOX_SIGND] = BASE | NO_FILES,
	[SANDBOX_QMGR] = BASE | COMMIT | FILES,
	[SANDBOX_SMTP] = BASE | NO_FILES | TCP,
	[SANDBOX_BOUNCE] = BASE | COMMIT | FILES,
	[SANDBOX_DNSD] = BASE | NO_FILES | TCP | UDP,
};

#define CALL(x) SCMP_SYS(x)

struct call {
	unsigned sets;
	uint32_t action;
	int nr;
};

#define ALLOW(sets, x) { (sets), SCMP_ACT_ALLOW, CALL(x) },
#define REFUSE(sets, x, err) { (sets), SCMP_ACT_ERRNO(err), CALL(x) },

static const struct call calls[] = {
	/* Memory; mmap and mprotect are among the rules below. */
	ALLOW(BASE, brk) ALLOW(BASE, munmap) ALLOW(BASE, mremap) ALLOW(BASE, madvise)
	ALLOW(BASE, futex) ALLOW(BASE, getrandom)
	/* Clocks and the loop. */
	ALLOW(BASE, clock_gettime) ALLOW(BASE, clock_getres) ALLOW(BASE, gettimeofday)
	ALLOW(BASE, time) ALLOW(BASE, nanosleep) ALLOW(BASE, clock_nanosleep)
	ALLOW(BASE, epoll_create1) ALLOW(BASE, epoll_ctl) ALLOW(BASE, epoll_wait)
	ALLOW(BASE, epoll_pwait) ALLOW(BASE, poll) ALLOW(BASE, ppoll) ALLOW(BASE, restart_syscall)
	/* Descriptors that are there. */
	ALLOW(BASE, read) ALLOW(BASE, readv) ALLOW(BASE, pread64) ALLOW(BASE, preadv)
	ALLOW(BASE, write) ALLOW(BASE, writev) ALLOW(BASE, lseek) ALLOW(BASE, close)
	ALLOW(BASE, dup) ALLOW(BASE, fstat) ALLOW(BASE, sendfile) ALLOW(BASE, fadvise64)
	REFUSE(BASE, ioctl, ENOTTY)
	/* Sockets that are there. */
	ALLOW(BASE, sendmsg) ALLOW(BASE, sendmmsg) ALLOW(BASE, recvmsg) ALLOW(BASE, recvmmsg)
	ALLOW(BASE, recvfrom) ALLOW(BASE, shutdown) ALLOW(BASE, getsockopt) ALLOW(BASE, setsockopt)
	ALLOW(BASE, getsockname) ALLOW(BASE, getpeername)
	/* About the process itself. */
	ALLOW(BASE, getpid) ALLOW(BASE, gettid) ALLOW(BASE, getppid) ALLOW(BASE, getuid)
	ALLOW(BASE, geteuid) ALLOW(BASE, getgid) ALLOW(BASE, getegid) ALLOW(BASE, getrusage)
	ALLOW(BASE, getrlimit) ALLOW(BASE, sysinfo) ALLOW(BASE, uname) ALLOW(BASE, sched_yield)
	ALLOW(BASE, sched_getaffinity) ALLOW(BASE, umask) REFUSE(BASE, prctl, EPERM)
	/* Signals of its own (abort, ASYNC jobs of OpenSSL switch masks), and the end. */
	ALLOW(BASE, rt_sigaction) ALLOW(BASE, rt_sigprocmask) ALLOW(BASE, rt_sigreturn)
	ALLOW(BASE, sigaltstack) ALLOW(BASE, exit) ALLOW(BASE, exit_group)

	REFUSE(NO_FILES, open, ENOENT) REFUSE(NO_FILES, openat, ENOENT)
	REFUSE(NO_FILES, openat2, ENOENT) REFUSE(NO_FILES, stat, ENOENT)
	REFUSE(NO_FILES, lstat, ENOENT) REFUSE(NO_FILES, statx, ENOENT)
	REFUSE(NO_FILES, access, ENOENT) REFUSE(NO_FILES, faccessat, ENOENT)
	REFUSE(NO_FILES, faccessat2, ENOENT) REFUSE(NO_FILES, readlink, ENOENT)
	REFUSE(NO_FILES, readlinkat, ENOENT) REFUSE(NO_FILES, getcwd, ENOENT)

	ALLOW(ACCEPT, accept4) ALLOW(ACCEPT, accept)

	ALLOW(COMMIT, pwrite64) ALLOW(COMMIT, pwritev) ALLOW(COMMIT, fsync)
	ALLOW(COMMIT, fdatasync) ALLOW(COMMIT, ftruncate)
	/* Kernel AIO: the same on the same descriptors, beside the loop. */
	ALLOW(COMMIT, io_setup) ALLOW(COMMIT, io_submit) ALLOW(COMMIT, io_getevents)
	ALLOW(COMMIT, io_destroy) ALLOW(COMMIT, eventfd2)

	ALLOW(FILES, open) ALLOW(FILES, openat) ALLOW(FILES, stat) ALLOW(FILES, lstat)
	ALLOW(FILES, newfstatat) ALLOW(FILES, statx) ALLOW(FILES, access) ALLOW(FILES, faccessat)
	ALLOW(FILES, faccessat2) ALLOW(FILES, readlink) ALLOW(FILES, readlinkat)
	ALLOW(FILES, getcwd) ALLOW(FILES, getdents64) ALLOW(FILES, rename) ALLOW(FILES, renameat)
	ALLOW(FILES, renameat2) ALLOW(FILES, unlink) ALLOW(FILES, unlinkat) ALLOW(FILES, mkdir)
	ALLOW(FILES, mkdirat) ALLOW(FILES, rmdir) ALLOW(FILES, flock) ALLOW(FILES, fallocate)
	ALLOW(FILES, statfs) ALLOW(FILES, fstatfs) ALLOW(FILES, chmod) ALLOW(FILES, fchmod)
	ALLOW(FILES, copy_file_range) ALLOW(FILES, sync_file_range) ALLOW(FILES, msync)
	/* libdb waits with it. */
	ALLOW(FILES, select) ALLOW(FILES, pselect6)

	ALLOW(TCP, connect) ALLOW(TCP, bind)
	ALLOW(UDP, sendto) ALLOW(UDP, select) ALLOW(UDP, pselect6)

	REFUSE(SANITIZER, clone, EPERM) REFUSE(SANITIZER, clone3, EPERM)
	REFUSE(SANITIZER, fork, EPERM) REFUSE(SANITIZER, vfork, EPERM)
	REFUSE(SANITIZER, pipe, EPERM) REFUSE(SANITIZER, pipe2, EPERM)
};

/* Calls that depend on an argument; the same call may have several rules. */
struct rule {
	unsigned sets;
	uint32_t action;
	int nr;
	unsigned argc;
	struct scmp_arg_cmp arg[2];
};

#define MASKED(n, mask, value)                                                                     \
	{ .arg = (n), .op = SCMP_CMP_MASKED_EQ, .datum_a = (mask), .datum_b = (value) }
#define EQUAL(n, value) { .arg = (n), .op = SCMP_CMP_EQ, .datum_a = (value) }
#define FCNTL(sets, cmd) { (sets), SCMP_ACT_ALLOW, CALL(fcntl), 1, { EQUAL(1, (cmd)) } }
#define SOCKET(set, family, type)                                                                  \
	{ (set), SCMP_ACT_ALLOW, CALL(socket), 2,                                                  \
		{ EQUAL(0, (family)), MASKED(1, 0xf, (type)) } }

static const struct rule rules[] = {
	/* Nothing becomes executable. */
	{ BASE, SCMP_ACT_ALLOW, CALL(mmap), 1, { MASKED(2, PROT_EXEC, 0) } },
	{ BASE, SCMP_ACT_ALLOW, CALL(mprotect), 1, { MASKED(2, PROT_EXEC, 0) } },
	FCNTL(BASE, F_GETFD), FCNTL(BASE, F_SETFD), FCNTL(BASE, F_GETFL), FCNTL(BASE, F_SETFL),
	FCNTL(BASE, F_DUPFD_CLOEXEC),
	FCNTL(FILES, F_GETLK), FCNTL(FILES, F_SETLK), FCNTL(FILES, F_SETLKW),
	FCNTL(FILES, F_OFD_SETLK), FCNTL(FILES, F_OFD_GETLK),
	/* Limits are read, never set. */
	{ BASE, SCMP_ACT_ALLOW, CALL(prlimit64), 2, { EQUAL(0, 0), EQUAL(2, 0) } },
	/* fstat() of glibc. */
	{ NO_FILES, SCMP_ACT_ALLOW, CALL(newfstatat), 1,
		{ MASKED(3, AT_EMPTY_PATH, AT_EMPTY_PATH) } },
	{ NO_FILES, SCMP_ACT_ERRNO(ENOENT), CALL(newfstatat), 1, { MASKED(3, AT_EMPTY_PATH, 0) } },
	SOCKET(TCP, AF_INET, SOCK_STREAM), SOCKET(TCP, AF_INET6, SOCK_STREAM),
	SOCKET(UDP, AF_INET, SOCK_DGRAM), SOCKET(UDP, AF_INET6, SOCK_DGRAM),
};

static int
add_calls(scmp_filter_ctx ctx, unsigned sets)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i].sets & sets)
			rc = seccomp_rule_add(ctx, calls[i].action, calls[i].nr, 0);
	return rc;
}

static int
add_rules(scmp_filter_ctx ctx, unsigned sets)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *r = &rules[i];
		if (r->sets & sets)
			rc = seccomp_rule_add_array(ctx, r->action, r->nr, r->argc, r->arg);
	}
	/* raise() and abort(): a signal to itself. */
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(tgkill), 1,
		    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	/* send(): no address, so that the log socket reaches nobody but the log. */
	if (rc == 0 && !(sets & UDP))
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(sendto), 1,
		    SCMP_A4(SCMP_CMP_EQ, 0, 0));
	return rc;
}

static int
load(unsigned sets)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);

	if (ctx == NULL)
		return -ENOMEM;
	int rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = add_calls(ctx, sets);
	if (rc == 0)
		rc = add_rules(ctx, sets);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc;
}

#ifdef SANITIZED
#include <sanitizer/common_interface_defs.h>

/* The leak check at exit stops the process from a clone of it, which the sandbox does not allow. */
static bool entered;
int __lsan_is_turned_off(void);
int
__lsan_is_turned_off(void)
{
	return entered;
}

static unsigned
sanitizer_sets(void)
{
	__sanitizer_sandbox_on_notify(NULL);
	entered = true;
	return SANITIZER;
}
#else
static unsigned
sanitizer_sets(void)
{
	return 0;
}
#endif

int
sandbox_enter(enum sandbox_profile profile, struct err *e)
{
	if ((size_t)profile >= sizeof(profiles) / sizeof(profiles[0]))
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "no such sandbox");
	unsigned sets = profiles[profile] | sanitizer_sets();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return err_errno(e, "no_new_privs");
	int rc = load(sets);
	if (rc < 0)
		return err_set(e, ERR_TEMP, ESC(4, 3, 0), "seccomp: %s", strerror(-rc));
	return 0;
}
