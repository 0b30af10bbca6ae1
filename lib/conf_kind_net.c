/* SPDX-License-Identifier: ISC */
/* The kinds of value that name hosts and networks: parse, print, release. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "lib/conf_table.h"

static const char hostport_wanted[] = "ADDRESS:PORT or [IPV6-ADDRESS]:PORT";

static bool
parse_hostport(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	if (conf_unset(w) && d->min == 0)
		return true;
	if (!conf_parse_hostport(w.v[0].text, at))
		return conf_malformed(p, d, &w.v[0], hostport_wanted);
	return true;
}

static void
print_hostport(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct hostport *h = at;

	(void)k;
	buf_puts(out, h->text ? h->text : "\"\"");
}

static void
release_hostport(void *at)
{
	struct hostport *h = at;

	free(h->text);
	*h = (struct hostport){ 0 };
}

static void
release_hostports(void *at)
{
	struct conf_hostports *list = at;

	for (size_t i = 0; i < list->n; i++)
		free(list->v[i].text);
	free(list->v);
	*list = (struct conf_hostports){ 0 };
}

static bool
parse_hostports(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	struct conf_hostports *list = at;

	if (w.n == 0 || (conf_unset(w) && d->min == 0))
		return true;
	if (!conf_count_ok(p, d, w))
		return false;
	list->v = x_calloc(w.n, sizeof(*list->v));
	for (size_t i = 0; i < w.n; i++) {
		if (!conf_parse_hostport(w.v[i].text, &list->v[list->n])) {
			release_hostports(list);
			return conf_malformed(p, d, &w.v[i], hostport_wanted);
		}
		list->n++;
	}
	return true;
}

static void
print_hostports(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct conf_hostports *list = at;

	(void)k;
	if (list->n == 0)
		buf_puts(out, "\"\"");
	for (size_t i = 0; i < list->n; i++)
		buf_printf(out, "%s%s", i ? " " : "", list->v[i].text);
}

static bool
parse_relay(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	if (conf_unset(w))
		return true;
	if (!conf_parse_relay(w.v[0].text, at))
		return conf_malformed(
		    p, d, &w.v[0], "DOMAIN[:PORT] (MX look-up), [HOST][:PORT] or [ADDRESS][:PORT]");
	return true;
}

static void
print_relay(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct relay *r = at;

	(void)k;
	if (r->host == NULL)
		buf_puts(out, "\"\"");
	else
		buf_printf(out, r->mx ? "%s" : "[%s]", r->host);
	if (r->port)
		buf_printf(out, ":%u", r->port);
}

static void
release_relay(void *at)
{
	struct relay *r = at;

	free(r->host);
	*r = (struct relay){ 0 };
}

static void
release_cidrs(void *at)
{
	struct conf_cidrs *list = at;

	free(list->v);
	*list = (struct conf_cidrs){ 0 };
}

static bool
parse_cidrs(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	struct conf_cidrs *list = at;

	if (conf_unset(w) || w.n == 0)
		return true;
	if (!conf_count_ok(p, d, w))
		return false;
	list->v = x_calloc(w.n, sizeof(*list->v));
	for (size_t i = 0; i < w.n; i++) {
		if (!conf_parse_cidr(w.v[i].text, &list->v[list->n])) {
			release_cidrs(list);
			return conf_malformed(p, d, &w.v[i],
			    "a network: ADDRESS or ADDRESS/BITS, zero behind the first BITS");
		}
		list->n++;
	}
	return true;
}

static void
print_cidr(const struct cidr *c, struct buf *out)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(c->v6 ? AF_INET6 : AF_INET, c->addr, text, sizeof(text));
	buf_printf(out, "%s/%u", text, c->bits);
}

static void
print_cidrs(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct conf_cidrs *list = at;

	(void)k;
	if (list->n == 0)
		buf_puts(out, "\"\"");
	for (size_t i = 0; i < list->n; i++) {
		if (i)
			buf_putc(out, ' ');
		print_cidr(&list->v[i], out);
	}
}

static void
release_auth(void *at)
{
	struct conf_auth *a = at;

	release_cidrs(&a->networks);
	free(a->tenant);
	*a = (struct conf_auth){ 0 };
}

/* "tenant NAME", "tenant NAME and key", "and key": what stands behind the networks. */
static bool
parse_auth_tail(
    struct conf_parse *p, const struct conf_directive *d, struct conf_words w, struct conf_auth *a)
{
	size_t i = 0;

	if (w.n >= 2 && view_is(w.v[0].text, "tenant")) {
		if (w.v[1].text.n == 0 || w.v[1].text.n > CONF_NAME_MAX)
			return conf_malformed(p, d, &w.v[1], "a tenant's name");
		a->tenant = x_strndup(w.v[1].text);
		i = 2;
	}
	if (w.n == i + 2 && view_is(w.v[i].text, "and") && view_is(w.v[i + 1].text, "key")) {
		a->mode = AUTH_NETWORKS_AND_KEY;
		i += 2;
	}
	if (i < w.n)
		return conf_malformed(
		    p, d, &w.v[i], "expected here: networks NETWORK ... tenant NAME [and key]");
	return true;
}

static bool
parse_auth_networks(
    struct conf_parse *p, const struct conf_directive *d, struct conf_words w, struct conf_auth *a)
{
	struct conf_words nets = { w.v + 1, 0 };

	while (nets.n < w.n - 1 && !view_is(nets.v[nets.n].text, "tenant") &&
	       !view_is(nets.v[nets.n].text, "and"))
		nets.n++;
	if (nets.n == 0) {
		conf_error(p, w.v[0].pos, "%s: no network behind \"networks\"", d->name);
		return false;
	}
	struct conf_directive limit = *d;
	limit.max = CONF_WORDS_MAX;
	a->mode = AUTH_NETWORKS;
	if (!parse_cidrs(p, &limit, nets, &a->networks))
		return false;
	size_t used = 1 + nets.n;
	if (!parse_auth_tail(p, d, (struct conf_words){ w.v + used, w.n - used }, a))
		return false;
	if (a->tenant == NULL && a->mode == AUTH_NETWORKS) {
		conf_error(p, w.v[0].pos,
		    "%s: networks need a tenant: networks NETWORK ... tenant NAME", d->name);
		return false;
	}
	return true;
}

static bool
parse_auth(struct conf_parse *p, const struct conf_directive *d, struct conf_words w, void *at)
{
	struct conf_auth *a = at;
	bool good = true;

	if (view_is(w.v[0].text, "networks")) {
		good = parse_auth_networks(p, d, w, a);
	} else if (view_is(w.v[0].text, "optional") || view_is(w.v[0].text, "required")) {
		a->mode = view_is(w.v[0].text, "optional") ? AUTH_OPTIONAL : AUTH_REQUIRED;
		if (w.n > 1)
			good = conf_malformed(p, d, &w.v[1], "expected here");
	} else {
		good = conf_malformed(
		    p, d, &w.v[0], "required, optional or networks NETWORK ... tenant NAME");
	}
	if (!good)
		release_auth(a);
	else if (a->tenant == NULL)
		a->tenant = x_strdup("");
	return good;
}

static void
print_auth(const struct conf_kind *k, const void *at, struct buf *out)
{
	const struct conf_auth *a = at;

	if (a->mode == AUTH_REQUIRED || a->mode == AUTH_OPTIONAL) {
		buf_puts(out, a->mode == AUTH_OPTIONAL ? "optional" : "required");
		return;
	}
	buf_puts(out, "networks ");
	print_cidrs(k, &a->networks, out);
	if (*a->tenant) {
		buf_puts(out, " tenant ");
		conf_lex_quote(out, view_str(a->tenant));
	}
	if (a->mode == AUTH_NETWORKS_AND_KEY)
		buf_puts(out, " and key");
}

#define KIND(kind, syntax_of, is_list)                                                             \
	const struct conf_kind conf_kind_##kind = { .name = #kind, .syntax = syntax_of,             \
		.list = is_list, .parse = parse_##kind, .print = print_##kind,                     \
		.release = release_##kind };
KIND(hostport, "address:port", false)
KIND(hostports, "address:port ...", true)
KIND(relay, "host", false)
KIND(cidrs, "network ...", true)
KIND(auth, "required | optional | networks network ... tenant name [and key]", true)
