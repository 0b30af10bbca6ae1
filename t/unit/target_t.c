/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>

#include "smtp/target.h"
#include "t/tap.h"

static struct conf conf;
static struct buf hosts = BUF_INIT(IPC_BULK_MAX);

static struct target_rules
rules(void)
{
	return (struct target_rules){ .conf = &conf,
		.nexthop = "example.com",
		.mx = true,
		.port = 25,
		.family = AF_UNSPEC,
		.seed = 1 };
}

/* "1.2.3.4 2001:db8::1 ..." */
static void
host_status(unsigned pref, const char *name, const char *ips, enum dns_status status)
{
	struct buf v4 = BUF_INIT(1024), v6 = BUF_INIT(1024);
	struct view all = view_str(ips);

	while (all.n) {
		struct view one = view_cut(&all, ' ');
		char text[64], raw[16];
		snprintf(text, sizeof(text), "%.*s", (int)one.n, one.p);
		if (inet_pton(AF_INET, text, raw) == 1)
			buf_put(&v4, raw, 4);
		else if (inet_pton(AF_INET6, text, raw) == 1)
			buf_put(&v6, raw, 16);
	}
	IPC_RECORD(&hosts, mx_host, .pref = (uint16_t)pref, .name = view_str(name),
	    .status = (uint8_t)status, .v4 = buf_view(&v4), .v6 = buf_view(&v6));
	buf_free(&v4);
	buf_free(&v6);
}

static void
host(unsigned pref, const char *name, const char *ips)
{
	host_status(pref, name, ips, DNS_OK);
}

static int
build(const struct target_rules *r, struct target *out, struct err *e)
{
	struct ipc_mx_answer m = { .hosts = buf_view(&hosts) };
	int n = target_build(r, &m, out, e);

	buf_clear(&hosts);
	return n;
}

/* The addresses in their order, joined by blanks. */
static const char *
list(const struct target *t, int n)
{
	static char text[TARGET_MAX * 48];
	size_t at = 0;

	text[0] = '\0';
	for (int i = 0; i < n; i++) {
		char ip[INET6_ADDRSTRLEN];
		bool v6 = t[i].addr.sa.sa_family == AF_INET6;
		inet_ntop(t[i].addr.sa.sa_family,
		    v6 ? (const void *)&t[i].addr.in6.sin6_addr : &t[i].addr.in4.sin_addr, ip,
		    sizeof(ip));
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? " " : "", ip);
	}
	return text;
}

static void
test_order(void)
{
	struct target_rules r = rules();
	struct target t[TARGET_MAX];
	struct err e;

	host(20, "b", "192.0.2.2");
	host(10, "a", "192.0.2.1");
	host(30, "c", "192.0.2.3");
	int n = build(&r, t, &e);
	is_str(list(t, n), "192.0.2.1 192.0.2.2 192.0.2.3", "S32: by preference");
	is_str(t[0].host, "a", "with the host's name");
	is_int(ntohs(t[0].addr.in4.sin_port), 25, "and the port");

	host(10, "a", "192.0.2.1 192.0.2.2 2001:db8::1 2001:db8::2");
	host(20, "b", "192.0.2.9");
	n = build(&r, t, &e);
	is_int(n, 5, "all addresses");
	ok(t[0].len == sizeof(t[0].addr.in6) && t[1].len == sizeof(t[0].addr.in4) &&
		t[2].len == sizeof(t[0].addr.in6) && t[3].len == sizeof(t[0].addr.in4),
	    "IPv6 and IPv4 take turns");
	is_str(list(t + 4, 1), "192.0.2.9", "S32: the worse preference comes last");

	host(10, "a", "");
	host(20, "b", "192.0.2.9 192.0.2.8");
	n = build(&r, t, &e);
	is_int(n, 2, "S32: at least two addresses are tried");

	for (int i = 0; i < 60; i++) {
		char name[16], ip[32];
		snprintf(name, sizeof(name), "h%d", i);
		snprintf(ip, sizeof(ip), "192.0.2.%d", i + 1);
		host((unsigned)i, name, ip);
	}
	n = build(&r, t, &e);
	is_int(n, TARGET_MAX, "the list is bounded");
	is_str(list(t, 2), "192.0.2.1 192.0.2.2", "to the best ones");
}

static void
test_shuffle(void)
{
	struct target_rules r = rules();
	struct target t[TARGET_MAX];
	struct err e;
	int first[3] = { 0 };

	for (uint32_t seed = 1; seed <= 3000; seed++) {
		r.seed = seed * 2654435761u;
		host(10, "a", "192.0.2.0");
		host(10, "b", "192.0.2.1");
		host(10, "c", "192.0.2.2");
		host(20, "d", "192.0.2.9");
		if (build(&r, t, &e) != 4 || t[3].pref != 20)
			break;
		first[ntohl(t[0].addr.in4.sin_addr.s_addr) & 3]++;
	}
	for (int i = 0; i < 3; i++)
		ok(first[i] > 800 && first[i] < 1200,
		    "S32, E3: host %d of equal ones is first %d of 3000 times", i, first[i]);
}

static void
test_loop(void)
{
	struct target_rules r = rules();
	struct target t[TARGET_MAX];
	struct err e;
	int n;

	host(10, "best", "192.0.2.1");
	host(20, "MTA.example.org", "192.0.2.2");
	host(20, "peer", "192.0.2.3");
	host(30, "worse", "192.0.2.4");
	n = build(&r, t, &e);
	is_str(list(t, n), "192.0.2.1", "S34: entries of equal and worse preference than ours go");

	host(10, "mta.example.org", "192.0.2.2");
	host(20, "other", "192.0.2.3");
	n = build(&r, t, &e);
	is_int(n, -1, "atk-G9: we are the best host");
	ok(e.class == ERR_PERM && e.esc.subject == 4 && e.esc.detail == 6, "atk-G9: 5.4.6");
	is_str(e.text, "mail for example.com loops back to myself", "and its text");

	host(10, "relay.example.org", "192.0.2.2");
	is_int(build(&r, t, &e), -1, "atk-G9: local-domains are our names too");
	r.mx = false;
	host(0, "relay.example.org", "192.0.2.2");
	is_int(build(&r, t, &e), 1, "a host that was named is only checked by address");
	host(0, "anything", "198.51.100.7");
	is_int(build(&r, t, &e), -1, "atk-G9: the address of a listener");
	r.port = 2500;
	host(0, "anything", "198.51.100.7");
	is_int(build(&r, t, &e), 1, "at another port it is somebody else");

	r = rules();
	host_status(5, "best", "", DNS_TEMP);
	host(10, "mta.example.org", "192.0.2.2");
	is_int(build(&r, t, &e), -1, "only we are left");
	is_int(e.class, ERR_TEMP, "but a better host may come back: temporary");
}

static void
test_deny(void)
{
	struct target_rules r = rules();
	struct target t[TARGET_MAX];
	struct err e;
	int n;

	host(10, "a",
	    "0.0.0.0 10.1.2.3 224.0.0.1 255.255.255.255 :: ff02::1 ::ffff:10.9.9.9 "
	    "::ffff:0.0.0.0 192.0.2.1");
	n = build(&r, t, &e);
	is_str(list(t, n), "192.0.2.1", "atk-G9: denied and senseless addresses are left out");
	host(10, "a", "::ffff:192.0.2.77");
	n = build(&r, t, &e);
	is_str(list(t, n), "192.0.2.77", "a mapped address is the IPv4 one");
	host(10, "a", "10.0.0.1");
	n = build(&r, t, &e);
	ok(n == -1 && e.class == ERR_PERM && e.esc.detail == 4,
	    "atk-G9: nothing but denied ones: 5.4.4");

	r.family = AF_INET;
	host(10, "a", "2001:db8::1 192.0.2.1");
	n = build(&r, t, &e);
	is_str(list(t, n), "192.0.2.1", "only the family of the source address");
	host(10, "a", "2001:db8::1");
	n = build(&r, t, &e);
	ok(n == -1 && e.class == ERR_TEMP, "none of that family: temporary");
}

static void
test_literal(void)
{
	static const char *const good[][2] = { { "192.0.2.1", "192.0.2.1[192.0.2.1]:25" },
		{ "[192.0.2.1]", "192.0.2.1[192.0.2.1]:25" },
		{ "2001:db8::1", "2001:db8::1[2001:db8::1]:25" },
		{ "[IPv6:2001:DB8::1]", "2001:DB8::1[2001:db8::1]:25" },
		{ "[ipv6:::1]", "::1[::1]:25" } };
	static const char *const bad[] = { "", "[]", "a.example", "192.0.2", "192.0.2.1.5", "[x]",
		"1.2.3.4:25", "[IPv6:1.2.3.4]x", "::1]" };
	struct target_rules r = rules();
	struct target t;
	struct err e;
	char text[TARGET_TEXT_MAX];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ok(target_literal(view_str(good[i][0]), 25, &t), "a literal: %s", good[i][0]);
		target_text(&t, true, text);
		is_str(text, good[i][1], "as text");
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!target_literal(view_str(bad[i]), 25, &t), "no literal: %s", bad[i]);
	target_literal(VIEW("[::1]"), 25, &t);
	ok(target_is_loopback(&t), "loopback of IPv6");
	target_literal(VIEW("127.9.9.9"), 25, &t);
	ok(target_is_loopback(&t), "loopback of IPv4");
	target_literal(VIEW("128.0.0.1"), 25, &t);
	ok(!target_is_loopback(&t), "no loopback");
	is_int(target_allowed(&r, &t, &e), 0, "an address that may be used");
	target_literal(VIEW("10.0.0.1"), 25, &t);
	is_int(target_allowed(&r, &t, &e), -1, "atk-G9: a denied one");
	target_literal(VIEW("198.51.100.7"), 25, &t);
	is_int(target_allowed(&r, &t, &e), -1, "atk-G9: our own one");
}

int
main(void)
{
	char hostname[] = "mta.example.org", local[] = "relay.example.org", mx[] = "mx";
	char *names[] = { local };
	struct cidr deny[2];
	struct hostport own[1] = { 0 };
	struct conf_listen listen[1] = { { .name = mx, .address = { own, 1 } } };

	conf.hostname = hostname;
	conf.local_domains = (struct conf_list){ names, 1 };
	conf_parse_cidr(VIEW("10.0.0.0/8"), &deny[0]);
	conf_parse_cidr(VIEW("fc00::/7"), &deny[1]);
	conf.delivery.deny = (struct conf_cidrs){ deny, 2 };
	conf_parse_hostport(VIEW("198.51.100.7:25"), &own[0]);
	conf.listen = listen;
	conf.listen_count = 1;
	test_order();
	test_shuffle();
	test_loop();
	test_deny();
	test_literal();
	free(own[0].text);
	buf_free(&hosts);
	return done_testing();
}
