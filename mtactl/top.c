/* SPDX-License-Identifier: ISC */
/* mtactl top: the queue and its lanes, again and again. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "mtactl/mtactl.h"
#include "mtactl/output.h"

enum { EVERY_S = 2, LANES = 20 };

/* Clears the screen of a terminal; elsewhere the pictures follow each other. */
static void
put_head(const struct mtactl *m, bool terminal)
{
	struct buf b = BUF_INIT(256);
	time_t now = time(NULL);
	struct tm tm;

	if (m->json)
		return;
	if (terminal)
		buf_puts(&b, "\033[H\033[2J");
	if (localtime_r(&now, &tm))
		buf_printf(&b, "%02d:%02d:%02d\n", tm.tm_hour, tm.tm_min, tm.tm_sec);
	print(&b);
	buf_free(&b);
}

static int
show(const struct mtactl *m, const struct conf *c, const char *command, struct buf *records)
{
	const struct command *of = command_find(view_str(command));
	struct output o;

	output_init(&o, m->json, command_lists(of));
	int status = client_call(c, of, records, &o);
	return output_end(&o) ? status : STATUS_FAILED;
}

static int
picture(const struct mtactl *m, const struct conf *c, bool terminal)
{
	struct buf none = BUF_INIT(1), limit = BUF_INIT(256);
	char lanes[16];

	snprintf(lanes, sizeof(lanes), "%d", LANES);
	IPC_RECORD(&limit, ctl_arg, .name = VIEW("limit"), .value = view_str(lanes));
	put_head(m, terminal);
	int status = show(m, c, "queue count", &none);
	if (status == STATUS_DONE)
		status = show(m, c, "lane list", &limit);
	buf_free(&limit);
	return status;
}

int
local_top(struct mtactl *m, const struct args *a)
{
	struct view every = args_get(a, "every"), times = args_get(a, "count");
	uint64_t seconds = EVERY_S, count = 0;
	bool terminal = isatty(STDOUT_FILENO);
	struct conf *c;

	if ((every.n && (!conf_parse_duration(every, &seconds) || seconds == 0)) ||
	    (times.n && (!view_u64(times, UINT64_MAX, &count) || count == 0))) {
		complain("top: a duration of at least 1s, a number of at least 1");
		return STATUS_USAGE;
	}
	if (m->offline) {
		complain("top needs the running suite");
		return STATUS_USAGE;
	}
	if ((c = load_config(m, false)) == NULL)
		return STATUS_FAILED;
	int status = picture(m, c, terminal);
	while (status == STATUS_DONE && (times.n == 0 || --count)) {
		sleep((unsigned)seconds);
		status = picture(m, c, terminal);
	}
	conf_free(&c);
	return status;
}
