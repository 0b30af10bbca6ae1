/* SPDX-License-Identifier: ISC */
/*
 * Berkeley DB: the only caller of libdb. One owner per environment (DB_PRIVATE | DB_RECOVER), in the
 * current folder of the process after chroot. Transactions are NOSYNC; db_env_sync() once a loop turn
 * makes all of them durable (group commit), db_env_checkpoint() bounds recovery.
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

/* dir: created with mode 0700 when missing. A lock file makes a second owner fail (E: in use). */
struct db_env *db_env_open(const char *dir, size_t cache_bytes, struct err *e);
void db_env_close(struct db_env **env);
/* Durable: all transactions committed so far. 0 or -1 (then the owner must stop serving writes). */
int db_env_sync(struct db_env *env, struct err *e);
/* Whether anything was committed since the last db_env_sync(). */
bool db_env_dirty(const struct db_env *env);
int db_env_checkpoint(struct db_env *env, struct err *e); /* also removes log files not needed */

/* A btree with bytewise order. */
struct db *db_open(struct db_env *env, const char *name, struct err *e);
void db_close(struct db **db);
/*
 * A secondary index kept by libdb within the same transaction: extract() appends the secondary key of a
 * record to out, or returns false for "not in this index". Duplicates are allowed.
 */
struct db *db_open_index(struct db_env *env, const char *name, struct db *primary,
    bool (*extract)(struct view key, struct view value, struct buf *out), struct err *e);

struct db_txn *db_begin(struct db_env *env, struct err *e);
int db_commit(struct db_txn **t, struct err *e);
void db_abort(struct db_txn **t);

/* 1 found, 0 not, -1 error. txn may be NULL for reads; writes without one are their own transaction. */
int db_get(struct db *db, struct db_txn *t, struct view key, struct view *value, struct err *e);
int db_put(struct db *db, struct db_txn *t, struct view key, struct view value, struct err *e);
int db_del(struct db *db, struct db_txn *t, struct view key, struct err *e); /* 1, 0, -1 */

/* Cursor from the first key >= start. On an index, `primary_key` is set too. 1 row, 0 end, -1 error. */
struct db_cursor *db_cursor(struct db *db, struct db_txn *t, struct view start, struct err *e);
int db_next(struct db_cursor *c, struct view *key, struct view *primary_key, struct view *value,
    struct err *e);
void db_cursor_close(struct db_cursor **c);

/*
 * Look-up tables outside an environment (mtactl map build): btree files with a count record that is
 * checked at open, built beside, synced and renamed.
 */
struct db_map;
struct db_map *db_map_open(const char *path, struct err *e);
void db_map_close(struct db_map **m);
int db_map_get(struct db_map *m, struct view key, struct buf *out, struct err *e); /* 1, 0, -1 */
/* Lines "key value..." of a text file; errors carry path:line. */
int db_map_build(const char *text_path, const char *db_path, uint64_t *count, struct err *e);

#endif
