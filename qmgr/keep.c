/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "qmgr/keep.h"
#include "qmgr/list.h"
#include "qmgr/store.h"

/* Keys in the table `meta`: "clean"; "pace " and the group; "warm ", the source, NUL, and the destination. */
enum { PACE_VERSION = 1, WARM_VERSION = 1, ROW_MAX = 2048, KEY_MAX = 20000 };
#define KEY_CLEAN VIEW("clean")
static const char key_pace[] = "pace ", key_warm[] = "warm ";

static void
put_pace_key(const struct shaper *s, struct buf *key)
{
	buf_printf(key, "%s%s", key_pace, s->name);
}

static void
put_use_key(const struct source_use *u, struct buf *key)
{
	buf_printf(key, "%s%s", key_warm, u->source->name);
	buf_putc(key, '\0');
	buf_puts(key, u->key);
}

/* Changes. */

void
keep_pace(struct qmgr *q, struct shaper *s)
{
	if (s->group->rate.n == 0 || *s->group->name == '\0' || link_in(&s->dirty))
		return;
	list_put(&q->kept.paces, &s->dirty);
	store_wake(q);
}

void
keep_use(struct qmgr *q, struct source_use *u)
{
	if (link_in(&u->dirty))
		return;
	list_put(&q->kept.uses, &u->dirty);
	store_wake(q);
}

void
keep_drop_pace(struct qmgr *q, struct shaper *s)
{
	struct buf key = BUF_INIT(KEY_MAX);

	link_cut(&s->dirty);
	if (s->stored) {
		put_pace_key(s, &key);
		store_del_meta(q, buf_view(&key));
	}
	buf_free(&key);
}

void
keep_drop_use(struct qmgr *q, struct source_use *u)
{
	struct buf key = BUF_INIT(KEY_MAX);

	if (u->stored) {
		put_use_key(u, &key);
		store_del_meta(q, buf_view(&key));
	}
	buf_free(&key);
}

static void
write_pace(struct qmgr *q, struct shaper *s)
{
	struct buf key = BUF_INIT(KEY_MAX), row = BUF_INIT(ROW_MAX);

	put_pace_key(s, &key);
	buf_put_u8(&row, PACE_VERSION);
	buf_put_u64(&row, qmgr_now(q));
	buf_put_u64(&row, (uint64_t)q->clock.skew_us);
	pace_put(&s->rate, &row);
	store_put_meta(q, buf_view(&key), buf_view(&row));
	s->stored = true;
	buf_free(&key);
	buf_free(&row);
}

static void
write_use(struct qmgr *q, struct source_use *u)
{
	struct buf key = BUF_INIT(KEY_MAX), row = BUF_INIT(ROW_MAX);

	put_use_key(u, &key);
	buf_put_u8(&row, WARM_VERSION);
	buf_put_u32(&row, u->day);
	buf_put_u32(&row, u->sent);
	store_put_meta(q, buf_view(&key), buf_view(&row));
	u->stored = true;
	buf_free(&key);
	buf_free(&row);
}

void
keep_write(struct qmgr *q)
{
	LIST_EACH(&q->kept.paces, l, after) {
		link_cut(l);
		write_pace(q, CONTAINER(l, struct shaper, dirty));
	}
	LIST_EACH(&q->kept.uses, l, after) {
		link_cut(l);
		write_use(q, CONTAINER(l, struct source_use, dirty));
	}
}

void
keep_stop(struct qmgr *q)
{
	keep_write(q);
	store_put_meta(q, KEY_CLEAN, VIEW("1"));
}

/* The start. */

struct start {
	struct qmgr *q;
	bool clean;
};

/* false: it is of nothing any more. */
static bool
read_pace(struct start *st, struct view group, struct view row)
{
	struct qmgr *q = st->q;
	const struct group *g = group_by_name(q->set.groups, group);
	uint64_t now = qmgr_now(q);

	if (g == NULL || g->rate.n == 0 || view_get_u8(&row) != PACE_VERSION)
		return false;
	uint64_t written = view_get_u64(&row), skew = view_get_u64(&row);
	struct shaper *s = shaper_of_group(q, g);
	s->stored = true;
	/* Queue time begins anew with the wall clock. */
	if (!pace_get(&s->rate, &row, now - skew))
		return false;
	pace_shift(&s->rate, (int64_t)skew);
	written += skew;
	uint32_t room = pace_room(&s->rate, &g->rate, now);
	if (!st->clean && room < g->rate.n) {
		pace_take(&s->rate, &g->rate, written < now ? written : now, room);
		log_info("group %s: full since the last write of its pace, as it did not end orderly", g->name);
	}
	return true;
}

static bool
read_warm(struct start *st, struct view name, struct view row)
{
	struct view source = view_cut(&name, '\0');
	struct source *s = source_by_name(st->q, source);

	if (s == NULL || view_get_u8(&row) != WARM_VERSION)
		return false;
	struct source_use *u = source_use_get(s, name, true);
	u->day = view_get_u32(&row);
	u->sent = view_get_u32(&row);
	u->stored = true;
	return true;
}

static bool
read_row(void *ctx, struct view key, struct view value)
{
	struct start *st = ctx;
	bool of_use = true;

	if (view_starts(key, key_pace))
		of_use = read_pace(st, view_skip(key, sizeof(key_pace) - 1), value);
	else if (view_starts(key, key_warm))
		of_use = read_warm(st, view_skip(key, sizeof(key_warm) - 1), value);
	if (!of_use)
		store_del_meta(st->q, key);
	return true;
}

int
keep_start(struct qmgr *q, struct err *e)
{
	struct start st = { .q = q };

	if (store_has_meta(q, KEY_CLEAN, &st.clean, e) < 0 || store_each_meta(q, read_row, &st, e) < 0)
		return -1;
	if (!st.clean)
		return 0;
	store_del_meta(q, KEY_CLEAN);
	return store_commit(q) < 0 ? err_set(e, ERR_TEMP, ESC(4, 3, 0), "the queue database cannot be written") : 0;
}
