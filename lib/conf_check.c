/* SPDX-License-Identifier: ISC */
/* Rules across directives. They need no file and no host: daemons apply them, too. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/conf_table.h"
#include "lib/dkim.h"
#include "lib/header_list.h"
#include "lib/near.h"

static void
check_required(struct conf_parse *p)
{
	for (size_t i = 0; i < p->instance_count; i++) {
		const struct conf_instance *in = &p->instances[i];
		size_t count;
		const struct conf_directive *d = in->block->directives(&count);
		for (size_t k = 0; k < count; k++)
			if (conf_required(&d[k]) && in->set[k].line == 0)
				conf_error(p, in->begin, "%s%s%s: %s is missing", in->block->name,
				    in->block->many ? " " : "",
				    in->block->many ?
					*(char **)conf_block_get(p->conf, in->block, in->index) :
					"",
				    d[k].name);
	}
}

static void
check_text_names(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	const struct conf_instance *main_in = &p->instances[0];
	struct view postmaster = view_str(c->postmaster);
	ptrdiff_t at = view_index(postmaster, '@');

	if (*c->hostname && !conf_host_valid(view_str(c->hostname)))
		conf_error(p, conf_where(p, main_in, "hostname"),
		    "hostname: \"%s\" is not a host name", c->hostname);
	if (postmaster.n && (at <= 0 || strpbrk(c->postmaster, " <>\"(),;\\") ||
				!conf_host_valid(view_skip(postmaster, (size_t)at + 1))))
		conf_error(p, conf_where(p, main_in, "postmaster"),
		    "postmaster: \"%s\" is not an address", c->postmaster);
}

/* Addresses, not networks: each gets a record of its own. */
static void
check_published(struct conf_parse *p)
{
	const struct conf_list *list = &p->conf->published_addresses;
	unsigned char addr[16];

	for (size_t i = 0; i < list->n; i++)
		if (inet_pton(AF_INET, list->v[i], addr) != 1 &&
		    inet_pton(AF_INET6, list->v[i], addr) != 1)
			conf_error(p, conf_where(p, &p->instances[0], "published-addresses"),
			    "published-addresses: \"%s\" is not an address", list->v[i]);
}

static void
check_spf_name(struct conf_parse *p)
{
	const char *name = p->conf->spf_name;

	if (*name && !conf_host_valid(view_str(name)))
		conf_error(p, conf_where(p, &p->instances[0], "spf-name"),
		    "spf-name: \"%s\" is not a name", name);
}

static void
check_transport(struct conf_parse *p)
{
	struct view v = view_str(p->conf->transport);

	if (v.n && !(view_starts(v, "btree:") && v.n > 6) && !(view_starts(v, "text:") && v.n > 5))
		conf_error(p, conf_where(p, &p->instances[0], "transport"),
		    "transport: \"%s\" is not btree:FILE or text:FILE", p->conf->transport);
}

static bool
is_header_name(const char *s)
{
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p >= 0x7f || *p == ':')
			return false;
	return true;
}

/* Fields that somebody else needs cannot be taken out; one field has one meaning. */
static void
check_tags(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	const struct {
		const char *directive, *name;
	} tags[] = { { "tag-header", c->tag_header }, { "batch-header", c->batch_header },
		{ "label-header", c->label_header } };

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		struct conf_pos at = conf_where(p, &p->instances[0], tags[i].directive);
		struct view name = view_str(tags[i].name);
		if (!is_header_name(tags[i].name))
			conf_error(p, at, "%s: \"%s\" is not the name of a header field",
			    tags[i].directive, tags[i].name);
		else if (name.n && header_id(name) != HEADER_OTHER)
			conf_error(p, at, "%s: \"%s\" has a meaning for others", tags[i].directive,
			    tags[i].name);
		for (size_t k = 0; k < i; k++)
			if (name.n && view_iis(name, tags[k].name))
				conf_error(p, at, "%s: the same field as %s", tags[i].directive,
				    tags[k].directive);
	}
}

static void
check_domain(struct conf_parse *p, const struct conf_instance *in, const char *directive,
    const char *domain)
{
	if (*domain && !domain_valid(view_str(domain), false))
		conf_error(p, conf_where(p, in, directive), "%s: \"%s\" is not a domain", directive,
		    domain);
}

static void
check_domains(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	const struct conf_instance *main_in = &p->instances[0];
	const struct conf_instance *sender = conf_instance_of(p, "envelope-sender", 0);
	struct view rewrite = view_str(c->envelope_sender.rewrite);
	struct addr a;

	check_domain(p, main_in, "simulator-domain", c->simulator_domain);
	check_domain(p, sender, "bounce-domain", c->envelope_sender.bounce_domain);
	for (size_t i = 0; i < c->legacy_local_part_domains.n; i++)
		check_domain(p, main_in, "legacy-local-part-domains",
		    c->legacy_local_part_domains.v[i]);
	if (!view_is(rewrite, "keep") && addr_parse(rewrite, 0, &a, NULL) < 0 &&
	    !(view_starts(rewrite, "@") && domain_valid(view_skip(rewrite, 1), false)))
		conf_error(p, conf_where(p, sender, "rewrite"),
		    "rewrite: \"%s\" is not keep, ACCOUNT@DOMAIN or @DOMAIN",
		    c->envelope_sender.rewrite);
}

static bool
relay_is_local(const struct relay *r)
{
	return !strncmp(r->host, "127.", 4) || !strcmp(r->host, "::1") ||
	       !strcmp(r->host, "localhost");
}

static void
check_relay(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	const struct conf_instance *in = &p->instances[0];
	bool user = *c->relay_user, secret = *c->relay_secret;

	if (user && !secret)
		conf_error(p, conf_where(p, in, "relay-user"), "relay-user needs relay-secret");
	if (secret && !user)
		conf_error(p, conf_where(p, in, "relay-secret"), "relay-secret needs relay-user");
	if (c->bcc_forward.host && c->relayhost.host)
		conf_error(p, conf_where(p, in, "bcc-forward"),
		    "bcc-forward: not together with relayhost");
	if (user && c->relayhost.host == NULL)
		conf_error(p, conf_where(p, in, "relay-user"), "relay-user needs relayhost");
	else if (user && c->delivery.tls == CONF_POLICY_none && !relay_is_local(&c->relayhost))
		conf_error(p, conf_where(p, conf_instance_of(p, "delivery", 0), "tls"),
		    "delivery: with tls none the secret of relay-user would be sent in clear text");
}

static void
check_folders(struct conf_parse *p)
{
	static const char *const names[] = { "state-dir", "spool-dir", "run-dir" };
	const char *dirs[] = { p->conf->state_dir, p->conf->spool_dir, p->conf->run_dir };

	for (size_t i = 1; i < 3; i++)
		for (size_t k = 0; k < i; k++)
			if (!strcmp(dirs[i], dirs[k]))
				conf_error(p, conf_where(p, &p->instances[0], names[i]),
				    "%s: the same folder as %s", names[i], names[k]);
}

static bool
is_loopback(const struct hostport *h)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&h->addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&h->addr;

	if (h->addr.ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static void
check_plain(struct conf_parse *p, const struct conf_listen *l, const struct conf_instance *in)
{
	if (l->tls != CONF_TLS_none || l->auth.mode == AUTH_NETWORKS ||
	    l->auth.mode == AUTH_NETWORKS_AND_KEY)
		return;
	for (size_t i = 0; i < l->address.n; i++)
		if (!is_loopback(&l->address.v[i])) {
			conf_error(p, conf_where(p, in, "tls"),
			    "listen %s: tls none on %s: only on loopback addresses or with auth "
			    "networks",
			    l->name, l->address.v[i].text);
			return;
		}
}

static void
check_networks(struct conf_parse *p, const struct conf_listen *l, const struct conf_instance *in)
{
	for (size_t i = 0; l->auth.mode == AUTH_NETWORKS && i < l->auth.networks.n; i++)
		if (l->auth.networks.v[i].bits == 0) {
			conf_error(p, conf_where(p, in, "auth"),
			    "listen %s: a network of all addresses would make an open relay",
			    l->name);
			return;
		}
}

static void
check_implicit_port(
    struct conf_parse *p, const struct conf_listen *l, const struct conf_instance *in)
{
	for (size_t i = 0; i < l->address.n; i++) {
		const struct sockaddr_in *sa = (const void *)&l->address.v[i].addr;
		if (ntohs(sa->sin_port) == 465 && l->tls != CONF_TLS_implicit)
			conf_warn(p, conf_where(p, in, "tls"),
			    "listen %s: clients expect tls implicit on port 465 (RFC 8314)",
			    l->name);
	}
}

static bool
has_certificate(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->certificate_count; i++)
		if (!strcmp(c->certificate[i].name, name))
			return true;
	return false;
}

static void
check_milter_sockets(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	struct sockaddr_storage sa;
	socklen_t len;

	for (size_t i = 0; i < c->milter_count; i++)
		if (*c->milter[i].socket && !conf_parse_socket(view_str(c->milter[i].socket), &sa, &len))
			conf_error(p, conf_where(p, conf_instance_of(p, "milter", i), "socket"),
			    "milter %s: socket: \"%s\" is not unix:/PATH or inet:ADDRESS:PORT",
			    c->milter[i].name, c->milter[i].socket);
}

static void
check_milter_name(struct conf_parse *p, const struct conf_listen *l, const struct conf_instance *in,
    const char *name)
{
	const struct conf *c = p->conf;
	struct near near;

	near_init(&near, view_str(name));
	for (size_t i = 0; i < c->milter_count; i++) {
		if (!strcmp(c->milter[i].name, name))
			return;
		near_offer(&near, c->milter[i].name);
	}
	conf_error(p, conf_where(p, in, "milters"), "listen %s: there is no milter \"%s\"%s%s%s", l->name,
	    name, near.best ? "; did you mean \"" : "", near.best ? near.best : "",
	    near.best ? "\"?" : "");
}

static void
check_milters(struct conf_parse *p)
{
	const struct conf *c = p->conf;

	check_milter_sockets(p);
	for (size_t i = 0; i < c->listen_count; i++)
		for (size_t k = 0; k < c->listen[i].milters.n; k++)
			check_milter_name(p, &c->listen[i], conf_instance_of(p, "listen", i),
			    c->listen[i].milters.v[k]);
}

static void
unknown_certificate(struct conf_parse *p, struct conf_pos at, const char *user, const char *name)
{
	const struct conf *c = p->conf;
	struct near near;

	near_init(&near, view_str(name));
	for (size_t i = 0; i < c->certificate_count; i++)
		near_offer(&near, c->certificate[i].name);
	conf_error(p, at, "%s: there is no certificate \"%s\"%s%s%s", user, name,
	    near.best ? "; did you mean \"" : "", near.best ? near.best : "", near.best ? "\"?" : "");
}

/* false when TLS has no certificate at all: that is told once. */
static bool
check_certificate(struct conf_parse *p, const struct conf_listen *l, const struct conf_instance *in)
{
	const struct conf *c = p->conf;
	struct conf_pos at = conf_where(p, in, "certificate");
	char user[CONF_NAME_MAX + 16];

	if (l->tls == CONF_TLS_none)
		return true;
	if (c->certificate_count == 0) {
		const char *name = l->certificate.n ? l->certificate.v[0] : "default";
		conf_error(p, at,
		    "listen %s: TLS needs a certificate: write \"certificate %s { chain FILE; key "
		    "FILE }\"%s%s%s",
		    l->name, name, p->dir ? " or put one into " : "", p->dir ? p->dir : "",
		    p->dir ? "/tls/HOSTNAME.crt and .key" : "");
		return false;
	}
	snprintf(user, sizeof(user), "listen %s", l->name);
	for (size_t i = 0; i < l->certificate.n; i++)
		if (!has_certificate(c, l->certificate.v[i]))
			unknown_certificate(p, at, user, l->certificate.v[i]);
	if (l->certificate.n == 0)
		conf_error(p, at, "%s: TLS needs a certificate", user);
	return true;
}

static void
check_tls_versions(struct conf_parse *p, const struct conf_listen *l, const struct conf_instance *in)
{
	if (l->legacy_tls && l->tls_version != CONF_VERSION_1_2)
		conf_error(p, conf_where(p, in, "tls-version"),
		    "listen %s: tls-version 1.3 and legacy-tls exclude each other", l->name);
	for (size_t i = 0; i < l->alpn.n; i++)
		if (strlen(l->alpn.v[i]) > 255)
			conf_error(p, conf_where(p, in, "alpn"),
			    "listen %s: an ALPN name has at most 255 bytes", l->name);
}

static void
check_listeners(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	bool some = true;

	for (size_t i = 0; i < c->listen_count; i++) {
		const struct conf_instance *in = conf_instance_of(p, "listen", i);
		check_plain(p, &c->listen[i], in);
		check_networks(p, &c->listen[i], in);
		check_implicit_port(p, &c->listen[i], in);
		check_tls_versions(p, &c->listen[i], in);
		if (some)
			some = check_certificate(p, &c->listen[i], in);
	}
}

struct place {
	const struct hostport *at;
	size_t listener, order;
};

static bool
is_any(const struct hostport *h)
{
	const struct sockaddr_in *v4 = (const void *)&h->addr;
	const struct sockaddr_in6 *v6 = (const void *)&h->addr;

	return h->addr.ss_family == AF_INET ? v4->sin_addr.s_addr == 0 :
					      IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

static int
compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* By family, port, "all addresses" first, address, place in the file. */
static int
place_order(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	const struct sockaddr_in *p = (const void *)&x->at->addr, *q = (const void *)&y->at->addr;
	int rc = compare(x->at->addr.ss_family, y->at->addr.ss_family);

	if (rc == 0)
		rc = compare(p->sin_port, q->sin_port);
	if (rc == 0)
		rc = compare(is_any(y->at), is_any(x->at));
	if (rc == 0)
		rc = strcmp(x->at->text, y->at->text);
	return rc ? rc : compare(x->order, y->order);
}

static bool
clash(const struct hostport *a, const struct hostport *b)
{
	const struct sockaddr_in *p = (const void *)&a->addr, *q = (const void *)&b->addr;

	if (a->addr.ss_family != b->addr.ss_family || p->sin_port != q->sin_port)
		return false;
	return is_any(a) || !strcmp(a->text, b->text);
}

/* An address twice, or one beside "all addresses" on its port: the second could not be bound. */
static void
check_addresses(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	size_t n = 0, total = 0;

	for (size_t i = 0; i < c->listen_count; i++)
		total += c->listen[i].address.n;
	struct place *all = x_calloc(total, sizeof(*all));
	for (size_t i = 0; i < c->listen_count; i++)
		for (size_t k = 0; k < c->listen[i].address.n; k++, n++)
			all[n] = (struct place){ &c->listen[i].address.v[k], i, n };
	qsort(all, n, sizeof(*all), place_order);
	for (size_t i = 1, first = 0; i < n; i++) {
		if (!clash(all[first].at, all[i].at)) {
			first = i;
			continue;
		}
		bool later = all[i].order > all[first].order;
		const struct place *second = later ? &all[i] : &all[first];
		const struct place *other = later ? &all[first] : &all[i];
		conf_error(p,
		    conf_where(p, conf_instance_of(p, "listen", second->listener), "address"),
		    "listen %s: address %s is taken by %s of listen %s",
		    c->listen[second->listener].name, second->at->text, other->at->text,
		    c->listen[other->listener].name);
	}
	free(all);
}

static void
check_sizes(struct conf_parse *p)
{
	const struct conf *c = p->conf;

	if (c->limits.inline_size + c->limits.header_size > c->spool.segment_size / 2)
		conf_error(p, conf_where(p, conf_instance_of(p, "spool", 0), "segment-size"),
		    "spool: segment-size must be at least twice limits inline-size and header-size "
		    "together");
	if (c->limits.header_size > c->limits.message_size)
		conf_warn(p, conf_where(p, conf_instance_of(p, "limits", 0), "header-size"),
		    "limits: header-size is larger than message-size");
	if (c->delivery.connections > c->delivery.connections_total)
		conf_error(p, conf_where(p, conf_instance_of(p, "delivery", 0), "connections"),
		    "delivery: connections is larger than connections-total");
}

static void
check_field_names(struct conf_parse *p, const char *directive, const struct conf_list *list)
{
	struct conf_pos at = conf_where(p, conf_instance_of(p, "dkim", 0), directive);

	for (size_t i = 0; i < list->n; i++) {
		struct view name = view_str(list->v[i]);
		if (!dkim_name_valid(name))
			conf_error(p, at, "dkim: %s: \"%s\" is not the name of a header field", directive,
			    list->v[i]);
		else if (!dkim_may_sign(name))
			conf_error(p, at, "dkim: %s: %s changes on the way and cannot be signed", directive,
			    list->v[i]);
		else if (!strcmp(directive, "oversign") && view_index(name, '*') >= 0)
			conf_error(p, at, "dkim: oversign: \"%s\": needs whole names", list->v[i]);
	}
}

static void
check_dkim(struct conf_parse *p)
{
	const struct conf_dkim *d = &p->conf->dkim;

	check_field_names(p, "headers", &d->headers);
	check_field_names(p, "oversign", &d->oversign);
	if (*d->default_domain && !conf_host_valid(view_str(d->default_domain)))
		conf_error(p, conf_where(p, conf_instance_of(p, "dkim", 0), "default-domain"),
		    "dkim: default-domain: \"%s\" is not a domain", d->default_domain);
}

static void
check_client_certificate(struct conf_parse *p)
{
	const char *name = p->conf->delivery.certificate;

	if (*name && !has_certificate(p->conf, name))
		unknown_certificate(p, conf_where(p, conf_instance_of(p, "delivery", 0), "certificate"),
		    "delivery", name);
}

void
conf_check(struct conf_parse *p)
{
	static void (*const checks[])(struct conf_parse *) = { check_required, check_text_names,
		check_published, check_spf_name,
		check_transport, check_relay, check_tags, check_domains, check_folders, check_listeners,
		check_addresses, check_sizes, check_dkim, check_client_certificate,
		check_milters, conf_check_queue };

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](p);
}
