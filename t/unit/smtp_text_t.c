/* SPDX-License-Identifier: ISC */
/* The pure parts of the SMTP client beside its targets: commands, capabilities, content, delays. */
#include <unistd.h>

#include "lib/durable.h"
#include "smtp/report.h"
#include "smtp/verb.h"
#include "t/tap.h"

static struct buf out = BUF_INIT(1 << 20);

static void
test_verbs(void)
{
	static const char *const bad[] = { "a\r\nRCPT TO:<x@y>", "a\nb@c", "a\rb@c", "a\tb@c",
		"a\177b@c", "a@b> SIZE=1", "a b@c", "\"a@b", "<a@b", "a@b>" };

	verb_word(&out, "DATA");
	verb_arg(&out, "EHLO", VIEW("mta.example"));
	verb_mail(&out, &(struct verb_mail){ .sender = VIEW("") });
	verb_mail(&out, &(struct verb_mail){ .sender = VIEW("\"a b\\\"<>\"@c.d"),
			    .size_given = true,
			    .size = 12345,
			    .eight_bit = true,
			    .utf8 = true,
			    .ret = RET_HDRS,
			    .envid = VIEW("x+y=z q") });
	verb_rcpt(&out, &(struct verb_rcpt){ .rcpt = VIEW("a@b"),
			    .notify = NOTIFY_FAILURE | NOTIFY_DELAY,
			    .orcpt = VIEW("rfc822;o+r@b") });
	is_view(buf_view(&out),
	    "DATA\r\nEHLO mta.example\r\nMAIL FROM:<>\r\n"
	    "MAIL FROM:<\"a b\\\"<>\"@c.d> SIZE=12345 BODY=8BITMIME SMTPUTF8 RET=HDRS "
	    "ENVID=x+2By+3Dz+20q\r\nRCPT TO:<a@b> NOTIFY=FAILURE,DELAY ORCPT=rfc822;o+2Br@b\r\n",
	    "S09, D05: commands as they go out");
	buf_clear(&out);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct view v = view_str(bad[i]);
		ok(!verb_rcpt(&out, &(struct verb_rcpt){ .rcpt = v }),
		    "atk-G3: RCPT %zu is refused", i);
		ok(!verb_mail(&out, &(struct verb_mail){ .sender = v }),
		    "atk-G3: MAIL %zu is refused", i);
	}
	ok(!verb_rcpt(&out, &(struct verb_rcpt){ .rcpt = VIEW("") }),
	    "an empty recipient is refused");
	ok(!verb_rcpt(&out, &(struct verb_rcpt){ .rcpt = VIEW("a@b"), .orcpt = VIEW("rf\r\nc;x") }),
	    "atk-G3: a line break in ORCPT's type is refused");
	ok(!verb_arg(&out, "EHLO", VIEW("a\r\nMAIL FROM:<>")), "atk-G3: and in the name of EHLO");
	is_int((long long)buf_len(&out), 0, "nothing of a refused command is written");
	verb_rcpt(&out, &(struct verb_rcpt){ .rcpt = VIEW("a@b"), .orcpt = VIEW("rfc822;x\r\ny") });
	is_view(
	    buf_view(&out), "RCPT TO:<a@b> ORCPT=rfc822;x+0D+0Ay\r\n", "xtext hides control bytes");
	buf_clear(&out);
	verb_auth_plain(&out, VIEW("user"), VIEW("pa:ss"));
	verb_auth_text(&out, VIEW("user"));
	is_view(buf_view(&out), "AUTH PLAIN AHVzZXIAcGE6c3M=\r\ndXNlcg==\r\n", "E8: lines of AUTH");
	buf_clear(&out);
}

static void
test_ehlo(void)
{
	struct caps c;

	ehlo_parse(VIEW("mx.example PIPELINING\npipelining\nSIZE 1000\n8BITMIME\nSTARTTLS\n"
			"AUTH LOGIN PLAIN XOAUTH2\nENHANCEDSTATUSCODES\nDSN\nSMTPUTF8\n"
			"MT-PRIORITY MIXER\nLIMITS MAILMAX=5 RCPTMAX=7 FOO=1"),
	    &c);
	is_int(c.flags,
	    CAP_PIPELINING | CAP_SIZE | CAP_8BITMIME | CAP_STARTTLS | CAP_AUTH_LOGIN |
		CAP_AUTH_PLAIN | CAP_DSN | CAP_SMTPUTF8 | CAP_MT_PRIORITY,
	    "all keywords, in any case");
	ok(c.size_max == 1000 && c.mails_max == 5 && c.rcpts_max == 7, "P14: numbers");
	ehlo_parse(VIEW("mx PIPELINING SIZE 5"), &c);
	is_int(c.flags, 0, "the first line is the server's name");
	ehlo_parse(
	    VIEW("x\nSIZE\nLIMITS RCPTMAX=0 MAILMAX=-1 RCPTMAX=99999999999 =\nAUTH\nSIZE 0\n \n"
		 "LIMITS"),
	    &c);
	ok(c.size_max == 0 && c.mails_max == 0 && c.rcpts_max == 0,
	    "atk-G14: nonsense is no limit");
	ehlo_parse(VIEW("x\nSIZE 99999999999999999999999\nAUTH=LOGIN"), &c);
	ok(c.size_max == 0 && (c.flags & CAP_AUTH_LOGIN), "P09: a size out of range; AUTH= of old");
	ehlo_parse(VIEW("x\nPIPELININGS\nXSTARTTLS\nAUTHPLAIN"), &c);
	is_int(c.flags, 0, "only whole words count");
}

static void
test_delay(void)
{
	static const struct {
		uint64_t us;
		const char *text;
	} t[] = { { 0, "0" }, { 1, "0.000001" }, { 12, "0.000012" }, { 123, "0.00012" },
		{ 1260, "0.0013" }, { 99999, "0.1" }, { 123456, "0.12" }, { 996000, "1" },
		{ 1000000, "1" }, { 1234567, "1.2" }, { 9960000, "10" }, { 12345678, "12" },
		{ 345678000, "346" }, { 86400000000ull, "86400" } };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		report_delay(&out, t[i].us);
		is_view(buf_view(&out), t[i].text, "two digits of %llu us",
		    (unsigned long long)t[i].us);
		buf_clear(&out);
	}
}

/* Writes content to a file, reads it back as DATA. */
static enum reader_result
as_data(struct view front, struct view body, bool big, bool dots, uint32_t crc_xor)
{
	struct contents c = { 0 };
	struct reader r;
	struct err e;
	FILE *one = tmpfile(), *two = tmpfile();
	enum reader_result got;

	fwrite("junk", 1, 4, one);
	fwrite(front.p, 1, front.n, one);
	fwrite(body.p, 1, body.n, big ? two : one);
	fflush(one);
	fflush(two);
	contents_add(&c, 7, dup(fileno(one)));
	contents_add(&c, 7 + CONTENT_BUCKETS, dup(fileno(two)));
	ok(reader_open(&r, &c, 9, 0, 1, 0, 1, &e) < 0, "an unknown number is an error");
	reader_open(&r, &c, 7, 4, (uint32_t)front.n, big ? 7 + CONTENT_BUCKETS : 0, body.n, &e);
	r.want_crc = crc32c(crc32c(0, front.p, front.n), body.p, body.n) ^ crc_xor;
	r.dots = dots;
	buf_clear(&out);
	while ((got = reader_read(&r, &out, &e)) == READER_MORE)
		;
	contents_drop(&c, 7);
	contents_drop_all(&c);
	fclose(one);
	fclose(two);
	return got;
}

static void
test_content(void)
{
	struct buf body = BUF_INIT(1 << 20), want = BUF_INIT(1 << 20);

	is_int(as_data(VIEW("Received: x\r\n"), VIEW("A: b\r\n\r\ntext\r\n"), false, false, 0),
	    READER_END, "a message is read");
	is_view(buf_view(&out), "Received: x\r\nA: b\r\n\r\ntext\r\n.\r\n", "front, content, dot");
	as_data(VIEW(".f\r\n"), VIEW(".\r\n..\r\n.x\r\ny.\r\n."), true, true, 0);
	is_view(buf_view(&out), "..f\r\n..\r\n...\r\n..x\r\ny.\r\n..\r\n.\r\n",
	    "S18: dots are doubled");
	as_data(VIEW(""), VIEW("no end"), false, false, 0);
	is_view(buf_view(&out), "no end\r\n.\r\n", "the last line gets its end");
	as_data(VIEW(""), VIEW(""), false, true, 0);
	is_view(buf_view(&out), ".\r\n", "an empty message");
	is_int(
	    as_data(VIEW(""), VIEW("x\r\n"), false, false, 1), READER_DAMAGED, "a wrong checksum");
	is_view(buf_view(&out), "x\r\n", "gets no dot");

	/* Dots on both sides of every boundary between pieces. */
	for (int i = 0; i < 90000; i++) {
		buf_puts(&body, ".\r\n");
		buf_puts(&want, "..\r\n");
	}
	buf_puts(&want, ".\r\n");
	is_int(
	    as_data(VIEW("\r"), VIEW("\n"), true, true, 0), READER_END, "CR and LF in two files");
	is_int(as_data(VIEW(""), buf_view(&body), true, true, 0), READER_END,
	    "a large message of dots");
	ok(view_eq(buf_view(&out), buf_view(&want)), "S18: all of them doubled");
	buf_free(&body);
	buf_free(&want);
}

int
main(void)
{
	test_verbs();
	test_ehlo();
	test_delay();
	test_content();
	buf_free(&out);
	return done_testing();
}
