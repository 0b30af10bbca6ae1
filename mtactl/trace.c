/* SPDX-License-Identifier: ISC */
/*
 * mtactl trace: the dialogues of all smtpd and smtp processes at once, each over a control connection of its own,
 * line by line as they come.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "mtactl/mtactl.h"
#include "mtactl/output.h"

enum { PROCESSES_MAX = 512 };

static const struct command commands_of[] = {
#define COMMAND_OF(role, handler, name, args, doc) { ROLE_##role, name, args, doc, NULL },
	CTL_SMTPD(COMMAND_OF) CTL_SMTP(COMMAND_OF)
};

static const struct command *
command_of(enum role role, const char *name)
{
	const struct command *c = commands_of;

	while (c->role != role || strcmp(c->name, name) != 0)
		c++;
	return c;
}

/* A process that is asked. */
struct source {
	const struct command *command;
	uint32_t instance;
	int sock;
	struct buf store;
};

struct trace {
	const struct conf *conf;
	const struct buf *records;
	struct output o;
	struct source v[PROCESSES_MAX];
	struct pollfd polls[PROCESSES_MAX];
	size_t count;
	int status;
};

/* "12:34:56.789 " of the day here. */
static void
put_time(struct buf *out, struct view wall_us)
{
	uint64_t us;
	struct tm tm;

	if (!view_u64(wall_us, INT64_MAX, &us))
		return;
	time_t t = (time_t)(us / 1000000);
	if (localtime_r(&t, &tm))
		buf_printf(out, "%02d:%02d:%02d.%03u ", tm.tm_hour, tm.tm_min, tm.tm_sec,
		    (unsigned)(us / 1000 % 1000));
}

/* One row for people: "TIME PROCESS/INSTANCE SESSION PEER < TEXT". */
static void
on_line(void *ctx, struct view fields)
{
	struct output *o = ctx;
	struct ipc_ctl_field f;

	while (ipc_next(&ipc_desc_ctl_field, &fields, &f)) {
		if (view_is(f.name, "time")) {
			put_time(&o->out, f.value);
		} else if (view_is(f.name, "direction")) {
			buf_puts(&o->out, view_is(f.value, "in")    ? "< "
					  : view_is(f.value, "out") ? "> "
								    : "* ");
		} else if (f.value.n) {
			output_text(&o->out, f.value, false);
			buf_puts(&o->out, view_is(f.name, "process") ? "/"
					  : view_is(f.name, "text")  ? ""
								     : " ");
		}
	}
	buf_putc(&o->out, '\n');
	output_flush(o);
}

static void
output_lines(struct output *o, bool json)
{
	output_init(o, json, true);
	if (json)
		return;
	o->capture = on_line;
	o->ctx = o;
}

/* A row of `status`. */
static void
on_process(void *ctx, struct view fields)
{
	struct trace *t = ctx;
	struct ipc_ctl_field f;
	enum role role = ROLES;
	uint64_t instance = 0;

	while (ipc_next(&ipc_desc_ctl_field, &fields, &f)) {
		if (view_is(f.name, "role"))
			role = view_is(f.value, role_name(ROLE_SMTPD))	? ROLE_SMTPD
			       : view_is(f.value, role_name(ROLE_SMTP)) ? ROLE_SMTP
									: ROLES;
		else if (view_is(f.name, "instance"))
			view_u64(f.value, UINT32_MAX, &instance);
	}
	if (role != ROLES && t->count < PROCESSES_MAX)
		t->v[t->count++] = (struct source){ .command = command_of(role, "trace"),
			.instance = (uint32_t)instance,
			.sock = -1,
			.store = BUF_INIT(IPC_FRAME_MAX + IPC_HEADER) };
}

static int
find_processes(struct trace *t)
{
	struct buf none = BUF_INIT(1);
	struct output o;

	output_init(&o, false, false);
	o.capture = on_process;
	o.ctx = t;
	int status = client_call(t->conf, command_find(VIEW("status")), &none, &o);
	output_end(&o);
	return status;
}

static void
source_end(struct trace *t, size_t i, int status)
{
	struct source *s = &t->v[i];

	if (status > t->status)
		t->status = status;
	if (status == STATUS_FAILED)
		complain("%s %u is not watched", role_name(s->command->role), s->instance);
	if (s->sock >= 0)
		close(s->sock);
	s->sock = t->polls[i].fd = -1;
}

/* The number of those who are there. */
static size_t
begin(struct trace *t)
{
	size_t open = 0;

	for (size_t i = 0; i < t->count && t->status != STATUS_USAGE; i++) {
		struct source *s = &t->v[i];
		int status = client_begin(t->conf, s->command, s->instance, t->records, &t->o, &s->sock);
		t->polls[i] = (struct pollfd){ .fd = s->sock, .events = POLLIN };
		if (status < 0) {
			open++;
			continue;
		}
		s->sock = -1;
		source_end(t, i, status);
	}
	return open;
}

/* Until nobody has more to say, standard output is closed, or what was asked for is nonsense to all. */
static void
follow(struct trace *t, size_t open)
{
	while (open && t->status != STATUS_USAGE && !t->o.failed) {
		if (poll(t->polls, t->count, -1) < 0)
			continue; /* a signal */
		for (size_t i = 0; i < t->count && t->status != STATUS_USAGE; i++) {
			if (t->v[i].sock < 0 || t->polls[i].revents == 0)
				continue;
			int status = client_frame(t->v[i].sock, t->v[i].command, &t->v[i].store, &t->o);
			output_flush(&t->o);
			if (status < 0)
				continue;
			source_end(t, i, status);
			open--;
		}
	}
}

static int
trace_run(struct trace *t)
{
	int status = find_processes(t);

	if (status != STATUS_DONE)
		return status;
	follow(t, begin(t));
	for (size_t i = 0; i < t->count; i++) {
		if (t->v[i].sock >= 0)
			close(t->v[i].sock);
		buf_free(&t->v[i].store);
	}
	return t->status;
}

int
local_trace(struct mtactl *m, const struct args *a)
{
	struct conf *c;
	int status;

	if (args_get(a, "tenant").n == 0 && args_get(a, "domain").n == 0 && args_get(a, "ip").n == 0) {
		complain("trace: of whom? --tenant, --domain or --ip");
		return STATUS_USAGE;
	}
	if (m->offline) {
		complain("trace needs the running suite");
		return STATUS_USAGE;
	}
	if ((c = load_config(m, false)) == NULL)
		return STATUS_FAILED;
	struct trace *t = x_calloc(1, sizeof(*t));
	t->conf = c;
	t->records = &a->records;
	output_lines(&t->o, m->json);
	status = trace_run(t);
	if (!output_end(&t->o))
		status = STATUS_FAILED;
	free(t);
	conf_free(&c);
	return status;
}

int
dialogue_show(const struct mtactl *m, const struct conf *c, const struct buf *records)
{
	const struct command *command = command_of(ROLE_SMTP, "dialogue");
	struct buf store = BUF_INIT(IPC_FRAME_MAX + IPC_HEADER);
	struct output o;
	int sock, status;

	output_lines(&o, m->json);
	status = client_begin(c, command, 0, records, &o, &sock);
	if (status < 0) {
		while (status < 0) {
			status = client_frame(sock, command, &store, &o);
			output_flush(&o);
		}
		close(sock);
	}
	buf_free(&store);
	return output_end(&o) ? status : STATUS_FAILED;
}
