/* SPDX-License-Identifier: ISC */
/* What the files of lib/db*.c share. */
#ifndef EKIDEN_DB_PRIVATE_H
#define EKIDEN_DB_PRIVATE_H

#include <db.h>

#include "lib/db.h"

enum { DB_DETAIL_MAX = 256 };

struct db_env {
	DB_ENV *h;
	char *dir;
	int dir_fd, lock_fd;
	struct db_txn *txn; /* the open one */
	bool dirty;	    /* committed since the last sync */
	bool dead;	    /* libdb panicked, by itself or by us */
	uint32_t log_file;  /* number of the log file whose name is known to be durable */
	uint64_t aborts;
	char detail[DB_DETAIL_MAX]; /* what libdb said during the current call */
};

struct db_txn {
	DB_TXN *h;
	struct db_env *env;
};

/* NULL is empty. libdb counts in 32 bits; over that it is refused where the size comes in. */
static inline DBT
db_dbt(struct view v)
{
	return (DBT){ .data = (void *)(uintptr_t)v.p, .size = (uint32_t)v.n };
}

static inline struct view
db_view(const DBT *d)
{
	return view_of(d->data, d->size);
}

/* Fills e from a libdb or errno code, the text libdb gave (may be "") and what was tried. -1. */
int db_fail(struct err *e, int rc, const char *detail, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for a call within an environment; notices when that is dead. */
int db_env_fail(struct db_env *env, struct err *e, int rc, const char *what);
/* May this write go on? 0 or -1. t: the transaction it is to be part of, or NULL. */
int db_env_writable(const struct db_env *env, const struct db_txn *t, struct err *e);
/* Keeps the first line of a call in detail[DB_DETAIL_MAX]. */
void db_keep_detail(char *detail, const char *text);

#endif
