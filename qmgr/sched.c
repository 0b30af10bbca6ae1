/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "lib/loop.h"
#include "qmgr/sched.h"

enum { FRESH, RETRY, KINDS };

struct sched_list {
	struct sched_item *head, *tail;
	size_t n;
};

/* There while it has waiting items. */
struct sched_tenant {
	struct table_node node;
	const void *key;
	struct sched_tenant *next, *prev; /* the ring */
	int64_t credit; /* recipients; > 0 only within its turn */
	struct sched_queue {
		struct sched_list kind[KINDS];
		uint32_t passed;  /* items of higher levels taken while this one waited */
		uint32_t retries_passed; /* fresh ones taken while a retry waited */
	} level[SCHED_LEVELS];
};

enum sched_level
sched_level(int priority)
{
	return priority > 4 ? LEVEL_URGENT : priority > 0 ? LEVEL_HIGH : priority == 0 ? LEVEL_NORMAL : LEVEL_BULK;
}

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

static bool
queue_waits(const struct sched_queue *q)
{
	return q->kind[FRESH].head || q->kind[RETRY].head;
}

static void
drop_if_empty(struct sched *s, struct sched_tenant *t)
{
	for (int i = 0; i < SCHED_LEVELS; i++)
		if (queue_waits(&t->level[i]))
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
	return &t->level[item->level].kind[item->retry ? RETRY : FRESH];
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
	l->n++;
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
	l->n--;
	s->waiting--;
	drop_if_empty(s, t);
}

/* Whose turn. */

static uint32_t
weight_of(const struct sched *s, const struct sched_tenant *t)
{
	uint32_t w = s->weight ? s->weight(s->ctx, t->key) : 1;

	return w ? w : 1;
}

static bool
may_go(const struct sched *s, const struct sched_tenant *t)
{
	return s->stopped == NULL || !s->stopped(s->ctx, t->key);
}

/* How many turns of its own until it has credit; 0: this is its turn. */
static int64_t
turns_until_credit(const struct sched *s, const struct sched_tenant *t)
{
	int64_t weight = weight_of(s, t);

	return t->credit > 0 ? 0 : (weight - t->credit) / weight;
}

/* The tenant whose turn comes first, in ring order from s->turn, and in how many rounds. */
static struct sched_tenant *
who(const struct sched *s, int64_t *rounds)
{
	struct sched_tenant *t = s->turn, *best = NULL;

	if (t == NULL)
		return NULL;
	do {
		if (!may_go(s, t))
			continue;
		int64_t n = turns_until_credit(s, t);
		if (best == NULL || n < *rounds) {
			best = t;
			*rounds = n;
		}
		if (n <= 1)
			break; /* nobody behind it is sooner */
	} while ((t = t->next) != s->turn);
	return best;
}

/* What the rounds until then give to everybody; who is stopped gains nothing. */
static void
pass_turns(struct sched *s, struct sched_tenant *chosen, int64_t rounds)
{
	struct sched_tenant *t = s->turn;
	bool before = true;

	if (rounds == 0)
		return;
	do {
		int64_t turns = before ? rounds : rounds - 1;
		if (turns && may_go(s, t))
			t->credit += turns * weight_of(s, t);
		if (t == chosen) {
			before = false;
			if (rounds == 1)
				break;
		}
	} while ((t = t->next) != s->turn);
}

/* Which of a tenant's items. */

static struct sched_queue *
next_queue(struct sched_tenant *t)
{
	for (int i = SCHED_LEVELS - 1; i >= 0; i--)
		if (queue_waits(&t->level[i]) && t->level[i].passed >= SCHED_STREAK)
			return &t->level[i];
	for (int i = 0; i < SCHED_LEVELS; i++)
		if (queue_waits(&t->level[i]))
			return &t->level[i];
	return NULL;
}

static bool
retry_is_next(const struct sched_queue *q)
{
	return q->kind[RETRY].head && (q->kind[FRESH].head == NULL || q->retries_passed >= SCHED_STREAK);
}

/* The counts of who was passed over, behind the choice of q. */
static void
count_passed(struct sched_tenant *t, struct sched_queue *q, bool retry)
{
	q->passed = 0;
	q->retries_passed = retry || q->kind[RETRY].head == NULL ? 0 : q->retries_passed + 1;
	for (struct sched_queue *below = q + 1; below < t->level + SCHED_LEVELS; below++)
		below->passed = queue_waits(below) ? below->passed + 1 : 0;
}

struct sched_item *
sched_peek(const struct sched *s)
{
	int64_t rounds = 0;
	struct sched_tenant *t = who(s, &rounds);

	if (t == NULL)
		return NULL;
	const struct sched_queue *q = next_queue(t);
	return q->kind[retry_is_next(q) ? RETRY : FRESH].head;
}

struct sched_item *
sched_take(struct sched *s)
{
	int64_t rounds = 0;
	struct sched_tenant *t = who(s, &rounds);

	if (t == NULL)
		return NULL;
	pass_turns(s, t, rounds);
	struct sched_queue *q = next_queue(t);
	bool retry = retry_is_next(q);
	struct sched_item *item = q->kind[retry ? RETRY : FRESH].head;
	count_passed(t, q, retry);
	t->credit -= item->cost;
	s->turn = t->credit > 0 ? t : t->next;
	sched_remove(s, item);
	return item;
}

struct sched_item *
sched_any(const struct sched *s)
{
	if (s->turn == NULL)
		return NULL;
	const struct sched_queue *q = next_queue(s->turn);
	return q->kind[FRESH].head ? q->kind[FRESH].head : q->kind[RETRY].head;
}

void
sched_each_item(const struct sched *s, bool (*visit)(void *ctx, struct sched_item *item), void *ctx)
{
	const struct sched_tenant *t = s->turn;

	if (t == NULL)
		return;
	do {
		for (int i = 0; i < SCHED_LEVELS * KINDS; i++)
			for (struct sched_item *item = t->level[i / KINDS].kind[i % KINDS].head; item; item = item->next)
				if (!visit(ctx, item))
					return;
	} while ((t = t->next) != s->turn);
}

void
sched_each(const struct sched *s,
    void (*visit)(void *ctx, const void *tenant, size_t fresh, size_t retries), void *ctx)
{
	const struct sched_tenant *t = s->turn;

	if (t == NULL)
		return;
	do {
		size_t n[KINDS] = { 0 };
		for (int i = 0; i < SCHED_LEVELS; i++)
			for (int k = 0; k < KINDS; k++)
				n[k] += t->level[i].kind[k].n;
		visit(ctx, t->key, n[FRESH], n[RETRY]);
	} while ((t = t->next) != s->turn);
}

/* On a copy of the counts, item by item, until its own place in its own list is reached. */
size_t
sched_ahead(const struct sched_item *item)
{
	struct sched_tenant t = *item->tenant;
	struct sched_list *own = list_of(&t, item);
	size_t place = 0, ahead = 0;

	for (const struct sched_item *i = item->prev; i; i = i->prev)
		place++;
	for (;; ahead++) {
		struct sched_queue *q = next_queue(&t);
		bool retry = retry_is_next(q);
		struct sched_list *l = &q->kind[retry ? RETRY : FRESH];
		if (l == own && place-- == 0)
			return ahead;
		if (--l->n == 0)
			l->head = NULL;
		count_passed(&t, q, retry);
	}
}

bool
sched_share_now(uint32_t percent, uint64_t now_ms)
{
	return percent >= 100 || now_ms % SCHED_PERIOD_MS * 100 < (uint64_t)percent * SCHED_PERIOD_MS;
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
sched_connections(const struct sched_want *w)
{
	uint32_t have = w->opening + w->open, window = w->window;

	if (!w->proven)
		window = sched_reserved(w->total, w->total_used) ? 0 :
		    w->total_used > w->total / 2 ? 1 : (window + 1) / 2;
	if (w->waiting <= w->opening || have >= window)
		return 0;
	uint32_t want = window - have;
	if (want > w->waiting - w->opening)
		want = (uint32_t)(w->waiting - w->opening);
	return want < w->room ? want : w->room;
}
