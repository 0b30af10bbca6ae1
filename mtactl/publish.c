/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "mtactl/publish.h"

enum { DATA_MAX = 8192, STRING_MAX = 255, MX_PREFERENCE = 10 };

bool
publish_add_address(struct publish *p, struct view text)
{
	struct publish_addr a = {.family = AF_INET};
	char s[INET6_ADDRSTRLEN];

	if (text.n >= sizeof(s) || p->count == PUBLISH_ADDRESSES_MAX)
		return false;
	memcpy(s, text.p, text.n);
	s[text.n] = '\0';
	if (inet_pton(AF_INET, s, a.addr) != 1) {
		a.family = AF_INET6;
		if (inet_pton(AF_INET6, s, a.addr) != 1)
			return false;
	}
	p->addresses[p->count++] = a;
	return true;
}

/* RFC 7208: "v=spf1 ip4:... ip6:... ~all" */
static void
put_addresses(const struct publish *p, const char *all, struct buf *out)
{
	char text[INET6_ADDRSTRLEN];

	buf_puts(out, "v=spf1");
	for (size_t i = 0; i < p->count; i++) {
		const struct publish_addr *a = &p->addresses[i];
		inet_ntop(a->family, a->addr, text, sizeof(text));
		buf_printf(out, " ip%c:%s", a->family == AF_INET ? '4' : '6', text);
	}
	buf_printf(out, " %s", all);
}

void
publish_spf(const struct publish *p, const char *domain)
{
	struct buf data = BUF_INIT(DATA_MAX);

	buf_printf(&data, "v=spf1 include:%s ~all", p->spf_name);
	p->record(p->ctx, "spf", domain, "TXT", buf_cstr(&data), "");
	buf_clear(&data);
	put_addresses(p, "~all", &data);
	p->record(p->ctx, "spf-narrow", domain, "TXT", buf_cstr(&data),
	    "it is to stand in for the SPF record above");
	buf_free(&data);
}

/* "7.2.0.192.in-addr.arpa" (RFC 1035, 3.5), or nibbles below ip6.arpa (RFC 3596, 2.5). */
static void
put_reverse(const struct publish_addr *a, struct buf *out)
{
	if (a->family == AF_INET) {
		for (int i = 3; i >= 0; i--)
			buf_printf(out, "%u.", a->addr[i]);
		buf_puts(out, "in-addr.arpa");
		return;
	}
	for (int i = 15; i >= 0; i--)
		buf_printf(out, "%x.%x.", a->addr[i] & 15, a->addr[i] >> 4);
	buf_puts(out, "ip6.arpa");
}

void
publish_host(const struct publish *p)
{
	struct buf data = BUF_INIT(DATA_MAX);
	char text[INET6_ADDRSTRLEN];

	put_addresses(p, "-all", &data);
	p->record(p->ctx, "spf-included", p->spf_name, "TXT", buf_cstr(&data), "");
	for (size_t i = 0; i < p->count; i++) {
		const struct publish_addr *a = &p->addresses[i];
		inet_ntop(a->family, a->addr, text, sizeof(text));
		p->record(
		    p->ctx, "host", p->hostname, a->family == AF_INET ? "A" : "AAAA", text, "");
		buf_clear(&data);
		put_reverse(a, &data);
		char *reverse = x_strdup(buf_cstr(&data));
		buf_clear(&data);
		buf_printf(&data, "%s.", p->hostname);
		p->record(p->ctx, "ptr", reverse, "PTR", buf_cstr(&data), "");
		free(reverse);
	}
	buf_free(&data);
}

void
publish_domain(const struct publish *p, const struct publish_domain *d)
{
	struct buf name = BUF_INIT(DATA_MAX), data = BUF_INIT(DATA_MAX);

	if (*d->txt_name)
		p->record(p->ctx, "verification", d->txt_name, "TXT", d->txt_value, "");
	publish_spf(p, d->name);
	buf_printf(&data, "%d %s.", MX_PREFERENCE, p->hostname);
	p->record(p->ctx, "mx", d->name, "MX", buf_cstr(&data),
	    d->hosted ? "" : "this host is to take the domain's mail");
	buf_printf(&name, "_dmarc.%s", d->name);
	buf_clear(&data);
	buf_printf(&data, "v=DMARC1; p=none; rua=mailto:postmaster@%s", d->name);
	p->record(p->ctx, "dmarc", buf_cstr(&name), "TXT", buf_cstr(&data), "");
	buf_free(&name);
	buf_free(&data);
}

static void
put_strings(struct view text, struct buf *out)
{
	bool split = text.n > STRING_MAX;

	buf_puts(out, split ? "(" : "");
	do {
		struct view part = view_first(text, STRING_MAX);
		text = view_skip(text, part.n);
		buf_puts(out, split ? " \"" : "\"");
		for (size_t i = 0; i < part.n; i++) {
			if (part.p[i] == '"' || part.p[i] == '\\')
				buf_putc(out, '\\');
			buf_putc(out, part.p[i]);
		}
		buf_putc(out, '"');
	} while (text.n);
	buf_puts(out, split ? " )" : "");
}

void
publish_zone_line(
    const char *name, const char *type, const char *data, const char *only_if, struct buf *out)
{
	if (*only_if)
		buf_printf(out, "; if %s:\n; ", only_if);
	buf_printf(out, "%s. IN %s ", name, type);
	if (strcmp(type, "TXT") == 0)
		put_strings(view_str(data), out);
	else
		buf_puts(out, data);
	buf_putc(out, '\n');
}
