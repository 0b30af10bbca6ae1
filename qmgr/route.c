/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/esc.h"
#include "qmgr/route.h"

enum { VALUE_MAX = 4096, LABELS_MAX = 127 };

static int
set_host(struct route *out, struct view host, struct err *e)
{
	if (host.n == 0 || host.n >= sizeof(out->host))
		return err_set(e, ERR_PERM, ESC(5, 1, 2), "Bad destination system address");
	memcpy(out->host, host.p, host.n);
	out->host[host.n] = '\0';
	return 0;
}

/* Lower case and A-labels: one domain is one lane, however it was written. */
static int
canonical(struct view domain, struct buf *out, struct err *e)
{
	if (domain_is_literal(domain))
		buf_putv(out, domain);
	else if (!domain_canonical(domain, out))
		return err_set(e, ERR_PERM, ESC(5, 1, 2), "Bad destination domain");
	return 0;
}

/* user@[192.0.2.1], user@[IPv6:2001:db8::1]: that host and no other. */
static int
literal_route(struct view domain, struct route *out, struct err *e)
{
	struct view host = view_first(view_skip(domain, 1), domain.n - 2);

	if (view_istarts(host, "IPv6:"))
		host = view_skip(host, 5);
	out->mx = false;
	return set_host(out, host, e);
}

static int
domain_route(struct view domain, struct route *out, struct err *e)
{
	if (domain_is_literal(domain))
		return literal_route(domain, out, e);
	out->mx = true;
	return set_host(out, domain, e);
}

int
route_to_relay(const struct route_rules *r, const struct relay *relay, struct route *out, struct err *e)
{
	out->mx = relay->mx;
	out->port = relay->port ? relay->port : r->port;
	struct buf host = BUF_INIT(sizeof(out->host) - 1);
	struct view name = view_str(relay->host);
	int rc = set_host(out, domain_canonical(name, &host) ? buf_view(&host) : name, e);
	buf_free(&host);
	return rc;
}

/* error:5.7.1 text */
static int
error_route(struct view text, struct err *e)
{
	struct esc esc = ESC(5, 0, 0), given;

	if (esc_take(&text, &given))
		esc = given;
	text = view_trim(text);
	if (text.n == 0)
		text = VIEW("Mail to this domain is not accepted");
	return err_set(e, esc.class == 4 ? ERR_TEMP : ERR_PERM, esc, "%.*s", (int)text.n, text.p);
}

static int
map_route(const struct route_rules *r, struct view domain, struct view value, struct route *out,
    struct err *e)
{
	struct relay relay = { 0 };

	value = view_trim(value);
	if (view_istarts(value, "error:"))
		return error_route(view_skip(value, 6), e);
	if (view_istarts(value, "smtp:"))
		value = view_skip(value, 5);
	else if (view_istarts(value, "relay:"))
		value = view_skip(value, 6);
	if (value.n == 0)
		return domain_route(domain, out, e);
	if (!conf_parse_relay(value, &relay))
		return err_set(e, ERR_TEMP, ESC(4, 3, 5), "transport entry for this domain is wrong");
	int rc = route_to_relay(r, &relay, out, e);
	free(relay.host);
	return rc;
}

/* The domain, then its parents with a dot in front, then "*". */
static int
look_up(const struct route_rules *r, struct view domain, struct buf *value, struct err *e)
{
	int rc = r->lookup(r->ctx, domain, value, e);

	if (!domain_is_literal(domain)) {
		struct view rest = domain;
		for (int i = 0; rc == 0 && i < LABELS_MAX; i++) {
			ptrdiff_t dot = view_index(rest, '.');
			if (dot < 0)
				break;
			rc = r->lookup(r->ctx, view_skip(rest, (size_t)dot), value, e);
			rest = view_skip(rest, (size_t)dot + 1);
		}
	}
	return rc == 0 ? r->lookup(r->ctx, VIEW("*"), value, e) : rc;
}

static int
choose(const struct route_rules *r, struct view domain, struct route *out, struct err *e)
{
	struct buf value = BUF_INIT(VALUE_MAX);
	int rc = r->lookup ? look_up(r, domain, &value, e) : 0;

	if (rc < 0)
		err_wrap(e, "transport map");
	else if (rc > 0)
		rc = map_route(r, domain, buf_view(&value), out, e);
	else if (r->relayhost && r->relayhost->host) {
		out->auth = r->relay_auth;
		rc = route_to_relay(r, r->relayhost, out, e);
	} else {
		rc = domain_route(domain, out, e);
	}
	buf_free(&value);
	return rc;
}

int
route_resolve(const struct route_rules *r, struct view domain, struct route *out, struct err *e)
{
	struct buf name = BUF_INIT(ADDR_DOMAIN_MAX + 2);
	int rc;

	*out = (struct route){ .port = r->port, .tls = r->tls };
	if (domain.n == 0) /* <postmaster> */
		rc = r->relayhost && r->relayhost->host ?
		    route_to_relay(r, r->relayhost, out, e) :
		    err_set(e, ERR_PERM, ESC(5, 1, 1), "No local mailboxes here");
	else
		rc = canonical(domain, &name, e) < 0 ? -1 : choose(r, buf_view(&name), out, e);
	buf_free(&name);
	return rc;
}

void
route_text(const struct route *r, uint16_t default_port, struct buf *out)
{
	buf_puts(out, r->copy ? "copy:" : "");
	buf_printf(out, r->mx ? "%s" : "[%s]", r->host);
	if (!r->mx || r->port != default_port)
		buf_printf(out, ":%u", r->port);
}
