/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/files.h"
#include "master/folders.h"
#include "master/transport.h"

enum { MAP_MAX = 1 << 30, BUILD_S = 60, SAID_MAX = 400 };

/* The child: what it says on standard error is the reason if it fails. */
_Noreturn static void
run_builder(const char *mtactl, const char *text, const char *db, int said)
{
	char *argv[] = { (char *)(uintptr_t)"mtactl", (char *)(uintptr_t)"map",
		(char *)(uintptr_t)"build", (char *)(uintptr_t)text, (char *)(uintptr_t)db, NULL };
	char *env[] = { NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	int null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(said, 2) < 0)
		_exit(127);
	close_range(3, ~0U, 0);
	alarm(BUILD_S); /* survives exec */
	execve(mtactl, argv, env);
	dprintf(2, "%s: %s\n", mtactl, strerror(errno));
	_exit(127);
}

static void
hear(int fd, struct buf *said)
{
	char chunk[256];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			buf_put(said, chunk, (size_t)n);
}

static int
build(const char *mtactl, const char *text, const char *db, struct err *e)
{
	struct buf said = BUF_INIT(65536);
	int ends[2], status = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(e, "pipe");
	pid_t pid = fork();
	if (pid == 0)
		run_builder(mtactl, text, db, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return err_errno(e, "fork");
	}
	hear(ends[0], &said);
	close(ends[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	struct view why = view_first(buf_view(&said), SAID_MAX);
	struct view line = view_trim(view_cut(&why, '\n'));
	int rc = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		rc = err_set(e, ERR_PERM, ESC(5, 3, 5), "transport: cannot build the map: %.*s",
		    (int)line.n, line.n ? line.p : "");
	buf_free(&said);
	return rc;
}

static int
copy(const struct conf *c, const char *from, struct err *e)
{
	struct buf map = BUF_INIT(MAP_MAX);
	int rc = file_read(from, MAP_MAX - 65536, false, &map, e);

	if (rc == 0)
		rc = spool_map_store(c, "transport.db", buf_view(&map), e);
	buf_free(&map);
	return rc < 0 ? err_wrap(e, "transport") : 0;
}

int
transport_install(const struct conf *c, const char *mtactl, struct err *e)
{
	struct view kind = view_str(c->transport), file = kind;
	char db[2048], source[2048];
	int rc;

	if (kind.n == 0)
		return 0;
	kind = view_cut(&file, ':');
	snprintf(source, sizeof(source), "%.*s", (int)file.n, file.p);
	if (view_is(kind, "btree")) {
		snprintf(db, sizeof(db), "%.*s.db", (int)file.n, file.p);
		return copy(c, db, e);
	}
	/* Built in a folder of ours, not in the queue's. */
	snprintf(db, sizeof(db), "%s/transport.db", c->state_dir);
	rc = build(mtactl, source, db, e);
	if (rc == 0)
		rc = copy(c, db, e);
	unlink(db);
	return rc;
}
