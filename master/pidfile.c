/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/master.h"

static void
path_of(const struct master *m, char path[static 256])
{
	snprintf(path, 256, "%s/master.pid", m->gen->conf->run_dir);
}

static int
take_lock(int fd, const char *path, struct err *e)
{
	char text[32] = "";

	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return err_errno(e, "lock %s", path);
	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		text[0] = '\0';
	return err_set(e, ERR_PERM, ESC(5, 3, 0), "already running with pid %d (%s)", atoi(text),
	    path);
}

int
pid_file_lock(struct master *m, struct err *e)
{
	char path[256], text[32];

	path_of(m, path);
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_errno(e, "%s", path);
	if (take_lock(fd, path, e) < 0) {
		close(fd);
		return -1;
	}
	m->pid_fd = fd;
	int n = snprintf(text, sizeof(text), "%d\n", getpid());
	fchmod(fd, 0644); /* our umask is 077 */
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return err_errno(e, "%s", path);
	return 0;
}

void
pid_file_remove(struct master *m)
{
	char path[256];

	if (m->pid_fd < 0)
		return;
	path_of(m, path);
	unlink(path);
	close(m->pid_fd);
	m->pid_fd = -1;
}
