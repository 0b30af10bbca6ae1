/* SPDX-License-Identifier: ISC */
/*
 * authd's records in Berkeley DB: tenants, keys, domains, and who owns which keys and domains.
 * One owner at a time: authd, or mtactl --offline while authd does not run.
 *
 * Reads come from the cache of the environment and need no transaction. Changes are made between
 * store_begin() and store_commit(), which returns when they are on disk.
 */
#ifndef EKIDEN_AUTHD_STORE_H
#define EKIDEN_AUTHD_STORE_H

#include "authd/record.h"
#include "lib/err.h"

struct authd_store;
struct txt_client;
struct db_env;
struct live;

/* dir: see db_env_open(). Reads every record once. NULL on failure. */
struct authd_store *store_open(const char *dir, struct err *e);
/*
 * What stands in for one that is damaged (store_open() said ERR_DAMAGED): every call fails with what
 * was found. Never NULL.
 */
struct authd_store *store_open_damaged(const struct err *damage);
/*
 * The same for a command that root runs while authd does not: the effective user becomes the owner
 * of the folder, until the process ends.
 */
struct authd_store *store_open_offline(const char *dir, struct err *e);
/* With a checkpoint. NULL is fine. */
void store_close(struct authd_store **s);

/* Only a new process can go on with it (db_env_dead()). */
bool store_dead(const struct authd_store *s);
/* The environment, for tables of others in it; they are closed before the store is. */
struct db_env *store_env(const struct authd_store *s);
/* The others committed something. */
void store_mark_changed(struct authd_store *s);
/* Nothing to do when nothing changed. */
int store_checkpoint(struct authd_store *s, struct err *e);

/* Where `domain verify` looks records up; NULL (offline): it cannot. Borrowed. */
void store_set_txt_client(struct authd_store *s, struct txt_client *c);
struct txt_client *store_txt_client(const struct authd_store *s);

/* What is known at run time beside the records (authd/live.h); NULL (offline): nothing. Borrowed. */
void store_set_live(struct authd_store *s, const struct live *live);
const struct live *store_live(const struct authd_store *s);

/* Grows with every change: a reader in steps can tell that it saw one state. */
uint64_t store_changes(const struct authd_store *s);

int store_begin(struct authd_store *s, struct err *e);
/* After a failure the change may be in force or not, now and after a restart. */
int store_commit(struct authd_store *s, struct err *e);
void store_abort(struct authd_store *s); /* also when nothing was begun */

enum store_table { STORE_tenant, STORE_key, STORE_domain, STORE_counter, STORE_audit, STORE_return_key, STORE_TABLES };

/* "tenant", "key", "domain": for people. */
const char *store_table_word(enum store_table t);

/*
 * As store_get() of a tenant or a key, in the same time whether it is there or not: for 0 the record is one
 * that nobody has, with a tenant of no name.
 */
int store_get_evenly(struct authd_store *s, enum store_table t, struct view name, void *record,
    struct err *e);

/* 1 found, 0 not, -1 error. The typed forms below are what callers use. */
int store_get(struct authd_store *s, enum store_table t, struct view name, void *record,
    struct err *e);
int store_put(struct authd_store *s, enum store_table t, struct view name, const void *record,
    struct err *e);
int store_del(struct authd_store *s, enum store_table t, struct view name, struct err *e);
/*
 * The first record behind `name` (start with ""), which becomes its name; of one tenant's when
 * tenant is not NULL. Keeps nothing between calls, so records may change meanwhile. 1, 0 at the
 * end, -1.
 */
int store_next(struct authd_store *s, enum store_table t, const char *tenant,
    char name[static DOMAIN_BYTES + 1], void *record, struct err *e);
/* How many keys or domains a tenant has. -1 on error. */
int store_count(struct authd_store *s, enum store_table t, const char *tenant, uint64_t *count,
    struct err *e);

/* The next serial of a key, inside the transaction. 0 or -1. */
int store_next_serial(struct authd_store *s, uint32_t *serial, struct err *e);

/* The last serial given out, and the same after an import that brought its own. */
int store_last_serial(struct authd_store *s, uint32_t *serial, struct err *e);
int store_put_serial(struct authd_store *s, uint32_t serial, struct err *e);
const struct record_type *store_record_type(enum store_table t);

#define STORE_TYPED(record)                                                                        \
	static inline int store_get_##record(struct authd_store *s, struct view name,              \
	    struct record_##record *r, struct err *e)                                              \
	{                                                                                          \
		return store_get(s, STORE_##record, name, r, e);                                   \
	}                                                                                          \
	static inline int store_put_##record(struct authd_store *s, struct view name,              \
	    const struct record_##record *r, struct err *e)                                        \
	{                                                                                          \
		return store_put(s, STORE_##record, name, r, e);                                   \
	}                                                                                          \
	static inline int store_next_##record(struct authd_store *s, const char *tenant,           \
	    char name[static DOMAIN_BYTES + 1], struct record_##record *r, struct err *e)          \
	{                                                                                          \
		return store_next(s, STORE_##record, tenant, name, r, e);                          \
	}
RECORDS(STORE_TYPED)

#endif
