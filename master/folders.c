/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/ipc.h"
#include "lib/log.h"
#include "master/folders.h"

int
account_of(const struct conf *c, enum role role, struct account *out, struct err *e)
{
	char name[64];

	*out = (struct account){ getuid(), getgid() };
	if (geteuid() != 0)
		return 0;
	if (c->uid_base) {
		out->uid = out->gid = (uint32_t)c->uid_base + role;
		return 0;
	}
	snprintf(name, sizeof(name), "ekiden-%s", role_name(role));
	const struct passwd *p = getpwnam(name);
	if (p == NULL || p->pw_uid == 0 || p->pw_gid == 0)
		return err_set(e, ERR_PERM, ESC(5, 3, 5),
		    "there is no account %s: make one, or set uid-base", name);
	*out = (struct account){ p->pw_uid, p->pw_gid };
	return 0;
}

static char *
below(const char *dir, const char *name)
{
	struct buf b = BUF_INIT(8192);

	buf_printf(&b, "%s/%s", dir, name);
	char *path = x_strdup(buf_cstr(&b));
	buf_free(&b);
	return path;
}

char *
home_of(const struct conf *c, enum role role)
{
	const struct plan_role *r = plan_role(role);

	switch (r ? r->home : HOME_EMPTY) {
	case HOME_SPOOL:
		return x_strdup(c->spool_dir);
	case HOME_STATE:
		return below(c->state_dir, role_name(role));
	default:
		return below(c->run_dir, "empty");
	}
}

int
become(const struct account *who, struct err *e)
{
	if (geteuid() != 0)
		return 0;
	if (setegid(who->gid) < 0 || seteuid(who->uid) < 0) {
		err_errno(e, "seteuid %u", who->uid);
		become_self();
		return -1;
	}
	return 0;
}

void
become_self(void)
{
	if (getuid() == 0 && (seteuid(0) < 0 || setegid(0) < 0))
		abort(); /* neither may go on half-way */
}

/* A folder below `at` (AT_FDCWD for a path): open, with the owner and mode it must have. */
static int
folder_open(int at, const char *name, mode_t mode, const struct account *owner, struct err *e)
{
	bool made = mkdirat(at, name, mode) == 0;
	int fd = -1;
	struct stat st;

	if (!made && errno != EEXIST) {
		err_errno(e, "mkdir");
		goto fail;
	}
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		err_errno(e, "open");
		goto fail;
	}
	if (made && (st.st_uid != owner->uid || st.st_gid != owner->gid) &&
	    fchown(fd, owner->uid, owner->gid) < 0) {
		err_errno(e, "chown");
		goto fail;
	}
	if (!made && st.st_uid != owner->uid) {
		err_set(e, ERR_PERM, ESC(5, 3, 5), "belongs to user %u, not %u", st.st_uid,
		    owner->uid);
		goto fail;
	}
	if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0) {
		err_errno(e, "chmod");
		goto fail;
	}
	return fd;
fail:
	if (fd >= 0)
		close(fd);
	err_wrap(e, "folder %s", name);
	return -1;
}

static int
folder_make(int at, const char *name, mode_t mode, const struct account *owner, struct err *e)
{
	int fd = folder_open(at, name, mode, owner, e);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

/* The queue's folders are made by its owner. */
static int
prepare_spool(const struct conf *c, struct err *e)
{
	static const char *const names[] = { "seg", "big", "db", "maps", "quarantine" };
	struct account owner;
	int rc = 0;

	if (account_of(c, ROLE_QMGR, &owner, e) < 0)
		return -1;
	int fd = folder_open(AT_FDCWD, c->spool_dir, 0700, &owner, e);
	if (fd < 0)
		return -1;
	if (become(&owner, e) < 0) {
		close(fd);
		return -1;
	}
	for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++)
		rc = folder_make(fd, names[i], 0700, &owner, e);
	become_self();
	close(fd);
	return rc < 0 ? err_wrap(e, "%s", c->spool_dir) : 0;
}

static int
prepare_state(const struct conf *c, const struct account *self, struct err *e)
{
	struct account owner;
	int fd = folder_open(AT_FDCWD, c->state_dir, 0755, self, e), rc = 0;

	if (fd < 0)
		return -1;
	rc = folder_make(fd, "dkim", 0700, self, e);
	for (int role = PLAN_FIRST_ROLE; rc == 0 && role <= PLAN_LAST_ROLE; role++) {
		if (plan_role(role)->home != HOME_STATE)
			continue;
		rc = account_of(c, role, &owner, e);
		if (rc == 0)
			rc = folder_make(fd, role_name(role), 0700, &owner, e);
	}
	close(fd);
	return rc < 0 ? err_wrap(e, "%s", c->state_dir) : 0;
}

static int
check_empty(int fd, struct err *e)
{
	DIR *d = fdopendir(fd);
	int rc = 0;

	if (d == NULL) {
		close(fd);
		return err_errno(e, "read");
	}
	for (const struct dirent *entry; rc == 0 && (entry = readdir(d)) != NULL;)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			rc = err_set(e, ERR_PERM, ESC(5, 3, 5), "folder empty: it holds %s",
			    entry->d_name);
	closedir(d);
	return rc;
}

static int
prepare_run(const struct conf *c, const struct account *self, struct err *e)
{
	int fd = folder_open(AT_FDCWD, c->run_dir, 0755, self, e), rc = -1;

	if (fd < 0)
		return -1;
	int empty = folder_open(fd, "empty", 0755, self, e);
	if (empty >= 0)
		rc = check_empty(empty, e);
	close(fd);
	return rc < 0 ? err_wrap(e, "%s", c->run_dir) : 0;
}

int
folders_prepare(const struct conf *c, struct err *e)
{
	struct account self = { geteuid(), getegid() };

	if (prepare_run(c, &self, e) < 0 || prepare_state(c, &self, e) < 0)
		return -1;
	return prepare_spool(c, e);
}

int
spool_map_store(const struct conf *c, const char *name, struct view content, struct err *e)
{
	struct account owner;
	int rc = -1;

	if (account_of(c, ROLE_QMGR, &owner, e) < 0)
		return -1;
	int spool = open(c->spool_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (spool < 0)
		return err_errno(e, "%s", c->spool_dir);
	if (become(&owner, e) == 0) {
		int maps = openat(spool, "maps", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (maps < 0)
			err_errno(e, "%s/maps", c->spool_dir);
		else
			rc = durable_replace(maps, name, content, e);
		if (maps >= 0)
			close(maps);
		become_self();
	}
	close(spool);
	return rc;
}
