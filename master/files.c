/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/durable.h"
#include "master/files.h"

static int
check_file(const struct stat *st, size_t max, bool secret, struct err *e)
{
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "not a regular file");
	if ((uint64_t)st->st_size > max)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "larger than %zu bytes", max);
	if (!secret)
		return 0;
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "belongs to user %u", st->st_uid);
	/* The group root is as good as its owner. */
	if (st->st_mode & 037 || (st->st_mode & 040 && st->st_gid != 0))
		return err_set(e, ERR_PERM, ESC(5, 3, 5),
		    "mode %04o lets others at it: chmod 600 it", st->st_mode & 07777u);
	return 0;
}

static int
read_all(int fd, size_t max, struct buf *out, struct err *e)
{
	for (size_t got = 0;;) {
		char *room = buf_reserve(out, 65536);
		ssize_t n = room ? read(fd, room, 65536) : -1;
		if (n < 0 && room && errno == EINTR)
			continue;
		if (n == 0)
			return 0;
		if (n > 0)
			buf_commit(out, (size_t)n);
		got += n > 0 ? (size_t)n : 0;
		if (room == NULL || got > max)
			return err_set(e, ERR_PERM, ESC(5, 3, 5), "larger than %zu bytes", max);
		if (n < 0)
			return err_errno(e, "read");
	}
}

int
file_read(const char *path, size_t max, bool secret, struct buf *out, struct err *e)
{
	/* O_NONBLOCK: a FIFO in the place of the file must not hold us. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), rc;
	struct stat st;

	if (fd < 0) {
		err_errno(e, "open");
		return err_wrap(e, "%s", path);
	}
	if (fstat(fd, &st) < 0)
		rc = err_errno(e, "fstat");
	else
		rc = check_file(&st, max, secret, e);
	if (rc == 0)
		rc = read_all(fd, max, out, e);
	close(fd);
	return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

int
memfile_make(const char *name, struct view content, struct err *e)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_errno(e, "memfd_create");
	if (durable_write(fd, content.p, content.n, e) < 0) {
		close(fd);
		return -1;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
		err_errno(e, "seal");
		close(fd);
		return -1;
	}
	return fd;
}

int
memfile_open(int fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open(path, O_RDONLY | O_CLOEXEC);
	if (own >= 0)
		return own;
	/* No /proc: the offset is shared, which readers with pread() do not notice. */
	own = fcntl(fd, F_DUPFD_CLOEXEC, 4);
	if (own >= 0)
		lseek(own, 0, SEEK_SET);
	return own;
}

int
memfile_read(int fd, struct buf *out, struct err *e)
{
	for (off_t at = 0;;) {
		char *room = buf_reserve(out, 16384);
		if (room == NULL)
			return err_set(e, ERR_BUG, ESC(5, 3, 0), "memory file too large");
		ssize_t n = pread(fd, room, 16384, at);
		if (n < 0)
			return err_errno(e, "read");
		if (n == 0)
			return 0;
		buf_commit(out, (size_t)n);
		at += n;
	}
}

int
append_open(const char *path, struct err *e)
{
	int flags = O_WRONLY | O_APPEND | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;
	int fd = open(path, flags | O_CREAT | O_EXCL, 0640);

	if (fd >= 0)
		fchmod(fd, 0640); /* our umask is 077 */
	else if (errno == EEXIST)
		fd = open(path, flags);
	if (fd < 0) {
		err_errno(e, "open");
		return err_wrap(e, "log file %s", path);
	}
	return fd;
}

static int
syslog_open(struct err *e)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = SYSLOG_PATH };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	err_errno(e, "connect to " SYSLOG_PATH);
	if (fd >= 0)
		close(fd);
	return -1;
}

int
log_target_open(const struct conf *c, bool foreground, enum log_kind *kind, struct err *e)
{
	*kind = LOG_KIND_FILE;
	if (*c->log.file)
		return append_open(c->log.file, e);
	int fd = syslog_open(e);
	if (fd >= 0) {
		*kind = LOG_KIND_SYSLOG;
		return fd;
	}
	if (foreground)
		return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 4);
	return err_wrap(e, "no log file is set and there is no system log");
}
