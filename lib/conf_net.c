/* SPDX-License-Identifier: ISC */
/* Literals of networks, listening addresses and next hops. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "lib/conf.h"

enum { HOST_MAX = 253 };

/* inet_pton() needs a terminator; the longest address is shorter than the buffer. */
static bool
parse_address(int family, struct view v, void *out)
{
	char text[INET6_ADDRSTRLEN];

	if (v.n == 0 || v.n >= sizeof(text) || memchr(v.p, 0, v.n))
		return false;
	memcpy(text, v.p, v.n);
	text[v.n] = '\0';
	return inet_pton(family, text, out) == 1;
}

/* Whether every bit behind the first `bits` is zero. */
static bool
host_bits_clear(const uint8_t addr[16], unsigned bits, size_t bytes)
{
	for (size_t i = bits / 8; i < bytes; i++) {
		unsigned mask = i == bits / 8 ? 0xffu >> bits % 8 : 0xffu;
		if (addr[i] & mask)
			return false;
	}
	return true;
}

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

bool
conf_parse_cidr(struct view v, struct cidr *out)
{
	struct cidr c = { 0 };
	struct view rest = v, host = view_cut(&rest, '/');
	uint64_t bits;

	if (parse_address(AF_INET6, host, c.addr))
		c.v6 = true;
	else if (!parse_address(AF_INET, host, c.addr))
		return false;
	unsigned width = c.v6 ? 128 : 32;
	bits = width;
	if (host.n < v.n && !view_u64(rest, width, &bits))
		return false;
	if (!host_bits_clear(c.addr, (unsigned)bits, width / 8))
		return false;
	/* ::ffff:a.b.c.d is how a dual-stack socket shows an IPv4 client. */
	if (c.v6 && bits >= 96 && memcmp(c.addr, v4_mapped, sizeof(v4_mapped)) == 0) {
		memmove(c.addr, c.addr + 12, 4);
		memset(c.addr + 4, 0, 12);
		c.v6 = false;
		bits -= 96;
	}
	c.bits = (uint8_t)bits;
	*out = c;
	return true;
}

static bool
prefix_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)) == 0;
}

bool
cidr_match(const struct cidr *c, const struct sockaddr *sa)
{
	uint8_t addr[16];

	if (sa->sa_family == AF_INET) {
		memcpy(addr, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
		return !c->v6 && prefix_equal(c->addr, addr, c->bits);
	}
	if (sa->sa_family != AF_INET6)
		return false;
	memcpy(addr, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	if (memcmp(addr, v4_mapped, sizeof(v4_mapped)) == 0)
		return !c->v6 && prefix_equal(c->addr, addr + 12, c->bits);
	return c->v6 && prefix_equal(c->addr, addr, c->bits);
}

bool
cidrs_match(const struct conf_cidrs *list, const struct sockaddr *sa)
{
	for (size_t i = 0; i < list->n; i++)
		if (cidr_match(&list->v[i], sa))
			return true;
	return false;
}

static bool
parse_port(struct view v, uint16_t *port)
{
	uint64_t x;

	if (v.n == 0 || v.p[0] == '0' || !view_u64(v, 65535, &x))
		return false;
	*port = (uint16_t)x;
	return true;
}

/* Takes "[...]" from the front of *v. */
static bool
take_brackets(struct view *v, struct view *inside)
{
	ptrdiff_t end = view_index(*v, ']');

	if (v->n == 0 || v->p[0] != '[' || end < 2)
		return false;
	*inside = view_skip(view_first(*v, (size_t)end), 1);
	*v = view_skip(*v, (size_t)end + 1);
	return true;
}

static void
print_v6(struct hostport *h, const struct sockaddr_in6 *a)
{
	char text[INET6_ADDRSTRLEN];
	struct buf b = BUF_INIT(128);

	inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof(text));
	buf_printf(&b, "[%s]:%u", text, ntohs(a->sin6_port));
	h->text = x_strdup(buf_cstr(&b));
	buf_free(&b);
}

static void
print_v4(struct hostport *h, const struct sockaddr_in *a)
{
	char text[INET_ADDRSTRLEN];
	struct buf b = BUF_INIT(128);

	inet_ntop(AF_INET, &a->sin_addr, text, sizeof(text));
	buf_printf(&b, "%s:%u", text, ntohs(a->sin_port));
	h->text = x_strdup(buf_cstr(&b));
	buf_free(&b);
}

bool
conf_parse_hostport(struct view v, struct hostport *out)
{
	struct hostport h = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&h.addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&h.addr;
	struct view host;
	uint16_t port;

	if (take_brackets(&v, &host)) {
		if (!parse_address(AF_INET6, host, &v6->sin6_addr) || v.n == 0 || v.p[0] != ':' ||
		    !parse_port(view_skip(v, 1), &port))
			return false;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		h.len = sizeof(*v6);
		print_v6(&h, v6);
	} else {
		host = view_cut(&v, ':');
		if (!parse_address(AF_INET, host, &v4->sin_addr) || !parse_port(v, &port))
			return false;
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		h.len = sizeof(*v4);
		print_v4(&h, v4);
	}
	*out = h;
	return true;
}

bool
conf_parse_socket(struct view v, struct sockaddr_storage *out, socklen_t *len)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct hostport h;

	*out = (struct sockaddr_storage){ 0 };
	*len = 0;
	if (view_starts(v, "unix:")) {
		v = view_skip(v, 5);
		if (v.n == 0 || v.p[0] != '/' || v.n >= sizeof(un.sun_path))
			return false;
		memcpy(un.sun_path, v.p, v.n);
		memcpy(out, &un, sizeof(un));
		*len = sizeof(un);
	} else if (view_starts(v, "inet:") && conf_parse_hostport(view_skip(v, 5), &h)) {
		*out = h.addr;
		*len = h.len;
		free(h.text);
	}
	return *len != 0;
}

/* Labels of 1-63 letters, digits, '-' and '_'; not an address in disguise (the last label has a
 * letter). */
bool
conf_host_valid(struct view v)
{
	struct view rest = v, label = { 0 };
	bool letter = false;

	if (v.n == 0 || v.n > HOST_MAX || v.p[v.n - 1] == '.')
		return false;
	while (rest.n) {
		label = view_cut(&rest, '.');
		if (label.n == 0 || label.n > 63 || label.p[0] == '-' ||
		    label.p[label.n - 1] == '-')
			return false;
		letter = false;
		for (size_t i = 0; i < label.n; i++) {
			char c = label.p[i];
			bool alpha = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
			if (!alpha && !(c >= '0' && c <= '9') && c != '-' && c != '_')
				return false;
			letter |= alpha;
		}
	}
	return letter;
}

static bool
host_or_address(struct view v)
{
	uint8_t addr[16];

	return conf_host_valid(v) || parse_address(AF_INET, v, addr) ||
	       parse_address(AF_INET6, v, addr);
}

bool
conf_parse_relay(struct view v, struct relay *out)
{
	struct relay r = { 0 };
	struct view host;

	if (take_brackets(&v, &host)) {
		if (view_istarts(host, "IPv6:"))
			host = view_skip(host, 5);
		if (!host_or_address(host))
			return false;
	} else {
		ptrdiff_t colon = view_index(v, ':');
		host = colon < 0 ? v : view_first(v, (size_t)colon);
		if (!conf_host_valid(host))
			return false;
		v = view_skip(v, host.n);
		r.mx = true;
	}
	if (v.n && (v.p[0] != ':' || !parse_port(view_skip(v, 1), &r.port)))
		return false;
	r.host = x_strndup(host);
	*out = r;
	return true;
}
