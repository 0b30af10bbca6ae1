/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "dnsd/answer.h"

enum { HEADER = 12, LABEL_MAX = 63, RCODE_NXDOMAIN = 3, CLASS_IN = 1, QUESTION_TAIL = 4 };

struct record {
	struct answer_name owner;
	bool owner_ok; /* it has a text */
	uint16_t type, class;
	uint32_t ttl_s;
	struct view rdata;
};

static bool
host_byte(unsigned char c, char *lower)
{
	*lower = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	return (*lower >= 'a' && *lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool
put_label(struct answer_name *out, size_t *n, struct view label)
{
	bool ok = *n + label.n + 1 <= ANSWER_NAME_MAX;

	if (!ok)
		return false;
	if (*n)
		out->text[(*n)++] = '.';
	for (size_t i = 0; i < label.n; i++)
		ok = host_byte((unsigned char)label.p[i], &out->text[(*n)++]) && ok;
	return ok;
}

/*
 * Takes a name from *v, which lies inside the packet. false: malformed. *ok tells whether it has a
 * text. Each pointer must point before the bytes read so far, so the walk ends.
 */
static bool
take_name(struct view packet, struct view *v, struct answer_name *out, bool *ok)
{
	struct view at = *v;
	size_t n = 0, wire = 0;
	bool jumped = false;

	*ok = true;
	for (;;) {
		const char *here = at.p;
		uint8_t len = view_get_u8(&at);
		if (view_bad(at))
			return false;
		if (len >= 0xc0) {
			size_t to = (size_t)(len & 0x3f) << 8 | view_get_u8(&at);
			if (view_bad(at) || to >= (size_t)(here - packet.p))
				return false;
			if (!jumped)
				*v = at;
			jumped = true;
			at = view_of(packet.p + to, (size_t)(here - packet.p) - to);
			continue;
		}
		wire += len + 1u;
		if (len > LABEL_MAX || wire > ANSWER_NAME_MAX)
			return false;
		if (len == 0)
			break;
		struct view label = view_get(&at, len);
		if (view_bad(at))
			return false;
		*ok = *ok && put_label(out, &n, label);
	}
	if (!jumped)
		*v = at;
	out->text[*ok ? n : 0] = '\0';
	return true;
}

static bool
take_record(struct view packet, struct view *v, struct record *r)
{
	if (!take_name(packet, v, &r->owner, &r->owner_ok))
		return false;
	r->type = view_get_u16(v);
	r->class = view_get_u16(v);
	r->ttl_s = view_get_u32(v);
	uint16_t len = view_get_u16(v);
	r->rdata = view_get(v, len);
	return !view_bad(*v);
}

static bool
is_owner(const struct record *r, const struct answer_name *name)
{
	return r->class == CLASS_IN && r->owner_ok && strcmp(r->owner.text, name->text) == 0;
}

/* Counts the records wanted, and finds the alias, of a->owner. false: malformed. */
static bool
scan(struct answer *a, unsigned *found, struct answer_name *alias, bool *has_alias)
{
	struct view v = a->rest;
	struct record r;

	*found = 0;
	*has_alias = false;
	for (unsigned i = 0; i < a->left; i++) {
		bool ok;
		if (!take_record(a->packet, &v, &r))
			return false;
		if (!is_owner(&r, &a->owner))
			continue;
		if (r.type != a->type && r.type != TYPE_CNAME)
			continue;
		if (r.ttl_s < a->ttl_s)
			a->ttl_s = r.ttl_s;
		if (r.type == a->type) {
			++*found;
		} else if (!*has_alias) {
			struct view rdata = r.rdata;
			*has_alias = take_name(a->packet, &rdata, alias, &ok) && ok;
			if (!*has_alias)
				return false;
		}
	}
	return true;
}

static enum dns_status
follow(struct answer *a, unsigned rcode)
{
	struct answer_name alias;
	bool has_alias;
	unsigned found;

	for (int hops = 0; hops <= ANSWER_CHAIN_MAX; hops++) {
		if (!scan(a, &found, &alias, &has_alias))
			return DNS_TEMP;
		if (found)
			return DNS_OK;
		if (!has_alias)
			return rcode == RCODE_NXDOMAIN ? DNS_NXDOMAIN : DNS_NODATA;
		a->owner = alias;
	}
	return DNS_TEMP; /* a loop, or as good as one */
}

void
answer_open(struct answer *a, struct view packet, uint16_t type)
{
	struct view v = packet;
	bool ok = false;

	*a = (struct answer){
		.status = DNS_TEMP, .packet = packet, .type = type, .ttl_s = UINT32_MAX
	};
	(void)view_get_u16(&v);
	unsigned flags = view_get_u16(&v), questions = view_get_u16(&v);
	a->left = view_get_u16(&v);
	(void)view_get_u32(&v);
	if (view_bad(v) || questions != 1 || !take_name(packet, &v, &a->owner, &ok) || !ok)
		return;
	(void)view_get(&v, QUESTION_TAIL);
	if (view_bad(v))
		return;
	unsigned rcode = flags & 15;
	a->rest = v;
	if (rcode == 0 || rcode == RCODE_NXDOMAIN)
		a->status = follow(a, rcode);
	if (a->status != DNS_OK)
		a->left = 0;
}

bool
answer_next(struct answer *a, struct answer_record *out)
{
	struct record r;

	while (a->left > 0) {
		a->left--;
		if (!take_record(a->packet, &a->rest, &r))
			break;
		if (r.type == a->type && is_owner(&r, &a->owner)) {
			out->rdata = r.rdata;
			return true;
		}
	}
	a->left = 0;
	return false;
}

static bool
whole_name(const struct answer *a, struct view rdata, struct answer_name *host)
{
	bool ok;

	return take_name(a->packet, &rdata, host, &ok) && ok && rdata.n == 0;
}

bool
answer_mx(
    const struct answer *a, const struct answer_record *r, uint16_t *pref, struct answer_name *host)
{
	struct view v = r->rdata;

	*pref = view_get_u16(&v);
	return !view_bad(v) && whole_name(a, v, host);
}

bool
answer_ptr(const struct answer *a, const struct answer_record *r, struct answer_name *host)
{
	return whole_name(a, r->rdata, host) && host->text[0] != '\0';
}

bool
answer_txt(const struct answer_record *r, struct buf *out)
{
	struct view v = r->rdata;

	while (v.n && !view_bad(v)) {
		uint8_t n = view_get_u8(&v);
		struct view s = view_get(&v, n);
		buf_putv(out, s);
	}
	return !view_bad(v);
}

bool
answer_name_parse(struct view text, struct answer_name *out)
{
	size_t n = 0;

	if (text.n && text.p[text.n - 1] == '.')
		text.n--;
	if (text.n == 0 || text.n > ANSWER_NAME_MAX - 2 || text.p[text.n - 1] == '.')
		return false;
	while (text.n) {
		struct view label = view_cut(&text, '.');
		if (label.n == 0 || label.n > LABEL_MAX || !put_label(out, &n, label))
			return false;
	}
	out->text[n] = '\0';
	return true;
}

void
answer_reverse(const uint8_t *ip, size_t n, struct answer_name *out)
{
	static const char hex[] = "0123456789abcdef";
	char *p = out->text;

	if (n == 4) {
		snprintf(
		    p, sizeof(out->text), "%u.%u.%u.%u.in-addr.arpa", ip[3], ip[2], ip[1], ip[0]);
		return;
	}
	for (size_t i = n; i-- > 0;) {
		*p++ = hex[ip[i] & 15];
		*p++ = '.';
		*p++ = hex[ip[i] >> 4];
		*p++ = '.';
	}
	memcpy(p, "ip6.arpa", sizeof("ip6.arpa"));
}
