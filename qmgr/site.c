/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "qmgr/list.h"
#include "qmgr/site.h"

/* Pure: hosts in order. */

struct host {
	uint16_t pref;
	struct view name;
};

static int
by_preference(const void *a, const void *b)
{
	const struct host *x = a, *y = b;

	if (x->pref != y->pref)
		return (x->pref > y->pref) - (x->pref < y->pref);
	size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
	int rc = n ? memcmp(x->name.p, y->name.p, n) : 0;
	return rc ? rc : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

/* Records as they came, and what is sorted. Answers are in order of preference: the first ones are the best. */
static size_t
keep_hosts(struct view hosts, struct buf *kept, struct host *out)
{
	struct ipc_mx_host h;
	size_t n = 0;

	while (n < SITE_HOSTS_MAX && ipc_next(&ipc_desc_mx_host, &hosts, &h)) {
		size_t before = buf_len(kept);
		ipc_put(kept, &ipc_desc_mx_host, &h);
		if (kept->bad) {
			kept->bad = false;
			buf_truncate(kept, before);
			break;
		}
		out[n++] = (struct host){ h.pref, h.name };
	}
	return n;
}

bool
site_describe(struct view hosts, struct buf *kept, struct buf *key, struct buf *name)
{
	struct host v[SITE_HOSTS_MAX];
	size_t n = keep_hosts(hosts, kept, v);

	if (n == 0)
		return false;
	qsort(v, n, sizeof(*v), by_preference);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_putc(key, v[i].pref == v[i - 1].pref ? '=' : '>');
		buf_putv(key, v[i].name);
	}
	buf_putv(name, v[0].name);
	if (n > 1)
		buf_printf(name, "+%zu", n - 1);
	return true;
}

/* The table. */

static struct site *
find(struct qmgr *q, struct view key, uint64_t hash)
{
	for (struct table_node *n = table_first(&q->sites, hash); n; n = table_next(n)) {
		struct site *s = CONTAINER(n, struct site, node);
		if (view_is(key, s->key))
			return s;
	}
	return NULL;
}

static struct site *
get(struct qmgr *q, struct view key, struct view name)
{
	uint64_t hash = hash_view(key, 0);
	struct site *s = find(q, key, hash);

	if (s)
		return site_ref(s);
	s = x_calloc(1, sizeof(*s));
	s->key = x_strndup(key);
	memcpy(s->name, name.p, name.n < SITE_NAME_MAX ? name.n : SITE_NAME_MAX);
	list_init(&s->lanes);
	table_put(&q->sites, &s->node, hash);
	return site_ref(s);
}

struct site *
site_ref(struct site *s)
{
	s->refs++;
	return s;
}

void
site_unref(struct qmgr *q, struct site *s)
{
	if (--s->refs)
		return;
	table_del(&q->sites, &s->node);
	free(s->hosts);
	free(s->key);
	free(s);
}

static void
find_group(struct qmgr *q, struct site *s)
{
	s->group = group_of_mx(q->set.groups, view_of(s->hosts, s->hosts_bytes));
}

struct site *
site_of_answer(struct qmgr *q, const struct ipc_mx_answer *m)
{
	struct buf kept = BUF_INIT(SITE_BYTES_MAX), key = BUF_INIT(SITE_BYTES_MAX), name = BUF_INIT(SITE_NAME_MAX);
	struct site *s = NULL;

	if (site_describe(m->hosts, &kept, &key, &name)) {
		s = get(q, buf_view(&key), buf_view(&name));
		s->state = SITE_KNOWN;
		s->secure = m->secure;
		s->implicit = m->implicit;
		free(s->hosts);
		s->hosts_bytes = buf_len(&kept);
		s->hosts = x_malloc(s->hosts_bytes);
		memcpy(s->hosts, kept.p + kept.off, s->hosts_bytes);
		find_group(q, s);
	}
	buf_free(&kept);
	buf_free(&key);
	buf_free(&name);
	return s;
}

/* A host name has no blank: no key of hosts begins with one. */
struct site *
site_of_domain(struct qmgr *q, struct view domain, enum site_state state)
{
	struct buf key = BUF_INIT(SITE_BYTES_MAX);

	buf_putc(&key, ' ');
	buf_putv(&key, domain);
	struct site *s = get(q, buf_view(&key), domain);
	s->state = state;
	buf_free(&key);
	return s;
}

static void
rebind_one(void *ctx, struct table_node *n)
{
	find_group(ctx, CONTAINER(n, struct site, node));
}

void
sites_rebind(struct qmgr *q)
{
	table_each(&q->sites, rebind_one, q);
}
