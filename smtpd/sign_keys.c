/* SPDX-License-Identifier: ISC */
/* Which keys sign for a domain, and the settings for it. */
#include <stdlib.h>
#include <string.h>

#include <libpsl.h>

#include "lib/log.h"
#include "smtpd/command.h"

/* A copy of a configuration's list. */
static struct dkim_names
copy_names(const struct conf_list *list, const char *leave_out)
{
	char **v = x_calloc(list->n + 1, sizeof(*v));
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		if (leave_out == NULL || strcmp(list->v[i], leave_out) != 0)
			v[n++] = x_strdup(list->v[i]);
	return (struct dkim_names){ (const char *const *)v, n };
}

static void
free_names(struct dkim_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free((char *)(uintptr_t)names->v[i]);
	free((char **)(uintptr_t)names->v);
	*names = (struct dkim_names){ NULL, 0 };
}

void
sign_rules_init(struct sign_rules *r, const struct conf_dkim *c)
{
	struct buf domain = BUF_INIT(1024);

	*r = (struct sign_rules){ .on = c->sign, .without_key = c->without_key,
		.organizational = c->organizational };
	r->dkim = (struct dkim_rules){
		.header = c->header_canon == CONF_CANON_relaxed ? DKIM_RELAXED : DKIM_SIMPLE,
		.body = c->body_canon == CONF_CANON_relaxed ? DKIM_RELAXED : DKIM_SIMPLE,
		.sign = copy_names(&c->headers, "default"),
		.oversign = copy_names(&c->oversign, NULL),
		.lifetime_s = c->expire,
	};
	r->dkim.sign_default = r->dkim.sign.n < c->headers.n;
	if (*c->default_domain && domain_canonical(view_str(c->default_domain), &domain))
		r->default_domain = x_strndup(buf_view(&domain));
	buf_free(&domain);
}

void
sign_rules_clear(struct sign_rules *r)
{
	free_names(&r->dkim.sign);
	free_names(&r->dkim.oversign);
	free(r->default_domain);
	r->default_domain = NULL;
}

void
sign_keys_clear(struct sign_keys *k)
{
	for (size_t i = 0; i < k->n; i++) {
		free(k->v[i].domain);
		free(k->v[i].selector);
	}
	free(k->v);
	*k = (struct sign_keys){ NULL, 0, 0 };
}

static void
add_key(struct sign_keys *k, const struct ipc_dkim_name *m)
{
	if (k->n == k->cap) {
		k->cap = k->cap ? k->cap * 2 : 16;
		k->v = x_realloc(k->v, k->cap, sizeof(*k->v));
	}
	k->v[k->n++] = (struct sign_key){ x_strndup(m->domain), x_strndup(m->selector), m->algorithm,
		m->pin };
}

static int
by_domain(const void *a, const void *b)
{
	const struct sign_key *x = a, *y = b;
	int rc = strcmp(x->domain, y->domain);

	return rc ? rc : (int)x->algorithm - (int)y->algorithm;
}

bool
sign_material(struct smtpd *d, uint16_t type, struct view body)
{
	struct ipc_dkim_name name;
	struct ipc_dkim_apply apply;

	if (type == IPC_TYPE_dkim_name) {
		if (!ipc_get(&ipc_desc_dkim_name, body, &name) || !dkim_algorithm_name(name.algorithm))
			return false;
		add_key(&d->next_sign_keys, &name);
		return true;
	}
	if (!ipc_get(&ipc_desc_dkim_apply, body, &apply) || apply.count != d->next_sign_keys.n)
		return false;
	sign_keys_clear(&d->sign_keys);
	d->sign_keys = d->next_sign_keys;
	d->next_sign_keys = (struct sign_keys){ NULL, 0, 0 };
	if (d->sign_keys.n)
		qsort(d->sign_keys.v, d->sign_keys.n, sizeof(*d->sign_keys.v), by_domain);
	return true;
}

const struct sign_key *
sign_keys_find(const struct sign_keys *k, struct view domain)
{
	size_t low = 0, high = k->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct view v = view_str(k->v[mid].domain);
		size_t n = v.n < domain.n ? v.n : domain.n;
		int rc = n ? memcmp(v.p, domain.p, n) : 0;
		if (rc < 0 || (rc == 0 && v.n < domain.n))
			low = mid + 1;
		else
			high = mid;
	}
	return low < k->n && view_is(domain, k->v[low].domain) ? &k->v[low] : NULL;
}

/* RFC 7489, 3.2, by the list that libpsl was built with: no file is read. */
static const struct sign_key *
find_organizational(const struct sign_keys *k, struct view domain)
{
	const psl_ctx_t *psl = psl_builtin();
	char *name = x_strndup(domain);
	const char *registered = psl ? psl_registrable_domain(psl, name) : NULL;
	const struct sign_key *found =
	    registered ? sign_keys_find(k, view_str(registered)) : NULL;

	free(name);
	return found;
}

const struct sign_key *
sign_keys_for(const struct sign_keys *k, const struct sign_rules *r, struct view from_domain)
{
	const struct sign_key *found = sign_keys_find(k, from_domain);

	if (found == NULL && r->organizational && from_domain.n)
		found = find_organizational(k, from_domain);
	if (found == NULL && r->default_domain)
		found = sign_keys_find(k, view_str(r->default_domain));
	return found;
}
