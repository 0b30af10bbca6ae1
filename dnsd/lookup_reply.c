/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "dnsd/lookup_impl.h"

enum { NEGATIVE_TTL_S = 30 };

enum dns_status
host_status(const struct host *h)
{
	if (buf_len(&h->addr[V4]) || buf_len(&h->addr[V6]))
		return DNS_OK;
	for (int f = 0; f < FAMILIES; f++)
		if (h->asked[f] && (h->status[f] == DNS_TEMP || h->status[f] == DNS_BOGUS))
			return h->status[f];
	return h->status[V4] == DNS_NXDOMAIN || h->status[V6] == DNS_NXDOMAIN ? DNS_NXDOMAIN
									      : DNS_NODATA;
}

/*
 * Over all hosts: one with an address is enough; then a failure that may pass counts; MX records
 * none of whose hosts has an address are DNS_NODATA, whatever each name's reason is.
 */
static enum dns_status
hosts_status(const struct lookup *l, const struct host **which)
{
	enum dns_status worst = DNS_NODATA;

	*which = l->host_count ? &l->hosts[0] : NULL;
	for (size_t i = 0; i < l->host_count; i++) {
		enum dns_status s = host_status(&l->hosts[i]);
		if (s == DNS_OK)
			return DNS_OK;
		if ((s == DNS_TEMP || s == DNS_BOGUS) && worst != DNS_BOGUS) {
			worst = s;
			*which = &l->hosts[i];
		}
	}
	bool by_mx = l->kind == LOOKUP_MX && !l->implicit;
	if (worst == DNS_NODATA && !by_mx && l->host_count)
		return host_status(&l->hosts[0]);
	return worst;
}

/* The words of Postfix: log readers and people know them. */
static void
explain(const struct lookup *l, enum dns_status s, const struct host *which, struct buf *out)
{
	static const char *const reason[] = { [DNS_OK] = "",
		[DNS_NXDOMAIN] = "Host not found",
		[DNS_NODATA] = "Host found but no data record of requested type",
		[DNS_NULLMX] = "",
		[DNS_TEMP] = "Host not found, try again",
		[DNS_BOGUS] = "DNSSEC validation failed" };
	const char *type = which ? "A/AAAA" : l->kind == LOOKUP_TXT ? "TXT" : "MX";

	if (s == DNS_OK)
		return;
	if (s == DNS_NULLMX) {
		buf_printf(out, "Domain %s does not accept mail (nullMX)", l->name.text);
		return;
	}
	buf_printf(out, "Host or domain name not found. Name service error for name=%s type=%s: %s",
	    which ? which->name.text : l->name.text, type, reason[s]);
}

/* As many hosts as one frame takes; they come in the order of preference. */
static void
put_hosts(const struct lookup *l, struct buf *out)
{
	for (size_t i = 0; i < l->host_count; i++) {
		const struct host *h = &l->hosts[i];
		size_t before = buf_len(out);
		IPC_RECORD(out, mx_host, .pref = h->pref, .name = view_str(h->name.text),
		    .status = (uint8_t)host_status(h), .secure = !h->insecure,
		    .v4 = buf_view(&h->addr[V4]), .v6 = buf_view(&h->addr[V6]));
		if (out->bad) {
			out->bad = false;
			buf_truncate(out, before);
			return;
		}
	}
}

static void
reply_mx(const struct lookup *l, struct peer *p, uint64_t req)
{
	struct buf hosts = BUF_INIT(IPC_BULK_MAX), text = BUF_INIT(IPC_TEXT_MAX);
	const struct host *which = NULL;
	enum dns_status s = l->status;

	if (s == DNS_OK)
		s = hosts_status(l, &which);
	explain(l, s, which, &text);
	put_hosts(l, &hosts);
	IPC_SEND(&p->ch, mx_answer, .req = req, .status = (uint8_t)s, .secure = l->secure,
	    .ttl_s = s == DNS_OK ? l->ttl_s : NEGATIVE_TTL_S, .implicit = l->implicit,
	    .text = buf_view(&text), .hosts = buf_view(&hosts));
	buf_free(&hosts);
	buf_free(&text);
}

static bool
has_address(const struct host *h, const uint8_t *ip, size_t n)
{
	struct view v = buf_view(&h->addr[n == 4 ? V4 : V6]);

	for (; v.n >= n; v = view_skip(v, n))
		if (memcmp(v.p, ip, n) == 0)
			return true;
	return false;
}

void
ptr_answered(struct peer *p, const struct ipc_ptr_answer *m)
{
	if (p->ptr)
		p->ptr(p, m);
	else
		channel_send(&p->ch, &ipc_desc_ptr_answer, m, -1);
}

/* Only a name whose addresses contain the one asked for is told. */
static void
reply_ptr(const struct lookup *l, struct peer *p, uint64_t req)
{
	const struct host *which;
	enum dns_status s = l->status;

	for (size_t i = 0; i < l->host_count; i++)
		if (has_address(&l->hosts[i], l->ip, l->ip_len)) {
			ptr_answered(p, &(struct ipc_ptr_answer){ .req = req, .status = DNS_OK,
			    .name = view_str(l->hosts[i].name.text) });
			return;
		}
	if (s == DNS_OK)
		s = hosts_status(l, &which);
	ptr_answered(p, &(struct ipc_ptr_answer){ .req = req,
	    .status = s == DNS_OK ? DNS_NXDOMAIN : (uint8_t)s });
}

void
txt_answered(struct peer *p, const struct ipc_txt_answer *m)
{
	if (p->txt)
		p->txt(p, m);
	else
		channel_send(&p->ch, &ipc_desc_txt_answer, m, -1);
}

static void
reply_txt(const struct lookup *l, struct peer *p, uint64_t req)
{
	struct buf text = BUF_INIT(IPC_TEXT_MAX);

	explain(l, l->status, NULL, &text);
	txt_answered(p, &(struct ipc_txt_answer){ .req = req, .status = (uint8_t)l->status,
		.secure = l->secure, .ttl_s = l->status == DNS_OK ? l->ttl_s : NEGATIVE_TTL_S,
		.text = buf_view(&text), .strings = buf_view(&l->strings) });
	buf_free(&text);
}

void
lookup_reply(const struct lookup *l, struct peer *p, uint64_t req)
{
	static void (*const by_kind[])(
	    const struct lookup *, struct peer *, uint64_t) = { [LOOKUP_MX] = reply_mx,
		[LOOKUP_HOST] = reply_mx,
		[LOOKUP_PTR] = reply_ptr,
		[LOOKUP_TXT] = reply_txt };

	by_kind[l->kind](l, p, req);
}
