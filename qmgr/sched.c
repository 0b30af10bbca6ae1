/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "lib/loop.h"
#include "qmgr/sched.h"

struct sched_list {
	struct sched_item *head, *tail;
};

/* There while it has waiting items. */
struct sched_tenant {
	struct table_node node;
	const void *key;
	struct sched_tenant *next, *prev; /* the ring */
	struct sched_list fresh, retry;
	unsigned streak; /* fresh items taken while a retry waited */
};

static uint64_t
key_hash(const void *key)
{
	return hash_u64((uint64_t)(uintptr_t)key);
}

static struct sched_tenant *
find(const struct sched *s, const void *key)
{
	if (s->turn && s->turn->key == key)
		return s->turn;
	for (struct table_node *n = table_first(&s->tenants, key_hash(key)); n; n = table_next(n)) {
		struct sched_tenant *t = CONTAINER(n, struct sched_tenant, node);
		if (t->key == key)
			return t;
	}
	return NULL;
}

/* A new tenant has its turn after all who are there. */
static struct sched_tenant *
add(struct sched *s, const void *key)
{
	struct sched_tenant *t = x_calloc(1, sizeof(*t));

	t->key = key;
	table_put(&s->tenants, &t->node, key_hash(key));
	if (s->turn == NULL) {
		s->turn = t->next = t->prev = t;
		return t;
	}
	t->next = s->turn;
	t->prev = s->turn->prev;
	t->prev->next = t;
	t->next->prev = t;
	return t;
}

static void
drop_if_empty(struct sched *s, struct sched_tenant *t)
{
	if (t->fresh.head || t->retry.head)
		return;
	if (s->turn == t)
		s->turn = t->next == t ? NULL : t->next;
	t->prev->next = t->next;
	t->next->prev = t->prev;
	table_del(&s->tenants, &t->node);
	free(t);
	if (s->turn == NULL)
		table_free(&s->tenants);
}

static struct sched_list *
list_of(struct sched_tenant *t, const struct sched_item *item)
{
	return item->retry ? &t->retry : &t->fresh;
}

static void
link_item(struct sched *s, const void *key, struct sched_item *item, bool front)
{
	struct sched_tenant *t = find(s, key);

	if (t == NULL)
		t = add(s, key);
	struct sched_list *l = list_of(t, item);
	item->tenant = t;
	item->prev = front ? NULL : l->tail;
	item->next = front ? l->head : NULL;
	if (item->prev)
		item->prev->next = item;
	else
		l->head = item;
	if (item->next)
		item->next->prev = item;
	else
		l->tail = item;
	s->waiting++;
}

void
sched_put(struct sched *s, const void *tenant, struct sched_item *item)
{
	link_item(s, tenant, item, false);
}

void
sched_put_back(struct sched *s, const void *tenant, struct sched_item *item)
{
	link_item(s, tenant, item, true);
}

void
sched_remove(struct sched *s, struct sched_item *item)
{
	struct sched_tenant *t = item->tenant;
	struct sched_list *l = list_of(t, item);

	if (item->prev)
		item->prev->next = item->next;
	else
		l->head = item->next;
	if (item->next)
		item->next->prev = item->prev;
	else
		l->tail = item->prev;
	item->next = item->prev = NULL;
	item->tenant = NULL;
	s->waiting--;
	drop_if_empty(s, t);
}

static bool
has_turn(const struct sched *s, const struct sched_tenant *t, uint64_t now_ms)
{
	uint32_t share = s->share ? s->share(t->key) : 100;

	return share >= 100 || now_ms % SCHED_PERIOD_MS * 100 < (uint64_t)share * SCHED_PERIOD_MS;
}

/* The first in the ring who has a turn now. */
static struct sched_tenant *
who(const struct sched *s, uint64_t now_ms)
{
	struct sched_tenant *t = s->turn;

	if (t == NULL)
		return NULL;
	do {
		if (has_turn(s, t, now_ms))
			return t;
	} while ((t = t->next) != s->turn);
	return NULL;
}

bool
sched_ready(const struct sched *s, uint64_t now_ms)
{
	return who(s, now_ms) != NULL;
}

struct sched_item *
sched_take(struct sched *s, uint64_t now_ms)
{
	struct sched_tenant *t = who(s, now_ms);

	if (t == NULL)
		return NULL;
	bool retry = t->retry.head && (t->fresh.head == NULL || t->streak >= SCHED_STREAK);
	struct sched_item *item = retry ? t->retry.head : t->fresh.head;
	t->streak = retry || t->retry.head == NULL ? 0 : t->streak + 1;
	s->turn = t->next;
	sched_remove(s, item);
	return item;
}

struct sched_item *
sched_any(const struct sched *s)
{
	if (s->turn == NULL)
		return NULL;
	return s->turn->fresh.head ? s->turn->fresh.head : s->turn->retry.head;
}

void
window_good(struct window *w, uint32_t max)
{
	uint32_t size = window_size(w, max);

	w->size = size < max ? size + 1 : max;
}

void
window_bad(struct window *w)
{
	uint32_t size = w->size ? w->size : WINDOW_FIRST;

	w->size = size > 1 ? size / 2 : 1;
}

uint32_t
sched_connections(size_t waiting, uint32_t opening, uint32_t open, uint32_t window, uint32_t room)
{
	uint32_t have = opening + open;

	if (waiting <= opening || have >= window)
		return 0;
	uint32_t want = window - have;
	if (want > waiting - opening)
		want = (uint32_t)(waiting - opening);
	return want < room ? want : room;
}
