/* SPDX-License-Identifier: ISC */
/*
 * The trail: key u8 kind, name; value u8 version, u64 day, u32 today, u32 usual_x8, u32 days, then the
 * quota as quota_put() writes it. Integers big-endian.
 */
#include <stdlib.h>
#include <string.h>

#include "authd/usage.h"
#include "lib/db.h"
#include "lib/log.h"

enum { TRAIL_VERSION = 1, DAY_S = 86400, SWEEP_S = 600, CHECKPOINT_BYTES = 64 << 20 };

static uint64_t
wall_s(const struct usages *u)
{
	return loop_wall_us(u->loop) / 1000000;
}

static void
put_key(const struct usage *of, struct buf *b)
{
	buf_putc(b, of->kind);
	buf_puts(b, of->name);
}

static void
put_value(const struct usage *of, struct buf *b)
{
	buf_put_u8(b, TRAIL_VERSION);
	buf_put_u64(b, of->volume.day);
	buf_put_u32(b, of->volume.today);
	buf_put_u32(b, of->volume.usual_x8);
	buf_put_u32(b, of->volume.days);
	quota_put(&of->quota, b);
}

static bool
get_value(struct usage *of, struct view v)
{
	struct volume *volume = &of->volume;

	if (view_get_u8(&v) != TRAIL_VERSION)
		return false;
	volume->day = view_get_u64(&v);
	volume->today = view_get_u32(&v);
	volume->usual_x8 = view_get_u32(&v);
	volume->days = view_get_u32(&v);
	return quota_get(&of->quota, &v) && view_done(v);
}

static void
read_trail(struct usages *u, struct usage *of)
{
	struct buf key = BUF_INIT(NAME_BYTES + 2);
	struct view value;
	struct err e;

	put_key(of, &key);
	int rc = u->db ? db_get(u->db, NULL, buf_view(&key), &value, &e) : 0;
	if (rc < 0)
		log_error("use of %s: %s", of->name, e.text);
	else if (rc == 1 && !get_value(of, value))
		log_error("use of %s: its record is damaged, counting begins anew", of->name);
	buf_free(&key);
}

struct usage *
usages_get(struct usages *u, enum usage_kind kind, struct view name)
{
	uint64_t hash = hash_view(name, (uint64_t)kind);

	for (struct table_node *n = table_first(&u->table, hash); n; n = table_next(n)) {
		struct usage *of = CONTAINER(n, struct usage, node);
		if (of->kind == (char)kind && view_is(name, of->name))
			return of;
	}
	struct usage *of = x_calloc(1, sizeof(*of));
	name = view_first(name, NAME_BYTES);
	of->kind = (char)kind;
	of->factor = 100;
	of->touched_s = wall_s(u);
	memcpy(of->name, name.p, name.n);
	table_put(&u->table, &of->node, hash);
	read_trail(u, of);
	return of;
}

void
usages_changed(struct usages *u, struct usage *of)
{
	of->touched_s = wall_s(u);
	if (of->dirty)
		return;
	of->dirty = true;
	of->next_dirty = u->dirty;
	u->dirty = of;
	if (!loop_timer_armed(&u->timer))
		loop_timer_set(u->loop, &u->timer, USAGE_FLUSH_MS);
}

static int
write_all(struct usages *u, struct err *e)
{
	struct db_env *env = store_env(u->store);
	struct buf key = BUF_INIT(NAME_BYTES + 2), value = BUF_INIT(64 + QUOTA_BYTES);
	struct db_txn *txn = db_begin(env, e);
	int rc = txn ? 0 : -1;

	for (struct usage *of = u->dirty; rc == 0 && of; of = of->next_dirty) {
		buf_clear(&key);
		buf_clear(&value);
		put_key(of, &key);
		put_value(of, &value);
		rc = db_put(u->db, txn, buf_view(&key), buf_view(&value), e);
		u->written += buf_len(&value);
	}
	if (rc < 0)
		db_abort(&txn);
	else if (db_commit(&txn, e) < 0 || db_env_sync(env, e) < 0)
		rc = -1;
	buf_free(&key);
	buf_free(&value);
	return rc;
}

static void
forget_idle(void *ctx, struct table_node *n)
{
	struct usages *u = ctx;
	struct usage *of = CONTAINER(n, struct usage, node);

	if (of->dirty || of->factor != 100 || of->touched_s + DAY_S > wall_s(u))
		return;
	table_del(&u->table, n);
	free(of);
}

/* A trail that cannot be written now is written later: what it is about goes on in memory. */
static void
on_timer(struct loop_timer *t)
{
	struct usages *u = CONTAINER(t, struct usages, timer);
	struct err e;

	if (u->db && write_all(u, &e) < 0) {
		log_error("use of quotas cannot be written: %s", e.text);
		if (!store_dead(u->store))
			loop_timer_set(u->loop, t, USAGE_FLUSH_MS);
		return;
	}
	for (struct usage *of; (of = u->dirty) != NULL;) {
		u->dirty = of->next_dirty;
		of->dirty = false;
	}
	store_mark_changed(u->store);
	if (u->written > CHECKPOINT_BYTES) {
		u->written = 0;
		if (store_checkpoint(u->store, &e) < 0)
			log_error("%s", e.text);
	}
	if (wall_s(u) >= u->swept_s + SWEEP_S) {
		u->swept_s = wall_s(u);
		table_each(&u->table, forget_idle, u);
	}
}

int
usages_open(struct usages *u, struct loop *l, struct authd_store *s, struct err *e)
{
	*u = (struct usages){ .loop = l, .store = s, .timer.fire = on_timer };
	if (store_env(s) == NULL)
		return 0; /* damaged: nobody will be granted anything */
	u->db = db_open(store_env(s), "usage", e);
	return u->db ? 0 : -1;
}

static void
forget(void *ctx, struct table_node *n)
{
	(void)ctx;
	free(CONTAINER(n, struct usage, node));
}

void
usages_close(struct usages *u)
{
	if (u->dirty && u->db && !store_dead(u->store))
		on_timer(&u->timer);
	loop_timer_cancel(u->loop, &u->timer);
	table_each(&u->table, forget, NULL);
	table_free(&u->table);
	db_close(&u->db);
}

struct visiting {
	void (*visit)(void *ctx, struct usage *of);
	void *ctx;
};

static void
visit_one(void *ctx, struct table_node *n)
{
	const struct visiting *v = ctx;

	v->visit(v->ctx, CONTAINER(n, struct usage, node));
}

void
usages_each(struct usages *u, void (*visit)(void *ctx, struct usage *of), void *ctx)
{
	struct visiting v = { visit, ctx };

	table_each(&u->table, visit_one, &v);
}
