/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "qmgr/domain_map.h"

struct domain_entry {
	char *name; /* canonical; with its dot when it stands for all below it */
	size_t len, order;
	const void *value;
};

static int
compare(const void *a, const void *b)
{
	const struct domain_entry *x = a, *y = b;
	int rc = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);

	return rc ? rc : (x->len > y->len) - (x->len < y->len);
}

static int
compare_order(const void *a, const void *b)
{
	const struct domain_entry *x = a, *y = b;
	int rc = compare(a, b);

	return rc ? rc : (x->order > y->order) - (x->order < y->order);
}

void
domain_map_add(struct domain_map *m, const struct conf_list *words, const void *value)
{
	struct buf name = BUF_INIT(ADDR_DOMAIN_MAX + 2), canonical = BUF_INIT(ADDR_DOMAIN_MAX + 1);

	m->v = x_realloc(m->v, m->n + words->n, sizeof(*m->v));
	for (size_t i = 0; i < words->n; i++) {
		const char *word = words->v[i];
		bool below = *word == '.';
		buf_clear(&canonical);
		if (!domain_canonical(view_str(word + below), &canonical))
			continue;
		buf_clear(&name);
		buf_puts(&name, below ? "." : "");
		buf_putv(&name, buf_view(&canonical));
		m->v[m->n] = (struct domain_entry){ x_strndup(buf_view(&name)), buf_len(&name), m->n, value };
		m->n++;
	}
	buf_free(&canonical);
	buf_free(&name);
}

void
domain_map_sort(struct domain_map *m)
{
	size_t kept = 0;

	if (m->n)
		qsort(m->v, m->n, sizeof(*m->v), compare_order);
	for (size_t i = 0; i < m->n; i++)
		if (kept && compare(&m->v[kept - 1], &m->v[i]) == 0)
			free(m->v[i].name);
		else
			m->v[kept++] = m->v[i];
	m->n = kept;
}

static const struct domain_entry *
look_up(const struct domain_map *m, struct view name)
{
	const struct domain_entry key = { (char *)(uintptr_t)name.p, name.n, 0, NULL };

	return name.n ? bsearch(&key, m->v, m->n, sizeof(key), compare) : NULL;
}

const void *
domain_map_find(const struct domain_map *m, struct view domain)
{
	const struct domain_entry *found = m->n ? look_up(m, domain) : NULL;
	ptrdiff_t dot;

	while (m->n && found == NULL && (dot = view_index(domain, '.')) >= 0) {
		found = look_up(m, view_skip(domain, (size_t)dot));
		domain = view_skip(domain, (size_t)dot + 1);
	}
	return found ? found->value : NULL;
}

void
domain_map_free(struct domain_map *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->v[i].name);
	free(m->v);
	*m = (struct domain_map){ 0 };
}
