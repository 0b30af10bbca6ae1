/* SPDX-License-Identifier: ISC */
/* The configuration language: values, errors with their places, checks across directives, printing. */
#include <arpa/inet.h>

#include "lib/conf.h"
#include "lib/loop.h"
#include "lib/near.h"
#include "t/tap.h"

enum { TEXT_MAX = 16 << 20 };

/* What reading a text says; "" when it is accepted. Owned by the caller's buf. */
static const char *
errors_of(const char *text, struct buf *errors)
{
	buf_clear(errors);
	struct conf *c = conf_read_text(view_str(text), "c", errors);
	bool good = c != NULL;
	conf_free(&c);
	if (!good && buf_len(errors) == 0)
		return "(refused without a word)";
	return buf_cstr(errors);
}

static const struct {
	const char *text, *error;
} bad[] = {
	/* Names. */
	{ "hostnam a.test", "c:1:1: unknown directive \"hostnam\"; did you mean \"hostname\"?\n" },
	{ "\n  zzzz 1", "c:2:3: unknown directive \"zzzz\"\n" },
	{ "limits {\n\tmesage-size 20M\n}",
	    "c:2:2: unknown directive \"mesage-size\" in limits; did you mean \"message-size\"?\n" },
	{ "limts {\n}", "c:1:1: unknown block \"limts\"; did you mean \"limits\"?\n" },
	{ "retry { hostname x; }", "c:1:9: \"hostname\" belongs outside of the block retry\n" },
	{ "limits", "c:1:1: \"limits\" is a block: write limits { ... }\n" },
	{ "listen mx", "c:1:1: \"listen\" is a block: write listen NAME { ... }\n" },
	{ "hostname { }", "c:1:1: \"hostname\" is not a block\n" },
	{ "include other", "c:1:1: include is not allowed here\n" },
	/* Blocks. */
	{ "listen { }", "c:1:8: a name is missing: listen NAME {\n" },
	{ "limits x { }", "c:1:8: \"x\" is not expected here: limits {\n" },
	{ "listen a b { }", "c:1:10: \"b\" is not expected here: listen NAME {\n" },
	{ "certificate a/b { }",
	    "c:1:13: \"a/b\" is not a name: up to 64 letters, digits, '-', '_' and '.'\n" },
	{ "{ }", "c:1:1: \"{\" without the name of a block\n" },
	{ "}", "c:1:1: \"}\" without a block that is open\n" },
	{ "limits { hops 5\nhops 6 }", "c:2:1: hops is given twice; first at c:1:10\n" },
	{ "retry { }\nlog { }\nretry { a 100 }", "c:3:1: retry is given twice; first at c:1:1\n" },
	{ "certificate x { chain a; key b }\n\ncertificate x { }",
	    "c:3:1: certificate x is given twice; first at c:1:1\n" },
	{ "\nlimits {\n\thops 5\n", "c:4:1: \"}\" is missing: the block limits began at line 2\n" },
	{ "certificate x {\n chain a; key b\nlimits {\n\thops 0\n}\n",
	    "c:3:1: \"}\" is missing: the block certificate x began at line 1\n"
	    "c:4:7: hops: \"0\" is not between 1 and 1000\n" },
	{ "nonsense {\n a { b }\n", "c:1:1: unknown block \"nonsense\"\n"
				     "c:3:1: \"}\" is missing: a block began at line 1\n" },
	/* Words. */
	{ "hostname \"a.test", "c:1:10: the quote that begins here is not closed on its line\n" },
	{ "hostname a\"b\"", "c:1:11: a quote inside a word\n" },
	{ "hostname \"a\"b", "c:1:13: a blank is missing after the quote\n" },
	{ "hostname a\001b", "c:1:11: byte 0x01 is not allowed\n" },
	{ "hostname \"a\tb\"", "c:1:12: byte 0x09 is not allowed\n" },
	{ "hostname a.test\rb", "c:1:16: byte 0x0d is not allowed\n" },
	{ "postmaster \"\xc3\xa4\xc3\xb6\" \001", "c:1:17: byte 0x01 is not allowed\n" },
	/* Values. */
	{ "hostname", "c:1:1: hostname: the value is missing (text)\n" },
	{ "hostname a.test b.test",
	    "c:1:17: hostname: more than one value; \"b.test\" is not expected here\n" },
	{ "hostname -a-", "c:1:1: hostname: \"-a-\" is not a host name\n" },
	{ "hostname 192.0.2.1", "c:1:1: hostname: \"192.0.2.1\" is not a host name\n" },
	{ "published-addresses 192.0.2.0/24 ::1",
	    "c:1:1: published-addresses: \"192.0.2.0/24\" is not an address\n" },
	{ "spf-name -a.test", "c:1:1: spf-name: \"-a.test\" is not a name\n" },
	{ "audit-keep 1m", "c:1:12: audit-keep: \"1m\" is not between 1h and 18250d\n" },
	{ "postmaster root", "c:1:1: postmaster: \"root\" is not an address\n" },
	{ "postmaster <a@b.test>", "c:1:1: postmaster: \"<a@b.test>\" is not an address\n" },
	{ "limits { hops ten }", "c:1:15: hops: \"ten\" is not a number\n" },
	{ "limits { hops -1 }", "c:1:15: hops: \"-1\" is not a number\n" },
	{ "limits { hops 99999999999999999999999 }",
	    "c:1:15: hops: \"99999999999999999999999\" is not a number\n" },
	{ "limits { hops 0 }", "c:1:15: hops: \"0\" is not between 1 and 1000\n" },
	{ "limits { hops 1001 }", "c:1:15: hops: \"1001\" is not between 1 and 1000\n" },
	{ "limits { message-size 10Q }",
	    "c:1:23: message-size: \"10Q\" is not a size: bytes, or a number with K, M or G\n" },
	{ "limits { message-size 2G }", "c:1:23: message-size: \"2G\" is not between 1K and 1G\n" },
	{ "limits { message-size 9999999999G }",
	    "c:1:23: message-size: \"9999999999G\" is not between 1K and 1G\n" },
	{ "limits { data-timeout 2w }", "c:1:23: data-timeout: \"2w\" is not a duration: seconds, or a "
				       "number with s, m, h or d\n" },
	{ "limits { data-timeout 2d }", "c:1:23: data-timeout: \"2d\" is not between 1s and 1d\n" },
	{ "limits { data-timeout m }", "c:1:23: data-timeout: \"m\" is not a duration: seconds, or a "
				      "number with s, m, h or d\n" },
	{ "resolver { dnssec maybe }", "c:1:19: dnssec: \"maybe\" is not yes or no\n" },
	{ "received ful", "c:1:10: received: \"ful\" is not one of abbreviated, full, none, strip; did "
			  "you mean \"full\"?\n" },
	{ "relayhost 192.0.2.1", "c:1:11: relayhost: \"192.0.2.1\" is not DOMAIN[:PORT] (MX look-up), "
				 "[HOST][:PORT] or [ADDRESS][:PORT]\n" },
	{ "relayhost a.test:0", "c:1:11: relayhost: \"a.test:0\" is not DOMAIN[:PORT] (MX look-up), "
				"[HOST][:PORT] or [ADDRESS][:PORT]\n" },
	{ "resolver { server 127.0.0.1 }",
	    "c:1:19: server: \"127.0.0.1\" is not ADDRESS:PORT or [IPV6-ADDRESS]:PORT\n" },
	{ "resolver { server [::1]:65536 }",
	    "c:1:19: server: \"[::1]:65536\" is not ADDRESS:PORT or [IPV6-ADDRESS]:PORT\n" },
	{ "delivery { deny 10.0.0.1/8 }",
	    "c:1:17: deny: \"10.0.0.1/8\" is not a network: ADDRESS or ADDRESS/BITS, zero behind the "
	    "first BITS\n" },
	{ "transport hash:/x", "c:1:1: transport: \"hash:/x\" is not btree:FILE or text:FILE\n" },
	{ "certificate d { chain a }", "c:1:1: certificate d: key is missing\n" },
	{ "certificate d { chain a; key \"\" }", "c:1:30: key: must not be empty\n" },
	/* Across directives. */
	{ "relay-user u", "c:1:1: relay-user needs relay-secret\nc:1:1: relay-user needs relayhost\n" },
	{ "relay-secret s", "c:1:1: relay-secret needs relay-user\n" },
	/* C16 */
	{ "relayhost r.test\nbcc-forward [a.test]:25", "c:2:1: bcc-forward: not together with relayhost\n" },
	{ "tag-header \"X Tag\"", "c:1:1: tag-header: \"X Tag\" is not the name of a header field\n" },
	{ "tag-header From", "c:1:1: tag-header: \"From\" has a meaning for others\n" },
	{ "tag-header X-A\nbatch-header x-a", "c:2:1: batch-header: the same field as tag-header\n" },
	{ "simulator-domain a..b", "c:1:1: simulator-domain: \"a..b\" is not a domain\n" },
	{ "legacy-local-part-domains a.test b_c", "c:1:1: legacy-local-part-domains: \"b_c\" is not a domain\n" },
	{ "milter m { on-failure tempfail }", "c:1:1: milter m: socket is missing\n" },
	{ "milter m { socket /run/m }",
	    "c:1:12: milter m: socket: \"/run/m\" is not unix:/PATH or inet:ADDRESS:PORT\n" },
	{ "milter m { socket inet:localhost:1 }",
	    "c:1:12: milter m: socket: \"inet:localhost:1\" is not unix:/PATH or inet:ADDRESS:PORT\n" },
	{ "milter m { socket unix:run }",
	    "c:1:12: milter m: socket: \"unix:run\" is not unix:/PATH or inet:ADDRESS:PORT\n" },
	{ "milter spam { socket unix:/run/m }\n"
	  "listen a { address 127.0.0.1:1; tls none; milters spam spma }",
	    "c:2:43: listen a: there is no milter \"spma\"; did you mean \"spam\"?\n" },
	{ "envelope-sender { bounce-domain -x }", "c:1:19: bounce-domain: \"-x\" is not a domain\n" },
	{ "envelope-sender { rewrite nobody }",
	    "c:1:19: rewrite: \"nobody\" is not keep, ACCOUNT@DOMAIN or @DOMAIN\n" },
	{ "envelope-sender { token-lifetime 1h }",
	    "c:1:34: token-lifetime: \"1h\" is not between 1d and 365d\n" },
	{ "header-from all", "c:1:13: header-from: \"all\" is not one of any, tenant; did you mean \"any\"?\n" },
	{ "relayhost r.test\nrelay-user u\nrelay-secret s\ndelivery { tls none }",
	    "c:4:12: delivery: with tls none the secret of relay-user would be sent in clear text\n" },
	{ "spool-dir /x\nstate-dir /x", "c:1:1: spool-dir: the same folder as state-dir\n" },
	{ "delivery { connections 9; connections-total 8 }",
	    "c:1:12: delivery: connections is larger than connections-total\n" },
	{ "spool { segment-size 8M }\nlimits { inline-size 4M }",
	    "c:1:9: spool: segment-size must be at least twice limits inline-size and header-size "
	    "together\n" },
	/* Listeners. */
	{ "listen a { tls none }", "c:1:1: listen a: address is missing\n" },
	{ "listen a { address 192.0.2.1:25; tls none }",
	    "c:1:34: listen a: tls none on 192.0.2.1:25: only on loopback addresses or with auth "
	    "networks\n" },
	{ "listen a { address 127.0.0.1:25 [::]:25; tls none; auth optional }",
	    "c:1:42: listen a: tls none on [::]:25: only on loopback addresses or with auth networks\n" },
	{ "listen a { address 127.0.0.1:25 }",
	    "c:1:1: listen a: TLS needs a certificate: write \"certificate default { chain FILE; key "
	    "FILE }\"\n" },
	{ "certificate main { chain a; key b }\nlisten a { address 127.0.0.1:25; certificate mian }",
	    "c:2:34: listen a: there is no certificate \"mian\"; did you mean \"main\"?\n" },
	{ "listen a { address 127.0.0.1:25; tls none }\nlisten b { address 127.0.0.1:25; tls none }",
	    "c:2:12: listen b: address 127.0.0.1:25 is taken by 127.0.0.1:25 of listen a\n" },
	{ "listen a { address 127.0.0.1:25; tls none }\n"
	  "listen b { address 0.0.0.0:25; tls none; auth networks 10.0.0.0/8 tenant t }",
	    "c:2:12: listen b: address 0.0.0.0:25 is taken by 127.0.0.1:25 of listen a\n" },
	{ "listen a { address 127.0.0.1:25; tls none; auth networks 0.0.0.0/0 tenant t }",
	    "c:1:44: listen a: a network of all addresses would make an open relay\n" },
	{ "listen a { address 127.0.0.1:25; tls none; auth networks 10.0.0.0/8 }",
	    "c:1:49: auth: networks need a tenant: networks NETWORK ... tenant NAME\n" },
	{ "listen a { address 127.0.0.1:25; tls none; auth networks tenant t }",
	    "c:1:49: auth: no network behind \"networks\"\n" },
	{ "listen a { address 127.0.0.1:25; tls none; auth networks 10.0.0.0/8 tenant t or key }",
	    "c:1:78: auth: \"or\" is not expected here: networks NETWORK ... tenant NAME [and key]\n" },
	{ "listen a { address 127.0.0.1:25; tls none; auth maybe }",
	    "c:1:49: auth: \"maybe\" is not required, optional or networks NETWORK ... tenant NAME\n" },
	{ "listen a { address 127.0.0.1:25; tls none; auth required please }",
	    "c:1:58: auth: \"please\" is not expected here\n" },
	/* All errors, not only the first. */
	{ "a 1\nhostname\nlimits { hops 0; errors x }\n}",
	    "c:1:1: unknown directive \"a\"\nc:2:1: hostname: the value is missing (text)\n"
	    "c:3:15: hops: \"0\" is not between 1 and 1000\nc:3:25: errors: \"x\" is not a number\n"
	    "c:4:1: \"}\" without a block that is open\n" },
};

static void
test_errors(void)
{
	struct buf errors = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char name[48];
		snprintf(name, sizeof(name), "%s", bad[i].text);
		for (char *s = name; *s; s++)
			if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e || *s == '#')
				*s = '?';
		is_str(errors_of(bad[i].text, &errors), bad[i].error, "C26 refused in its place: %s",
		    name);
	}
	buf_free(&errors);
}

/* C12: "0 < a < period" (linear), "0 < a + b < period and a >= 0" (exponential). */
static const struct {
	const char *retry, *error;
} c12[] = {
	{ "", "" },
	{ "method linear", "" },
	{ "method linear\n a 1\n period 60", "" },
	{ "method linear\n a 0", "c:3:2: retry: linear needs 0 < a < period; a is 0, period 86400\n" },
	{ "method linear\n a 86399", "" },
	{ "method linear\n a 86400",
	    "c:3:2: retry: linear needs 0 < a < period; a is 86400, period 86400\n" },
	{ "method linear\n period 480", "c:3:2: retry: linear needs 0 < a < period; a is 480, period "
					"480\n" },
	{ "method linear\n a -1", "c:3:4: a: \"-1\" is not a number\n" },
	{ "a 0\n b 1", "" },
	{ "a 0\n b 0", "c:2:1: retry: exponential needs 0 < a + b < period; a + b is 0, period 86400\n" },
	{ "b -480", "c:2:1: retry: exponential needs 0 < a + b < period; a + b is 0, period 86400\n" },
	{ "b -479", "" },
	{ "b -481", "c:2:1: retry: exponential needs 0 < a + b < period; a + b is -1, period 86400\n" },
	{ "a 86400\n b -1", "" },
	{ "a 86400\n b 0",
	    "c:2:1: retry: exponential needs 0 < a + b < period; a + b is 86400, period 86400\n" },
	{ "period 240",
	    "c:2:1: retry: exponential needs 0 < a + b < period; a + b is 240, period 240\n" },
	{ "period 241", "" },
	{ "method steps", "c:2:1: retry: method steps needs steps\n" },
	{ "method steps\n steps 5m 1h", "" },
	{ "steps 5m x", "c:2:1: retry: steps: \"x\" is not a duration\n" },
	{ "steps 5m 0", "c:2:1: retry: steps: 0 < 0 < period (86400) does not hold\n" },
	{ "steps 1d", "c:2:1: retry: steps: 0 < 1d < period (86400) does not hold\n" },
};

static void
test_retry(void)
{
	struct buf errors = BUF_INIT(TEXT_MAX), text = BUF_INIT(4096);

	for (size_t i = 0; i < sizeof(c12) / sizeof(c12[0]); i++) {
		buf_clear(&text);
		buf_printf(&text, "retry {\n%s\n}\n", c12[i].retry);
		is_str(errors_of(buf_cstr(&text), &errors), c12[i].error, "C12 row %zu", i);
	}
	buf_free(&errors);
	buf_free(&text);
}

/* A value as it is understood: what conf_value() prints. */
static const struct {
	const char *text, *name, *value;
} good[] = {
	{ "", "limits.message-size", "10M" },
	{ "", "retry.b", "-240" },
	{ "", "retry.period", "1d" },
	{ "", "relayhost", "" },
	{ "", "delivery.deny", "" },
	{ "", "listen a.tls", NULL },
	{ "", "nothing", NULL },
	{ "hostname a.test", "postmaster", "postmaster@a.test" },
	{ "hostname a.test;postmaster x@b.test", "postmaster", "x@b.test" },
	{ "hostname \"a.test\" # comment", "hostname", "a.test" },
	{ "\xef\xbb\xbfhostname a.test\r\n", "hostname", "a.test" },
	{ "local-domains a.test \\\n  b.test", "local-domains", "a.test b.test" },
	{ "local-domains a#b", "local-domains", "\"a#b\"" },
	{ "relay-secret \"a b\\\"c\\\\d\"; relay-user x; relayhost y.test", "relay-secret",
	    "\"a b\\\"c\\\\d\"" },
	{ "resolver {dnssec no}", "resolver.dnssec", "no" },
	{ "limits{message-size 2048}", "limits.message-size", "2K" },
	{ "limits{message-size 2047}", "limits.message-size", "2047" },
	{ "limits{command-timeout 90}", "limits.command-timeout", "90s" },
	{ "limits{command-timeout 90s}", "limits.command-timeout", "90s" },
	{ "limits{command-timeout 60m}", "limits.command-timeout", "1h" },
	{ "limits{auth-delay 0}", "limits.auth-delay", "0" },
	{ "retry { a 100; b -0 }", "retry.b", "0" },
	{ "retry { steps 5m \"1h\" }", "retry.steps", "5m 1h" },
	{ "relayhost smtp.test", "relayhost", "smtp.test" },
	{ "relayhost smtp.test:587", "relayhost", "smtp.test:587" },
	{ "relayhost [smtp.test]", "relayhost", "[smtp.test]" },
	{ "relayhost [IPv6:2001:db8::1]:26", "relayhost", "[2001:db8::1]:26" },
	{ "relayhost [192.0.2.1]", "relayhost", "[192.0.2.1]" },
	{ "relayhost \"\"", "relayhost", "" },
	{ "resolver { server 127.0.0.1:53 [0:0::1]:5353 }", "resolver.server",
	    "127.0.0.1:53 [::1]:5353" },
	{ "delivery { deny 10.0.0.0/8 192.0.2.1 fd00::/8 ::ffff:10.1.0.0/112 }", "delivery.deny",
	    "10.0.0.0/8 192.0.2.1/32 fd00::/8 10.1.0.0/16" },
	{ "delivery { trust \"\" }", "delivery.trust", "" },
	{ "delivery { tls verify }", "delivery.tls", "verify" },
	{ "listen a { address 127.0.0.1:25; tls none }", "listen a.auth", "required" },
	{ "listen a.b { address 127.0.0.1:25; tls none; auth optional }", "listen a.b.auth", "optional" },
	{ "listen a { address 0.0.0.0:25; tls none; auth networks 10.0.0.0/8 ::1 tenant acme }",
	    "listen a.auth", "networks 10.0.0.0/8 ::1/128 tenant acme" },
	{ "listen a { address 0.0.0.0:25; tls none; auth networks 10.0.0.0/8 tenant acme and key }",
	    "listen a.auth", "networks 10.0.0.0/8 tenant acme and key" },
	{ "listen a { address 0.0.0.0:25; tls none; auth networks 10.0.0.0/8 and key }",
	    "listen a.auth", "networks 10.0.0.0/8 and key" },
	{ "listen a { address 0.0.0.0:465 [::]:465; tls implicit }\n"
	  "certificate default { chain tls/a; key tls/b }",
	    "certificate default.chain", "tls/a" },
	{ "relayhost [127.0.0.1]:25; relay-user u; relay-secret s; delivery { tls none }", "relay-user",
	    "u" },
};

static void
test_values(void)
{
	struct buf errors = BUF_INIT(TEXT_MAX), value = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		buf_clear(&errors);
		buf_clear(&value);
		struct conf *c = conf_read_text(view_str(good[i].text), "c", &errors);
		if (!ok(c != NULL, "accepted: value %zu", i)) {
			printf("# %s", buf_cstr(&errors));
			continue;
		}
		bool found = conf_value(c, good[i].name, &value);
		is_str(found ? buf_cstr(&value) : NULL, good[i].value, "value %zu: %s", i,
		    good[i].name);
		conf_free(&c);
	}
	buf_free(&errors);
	buf_free(&value);
}

/* Prints, reads back, prints: equal? */
static bool
round_trip(const struct conf *c, bool all)
{
	struct buf full = BUF_INIT(TEXT_MAX), once = BUF_INIT(TEXT_MAX), twice = BUF_INIT(TEXT_MAX),
		   errors = BUF_INIT(TEXT_MAX);

	conf_print(c, true, &full);
	conf_print(c, all, &once);
	struct conf *d = conf_read_text(buf_view(&once), "printed", &errors);
	if (d)
		conf_print(d, true, &twice);
	else
		printf("# %s# in:\n%s", buf_cstr(&errors), buf_cstr(&once));
	bool same = d && view_eq(buf_view(&full), buf_view(&twice)) && !full.bad;
	conf_free(&d);
	buf_free(&full);
	buf_free(&once);
	buf_free(&twice);
	buf_free(&errors);
	return same;
}

static void
test_round_trip(void)
{
	bool same = true;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct conf *c = conf_read_text(view_str(good[i].text), "c", NULL);
		same = same && c && round_trip(c, true) && round_trip(c, false);
		conf_free(&c);
	}
	ok(same, "what is printed reads back equal, with defaults and without");
}

/* The sample without its includes, which need files. */
static void
put_sample(struct buf *out)
{
	struct buf sample = BUF_INIT(TEXT_MAX);

	conf_print_sample(&sample);
	for (struct view rest = buf_view(&sample); rest.n;) {
		struct view line = view_cut(&rest, '\n');
		if (view_starts(line, "include "))
			continue;
		buf_putv(out, line);
		buf_putc(out, '\n');
	}
	buf_free(&sample);
}

/* The sample without its comment marks: every directive once, with its default or an example. */
static void
uncomment(struct view text, struct buf *out)
{
	while (text.n) {
		struct view line = view_cut(&text, '\n');
		if (line.n > 1 && line.p[0] == '#' && line.p[1] != ' ')
			line = view_skip(line, 1);
		buf_putv(out, line);
		buf_putc(out, '\n');
	}
}

static void
count_value(void *ctx, const char *name, struct view value)
{
	(void)value;
	if (strncmp(name, "listen", 6) != 0)
		++*(int *)ctx;
}

static void
test_sample(void)
{
	struct buf sample = BUF_INIT(TEXT_MAX), text = BUF_INIT(TEXT_MAX), errors = BUF_INIT(TEXT_MAX),
		   value = BUF_INIT(TEXT_MAX);
	int directives = 0, lines = 0;

	put_sample(&sample);
	struct conf *c = conf_read_text(buf_view(&sample), "sample", &errors);
	ok(c != NULL, "the sample as it is changes nothing, but for its includes");
	struct conf *empty = conf_read_text(VIEW(""), "empty", &errors);
	conf_print(c, true, &text);
	conf_print(empty, true, &value);
	ok(view_eq(buf_view(&text), buf_view(&value)), "it equals an empty file");
	conf_free(&c);
	conf_free(&empty);
	buf_clear(&text);
	uncomment(buf_view(&sample), &text);
	c = conf_read_text(buf_view(&text), "sample", &errors);
	if (!ok(c != NULL, "the sample without its comment marks is valid"))
		printf("# %s", buf_cstr(&errors));
	if (c) {
		is_int((long long)c->listen_count, 3, "with three listeners");
		ok(round_trip(c, true), "and prints as text that reads back equal");
		conf_each(c, true, count_value, &directives);
	}
	for (struct view rest = buf_view(&text); rest.n;) {
		struct view line = view_trim(view_cut(&rest, '\n'));
		lines += line.n && line.p[0] != '#' && line.p[0] != '}' && line.p[line.n - 1] != '{' &&
		    !view_starts(line, "address 0.0.0.0") && !view_starts(line, "auth ") &&
		    !view_is(line, "tls starttls") && !view_is(line, "tls implicit");
	}
	is_int(lines, directives, "it names every directive");
	conf_free(&c);
	buf_free(&sample);
	buf_free(&text);
	buf_free(&errors);
	buf_free(&value);
}

static unsigned
next_random(unsigned *state)
{
	return *state = *state * 1664525u + 1013904223u;
}

/* Damaged samples: whatever is read is refused with words, or prints and reads back. */
static void
test_hostile(void)
{
	struct buf sample = BUF_INIT(TEXT_MAX), text = BUF_INIT(TEXT_MAX), work = BUF_INIT(TEXT_MAX),
		   errors = BUF_INIT(TEXT_MAX);
	unsigned seed = 1, accepted = 0, silent = 0, unequal = 0;
	static const char marks[] = "{};\"\\# \n\t\r:/.[]0a-\xc3\xff";

	put_sample(&sample);
	uncomment(buf_view(&sample), &text);
	for (int i = 0; i < 1500; i++) {
		buf_clear(&work);
		buf_clear(&errors);
		buf_putv(&work, buf_view(&text));
		for (unsigned n = next_random(&seed) >> 29; n < 8; n++) {
			size_t at = (next_random(&seed) >> 8) % buf_len(&work);
			work.p[work.off + at] = marks[(next_random(&seed) >> 16) % (sizeof(marks) - 1)];
		}
		if (next_random(&seed) >> 30 == 0)
			buf_truncate(&work, (next_random(&seed) >> 8) % buf_len(&work));
		struct conf *c = conf_read_text(buf_view(&work), "c", &errors);
		accepted += c != NULL;
		silent += c == NULL && buf_len(&errors) == 0;
		unequal += c != NULL && !round_trip(c, true);
		conf_free(&c);
	}
	is_int(silent, 0, "no damaged text is refused without a word");
	is_int(unequal, 0, "none is accepted that does not read back equal");
	ok(accepted > 10 && accepted < 1490, "some are accepted, some refused (%u of 1500)", accepted);
	buf_free(&sample);
	buf_free(&text);
	buf_free(&work);
	buf_free(&errors);
}

/* `unit` over and over: refused or not, but at once and with few words. */
static void
test_flood(void)
{
	static const char *const units[] = { "x", "a b\n", "{", "}", "a ", "listen a{}\n",
		"listen a{listen b{", "\"", "hostname a\n", "\\\n", "limits{hops 5}" };
	struct buf text = BUF_INIT(TEXT_MAX), errors = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		buf_clear(&text);
		buf_clear(&errors);
		while (buf_len(&text) < 1 << 20)
			buf_puts(&text, units[i]);
		uint64_t start = clock_mono_us();
		struct conf *c = conf_read_text(buf_view(&text), "c", &errors);
		conf_free(&c);
		ok(clock_mono_us() - start < 5000000 && buf_len(&errors) < 65536,
		    "a MiB of flood %zu is read in time, with few errors", i);
	}
	buf_free(&text);
	buf_free(&errors);
}

static bool
matches(const char *network, const char *address)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct cidr c;

	if (!conf_parse_cidr(view_str(network), &c))
		return false;
	if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
		return cidr_match(&c, (struct sockaddr *)&v4);
	inet_pton(AF_INET6, address, &v6.sin6_addr);
	return cidr_match(&c, (struct sockaddr *)&v6);
}

static void
test_literals(void)
{
	static const struct {
		const char *network, *address;
		bool match;
	} rows[] = {
		{ "10.0.0.0/8", "10.255.0.1", true }, { "10.0.0.0/8", "11.0.0.1", false },
		{ "10.0.0.0/9", "10.127.255.255", true }, { "10.0.0.0/9", "10.128.0.0", false },
		{ "10.0.0.0/8", "::ffff:10.1.2.3", true }, { "::ffff:10.0.0.0/104", "10.1.2.3", true },
		{ "192.0.2.1", "192.0.2.1", true }, { "192.0.2.1", "192.0.2.2", false },
		{ "0.0.0.0/0", "1.2.3.4", true }, { "0.0.0.0/0", "::1", false },
		{ "::/0", "::1", true }, { "::/0", "1.2.3.4", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
	};
	static const char *const wrong[] = { "", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "::/129",
		"10.0.0.0/8 ", "10.0.0.0/8/8", "010.0.0.0/8", "10.0.0", "fe80::1%eth0", "::g", "1::2::3" };
	struct cidr c;
	struct hostport h;
	struct relay r;
	uint64_t x = 7;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(matches(rows[i].network, rows[i].address) == rows[i].match, "%s %s %s",
		    rows[i].network, rows[i].match ? "holds" : "does not hold", rows[i].address);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ok(!conf_parse_cidr(view_str(wrong[i]), &c), "\"%s\" is no network", wrong[i]);
	ok(!conf_parse_cidr(view_of("10.0.0.0\0/8", 11), &c), "nor is one with a NUL");
	ok(!conf_parse_hostport(VIEW("localhost:25"), &h) && !conf_parse_hostport(VIEW("[1.2.3.4]:25"), &h) &&
		!conf_parse_hostport(VIEW("1.2.3.4:025"), &h) && !conf_parse_hostport(VIEW("::1:25"), &h),
	    "what is no address with a port");
	ok(!conf_parse_relay(VIEW("a..b"), &r) && !conf_parse_relay(VIEW("[]"), &r) &&
		!conf_parse_relay(VIEW("a b"), &r) && !conf_parse_relay(VIEW("[a.test"), &r) &&
		!conf_parse_relay(VIEW("a.test:"), &r) && !conf_parse_relay(VIEW("a.test:25x"), &r) &&
		!conf_parse_relay(VIEW("\xc3\xa4.test"), &r),
	    "what is no next hop");
	ok(!conf_parse_duration(VIEW("1.5h"), &x) && !conf_parse_size(VIEW("-1"), &x) &&
		!conf_parse_duration(VIEW(""), &x) && !conf_parse_duration(VIEW("99999999999999999d"), &x) &&
		x == 7,
	    "a malformed literal leaves its place alone");
	ok(conf_parse_duration(VIEW("2d"), &x) && x == 172800, "a duration");
}

static void
test_near(void)
{
	is_int(near_distance(VIEW("tls"), VIEW("tsl")), 1, "a swap is one edit");
	is_int(near_distance(VIEW("hostname"), VIEW("hostnam")), 1, "a lost letter is one edit");
	is_int(near_distance(VIEW(""), VIEW("abc")), 3, "from nothing");
	char longword[NEAR_MAX + 1];
	memset(longword, 'a', sizeof(longword));
	is_int(near_distance(view_of(longword, sizeof(longword)), VIEW("a")), NEAR_MAX + 1,
	    "long words have no neighbours");
}

int
main(void)
{
	test_errors();
	test_retry();
	test_values();
	test_round_trip();
	test_sample();
	test_hostile();
	test_flood();
	test_literals();
	test_near();
	return done_testing();
}
