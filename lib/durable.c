/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/durable.h"
#include "lib/fault.h"

int
durable_write(int fd, const void *p, size_t n, struct err *e)
{
	const char *at = p;

	while (n) {
		ssize_t done = write(fd, at, FAULT_LENGTH(n));
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_errno(e, "write");
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

int
durable_pwrite(int fd, const void *p, size_t n, uint64_t at, struct err *e)
{
	const char *from = p;

	while (n) {
		ssize_t done = pwrite(fd, from, FAULT_LENGTH(n), (off_t)at);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_errno(e, "write");
		from += done;
		at += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

int
durable_sync(int fd, struct err *e)
{
	int rc;

	do
		rc = fdatasync(fd);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? err_errno(e, "fdatasync") : 0;
}

int
durable_sync_dir(int dirfd, struct err *e)
{
	int rc;

	do
		rc = FAULT_CALL("dir.sync", fsync(dirfd), -1);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? err_errno(e, "fsync of a folder") : 0;
}

static int
replace_with(int dirfd, const char *temp, const char *name, int fd, struct view content,
    struct err *e)
{
	if ((errno = FAULT("replace.write")) != 0)
		return err_errno(e, "write");
	if (durable_write(fd, content.p, content.n, e) < 0)
		return -1;
	if (FAULT_CALL("replace.sync", fsync(fd), -1) < 0)
		return err_errno(e, "fsync");
	if ((errno = FAULT("replace.rename")) != 0 || renameat(dirfd, temp, dirfd, name) < 0)
		return err_errno(e, "rename");
	return FAULT_CALL("replace.dir", durable_sync_dir(dirfd, e), err_errno(e, "fsync of a folder"));
}

int
durable_replace(int dirfd, const char *name, struct view content, struct err *e)
{
	char temp[256];
	int n = snprintf(temp, sizeof(temp), ".%s.new", name);

	if (n < 0 || (size_t)n >= sizeof(temp))
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "%s: name too long", name);
	unlinkat(dirfd, temp, 0); /* left by a crash */
	int fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		err_errno(e, "create");
		return err_wrap(e, "%s", name);
	}
	int rc = replace_with(dirfd, temp, name, fd, content, e);
	close(fd);
	if (rc < 0) {
		unlinkat(dirfd, temp, 0);
		err_wrap(e, "%s", name);
	}
	return rc;
}

static int
read_all(int fd, size_t max, struct buf *out, struct err *e)
{
	enum { CHUNK = 65536 };

	for (size_t total = 0;;) {
		char *room = buf_reserve(out, CHUNK);
		if (room == NULL)
			return err_set(e, ERR_PERM, ESC(5, 3, 4), "too large");
		ssize_t n = read(fd, room, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "read");
		if (n == 0)
			return 0;
		buf_commit(out, (size_t)n);
		total += (size_t)n;
		if (total > max)
			return err_set(e, ERR_PERM, ESC(5, 3, 4), "too large");
	}
}

int
durable_read(int dirfd, const char *name, size_t max, struct buf *out, struct err *e)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0) {
		err_errno(e, "open");
		return err_wrap(e, "%s", name);
	}
	int rc = read_all(fd, max, out, e);
	close(fd);
	return rc < 0 ? err_wrap(e, "%s", name) : 0;
}
