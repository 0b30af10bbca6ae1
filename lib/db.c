/* SPDX-License-Identifier: ISC */
/* Btrees and their indexes within an environment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/db_private.h"
#include "lib/durable.h"

enum { NAME_MAX_LEN = 64, INDEX_KEY_MAX = 4096, ITEM_MAX = 1 << 30 };

struct db {
	DB *h;
	struct db_env *env;
	bool index;
	bool (*extract)(struct view key, struct view value, struct buf *out);
};

struct db_cursor {
	DBC *h;
	struct db *db;
	uint64_t aborts; /* of the environment when it was opened */
	char *start;	 /* the first key, until it was used */
	size_t start_len;
	bool started;
};

static struct db *
open_handle(struct db_env *env, const char *name, bool index, struct err *e)
{
	char file[NAME_MAX_LEN + 8];
	struct db *db = x_calloc(1, sizeof(*db));
	int rc;

	*db = (struct db){ .env = env, .index = index };
	if (strlen(name) > NAME_MAX_LEN) {
		err_set(e, ERR_BUG, ESC(4, 3, 0), "database name %s is too long", name);
		goto fail;
	}
	snprintf(file, sizeof(file), "%s.db", name);
	if ((rc = db_create(&db->h, env->h, 0)) != 0) {
		db->h = NULL;
		db_env_fail(env, e, rc, name);
		goto fail;
	}
	db->h->app_private = db;
	/* A page that came back otherwise than it was written is an error, not an answer. */
	uint32_t flags = DB_CHKSUM | (index ? DB_DUPSORT : 0u);
	if ((rc = db->h->set_flags(db->h, flags)) != 0 ||
	    (rc = db->h->open(db->h, NULL, file, NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT,
		 0600)) != 0) {
		db_env_fail(env, e, rc, file);
		goto fail;
	}
	env->dirty = true;
	/* libdb renames a new file into place: without this a power cut undoes it. */
	if (durable_sync_dir(env->dir_fd, e) == 0)
		return db;
fail:
	db_close(&db);
	return NULL;
}

struct db *
db_open(struct db_env *env, const char *name, struct err *e)
{
	if (db_env_writable(env, NULL, e) < 0)
		return NULL;
	return open_handle(env, name, false, e);
}

void
db_close(struct db **dbp)
{
	struct db *db = *dbp;

	if (db == NULL)
		return;
	/* NOSYNC: the log has it all. A failure here was reported by the call that caused it. */
	if (db->h)
		db->h->close(db->h, DB_NOSYNC);
	free(db);
	*dbp = NULL;
}

/* libdb's callback: the secondary key of a record. The copy is freed by libdb. */
static int
index_key(DB *h, const DBT *key, const DBT *value, DBT *result)
{
	const struct db *db = h->app_private;
	struct buf out = BUF_INIT(INDEX_KEY_MAX);
	int rc = DB_DONOTINDEX;

	if (db->extract(db_view(key), db_view(value), &out)) {
		rc = EINVAL;
		if (!out.bad) {
			struct view v = buf_view(&out);
			*result = (DBT){ .size = (uint32_t)v.n, .flags = DB_DBT_APPMALLOC };
			result->data = x_malloc(v.n);
			if (v.n)
				memcpy(result->data, v.p, v.n);
			rc = 0;
		}
	}
	buf_free(&out);
	return rc;
}

struct db *
db_open_index(struct db_env *env, const char *name, struct db *primary,
    bool (*extract)(struct view key, struct view value, struct buf *out), struct err *e)
{
	if (db_env_writable(env, NULL, e) < 0)
		return NULL;
	struct db *db = open_handle(env, name, true, e);
	if (db == NULL)
		return NULL;
	db->extract = extract;
	int rc = primary->h->associate(primary->h, NULL, db->h, index_key, DB_CREATE);
	if (rc != 0) {
		db_env_fail(env, e, rc, name);
		db_close(&db);
		return NULL;
	}
	env->dirty = true;
	return db;
}

static DB_TXN *
txn_handle(const struct db_txn *t)
{
	return t ? t->h : NULL;
}

static int
size_ok(struct view key, struct view value, struct err *e)
{
	if (key.n > ITEM_MAX || value.n > ITEM_MAX)
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "database record of %zu bytes", value.n);
	return 0;
}

int
db_get(struct db *db, struct db_txn *t, struct view key, struct view *value, struct err *e)
{
	DBT k = db_dbt(key), v = { 0 };

	*value = view_of(NULL, 0);
	int rc = db->h->get(db->h, txn_handle(t), &k, &v, 0);
	if (rc == DB_NOTFOUND)
		return 0;
	if (rc != 0)
		return db_env_fail(db->env, e, rc, "read");
	*value = db_view(&v);
	return 1;
}

static int
change_allowed(struct db *db, struct db_txn *t, struct err *e)
{
	if (db->index)
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "an index is changed by its primary only");
	return db_env_writable(db->env, t, e);
}

int
db_put(struct db *db, struct db_txn *t, struct view key, struct view value, struct err *e)
{
	DBT k = db_dbt(key), v = db_dbt(value);

	if (change_allowed(db, t, e) < 0 || size_ok(key, value, e) < 0)
		return -1;
	int rc = db->h->put(db->h, txn_handle(t), &k, &v, 0);
	if (rc != 0)
		return db_env_fail(db->env, e, rc, "write");
	if (t == NULL)
		db->env->dirty = true;
	return 0;
}

int
db_del(struct db *db, struct db_txn *t, struct view key, struct err *e)
{
	DBT k = db_dbt(key);

	if (change_allowed(db, t, e) < 0)
		return -1;
	int rc = db->h->del(db->h, txn_handle(t), &k, 0);
	if (rc == DB_NOTFOUND)
		return 0;
	if (rc != 0)
		return db_env_fail(db->env, e, rc, "delete");
	if (t == NULL)
		db->env->dirty = true;
	return 1;
}

struct db_cursor *
db_cursor(struct db *db, struct db_txn *t, struct view start, struct err *e)
{
	DBC *h;
	int rc = db->h->cursor(db->h, txn_handle(t), &h, 0);

	if (rc != 0) {
		db_env_fail(db->env, e, rc, "cursor");
		return NULL;
	}
	struct db_cursor *c = x_calloc(1, sizeof(*c));
	*c = (struct db_cursor){ .h = h, .db = db, .aborts = db->env->aborts };
	c->start = x_strndup(start);
	c->start_len = start.n;
	return c;
}

int
db_next(struct db_cursor *c, struct view *key, struct view *primary_key, struct view *value,
    struct err *e)
{
	DBT k = { 0 }, p = { 0 }, v = { 0 };

	if (c->aborts != c->db->env->aborts)
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "a cursor was used after an abort");
	if (!c->started)
		k = db_dbt(view_of(c->start, c->start_len));
	uint32_t how = c->started ? DB_NEXT : DB_SET_RANGE;
	c->started = true;
	int rc = c->db->index ? c->h->pget(c->h, &k, &p, &v, how) : c->h->get(c->h, &k, &v, how);
	if (rc == DB_NOTFOUND)
		return 0;
	if (rc != 0)
		return db_env_fail(c->db->env, e, rc, "read on");
	*key = db_view(&k);
	if (primary_key)
		*primary_key = db_view(&p);
	if (value)
		*value = db_view(&v);
	return 1;
}

void
db_cursor_close(struct db_cursor **c)
{
	if (*c == NULL)
		return;
	(*c)->h->close((*c)->h);
	free((*c)->start);
	free(*c);
	*c = NULL;
}
