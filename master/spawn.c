/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/daemon.h"
#include "lib/ipc.h"
#include "master/spawn.h"

/* What a daemon may learn from our environment; the last ones matter to test builds only. */
static const char *const passed[] = { "TZ", "MALLOC_ARENA_MAX", "EKIDEN_FAULT", "EKIDEN_CLOCK",
	"ASAN_OPTIONS", "UBSAN_OPTIONS", "LLVM_PROFILE_FILE", "GCOV_PREFIX" };
enum { PASSED = sizeof(passed) / sizeof(passed[0]) };

static void
make_environment(char *text[PASSED + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < PASSED; i++) {
		const char *value = getenv(passed[i]);
		if (value && asprintf(&text[n], "%s=%s", passed[i], value) >= 0)
			n++;
	}
	text[n] = NULL;
}

static void
reset_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void
run_daemon(const char *path, enum role role, uint32_t instance, int channel, bool keep_stderr)
{
	char number[16], *env[PASSED + 1];
	char *argv[] = { (char *)(uintptr_t)role_name(role), number, NULL };

	snprintf(number, sizeof(number), "%u", instance);
	make_environment(env);
	reset_signals();
	setsid(); /* a terminal's Ctrl-C is for master alone */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    (!keep_stderr && dup2(null, 2) < 0))
		_exit(127);
	if (channel == DAEMON_MASTER_FD)
		fcntl(channel, F_SETFD, 0);
	else if (dup2(channel, DAEMON_MASTER_FD) < 0)
		_exit(127);
	if (close_range(DAEMON_MASTER_FD + 1, ~0U, 0) < 0)
		_exit(127);
	execve(path, argv, env);
	_exit(127);
}

pid_t
spawn_daemon(const char *path, enum role role, uint32_t instance, int channel, bool keep_stderr,
    struct err *e)
{
	pid_t pid = fork();

	if (pid == 0)
		run_daemon(path, role, instance, channel, keep_stderr);
	if (pid < 0)
		return err_errno(e, "fork");
	return pid;
}

static bool
executable(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

int
spawn_path(const char *dir, enum role role, char *path, size_t size, struct err *e)
{
	const char *name = role_name(role);

	snprintf(path, size, "%s/%s", dir, name);
	if (executable(path))
		return 0;
	snprintf(path, size, "%s/%s/%s", dir, name, name);
	if (executable(path))
		return 0;
	return err_set(e, ERR_PERM, ESC(5, 3, 5), "%s: no program %s there", dir, name);
}
