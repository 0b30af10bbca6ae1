/* SPDX-License-Identifier: ISC */
#include <unistd.h>

#include "lib/event.h"
#include "lib/json.h"
#include "t/tap.h"

static void
strings(void)
{
	static const struct {
		struct view in;
		const char *out;
	} t[] = {
		{ VIEW("plain"), "\"plain\"" },
		{ VIEW("q\" b\\ n\n t\x01 \x7f"), "\"q\\\" b\\\\ n\\u000a t\\u0001 \\u007f\"" },
		{ VIEW("\xe9\xa7\x85\xe4\xbc\x9d"), "\"\xe9\xa7\x85\xe4\xbc\x9d\"" },
		{ VIEW("\xff"), "\"\\ufffd\"" },
		{ VIEW("\xe9\xa7"), "\"\\ufffd\\ufffd\"" },
		{ VIEW("\xc0\x80"), "\"\\ufffd\\ufffd\"" },
		{ VIEW("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"" },
		{ VIEW("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
		{ VIEW("a\0b"), "\"a\\u0000b\"" },
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct buf b = BUF_INIT(1000);
		struct json j = JSON_INIT(&b);
		json_text(&j, NULL, t[i].in);
		is_view(buf_view(&b), t[i].out, "atk-C21 atk-J8 string %zu is valid JSON and UTF-8", i);
		buf_free(&b);
	}
}

static void
lines(void)
{
	static const uint64_t delays[4] = { 1000, 2000, 30000, 1500000 };
	struct view null_sender = VIEW("");
	char got[4096] = { 0 };
	int fd[2];

	if (pipe(fd) < 0)
		abort();
	ok(!event_enabled(), "no stream before it is opened");
	event_write(&(struct event){ .type = EVENT_received });
	event_open(NULL, fd[1]);
	event_write(&(struct event){ .type = EVENT_delivered, .qid = 5, .tenant = VIEW("acme"),
	    .sender = &null_sender, .rcpt = VIEW("b@c"), .site = VIEW("mx.c+1"),
	    .source = { VIEW("out1"), VIEW("192.0.2.1"), VIEW("o1.test") }, .relay = VIEW("mx.c[1.2.3.4]:25"), .attempt = 1,
	    .delays_us = delays, .code = 250, .esc = ESC(2, 0, 0), .text = VIEW("Ok\n{}"), .stage = "eod" });
	event_flush();
	ssize_t n = read(fd[0], got, sizeof(got) - 1);
	ok(n > 0 && strchr(got, '\n') == got + n - 1, "one event is one line");
	char *time = strstr(got, "\"time\":\"");
	ok(time && time[8 + 10] == 'T' && time[8 + 23] == 'Z', "time is ISO 8601 in UTC");
	ok(strstr(got, "\"sender\":\"\",\"rcpt\":\"b@c\""), "the null sender is there");
	ok(strstr(got, "\"mx\":{\"host\":\"mx.c\",\"addr\":\"1.2.3.4\",\"port\":25}"), "relay in parts");
	ok(strstr(got, "\"site\":\"mx.c+1\",\"source\":{\"name\":\"out1\",\"addr\":\"192.0.2.1\",\"helo\":\"o1.test\"}"),
	    "E2 site and source");
	ok(strstr(got, "\"delay\":1.533,\"delays\":[0.001,0.002,0.030,1.500]"), "delays in seconds");
	ok(strstr(got, "\"enhanced\":\"2.0.0\",\"text\":\"Ok\\u000a{}\""), "the reply, escaped");
	event_open(NULL, -1);
	close(fd[0]);
}

int
main(void)
{
	strings();
	lines();
	return done_testing();
}
