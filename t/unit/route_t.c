/* SPDX-License-Identifier: ISC */
#include "lib/ipc_schema.h"
#include "qmgr/route.h"
#include "t/tap.h"

static const char *const map[][2] = {
	{ "gw.example", "[gate.example]:2525" },
	{ "plain.example", "other.example" },
	{ "port.example", "other.example:26" },
	{ ".sub.example", "[192.0.2.7]" },
	{ "six.example", "[2001:db8::1]:587" },
	{ "direct.example", "smtp:" },
	{ "prefixed.example", "smtp:[gate.example]" },
	{ "no.example", "error:5.7.1 not from here" },
	{ "later.example", "error:4.3.2 resting" },
	{ "bare.example", "error:" },
	{ "wrong.example", "[unclosed" },
	{ "xn--r8jz45g.example", "[idn.example]" },
	{ NULL, NULL },
};
static const char *const star[][2] = { { "*", "[catch.example]" }, { NULL, NULL } };

static int
lookup(void *ctx, struct view key, struct buf *out, struct err *e)
{
	const char *const(*m)[2] = ctx;

	if (view_is(key, "broken.example"))
		return err_set(e, ERR_TEMP, ESC(4, 3, 0), "read error");
	for (; (*m)[0]; m++) {
		if (!view_is(key, (*m)[0]))
			continue;
		buf_puts(out, (*m)[1]);
		return 1;
	}
	return 0;
}

static void
check(const struct route_rules *r, const char *domain, const char *want, const char *name)
{
	struct buf got = BUF_INIT(1024);
	struct route out;
	struct err e;
	char esc[ESC_TEXT_MAX];

	if (route_resolve(r, view_str(domain), &out, &e) < 0) {
		buf_printf(&got, "%s %s %s", e.class == ERR_PERM ? "perm" : "temp",
		    esc_text(e.esc, esc), e.text);
	} else {
		route_text(&out, 25, &got);
		if (out.auth)
			buf_puts(&got, " auth");
	}
	is_view(buf_view(&got), want, "%s", name);
	buf_free(&got);
}

int
main(void)
{
	char relay_host[] = "Relay.Example";
	struct relay relay = { relay_host, 587, false }, none = { 0 };
	struct route_rules mx = { .relayhost = &none, .port = 25, .tls = TLS_POLICY_MAY };
	struct route_rules with_map = mx, with_relay = mx, both = mx, wild = mx;

	with_map.lookup = both.lookup = wild.lookup = lookup;
	with_map.ctx = both.ctx = (void *)(uintptr_t)map;
	wild.ctx = (void *)(uintptr_t)star;
	with_relay.relayhost = both.relayhost = &relay;
	with_relay.relay_auth = both.relay_auth = true;

	check(&mx, "Example.JP", "example.jp", "E3: by MX; the case does not matter");
	check(&mx, "[192.0.2.1]", "[192.0.2.1]:25", "an address literal is that host");
	check(&mx, "[IPv6:2001:db8::1]", "[2001:db8::1]:25", "J14: an IPv6 literal");
	check(&mx, "", "perm 5.1.1 No local mailboxes here", "<postmaster> without a relayhost");
	check(&mx, "a..b", "perm 5.1.2 Bad destination domain", "not a domain");
	check(&with_relay, "example.jp", "[relay.example]:587 auth", "E8: relayhost with AUTH");
	check(&with_relay, "", "[relay.example]:587", "<postmaster> with a relayhost");
	check(&with_map, "gw.example", "[gate.example]:2525", "J8: [host]:port, no MX look-up");
	check(&with_map, "GW.example", "[gate.example]:2525", "J8: whatever the case");
	check(&with_map, "plain.example", "other.example", "J8: a domain: its MX");
	check(&with_map, "port.example", "other.example:26", "J8: with a port");
	check(&with_map, "a.b.sub.example", "[192.0.2.7]:25", "J8: a parent domain's entry");
	check(&with_map, "sub.example", "sub.example", "J8: which is not for the parent itself");
	check(&with_map, "six.example", "[2001:db8::1]:587", "J8 J14: an IPv6 address");
	check(&both, "direct.example", "direct.example", "J8: smtp: alone is the MX, despite relayhost");
	check(&both, "prefixed.example", "[gate.example]:25", "J8: the map goes before relayhost");
	check(&both, "example.jp", "[relay.example]:587 auth", "J8: not in the map: relayhost");
	check(&wild, "example.jp", "[catch.example]:25", "J8: * matches what nothing else does");
	check(&with_map, "no.example", "perm 5.7.1 not from here", "error: returns the message");
	check(&with_map, "later.example", "temp 4.3.2 resting", "error: with a 4.x.x code");
	check(&with_map, "bare.example", "perm 5.0.0 Mail to this domain is not accepted",
	    "error: without a text");
	check(&with_map, "wrong.example", "temp 4.3.5 transport entry for this domain is wrong",
	    "a wrong entry keeps the mail");
	check(&with_map, "broken.example", "temp 4.3.0 transport map: read error",
	    "an unreadable map keeps the mail");
	check(&with_map, "\xe4\xbe\x8b\xe3\x81\x88.example", "[idn.example]:25",
	    "a domain in UTF-8 is looked up by its A-labels");
	return done_testing();
}
