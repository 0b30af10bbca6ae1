/* SPDX-License-Identifier: ISC */
/* The environment: opening with recovery, group commit, checkpoints, transactions. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/db_private.h"
#include "lib/durable.h"
#include "lib/fault.h"
#include "lib/log.h"

enum {
	LOG_BUFFER_BYTES = 256 << 10, /* what one turn commits leaves in one write */
	LOG_FILE_BYTES = 8 << 20,     /* small ones go away sooner at a checkpoint */
	TXN_MAX = 32,		      /* one is open, plus those inside libdb */
	OPEN_FLAGS = DB_PRIVATE | DB_CREATE | DB_RECOVER | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_MPOOL
};

int
db_fail(struct err *e, int rc, const char *detail, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	struct esc esc = rc == ENOSPC || rc == EDQUOT ? ESC(4, 3, 1) : ESC(4, 3, 0);
	/* Its own codes, and EINVAL for a file that is none of its, are not about the system. */
	enum err_class class = rc < 0 || rc == EINVAL ? ERR_DAMAGED : ERR_TEMP;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, class, esc, "%s: %s%s%s", text, db_strerror(rc), *detail ? ": " : "",
	    detail);
}

void
db_keep_detail(char *detail, const char *text)
{
	if (*detail == '\0')
		snprintf(detail, DB_DETAIL_MAX, "%s", text);
}

/* libdb's own words; without this they would go to stderr. */
static void
on_error(const DB_ENV *h, const char *prefix, const char *text)
{
	struct db_env *env = h->app_private;

	(void)prefix;
	db_keep_detail(env->detail, text);
}

static void
on_message(const DB_ENV *h, const char *text)
{
	const struct db_env *env = h->app_private;

	log_info("database %s: %s", env->dir, text);
}

/* What libdb said during a call that worked nevertheless. */
static void
log_detail(struct db_env *env)
{
	if (*env->detail)
		log_warn("database %s: %s", env->dir, env->detail);
	*env->detail = '\0';
}

int
db_env_fail(struct db_env *env, struct err *e, int rc, const char *what)
{
	if (rc == DB_RUNRECOVERY)
		env->dead = true;
	db_fail(e, rc, env->detail, "database %s: %s", env->dir, what);
	*env->detail = '\0';
	return -1;
}

/*
 * libdb's own panic flag keeps it from writing pages whose log records are not on disk: without it
 * DB_ENV->close() does that, and the database can never be opened again.
 */
static void
kill_env(struct db_env *env)
{
	env->dead = true;
	env->h->set_flags(env->h, DB_PANIC_ENVIRONMENT, 1);
	*env->detail = '\0'; /* "PANIC: ..." */
}

/*
 * A commit, sync or checkpoint failed. A full disk failed a write, which can be tried again; with
 * anything else it may have been a sync, which cannot.
 */
static int
lasting_fail(struct db_env *env, struct err *e, int rc, const char *what)
{
	db_env_fail(env, e, rc, what);
	if (rc != ENOSPC && rc != EDQUOT && !env->dead)
		kill_env(env);
	return -1;
}

int
db_env_writable(const struct db_env *env, const struct db_txn *t, struct err *e)
{
	if (env->dead)
		return err_set(e, ERR_TEMP, ESC(4, 3, 0), "database %s: closed after a failure",
		    env->dir);
	if (env->txn != t)
		return err_set(e, ERR_BUG, ESC(4, 3, 0),
		    "database %s: a second transaction was begun", env->dir);
	return 0;
}

/* Opens the folder, makes it when missing, and checks whose it is. */
static int
open_dir(struct db_env *env, struct err *e)
{
	struct stat st;
	bool made = mkdir(env->dir, 0700) == 0;

	if (!made && errno != EEXIST)
		return err_errno(e, "create folder %s", env->dir);
	env->dir_fd = open(env->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (env->dir_fd < 0 || fstat(env->dir_fd, &st) < 0)
		return err_errno(e, "open folder %s", env->dir);
	if (st.st_uid != geteuid())
		return err_set(e, ERR_PERM, ESC(4, 3, 5),
		    "folder %s belongs to user id %u, not to %u", env->dir, (unsigned)st.st_uid,
		    (unsigned)geteuid());
	if (!made)
		return 0;
	int parent = openat(env->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return err_errno(e, "open the folder above %s", env->dir);
	int rc = durable_sync_dir(parent, e);
	close(parent);
	return rc;
}

static int
take_lock(struct db_env *env, struct err *e)
{
	char pid[24] = "";

	env->lock_fd = openat(env->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (env->lock_fd < 0)
		return err_errno(e, "open %s/lock", env->dir);
	if (flock(env->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_errno(e, "lock %s/lock", env->dir);
		ssize_t n = pread(env->lock_fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? n : 0] = '\0';
		return err_set(e, ERR_TEMP, ESC(4, 3, 0),
		    "database %s is in use by another process (%.*s)", env->dir,
		    (int)strcspn(pid, "\n"), pid);
	}
	/* Only a courtesy for the message above: the lock is what counts. */
	int n = snprintf(pid, sizeof(pid), "pid %ld\n", (long)getpid());
	if (ftruncate(env->lock_fd, 0) < 0 || pwrite(env->lock_fd, pid, (size_t)n, 0) != n)
		return err_errno(e, "write %s/lock", env->dir);
	return 0;
}

static int
configure(struct db_env *env, size_t cache_bytes)
{
	DB_ENV *h = env->h;
	int rc;

	h->app_private = env;
	h->set_errcall(h, on_error);
	h->set_msgcall(h, on_message);
	/* Its own folder: otherwise libdb looks for /var/tmp and others. */
	if ((rc = h->set_tmp_dir(h, ".")) != 0 ||
	    (rc = h->set_cachesize(h, (uint32_t)(cache_bytes >> 30),
		 (uint32_t)(cache_bytes & ((1u << 30) - 1)), 1)) != 0 ||
	    (rc = h->set_lg_bsize(h, LOG_BUFFER_BYTES)) != 0 ||
	    (rc = h->set_lg_max(h, LOG_FILE_BYTES)) != 0 || (rc = h->set_tx_max(h, TXN_MAX)) != 0 ||
	    /* NOMMAP: a truncated file is an error then, not a signal. */
	    (rc = h->set_flags(h, DB_TXN_NOSYNC | DB_NOMMAP, 1)) != 0)
		return rc;
	/*
	 * ZERO: log files are written whole when they are made. A sync then needs no journal commit
	 * (measured: 58 instead of 110 us), and a full disk is met at a new file, not within one.
	 */
	return h->log_set_config(h, DB_LOG_AUTO_REMOVE | DB_LOG_ZERO, 1);
}

/*
 * libdb names new files (logs) and renames others (databases) without a sync of the folder. Called
 * after anything that may have done so.
 */
static int
sync_names(struct db_env *env, struct err *e)
{
	return durable_sync_dir(env->dir_fd, e);
}

static int
log_file_number(struct db_env *env, uint32_t *number, struct err *e)
{
	DB_LOG_STAT *st;
	int rc = env->h->log_stat(env->h, &st, 0);

	if (rc != 0)
		return db_env_fail(env, e, rc, "log status");
	*number = st->st_cur_file;
	free(st);
	return 0;
}

static int
open_env(struct db_env *env, size_t cache_bytes, struct err *e)
{
	int rc;

	if (open_dir(env, e) < 0 || take_lock(env, e) < 0)
		return -1;
	if ((rc = db_env_create(&env->h, 0)) != 0)
		return db_env_fail(env, e, rc, "create");
	if ((rc = configure(env, cache_bytes)) != 0)
		return db_env_fail(env, e, rc, "configure");
	if ((rc = env->h->open(env->h, env->dir, OPEN_FLAGS, 0600)) != 0)
		return db_env_fail(env, e, rc, "recover");
	log_detail(env);
	if (log_file_number(env, &env->log_file, e) < 0)
		return -1;
	return sync_names(env, e);
}

struct db_env *
db_env_open(const char *dir, size_t cache_bytes, struct err *e)
{
	struct db_env *env = x_calloc(1, sizeof(*env));

	env->dir = x_strdup(dir);
	env->dir_fd = env->lock_fd = -1;
	if (open_env(env, cache_bytes, e) < 0)
		db_env_close(&env);
	return env;
}

void
db_env_close(struct db_env **envp)
{
	struct db_env *env = *envp;
	struct err e;

	if (env == NULL)
		return;
	/* Also what was undone: no page may get ahead of its log record (see kill_env()). */
	env->dirty = true;
	if (env->h && !env->dead && db_env_sync(env, &e) < 0) {
		log_error("%s", e.text);
		kill_env(env);
	}
	if (env->h) {
		int rc = env->h->close(env->h, 0);
		/* After a panic libdb complains about it once more: it was reported then. */
		if (rc != 0 && !env->dead)
			log_error("database %s: close: %s", env->dir, db_strerror(rc));
	}
	/* The lock goes last: whoever gets it finds everything closed. */
	if (env->lock_fd >= 0)
		close(env->lock_fd);
	if (env->dir_fd >= 0)
		close(env->dir_fd);
	free(env->dir);
	free(env);
	*envp = NULL;
}

int
db_env_sync(struct db_env *env, struct err *e)
{
	uint32_t file;

	if (db_env_writable(env, env->txn, e) < 0)
		return -1;
	if (!env->dirty)
		return 0;
	int rc = FAULT_CALL("db.sync", env->h->log_flush(env->h, NULL), errno);
	if (rc != 0)
		return lasting_fail(env, e, rc, "sync");
	if (log_file_number(env, &file, e) < 0 ||
	    (file != env->log_file && sync_names(env, e) < 0)) {
		kill_env(env);
		return -1;
	}
	env->log_file = file;
	env->dirty = false;
	return 0;
}

bool
db_env_dirty(const struct db_env *env)
{
	return env->dirty;
}

bool
db_env_dead(const struct db_env *env)
{
	return env->dead;
}

int
db_env_checkpoint(struct db_env *env, struct err *e)
{
	if (db_env_sync(env, e) < 0)
		return -1;
	int rc = FAULT_CALL("db.checkpoint", env->h->txn_checkpoint(env->h, 0, 0, 0), errno);
	if (rc != 0)
		return lasting_fail(env, e, rc, "checkpoint");
	log_detail(env);
	return log_file_number(env, &env->log_file, e) < 0 ? -1 : sync_names(env, e);
}

struct db_txn *
db_begin(struct db_env *env, struct err *e)
{
	DB_TXN *h;

	if (db_env_writable(env, NULL, e) < 0)
		return NULL;
	int rc = env->h->txn_begin(env->h, NULL, &h, 0);
	if (rc != 0) {
		db_env_fail(env, e, rc, "begin");
		return NULL;
	}
	struct db_txn *t = x_calloc(1, sizeof(*t));
	*t = (struct db_txn){ .h = h, .env = env };
	env->txn = t;
	return t;
}

static void
end_txn(struct db_txn **t)
{
	(*t)->env->txn = NULL;
	free(*t);
	*t = NULL;
}

/* The pages go back to what they were: cursors may point beside their records. */
static int
undo(struct db_txn *t)
{
	int rc = t->h->abort(t->h);

	t->env->aborts++;
	return rc;
}

void
db_abort(struct db_txn **t)
{
	if (*t == NULL)
		return;
	struct db_env *env = (*t)->env;
	int rc = undo(*t);
	if (rc != 0 && !env->dead) {
		log_error("database %s: abort: %s", env->dir, db_strerror(rc));
		kill_env(env);
	}
	end_txn(t);
}

int
db_commit(struct db_txn **t, struct err *e)
{
	struct db_env *env = (*t)->env;
	int rc = FAULT("db.commit"), undone = 0;

	if (env->dead) {
		db_abort(t);
		return db_env_writable(env, NULL, e);
	}
	if (rc != 0)
		undone = undo(*t);
	else if ((rc = (*t)->h->commit((*t)->h, 0)) != 0)
		env->aborts++; /* libdb undoes what it cannot commit */
	end_txn(t);
	if (rc != 0)
		return lasting_fail(env, e, undone ? undone : rc, "commit");
	env->dirty = true;
	return 0;
}
