/* SPDX-License-Identifier: ISC */
#include "dnsd/answer.h"
#include "t/tap.h"

/* A message under construction; names are written by hand, with or without compression. */
static struct buf packet = BUF_INIT(65535);

static void
put_name(const char *text)
{
	struct view v = view_str(text);

	while (v.n) {
		struct view label = view_cut(&v, '.');
		buf_put_u8(&packet, (uint8_t)label.n);
		buf_putv(&packet, label);
	}
	buf_put_u8(&packet, 0);
}

static void
put_header(unsigned rcode, unsigned answers)
{
	buf_clear(&packet);
	buf_put_u16(&packet, 0x1234);
	buf_put_u16(&packet, (uint16_t)(0x8180 | rcode));
	buf_put_u16(&packet, 1);
	buf_put_u16(&packet, (uint16_t)answers);
	buf_put_u32(&packet, 0);
}

static void
put_question(const char *name, unsigned type)
{
	put_name(name);
	buf_put_u16(&packet, (uint16_t)type);
	buf_put_u16(&packet, 1);
}

/* Owner is the name in the question (offset 12) when NULL. Returns where the length stands. */
static size_t
put_record(const char *owner, unsigned type, uint32_t ttl)
{
	if (owner)
		put_name(owner);
	else
		buf_put_u16(&packet, 0xc00c);
	buf_put_u16(&packet, (uint16_t)type);
	buf_put_u16(&packet, 1);
	buf_put_u32(&packet, ttl);
	size_t at = buf_len(&packet);
	buf_put_u16(&packet, 0);
	return at;
}

static void
end_record(size_t at)
{
	size_t n = buf_len(&packet) - at - 2;

	packet.p[packet.off + at] = (char)(n >> 8);
	packet.p[packet.off + at + 1] = (char)(n & 255);
}

static void
put_mx(const char *owner, unsigned pref, const char *host)
{
	size_t at = put_record(owner, TYPE_MX, 300);

	buf_put_u16(&packet, (uint16_t)pref);
	put_name(host);
	end_record(at);
}

static void
put_cname(const char *owner, const char *target)
{
	size_t at = put_record(owner, TYPE_CNAME, 60);

	put_name(target);
	end_record(at);
}

static void
test_mx(void)
{
	struct answer a;
	struct answer_record r;
	struct answer_name host;
	uint16_t pref = 0;

	put_header(0, 2);
	put_question("Example.COM", TYPE_MX);
	put_mx(NULL, 10, "MX1.example.com");
	size_t at = put_record("example.com", TYPE_MX, 120);
	buf_put_u16(&packet, 20);
	buf_put_u8(&packet, 3);
	buf_puts(&packet, "mx2");
	buf_put_u16(&packet, 0xc00c);
	end_record(at);
	answer_open(&a, buf_view(&packet), TYPE_MX);
	is_int(a.status, DNS_OK, "two MX records");
	is_int(a.ttl_s, 120, "lowest time to live");
	ok(answer_next(&a, &r) && answer_mx(&a, &r, &pref, &host), "first");
	is_str(host.text, "mx1.example.com", "its host in lower case");
	is_int(pref, 10, "its preference");
	ok(answer_next(&a, &r) && answer_mx(&a, &r, &pref, &host), "second");
	is_str(host.text, "mx2.example.com", "its compressed host");
	ok(!answer_next(&a, &r), "no third");

	put_header(0, 1);
	put_question("none.example", TYPE_MX);
	put_mx(NULL, 0, "");
	answer_open(&a, buf_view(&packet), TYPE_MX);
	ok(answer_next(&a, &r) && answer_mx(&a, &r, &pref, &host), "S40: null MX is read");
	is_str(host.text, "", "S40: as the root");
}

static void
test_status(void)
{
	struct answer a;

	put_header(3, 0);
	put_question("gone.example", TYPE_MX);
	answer_open(&a, buf_view(&packet), TYPE_MX);
	is_int(a.status, DNS_NXDOMAIN, "atk-G12: NXDOMAIN");
	put_header(0, 0);
	put_question("empty.example", TYPE_MX);
	answer_open(&a, buf_view(&packet), TYPE_MX);
	is_int(a.status, DNS_NODATA, "atk-G12: no data");
	put_header(2, 0);
	put_question("broken.example", TYPE_MX);
	answer_open(&a, buf_view(&packet), TYPE_MX);
	is_int(a.status, DNS_TEMP, "atk-G12: SERVFAIL");
	put_header(0, 1);
	put_question("a.example", TYPE_MX);
	put_mx("other.example", 1, "mx.example");
	answer_open(&a, buf_view(&packet), TYPE_MX);
	is_int(a.status, DNS_NODATA, "records of another name do not count");
}

static void
test_cname(void)
{
	struct answer a;
	struct answer_record r;

	put_header(0, 3);
	put_question("a.example", TYPE_A);
	size_t at = put_record("c.example", TYPE_A, 30);
	buf_put(&packet, "\1\2\3\4", 4);
	end_record(at);
	put_cname("b.example", "c.example");
	put_cname(NULL, "b.example");
	answer_open(&a, buf_view(&packet), TYPE_A);
	is_int(a.status, DNS_OK, "S34: a chain of aliases is followed in any order");
	is_str(a.owner.text, "c.example", "to its end");
	ok(answer_next(&a, &r) && r.rdata.n == 4 && r.rdata.p[3] == 4, "and its address is found");

	put_header(3, 1);
	put_question("a.example", TYPE_A);
	put_cname(NULL, "gone.example");
	answer_open(&a, buf_view(&packet), TYPE_A);
	is_int(a.status, DNS_NXDOMAIN, "S34: an alias to nowhere");

	put_header(0, 2);
	put_question("a.example", TYPE_A);
	put_cname(NULL, "b.example");
	put_cname("b.example", "a.example");
	answer_open(&a, buf_view(&packet), TYPE_A);
	is_int(a.status, DNS_TEMP, "atk-G10: a loop of aliases is temporary");

	put_header(0, 30);
	put_question("n0.example", TYPE_A);
	for (int i = 0; i < 30; i++) {
		char from[32], to[32];
		snprintf(from, sizeof(from), "n%d.example", i);
		snprintf(to, sizeof(to), "n%d.example", i + 1);
		put_cname(from, to);
	}
	answer_open(&a, buf_view(&packet), TYPE_A);
	is_int(a.status, DNS_TEMP, "atk-G10: an endless chain is temporary");
}

static void
test_names(void)
{
	struct answer a;
	struct answer_record r;
	struct answer_name n;
	uint16_t pref;
	size_t at;

	/* A name that points to itself, forward, and to a pointer. */
	static const uint16_t bad_pointers[] = { 0xc00c + 17, 0xc0ff, 0xffff, 0xc000 };
	for (size_t i = 0; i < sizeof(bad_pointers) / sizeof(bad_pointers[0]); i++) {
		put_header(0, 1);
		put_question("x.example", TYPE_MX);
		at = put_record(NULL, TYPE_MX, 5);
		buf_put_u16(&packet, 1);
		buf_put_u16(&packet, i == 0 ? (uint16_t)(0xc000 | (at + 4)) : bad_pointers[i]);
		end_record(at);
		answer_open(&a, buf_view(&packet), TYPE_MX);
		ok(answer_next(&a, &r) && !answer_mx(&a, &r, &pref, &n),
		    "atk-G10: compression pointer %zu is refused", i);
	}
	put_header(0, 1);
	put_question("x.example", TYPE_MX);
	put_mx(NULL, 1, "mx.exa mple");
	answer_open(&a, buf_view(&packet), TYPE_MX);
	ok(answer_next(&a, &r) && !answer_mx(&a, &r, &pref, &n), "a blank makes no host name");
	put_header(0, 1);
	put_question("x.example", TYPE_MX);
	at = put_record(NULL, TYPE_MX, 5);
	buf_put_u16(&packet, 1);
	for (int i = 0; i < 5; i++) {
		buf_put_u8(&packet, 63);
		for (int k = 0; k < 63; k++)
			buf_putc(&packet, 'a');
	}
	buf_put_u8(&packet, 0);
	end_record(at);
	answer_open(&a, buf_view(&packet), TYPE_MX);
	ok(answer_next(&a, &r) && !answer_mx(&a, &r, &pref, &n), "atk-G10: a name over 255 octets");
	put_header(0, 1);
	put_question("x.example", TYPE_MX);
	at = put_record(NULL, TYPE_MX, 5);
	end_record(at);
	answer_open(&a, buf_view(&packet), TYPE_MX);
	ok(answer_next(&a, &r) && !answer_mx(&a, &r, &pref, &n), "atk-G10: empty rdata");

	ok(answer_name_parse(VIEW("Mail.Example.COM."), &n), "a name to ask for");
	is_str(n.text, "mail.example.com", "is made canonical");
	static const char *const bad[] = { "", ".", "a..b", ".a", "a b", "a/b", "[1.2.3.4]", "a@b",
		"x\303\251.jp" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!answer_name_parse(view_str(bad[i]), &n), "no name to ask for: %zu", i);
	char label[80];
	memset(label, 'a', sizeof(label));
	ok(answer_name_parse(view_of(label, 63), &n), "a label of 63");
	ok(!answer_name_parse(view_of(label, 64), &n), "a label of 64");
	struct buf longest = BUF_INIT(1000);
	for (int i = 0; i < 126; i++)
		buf_puts(&longest, "a.");
	buf_putc(&longest, 'a');
	ok(answer_name_parse(buf_view(&longest), &n), "a name of 253");
	buf_putc(&longest, 'a');
	ok(!answer_name_parse(buf_view(&longest), &n), "a name of 254");
	buf_free(&longest);

	static const uint8_t v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 0x1f };
	answer_reverse((const uint8_t[]){ 192, 0, 2, 1 }, 4, &n);
	is_str(n.text, "1.2.0.192.in-addr.arpa", "reverse name of an IPv4 address");
	answer_reverse(v6, 16, &n);
	is_str(n.text, "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	    "reverse name of an IPv6 address");
}

static void
test_txt(void)
{
	struct answer a;
	struct answer_record r;
	struct buf out = BUF_INIT(600);

	put_header(0, 1);
	put_question("t.example", TYPE_TXT);
	size_t at = put_record(NULL, TYPE_TXT, 5);
	buf_put(&packet, "\3abc\0\2de", 8);
	end_record(at);
	answer_open(&a, buf_view(&packet), TYPE_TXT);
	ok(answer_next(&a, &r) && answer_txt(&r, &out), "TXT");
	is_view(buf_view(&out), "abcde", "its strings are joined");
	put_header(0, 1);
	put_question("t.example", TYPE_TXT);
	at = put_record(NULL, TYPE_TXT, 5);
	buf_put(&packet, "\7abc", 4);
	end_record(at);
	answer_open(&a, buf_view(&packet), TYPE_TXT);
	ok(answer_next(&a, &r) && !answer_txt(&r, &out),
	    "atk-G10: a string longer than its record");
	buf_free(&out);
}

/* Reads everything that can be read. */
static void
exercise(struct view v, uint16_t type)
{
	struct buf out = BUF_INIT(64);
	struct answer a;
	struct answer_record r;
	struct answer_name n;
	uint16_t pref;

	answer_open(&a, v, type);
	while (answer_next(&a, &r)) {
		(void)answer_mx(&a, &r, &pref, &n);
		(void)answer_ptr(&a, &r, &n);
		(void)answer_txt(&r, &out);
		buf_clear(&out);
	}
	buf_free(&out);
}

static uint32_t
next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* atk-G10, atk-C24: cut at every length and damaged at random, in memory that ends with the
 * message. */
static void
test_hostile(void)
{
	uint32_t seed = 2463534242u;

	put_header(0, 4);
	put_question("a.example", TYPE_MX);
	put_cname(NULL, "b.example");
	put_mx("b.example", 10, "mx.example");
	put_mx("b.example", 20, "");
	size_t at = put_record("b.example", TYPE_TXT, 9);
	buf_put(&packet, "\3abc", 4);
	end_record(at);
	struct view whole = buf_view(&packet);
	for (size_t n = 0; n <= whole.n; n++) {
		char *tight = x_malloc(n);
		if (n)
			memcpy(tight, whole.p, n);
		exercise(view_of(tight, n), TYPE_MX);
		free(tight);
	}
	ok(true, "atk-G10: every cut is survived");
	char *copy = x_malloc(whole.n);
	for (int round = 0; round < 200000; round++) {
		memcpy(copy, whole.p, whole.n);
		for (unsigned k = 1 + next_random(&seed) % 4; k--;)
			copy[next_random(&seed) % whole.n] = (char)next_random(&seed);
		exercise(view_of(copy, whole.n), round % 2 ? TYPE_MX : TYPE_TXT);
	}
	free(copy);
	ok(true, "atk-G10: damaged messages are survived");
}

int
main(void)
{
	test_mx();
	test_status();
	test_cname();
	test_names();
	test_txt();
	test_hostile();
	buf_free(&packet);
	return done_testing();
}
