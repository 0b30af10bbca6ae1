/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authd/live.h"
#include "authd/store.h"
#include "lib/db.h"
#include "lib/log.h"

/* Some 100,000 keys and domains with their indexes stay in memory; more are read from disk. */
#define SERIAL "serial"

enum {
	CACHE_BYTES = 48 << 20,
	INDEX_KEY_BYTES = NAME_BYTES + 1 + DOMAIN_BYTES + 1
};

struct authd_store {
	char *dir;
	struct err *damage; /* all else is empty then */
	struct db_env *env;
	struct db *table[STORE_TABLES];
	struct db *index[STORE_TABLES]; /* by tenant; NULL for tenants */
	struct db_txn *txn;
	bool changed; /* since the last checkpoint */
	uint64_t changes;
	struct buf nobodys[STORE_TABLES]; /* see store_get_evenly() */
	struct txt_client *txt;
	const struct live *live;
};

/* The key of an index: tenant, NUL, name. So one tenant's records are neighbours, in order. */
static void
put_index_key(struct buf *out, const char *tenant, struct view name)
{
	buf_puts(out, tenant);
	buf_putc(out, '\0');
	buf_putv(out, name);
}

static bool
key_index(struct view name, struct view value, struct buf *out)
{
	struct record_key k;

	if (!record_get(&record_type_key, value, &k) || k.orphan)
		return false;
	put_index_key(out, k.tenant, name);
	return true;
}

static bool
domain_index(struct view name, struct view value, struct buf *out)
{
	struct record_domain d;

	if (!record_get(&record_type_domain, value, &d))
		return false;
	put_index_key(out, d.tenant, name);
	return true;
}

static const struct {
	const char *name, *index;
	bool (*extract)(struct view name, struct view value, struct buf *out);
	const struct record_type *type;
} tables[STORE_TABLES] = {
	[STORE_tenant] = { "tenants", NULL, NULL, &record_type_tenant },
	[STORE_key] = { "keys", "keys-by-tenant", key_index, &record_type_key },
	[STORE_domain] = { "domains", "domains-by-tenant", domain_index, &record_type_domain },
	[STORE_counter] = { "counters", NULL, NULL, &record_type_counter },
	[STORE_audit] = { "audit", NULL, NULL, &record_type_audit },
	[STORE_return_key] = { "return-keys", NULL, NULL, &record_type_return_key },
};

const char *
store_table_word(enum store_table t)
{
	static const char *const words[STORE_TABLES] = { "tenant", "key", "domain", "counter",
		"audit", "return key" };

	return words[t];
}

static void
close_all(struct authd_store *s)
{
	db_abort(&s->txn);
	for (int i = 0; i < STORE_TABLES; i++) {
		db_close(&s->index[i]);
		db_close(&s->table[i]);
	}
	db_env_close(&s->env);
}

static int
open_all(struct authd_store *s, struct err *e)
{
	s->env = db_env_open(s->dir, CACHE_BYTES, e);
	for (int i = 0; i < STORE_TABLES && s->env; i++) {
		s->table[i] = db_open(s->env, tables[i].name, e);
		if (s->table[i] == NULL)
			goto fail;
		if (tables[i].index == NULL)
			continue;
		s->index[i] =
		    db_open_index(s->env, tables[i].index, s->table[i], tables[i].extract, e);
		if (s->index[i] == NULL)
			goto fail;
	}
	if (s->env && db_env_sync(s->env, e) == 0)
		return 0;
fail:
	close_all(s);
	return -1;
}

static int
decode(enum store_table t, struct view name, struct view value, void *record, struct err *e)
{
	if (!record_get(tables[t].type, value, record))
		return err_set(e, ERR_DAMAGED, ESC(4, 3, 0), "record " VIEW_FMT " of %s is damaged",
		    VIEW_ARG(view_first(name, 100)), tables[t].name);
	return 1;
}

/* The keys of a database from before keys had serials and rights get both. */
static int
number_keys(struct authd_store *s, struct err *e)
{
	char user[DOMAIN_BYTES + 1] = "";
	struct record_counter last;
	struct record_key k;
	int rc = store_get_counter(s, VIEW(SERIAL), &last, e);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (store_begin(s, e) < 0)
		return -1;
	while ((rc = store_next_key(s, NULL, user, &k, e)) == 1) {
		k.rights |= RIGHT_SEND;
		if (store_next_serial(s, &k.serial, e) < 0 ||
		    store_put_key(s, view_str(user), &k, e) < 0)
			break;
	}
	explicit_bzero(&k, sizeof(k));
	if (rc == 0 && *user)
		return store_commit(s, e);
	store_abort(s);
	return rc == 0 ? 0 : -1;
}

/* Every record, and every index. What cannot be read is found now, not by the one client it concerns. */
static int
check_table(struct authd_store *s, enum store_table t, void *record, struct err *e)
{
	struct view key, value;
	int rc;

	struct db_cursor *c = db_cursor(s->table[t], NULL, VIEW(""), e);
	while ((rc = c ? db_next(c, &key, NULL, &value, e) : -1) == 1)
		if ((rc = decode(t, key, value, record, e)) < 0)
			break;
	db_cursor_close(&c);
	if (rc < 0)
		return err_wrap(e, "%s", tables[t].name);
	if (s->index[t] == NULL)
		return 0;
	c = db_cursor(s->index[t], NULL, VIEW(""), e);
	while ((rc = c ? db_next(c, &key, NULL, NULL, e) : -1) == 1)
		continue;
	db_cursor_close(&c);
	return rc < 0 ? err_wrap(e, "%s", tables[t].index) : 0;
}

static int
check_all(struct authd_store *s, struct err *e)
{
	union {
#define RECORD_ROOM(record) struct record_##record of_##record;
		RECORDS(RECORD_ROOM)
	} room;
	int rc = 0;

	for (int t = 0; t < STORE_TABLES && rc == 0; t++)
		rc = check_table(s, (enum store_table)t, &room, e);
	explicit_bzero(&room, sizeof(room));
	return rc;
}

/* Rows as those of a tenant with its first key. */
static void
make_nobodys(struct authd_store *s)
{
	struct record_key k = { .tenant = "", .rights = RIGHT_SEND, .created_us = clock_wall_us(), .serial = 1,
		.scram_iterations = 4096 };
	struct record_tenant t = { .enabled = true, .created_us = k.created_us };

	memset(k.salt, 1, sizeof(k.salt));
	memset(k.hash, 1, sizeof(k.hash));
	memset(k.scram_salt, 1, sizeof(k.scram_salt));
	memset(k.scram_stored_key, 1, sizeof(k.scram_stored_key));
	memset(k.scram_server_key, 1, sizeof(k.scram_server_key));
	for (int i = 0; i < STORE_TABLES; i++)
		buf_init(&s->nobodys[i], RECORD_BYTES);
	record_put(&record_type_key, &k, &s->nobodys[STORE_key]);
	record_put(&record_type_tenant, &t, &s->nobodys[STORE_tenant]);
}

struct authd_store *
store_open(const char *dir, struct err *e)
{
	struct authd_store *s = x_calloc(1, sizeof(*s));

	s->dir = x_strdup(dir);
	make_nobodys(s);
	if (open_all(s, e) < 0 || check_all(s, e) < 0 || number_keys(s, e) < 0)
		store_close(&s);
	return s;
}

struct authd_store *
store_open_damaged(const struct err *damage)
{
	struct authd_store *s = x_calloc(1, sizeof(*s));

	s->damage = x_malloc(sizeof(*s->damage));
	*s->damage = *damage;
	return s;
}

/* 0, or -1 with the damage. */
static int
usable(const struct authd_store *s, struct err *e)
{
	if (s->damage == NULL)
		return 0;
	*e = *s->damage;
	return -1;
}

/*
 * What root leaves in the folder, authd could not open. This is about whose the files are, not
 * about giving up rights: the real user id stays, since it is what the log says of the admin.
 */
static int
become_owner(const char *dir, struct err *e)
{
	struct stat st;

	if (stat(dir, &st) < 0)
		return err_errno(e, "folder %s", dir);
	if (geteuid() != 0 || st.st_uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setegid(st.st_gid) < 0 || seteuid(st.st_uid) < 0)
		return err_errno(e, "become user id %u", (unsigned)st.st_uid);
	return 0;
}

struct authd_store *
store_open_offline(const char *dir, struct err *e)
{
	return become_owner(dir, e) < 0 ? NULL : store_open(dir, e);
}

void
store_close(struct authd_store **sp)
{
	struct authd_store *s = *sp;
	struct err e;

	if (s == NULL)
		return;
	db_abort(&s->txn);
	if (s->env && store_checkpoint(s, &e) < 0)
		log_error("%s", e.text);
	close_all(s);
	for (int i = 0; i < STORE_TABLES; i++)
		buf_free(&s->nobodys[i]);
	free(s->damage);
	free(s->dir);
	free(s);
	*sp = NULL;
}

bool
store_dead(const struct authd_store *s)
{
	return s->env && db_env_dead(s->env);
}

struct db_env *
store_env(const struct authd_store *s)
{
	return s->env;
}

void
store_mark_changed(struct authd_store *s)
{
	s->changed = true;
}

int
store_checkpoint(struct authd_store *s, struct err *e)
{
	if (!s->changed || s->env == NULL || db_env_dead(s->env))
		return 0;
	if (db_env_checkpoint(s->env, e) < 0)
		return -1;
	s->changed = false;
	return 0;
}

void
store_set_txt_client(struct authd_store *s, struct txt_client *c)
{
	s->txt = c;
}

struct txt_client *
store_txt_client(const struct authd_store *s)
{
	return s->txt;
}

void
store_set_live(struct authd_store *s, const struct live *live)
{
	s->live = live;
}

const struct live *
store_live(const struct authd_store *s)
{
	return s->live;
}

int
store_begin(struct authd_store *s, struct err *e)
{
	s->txn = usable(s, e) == 0 ? db_begin(s->env, e) : NULL;
	return s->txn ? 0 : -1;
}

int
store_commit(struct authd_store *s, struct err *e)
{
	s->changed = true;
	s->changes++;
	int rc = db_commit(&s->txn, e) < 0 ? -1 : db_env_sync(s->env, e);
	if (s->live && s->live->changed)
		s->live->changed(s->live->ctx);
	return rc;
}

void
store_abort(struct authd_store *s)
{
	db_abort(&s->txn);
}

int
store_get(struct authd_store *s, enum store_table t, struct view name, void *record, struct err *e)
{
	struct view value;

	int rc = usable(s, e) == 0 ? db_get(s->table[t], s->txn, name, &value, e) : -1;
	return rc == 1 ? decode(t, name, value, record, e) : rc;
}

int
store_get_evenly(struct authd_store *s, enum store_table t, struct view name, void *record, struct err *e)
{
	struct view value;
	int rc = usable(s, e) == 0 ? db_get(s->table[t], s->txn, name, &value, e) : -1;

	if (rc < 0)
		return -1;
	if (rc == 0)
		value = buf_view(&s->nobodys[t]);
	return decode(t, name, value, record, e) < 0 ? -1 : rc;
}

int
store_put(struct authd_store *s, enum store_table t, struct view name, const void *record,
    struct err *e)
{
	struct buf value = BUF_INIT(RECORD_BYTES);

	if (s->txn == NULL)
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "a change outside of a transaction");
	record_put(tables[t].type, record, &value);
	int rc = value.bad ? err_set(e, ERR_BUG, ESC(4, 3, 0), "record too large") :
			     db_put(s->table[t], s->txn, name, buf_view(&value), e);
	buf_free(&value);
	return rc;
}

int
store_del(struct authd_store *s, enum store_table t, struct view name, struct err *e)
{
	if (s->txn == NULL)
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "a change outside of a transaction");
	return db_del(s->table[t], s->txn, name, e);
}

/* In an index rows go by (tenant, name), in a table by name; either way `name` is the record's. */
int
store_next(struct authd_store *s, enum store_table t, const char *tenant,
    char name[static DOMAIN_BYTES + 1], void *record, struct err *e)
{
	struct buf start = BUF_INIT(INDEX_KEY_BYTES + 1), prefix = BUF_INIT(INDEX_KEY_BYTES);
	struct view key, primary, value, after = view_str(name);

	if (usable(s, e) < 0)
		return -1;
	if (tenant)
		put_index_key(&prefix, tenant, VIEW(""));
	buf_putv(&start, buf_view(&prefix));
	buf_putv(&start, after);
	if (after.n)
		buf_putc(&start, '\0'); /* the least string behind it */
	struct db *db = tenant ? s->index[t] : s->table[t];
	struct db_cursor *c = db_cursor(db, s->txn, buf_view(&start), e);
	int rc = c ? db_next(c, &key, &primary, &value, e) : -1;
	if (rc == 1 && tenant && !view_eq(view_first(key, buf_len(&prefix)), buf_view(&prefix)))
		rc = 0;
	if (rc == 1) {
		struct view found = view_first(tenant ? primary : key, DOMAIN_BYTES);
		rc = decode(t, found, value, record, e);
		memcpy(name, found.p, found.n);
		name[found.n] = '\0';
	}
	db_cursor_close(&c);
	buf_free(&start);
	buf_free(&prefix);
	return rc;
}

int
store_count(struct authd_store *s, enum store_table t, const char *tenant, uint64_t *count,
    struct err *e)
{
	struct buf prefix = BUF_INIT(INDEX_KEY_BYTES);
	struct view key;
	int rc;

	*count = 0;
	put_index_key(&prefix, tenant, VIEW(""));
	struct db_cursor *c = usable(s, e) == 0 ?
	    db_cursor(s->index[t], s->txn, buf_view(&prefix), e) : NULL;
	while ((rc = c ? db_next(c, &key, NULL, NULL, e) : -1) == 1 &&
	    view_eq(view_first(key, buf_len(&prefix)), buf_view(&prefix)))
		++*count;
	db_cursor_close(&c);
	buf_free(&prefix);
	return rc < 0 ? -1 : 0;
}

int
store_last_serial(struct authd_store *s, uint32_t *serial, struct err *e)
{
	struct record_counter last = { .value = 0 };
	int rc = store_get_counter(s, VIEW(SERIAL), &last, e);

	*serial = (uint32_t)last.value;
	return rc < 0 ? -1 : 0;
}

int
store_put_serial(struct authd_store *s, uint32_t serial, struct err *e)
{
	struct record_counter last = { .value = serial };

	return store_put_counter(s, VIEW(SERIAL), &last, e);
}

int
store_next_serial(struct authd_store *s, uint32_t *serial, struct err *e)
{
	if (store_last_serial(s, serial, e) < 0)
		return -1;
	if (*serial == UINT32_MAX)
		return err_set(e, ERR_PERM, ESC(4, 3, 0), "there are no more serials for keys");
	return store_put_serial(s, ++*serial, e);
}

const struct record_type *
store_record_type(enum store_table t)
{
	return tables[t].type;
}

uint64_t
store_changes(const struct authd_store *s)
{
	return s->changes;
}
