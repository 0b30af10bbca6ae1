/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <string.h>

#include "lib/addr.h"

/* With the angle brackets, without a source route (RFC 5321, 4.5.3.1.3). */
enum { PATH_MAX_OCTETS = 256, LABEL_MAX = 63 };

static bool
is_alnum(unsigned char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* RFC 5322 atext. */
static bool
is_atext(unsigned char c, bool utf8)
{
	return is_alnum(c) || (c >= 0x80 && utf8) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Length of the UTF-8 sequence at p, 0 when it is not valid (RFC 3629, table of well-formed bytes). */
static size_t
utf8_length(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (n < len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0; /* shorter forms exist */
	else if (p[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f; /* over U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool
utf8_valid(struct view v)
{
	while (v.n) {
		size_t n = utf8_length((const unsigned char *)v.p, v.n);
		if (n == 0)
			return false;
		v = view_skip(v, n);
	}
	return true;
}

bool
domain_valid(struct view v, bool utf8)
{
	if (v.n == 0 || v.n > ADDR_DOMAIN_MAX || (utf8 && !utf8_valid(v)))
		return false;
	for (size_t i = 0, label = 0; i <= v.n; i++) {
		if (i == v.n || v.p[i] == '.') {
			if (label == 0 || label > LABEL_MAX || v.p[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		unsigned char c = (unsigned char)v.p[i];
		if (!is_alnum(c) && !(c >= 0x80 && utf8) && !(c == '-' && label > 0))
			return false;
		label++;
	}
	return true;
}

bool
domain_is_literal(struct view v)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char ip[sizeof(struct in6_addr)];
	int family = AF_INET;

	if (v.n < 3 || v.p[0] != '[' || v.p[v.n - 1] != ']')
		return false;
	v = view_of(v.p + 1, v.n - 2);
	if (view_istarts(v, "IPv6:")) {
		family = AF_INET6;
		v = view_skip(v, 5);
	}
	if (v.n >= sizeof(text) || memchr(v.p, '\0', v.n))
		return false;
	memcpy(text, v.p, v.n);
	text[v.n] = '\0';
	return inet_pton(family, text, ip) == 1;
}

/* Length of the dot-atom or quoted string at the front of v; 0 when there is neither. */
static size_t
local_length(struct view v, unsigned flags)
{
	bool utf8 = flags & ADDR_UTF8;
	size_t i = 0;

	if (v.n && v.p[0] == '"') {
		for (i = 1; i < v.n && v.p[i] != '"'; i++) {
			if (v.p[i] == '\\' && ++i == v.n)
				return 0;
			unsigned char c = (unsigned char)v.p[i];
			if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
				return 0;
		}
		return i < v.n ? i + 1 : 0;
	}
	while (flags & ADDR_DOTS && i < v.n && (v.p[i] == '.' || is_atext((unsigned char)v.p[i], utf8)))
		i++;
	if (flags & ADDR_DOTS)
		return i;
	while (i < v.n && is_atext((unsigned char)v.p[i], utf8)) {
		while (i < v.n && is_atext((unsigned char)v.p[i], utf8))
			i++;
		if (i < v.n && v.p[i] == '.')
			i++;
		else
			return i;
	}
	return 0; /* empty, or a dot at an end or doubled */
}

static struct esc
syntax_esc(unsigned flags)
{
	return flags & ADDR_NULL ? ESC(5, 1, 7) : ESC(5, 1, 3);
}

static int
bad(unsigned flags, const char *what, struct err *e)
{
	return err_set(e, ERR_PERM, syntax_esc(flags), "Bad %s address syntax: %s",
	    flags & ADDR_NULL ? "sender" : "recipient", what);
}

/* local@domain at the front of *v; what follows it stays. */
static int
take_mailbox(struct view *v, unsigned flags, struct addr *out, struct err *e)
{
	bool utf8 = flags & ADDR_UTF8;
	size_t n = local_length(*v, flags);

	out->local = view_first(*v, n);
	*v = view_skip(*v, n);
	if (n == 0)
		return bad(flags, "local part", e);
	if (n > ADDR_LOCAL_MAX)
		return bad(flags, "local part is longer than 64", e);
	if (utf8 && !utf8_valid(out->local))
		return bad(flags, "not UTF-8", e);
	out->domain = view_of(v->p, 0);
	if (v->n == 0 || v->p[0] != '@') {
		if (flags & ADDR_POSTMASTER && view_iis(out->local, "postmaster"))
			return 0;
		return bad(flags, "no domain", e);
	}
	*v = view_skip(*v, 1);
	for (n = 0; n < v->n && v->p[n] != '>' && v->p[n] != ' '; n++)
		;
	out->domain = view_first(*v, n);
	*v = view_skip(*v, n);
	if (!domain_valid(out->domain, utf8) && !domain_is_literal(out->domain))
		return bad(flags, "domain", e);
	if (addr_whole(out).n > PATH_MAX_OCTETS - 2)
		return bad(flags, "longer than 256", e);
	return 0;
}

/* "@a,@b:" in front of a mailbox (RFC 5321, appendix C): checked and ignored. */
static bool
skip_route(struct view *v)
{
	while (v->n && v->p[0] == '@') {
		size_t n = 1;
		while (n < v->n && v->p[n] != ',' && v->p[n] != ':' && v->p[n] != '>')
			n++;
		struct view hop = view_of(v->p + 1, n - 1);
		if (n == v->n || v->p[n] == '>' || !domain_valid(hop, false))
			return false;
		bool last = v->p[n] == ':';
		*v = view_skip(*v, n + 1);
		if (last)
			return v->n && v->p[0] != '@';
		if (v->n == 0 || v->p[0] != '@')
			return false;
	}
	return true;
}

int
addr_path(struct view *v, unsigned flags, struct addr *out, struct err *e)
{
	struct view r = *v;

	*out = (struct addr){ { "", 0 }, { "", 0 } };
	if (r.n == 0 || r.p[0] != '<')
		return bad(flags, "no angle bracket", e);
	r = view_skip(r, 1);
	if (flags & ADDR_NULL && r.n && r.p[0] == '>') {
		*v = view_skip(r, 1);
		return 0;
	}
	if (!skip_route(&r))
		return bad(flags, "source route", e);
	if (take_mailbox(&r, flags, out, e) < 0)
		return -1;
	if (r.n == 0 || r.p[0] != '>')
		return bad(flags, "no closing bracket", e);
	*v = view_skip(r, 1);
	return 0;
}

int
addr_parse(struct view v, unsigned flags, struct addr *out, struct err *e)
{
	*out = (struct addr){ { "", 0 }, { "", 0 } };
	if (v.n == 0 && flags & ADDR_NULL)
		return 0;
	if (take_mailbox(&v, flags, out, e) < 0)
		return -1;
	return v.n ? bad(flags, "text behind it", e) : 0;
}

struct view
addr_whole(const struct addr *a)
{
	if (a->domain.n == 0)
		return a->local;
	return view_of(a->local.p, (size_t)(a->domain.p + a->domain.n - a->local.p));
}
