/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/target.h"

enum { HOSTS_MAX = 100, NOT_OURS = 0x10000 };

struct candidate {
	struct view host;
	const char *ip;
	uint16_t pref;
	bool v6, secure;
};

struct work {
	const struct target_rules *rules;
	struct candidate *v;
	size_t count;
	uint32_t own_pref;  /* best preference of an entry that is this host; NOT_OURS: none */
	uint32_t temp_pref; /* best preference of a host whose look-up failed for now */
	size_t denied;
	uint32_t random;
};

static uint32_t
next_random(struct work *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 17;
	w->random ^= w->random << 5;
	return w->random;
}

static bool
is_own_name(const struct conf *conf, struct view host)
{
	if (*conf->hostname && view_iis(host, conf->hostname))
		return true;
	for (size_t i = 0; i < conf->local_domains.n; i++)
		if (view_iis(host, conf->local_domains.v[i]))
			return true;
	return false;
}

static void
set_address(struct target *t, const char *ip, bool v6, uint16_t port)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	memset(&t->addr, 0, sizeof(t->addr));
	/* An IPv4 address in disguise must not pass by the rules for it. */
	if (v6 && memcmp(ip, mapped, sizeof(mapped)) == 0) {
		ip += sizeof(mapped);
		v6 = false;
	}
	if (v6) {
		t->addr.in6.sin6_family = AF_INET6;
		t->addr.in6.sin6_port = htons(port);
		memcpy(&t->addr.in6.sin6_addr, ip, 16);
		t->len = sizeof(t->addr.in6);
	} else {
		t->addr.in4.sin_family = AF_INET;
		t->addr.in4.sin_port = htons(port);
		memcpy(&t->addr.in4.sin_addr, ip, 4);
		t->len = sizeof(t->addr.in4);
	}
}

static bool
same_address(const struct target *t, const struct sockaddr *sa)
{
	if (sa->sa_family != t->addr.sa.sa_family)
		return false;
	if (sa->sa_family == AF_INET)
		return memcmp(&((const struct sockaddr_in *)(const void *)sa)->sin_addr,
			   &t->addr.in4.sin_addr, 4) == 0;
	return memcmp(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
		   &t->addr.in6.sin6_addr, 16) == 0;
}

/* One of our listeners has exactly this address and port. (Wildcards are caught when connected.) */
static bool
is_own_listener(const struct conf *conf, const struct target *t)
{
	for (size_t i = 0; i < conf->listen_count; i++)
		for (size_t k = 0; k < conf->listen[i].address.n; k++) {
			const struct sockaddr *sa =
			    (const struct sockaddr *)&conf->listen[i].address.v[k].addr;
			/* in_port_t has the same place in both families */
			if (same_address(t, sa) &&
			    ((const struct sockaddr_in *)(const void *)sa)->sin_port ==
				t->addr.in4.sin_port)
				return true;
		}
	return false;
}

/* Addresses that are nobody's, or everybody's: connecting to 0.0.0.0 reaches this host. */
static bool
is_unusable(const struct target *t)
{
	if (t->addr.sa.sa_family == AF_INET) {
		uint32_t ip = ntohl(t->addr.in4.sin_addr.s_addr);
		return ip >> 24 == 0 || ip >= 0xe0000000u;
	}
	return IN6_IS_ADDR_UNSPECIFIED(&t->addr.in6.sin6_addr) ||
	       IN6_IS_ADDR_MULTICAST(&t->addr.in6.sin6_addr);
}

static bool
is_denied(const struct conf *conf, const struct target *t)
{
	return is_unusable(t) || cidrs_match(&conf->delivery.deny, &t->addr.sa);
}

static void
add_host(struct work *w, const struct ipc_mx_host *h)
{
	const struct target_rules *r = w->rules;
	struct target t;

	if (r->mx && is_own_name(r->conf, h->name) && h->pref < w->own_pref)
		w->own_pref = h->pref;
	if ((h->status == DNS_TEMP || h->status == DNS_BOGUS) && h->pref < w->temp_pref)
		w->temp_pref = h->pref;
	for (int v6 = 0; v6 < 2; v6++) {
		struct view ips = v6 ? h->v6 : h->v4;
		for (size_t n = v6 ? 16 : 4; ips.n >= n; ips = view_skip(ips, n)) {
			set_address(&t, ips.p, v6, r->port);
			if (is_own_listener(r->conf, &t) && h->pref < w->own_pref)
				w->own_pref = h->pref;
			w->v[w->count++] = (struct candidate){ .host = h->name,
				.ip = ips.p,
				.pref = h->pref,
				.v6 = v6,
				.secure = h->secure };
		}
	}
}

/* Drops what may not be connected to; the order stays. */
static void
filter(struct work *w)
{
	const struct target_rules *r = w->rules;
	size_t kept = 0;
	struct target t;

	for (size_t i = 0; i < w->count; i++) {
		const struct candidate *c = &w->v[i];
		set_address(&t, c->ip, c->v6, r->port);
		if (c->pref >= w->own_pref ||
		    (r->family != AF_UNSPEC && t.addr.sa.sa_family != r->family))
			continue;
		if (is_denied(r->conf, &t)) {
			w->denied++;
			continue;
		}
		w->v[kept++] = *c;
	}
	w->count = kept;
}

static int
by_preference(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->pref != y->pref)
		return x->pref < y->pref ? -1 : 1;
	return x->v6 != y->v6 ? (x->v6 ? -1 : 1) : 0;
}

static void
shuffle(struct work *w, struct candidate *v, size_t n)
{
	for (; n > 1; n--) {
		size_t k = next_random(w) % n;
		struct candidate swap = v[n - 1];
		v[n - 1] = v[k];
		v[k] = swap;
	}
}

/* One preference: n6 IPv6 addresses, then n4 IPv4 ones. Writes them out in turns. */
static size_t
take_turns(
    struct work *w, struct candidate *v, size_t n6, size_t n4, struct target *out, size_t room)
{
	size_t i6 = 0, i4 = 0, n = 0;

	shuffle(w, v, n6);
	shuffle(w, v + n6, n4);
	while (n < room && (i6 < n6 || i4 < n4)) {
		bool six = i4 >= n4 || (i6 < n6 && i6 <= i4);
		const struct candidate *c = six ? &v[i6++] : &v[n6 + i4++];
		struct target *t = &out[n++];
		*t = (struct target){ .pref = c->pref, .secure = c->secure };
		set_address(t, c->ip, c->v6, w->rules->port);
		snprintf(t->host, sizeof(t->host), "%.*s",
		    (int)view_first(c->host, TARGET_HOST_MAX).n, c->host.p);
	}
	return n;
}

static size_t
order(struct work *w, struct target *out)
{
	size_t n = 0;

	qsort(w->v, w->count, sizeof(*w->v), by_preference);
	for (size_t at = 0; at < w->count && n < TARGET_MAX;) {
		size_t n6 = 0, n4 = 0;
		uint16_t pref = w->v[at].pref;
		for (size_t i = at; i < w->count && w->v[i].pref == pref; i++)
			w->v[i].v6 ? n6++ : n4++;
		n += take_turns(w, w->v + at, n6, n4, out + n, TARGET_MAX - n);
		at += n6 + n4;
	}
	return n;
}

static int
none_left(const struct work *w, struct err *e)
{
	const char *name = w->rules->nexthop;

	if (w->temp_pref < w->own_pref)
		return err_set(e, ERR_TEMP, ESC(4, 4, 3),
		    "Host or domain name not found. Name service error for a mail host of %s",
		    name);
	if (w->own_pref != NOT_OURS)
		return err_set(e, ERR_PERM, ESC(5, 4, 6), "mail for %s loops back to myself", name);
	if (w->denied)
		return err_set(
		    e, ERR_PERM, ESC(5, 4, 4), "%s has no address that may be connected to", name);
	return err_set(e, ERR_TEMP, ESC(4, 4, 4),
	    "%s has no address of the family of the source address", name);
}

static size_t
count_addresses(struct view hosts)
{
	struct ipc_mx_host h;
	size_t count = 0;

	for (size_t n = 0; n < HOSTS_MAX && ipc_next(&ipc_desc_mx_host, &hosts, &h); n++)
		count += h.v4.n / 4 + h.v6.n / 16;
	return count;
}

int
target_build(const struct target_rules *rules, const struct ipc_mx_answer *answer,
    struct target *out, struct err *e)
{
	struct work w = { .rules = rules,
		.own_pref = NOT_OURS,
		.temp_pref = NOT_OURS,
		.random = rules->seed ? rules->seed : 1 };
	struct view hosts = answer->hosts;
	struct ipc_mx_host h;
	int rc;

	w.v = x_calloc(count_addresses(hosts), sizeof(*w.v));
	for (size_t n = 0; n < HOSTS_MAX && ipc_next(&ipc_desc_mx_host, &hosts, &h); n++)
		add_host(&w, &h);
	filter(&w);
	rc = (int)order(&w, out);
	if (rc == 0)
		rc = none_left(&w, e);
	free(w.v);
	return rc;
}

bool
target_literal(struct view text, uint16_t port, struct target *out)
{
	char ip[INET6_ADDRSTRLEN + 8], raw[16];

	if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
		text = view_first(view_skip(text, 1), text.n - 2);
	if (view_istarts(text, "IPv6:"))
		text = view_skip(text, 5);
	if (text.n == 0 || text.n >= sizeof(ip))
		return false;
	memcpy(ip, text.p, text.n);
	ip[text.n] = '\0';
	bool v6 = view_index(text, ':') >= 0;
	if (inet_pton(v6 ? AF_INET6 : AF_INET, ip, raw) != 1)
		return false;
	*out = (struct target){ 0 };
	set_address(out, raw, v6, port);
	snprintf(out->host, sizeof(out->host), "%s", ip);
	return true;
}

int
target_allowed(const struct target_rules *rules, const struct target *t, struct err *e)
{
	if (is_own_listener(rules->conf, t))
		return err_set(
		    e, ERR_PERM, ESC(5, 4, 6), "mail for %s loops back to myself", rules->nexthop);
	if (is_denied(rules->conf, t))
		return err_set(e, ERR_PERM, ESC(5, 4, 4),
		    "%s has no address that may be connected to", rules->nexthop);
	if (rules->family != AF_UNSPEC && t->addr.sa.sa_family != rules->family)
		return err_set(e, ERR_TEMP, ESC(4, 4, 4),
		    "%s has no address of the family of the source address", rules->nexthop);
	return 0;
}

bool
target_is_loopback(const struct target *t)
{
	if (t->addr.sa.sa_family == AF_INET)
		return ntohl(t->addr.in4.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&t->addr.in6.sin6_addr);
}

void
target_ip(const struct target *t, char out[static INET6_ADDRSTRLEN])
{
	bool v6 = t->addr.sa.sa_family == AF_INET6;

	if (inet_ntop(t->addr.sa.sa_family,
		v6 ? (const void *)&t->addr.in6.sin6_addr : &t->addr.in4.sin_addr, out,
		INET6_ADDRSTRLEN) == NULL)
		out[0] = '\0';
}

void
target_text(const struct target *t, bool port, char out[static TARGET_TEXT_MAX])
{
	char ip[INET6_ADDRSTRLEN];

	target_ip(t, ip);
	if (port)
		snprintf(
		    out, TARGET_TEXT_MAX, "%s[%s]:%u", t->host, ip, ntohs(t->addr.in4.sin_port));
	else
		snprintf(out, TARGET_TEXT_MAX, "%s[%s]", t->host, ip);
}
