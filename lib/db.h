/* SPDX-License-Identifier: ISC */
/*
 * Berkeley DB: the only caller of libdb. One owner per environment (DB_PRIVATE | DB_RECOVER),
 * usually in the current folder of the process after chroot. Transactions are NOSYNC; db_env_sync()
 * once a loop turn makes all of them durable (group commit), db_env_checkpoint() bounds recovery.
 *
 * There are no page locks, since one thread would only ever wait for itself. What follows from
 * that: one transaction at a time (a second db_begin(), or a write outside of the open one, is an
 * error); reads see what the open transaction wrote; cursors may stay open while records are
 * changed or deleted, except across db_abort(), after which they fail.
 *
 * A full disk is an error like others: the transaction is undone, or, when db_env_sync() says so,
 * not durable yet; the next call may succeed. After any other failure of a commit, sync or
 * checkpoint nobody knows what is on disk (a second fdatasync may succeed without the data): the
 * environment is dead, every call fails, nothing is written any more, and the process should end. A
 * new one recovers what was synced, as after kill -9.
 *
 * Errors are ERR_TEMP, but ERR_DAMAGED when files do not hold what was written to them.
 *
 * A key or value handed out by a cursor or db_get() lives until the next call on the same handle.
 */
#ifndef EKIDEN_DB_H
#define EKIDEN_DB_H

#include "lib/err.h"

struct db_env;
struct db;
struct db_txn;
struct db_cursor;

/*
 * dir: created with mode 0700 when missing; the process's user must own it, so that no file appears
 * that the daemon cannot open later. A relative dir is used for as long as the environment is open:
 * no chdir. The lock file "lock" makes a second owner fail.
 */
struct db_env *db_env_open(const char *dir, size_t cache_bytes, struct err *e);
/*
 * Its handles are closed before. Syncs, but does not checkpoint; what cannot be synced is gone.
 * NULL is fine.
 */
void db_env_close(struct db_env **env);
/* Durable: all transactions committed so far. 0, or -1: none of those since the last success is. */
int db_env_sync(struct db_env *env, struct err *e);
/* Whether anything was committed since the last db_env_sync(). */
bool db_env_dirty(const struct db_env *env);
/* See above. Damage that was read makes it dead as well. */
bool db_env_dead(const struct db_env *env);
/* Writes back the cache and removes log files not needed; a synced checkpoint. 0 or -1. */
int db_env_checkpoint(struct db_env *env, struct err *e);

/* A btree with bytewise order, in the file "<name>.db"; created when missing, then durable. */
struct db *db_open(struct db_env *env, const char *name, struct err *e);
void db_close(struct db **db); /* an index before its primary; NULL is fine */
/*
 * A secondary index kept by libdb within the same transaction: extract() appends the secondary key
 * of a record to out, or returns false for "not in this index". Duplicates are allowed. A new index
 * is filled from the primary. It must be open whenever the primary is written. Secondary keys: <=
 * 4096.
 */
struct db *db_open_index(struct db_env *env, const char *name, struct db *primary,
    bool (*extract)(struct view key, struct view value, struct buf *out), struct err *e);

struct db_txn *db_begin(struct db_env *env, struct err *e);
int db_commit(struct db_txn **t, struct err *e); /* the transaction is over either way */
void db_abort(struct db_txn **t);		 /* NULL is fine */

/*
 * 1 found, 0 not, -1 error. txn may be NULL for reads; writes without one are their own
 * transaction. On an index db_get() gives the value of the primary's (first) record.
 */
int db_get(struct db *db, struct db_txn *t, struct view key, struct view *value, struct err *e);
int db_put(struct db *db, struct db_txn *t, struct view key, struct view value, struct err *e);
int db_del(struct db *db, struct db_txn *t, struct view key, struct err *e); /* 1, 0, -1 */

/* From the first key >= start. On an index `primary_key` is set too. 1 row, 0 end, -1 error. */
struct db_cursor *db_cursor(struct db *db, struct db_txn *t, struct view start, struct err *e);
int db_next(struct db_cursor *c, struct view *key, struct view *primary_key, struct view *value,
    struct err *e);
void db_cursor_close(struct db_cursor **c); /* before its transaction ends; NULL is fine */

/*
 * Look-up tables outside an environment (mtactl map build): btree files with a count record that is
 * checked at open, built beside, synced and renamed. Keys compare without ASCII case.
 */
enum { DB_MAP_KEY_MAX = 512, DB_MAP_VALUE_MAX = 4096 };

struct db_map;
struct db_map *db_map_open(const char *path, struct err *e);
void db_map_close(struct db_map **m);
uint64_t db_map_count(const struct db_map *m);
/* Appends the value. 1, 0, -1. */
int db_map_get(struct db_map *m, struct view key, struct buf *out, struct err *e);
/*
 * Lines "key value..." of a text file; blank lines and lines that start with '#' are skipped. A key
 * twice, a missing value, a leading blank or a control byte is an error: "path:line: ...".
 */
int db_map_build(const char *text_path, const char *db_path, uint64_t *count, struct err *e);

#endif
