/* SPDX-License-Identifier: ISC */
/* mtactl queue shape: how many recipients wait for each destination, and for how long. */
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "qmgr/answer.h"
#include "qmgr/dest.h"

CTL_QMGR(CTL_PROTOTYPE)

enum { LIMIT = 100, FIRST_S = 300 };

/* Each age is twice the one before. */
static const char *const ages[] = { "5m", "10m", "20m", "40m", "80m", "160m", "320m", "640m", "1280m", "older" };
enum { AGES = sizeof(ages) / sizeof(ages[0]) };

struct place {
	struct table_node node;
	uint64_t total, age[AGES];
	char name[];
};

struct shape {
	struct table places;
	struct place **v; /* for the end: in order */
	size_t n;
};

static void
free_place(void *ctx, struct table_node *n)
{
	(void)ctx;
	free(CONTAINER(n, struct place, node));
}

static void
free_shape(void *data)
{
	struct shape *s = data;

	table_each(&s->places, free_place, NULL);
	table_free(&s->places);
	free(s->v);
	free(s);
}

static struct place *
place_of(struct shape *s, struct view name)
{
	uint64_t hash = hash_view(name, 0);

	for (struct table_node *n = table_first(&s->places, hash); n; n = table_next(n)) {
		struct place *p = CONTAINER(n, struct place, node);
		if (view_is(name, p->name))
			return p;
	}
	struct place *p = x_calloc(1, sizeof(*p) + name.n + 1);
	memcpy(p->name, name.p, name.n);
	table_put(&s->places, &p->node, hash);
	return p;
}

static size_t
age_of(uint64_t arrival_us, uint64_t now_us)
{
	uint64_t s = now_us > arrival_us ? (now_us - arrival_us) / 1000000 : 0;
	size_t i = 0;

	for (uint64_t end = FIRST_S; i < AGES - 1 && s >= end; end *= 2)
		i++;
	return i;
}

static bool
count_one(struct visitor *v, const struct seen *s, struct rcpt *r)
{
	struct shape *shape = *walk_data(v->call, free_shape);
	struct buf canonical = BUF_INIT(ADDR_DOMAIN_MAX + 1);
	struct view domain = addr_domain(s->addr);

	(void)r;
	if (domain_canonical(domain, &canonical))
		domain = buf_view(&canonical);
	const struct site *site = dest_site(v->q, domain);
	struct place *p = place_of(shape, site ? view_str(site->name) : domain);
	p->total++;
	p->age[age_of(s->arrival_us, loop_wall_us(v->q->loop))]++;
	buf_free(&canonical);
	return true;
}

static void
collect(void *ctx, struct table_node *n)
{
	struct shape *s = ctx;

	s->v[s->n++] = CONTAINER(n, struct place, node);
}

static int
by_total(const void *a, const void *b)
{
	const struct place *x = *(struct place *const *)a, *y = *(struct place *const *)b;

	return x->total != y->total ? (x->total < y->total) - (x->total > y->total) : strcmp(x->name, y->name);
}

static void
put_row(struct ctl_call *call, const char *name, const struct place *p)
{
	ctl_str(call, "destination", name);
	ctl_number(call, "total", p->total);
	for (size_t i = 0; i < AGES; i++)
		ctl_number(call, ages[i], p->age[i]);
	ctl_row_end(call);
}

static void
put_rows(struct ctl_call *call, struct shape *s, uint64_t limit)
{
	struct place all = { .total = 0 };

	s->v = x_calloc(s->places.count + 1, sizeof(struct place *));
	table_each(&s->places, collect, s);
	qsort(s->v, s->n, sizeof(struct place *), by_total);
	for (size_t i = 0; i < s->n; i++) {
		all.total += s->v[i]->total;
		for (size_t k = 0; k < AGES; k++)
			all.age[k] += s->v[i]->age[k];
	}
	put_row(call, "TOTAL", &all);
	for (size_t i = 0; i < s->n && i < limit; i++)
		put_row(call, s->v[i]->name, s->v[i]);
}

enum ctl_result
ctl_queue_shape(struct ctl_call *call)
{
	struct qmgr *q = call->daemon;
	struct visitor v = { .meet = count_one, .call = call, .q = q };
	struct filter f;
	uint64_t limit;

	if (!filter_get(call, &f) || !limit_get(call, LIMIT, &limit))
		return CTL_DONE;
	if (call->cursor == NULL) {
		walk_start(call, q, &f);
		*walk_data(call, free_shape) = x_calloc(1, sizeof(struct shape));
	}
	if (walk_step(&v, &f))
		return CTL_MORE;
	put_rows(call, *walk_data(call, free_shape), limit);
	return CTL_DONE;
}
