/* SPDX-License-Identifier: ISC */
/* The commands that print DNS records: what is asked of the configuration, of this host and of
 * authd. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "mtactl/dkim.h"
#include "mtactl/publish.h"

/* Where records go: a row each, or lines of a zone file. */
struct sheet {
	struct output o;
	struct buf zone;
	bool as_zone;
};

static void
put_field(struct buf *row, const char *name, const char *value)
{
	IPC_RECORD(
	    row, ctl_field, .name = view_str(name), .type = CTL_TEXT, .value = view_str(value));
}

static void
on_record(void *ctx, const char *purpose, const char *name, const char *type, const char *data,
    const char *only_if)
{
	struct sheet *sheet = ctx;
	struct buf row = BUF_INIT(IPC_BULK_MAX);

	if (sheet->as_zone) {
		publish_zone_line(name, type, data, only_if, &sheet->zone);
		return;
	}
	put_field(&row, "record", purpose);
	put_field(&row, "name", name);
	put_field(&row, "type", type);
	put_field(&row, "only_if", only_if);
	put_field(&row, "value", data);
	output_row(&sheet->o, buf_view(&row));
	buf_free(&row);
}

/* An address that the world can answer to (RFC 6890). */
static bool
is_public(const struct sockaddr *sa)
{
	static const char *const others[] = {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10",
	    "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
	    "::/3", "4000::/2", "8000::/1"};
	struct cidr c;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (conf_parse_cidr(view_str(others[i]), &c) && cidr_match(&c, sa))
			return false;
	return true;
}

static void
add_host_addresses(struct publish *p)
{
	struct ifaddrs *all = NULL;
	char text[INET6_ADDRSTRLEN];

	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		const struct sockaddr_in *v4 = (const void *)i->ifa_addr;
		const struct sockaddr_in6 *v6 = (const void *)i->ifa_addr;
		int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
		if ((family != AF_INET && family != AF_INET6) || !(i->ifa_flags & IFF_UP) ||
		    !is_public(i->ifa_addr))
			continue;
		inet_ntop(family,
		    family == AF_INET ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr,
		    text, sizeof(text));
		publish_add_address(p, view_str(text));
	}
	freeifaddrs(all);
}

/* The addresses that mail leaves from: as told now, as configured, or those of this host. */
static int
add_addresses(struct publish *p, const struct conf *c, const struct args *a)
{
	struct view given = args_get(a, "address");

	while (given.n) {
		struct view one = view_cut(&given, ',');
		if (!publish_add_address(p, one)) {
			complain("--address: \"%.*s\" is not an address", (int)one.n, one.p);
			return STATUS_USAGE;
		}
	}
	bool told = p->count > 0;
	for (size_t i = 0; !told && i < c->published_addresses.n; i++)
		publish_add_address(p, view_str(c->published_addresses.v[i]));
	if (p->count == 0)
		add_host_addresses(p);
	return p->count ? STATUS_DONE
			: complain("this host has no public address: set published-addresses");
}

/* Of each key that there is, in whatever state: what it signed is on its way, or what it will sign.
 */
static int
add_dkim(const struct publish *p, const struct conf *c, const char *domain, struct view selector)
{
	struct dkim_store store = {.dir = -1};
	struct err e;
	int rc = dkim_store_open(&store, c->state_dir, false, &e);

	for (size_t i = 0; rc == 0 && i < store.n; i++) {
		const struct dkim_entry *x = &store.v[i];
		struct key_text t;
		if (strcmp(x->domain, domain) != 0 ||
		    (selector.n && !view_is(selector, x->selector)))
			continue;
		rc = key_text_read(&t, &store, x, &e);
		if (rc == 0)
			p->record(
			    p->ctx, "dkim", buf_cstr(&t.name), "TXT", buf_cstr(&t.record), "");
		key_text_free(&t);
	}
	dkim_store_close(&store);
	return rc < 0 ? complain("%s", e.text) : STATUS_DONE;
}

static void
copy(char *to, size_t size, struct view from)
{
	from = view_first(from, size - 1);
	memcpy(to, from.p, from.n);
	to[from.n] = '\0';
}

/* The row of `domain show`. */
static void
on_domain(void *ctx, struct view fields)
{
	struct publish_domain *d = ctx;
	struct ipc_ctl_field f;

	while (fields.n && ipc_next(&ipc_desc_ctl_field, &fields, &f)) {
		if (view_is(f.name, "domain"))
			copy(d->name, sizeof(d->name), f.value);
		else if (view_is(f.name, "txt_name"))
			copy(d->txt_name, sizeof(d->txt_name), f.value);
		else if (view_is(f.name, "txt_value"))
			copy(d->txt_value, sizeof(d->txt_value), f.value);
		else if (view_is(f.name, "hosted") || view_is(f.name, "bounce"))
			d->hosted |= view_is(f.value, "yes");
	}
}

/* What authd knows about it. */
static int
ask_domain(struct mtactl *m, struct view domain, struct publish_domain *d)
{
	struct args a = {.command = command_find(VIEW("domain show")), .records = BUF_INIT(1024)};
	struct output o;

	IPC_RECORD(&a.records, ctl_arg, .name = VIEW("domain"), .value = domain);
	output_init(&o, true, false);
	o.capture = on_domain;
	o.ctx = d;
	int status = call_daemon(m, &a, &o);
	output_end(&o);
	args_free(&a);
	return status;
}

static int
print_records(struct mtactl *m, const struct args *a, const struct conf *c,
    const struct publish_domain *d, bool whole)
{
	struct sheet sheet = {.as_zone = args_nth(a, "zone", 0, &(struct view){0})};
	struct buf spf_name = BUF_INIT(512);
	struct publish p = {.hostname = c->hostname, .ctx = &sheet, .record = on_record};

	buf_printf(&spf_name, "%s%s", *c->spf_name ? "" : "_spf.",
	    *c->spf_name ? c->spf_name : c->hostname);
	p.spf_name = buf_cstr(&spf_name);
	int status = add_addresses(&p, c, a);
	if (status == STATUS_DONE) {
		output_init(&sheet.o, m->json, true);
		buf_init(&sheet.zone, 1 << 20);
		if (whole)
			publish_domain(&p, d);
		else
			publish_spf(&p, d->name);
		if (whole)
			status = add_dkim(&p, c, d->name, args_get(a, "selector"));
		publish_host(&p);
		if (!output_end(&sheet.o) || (sheet.as_zone && !print(&sheet.zone)))
			status = STATUS_FAILED;
		buf_free(&sheet.zone);
	}
	buf_free(&spf_name);
	return status;
}

int
local_spf(struct mtactl *m, const struct args *a)
{
	struct publish_domain d = {.name = "example.com"};
	struct buf name = BUF_INIT(sizeof(d.name) - 1);
	struct view given = args_get(a, "domain");
	struct conf *c;
	int status = STATUS_FAILED;

	if (given.n && !domain_canonical(given, &name)) {
		complain("\"%.*s\" is not a domain name", (int)view_first(given, 200).n, given.p);
		status = STATUS_USAGE;
	} else if ((c = load_config(m, false)) != NULL) {
		if (given.n)
			copy(d.name, sizeof(d.name), buf_view(&name));
		status = print_records(m, a, c, &d, false);
		conf_free(&c);
	}
	buf_free(&name);
	return status;
}

int
local_domain_records(struct mtactl *m, const struct args *a)
{
	struct publish_domain d = {.name = ""};
	struct conf *c = load_config(m, false);
	int status = STATUS_FAILED;

	if (c)
		status = ask_domain(m, args_get(a, "domain"), &d);
	if (c && status == STATUS_DONE)
		status = print_records(m, a, c, &d, true);
	conf_free(&c);
	return status;
}
