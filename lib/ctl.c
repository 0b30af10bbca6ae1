/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/ctl.h"
#include "lib/log.h"

enum {
	FIELD_MAX = 32768,
	FIELD_OVERHEAD = 4 + 1 + 4, /* length of the name, type, length of the value */
	WAIT_FIRST_MS = 2,
	WAIT_MAX_MS = 250,
	AGAIN_MS = 20
};

struct ctl_conn {
	struct loop_reap reap; /* first */
	struct channel ch;
	struct loop *loop;
	const struct ctl_command *table;
	void *daemon;
	uint32_t uid;
	struct ctl_call *call;
	/* The next step: in the next turn, or later while the admin's side does not read. */
	struct loop_timer step;
	uint64_t wait_ms;
};

static void
call_init(struct ctl_call *call, struct ctl_conn *conn, struct buf *rows)
{
	*call = (struct ctl_call){ .conn = conn, .rows = rows };
	buf_init(&call->args, CTL_ARGS_MAX);
	buf_init(&call->row, IPC_BULK_MAX);
}

/* Arguments and rows may hold a secret. */
static void
call_release(struct ctl_call *call)
{
	if (call->free_cursor)
		call->free_cursor(call->cursor);
	else
		free(call->cursor);
	buf_wipe(&call->args);
	buf_free(&call->args);
	buf_wipe(&call->row);
	buf_free(&call->row);
}

static const struct ctl_command *
find_command(const struct ctl_command *table, struct view name)
{
	for (; table->command; table++)
		if (view_is(name, table->command))
			return table;
	return NULL;
}

/* A frame as channel_send() would write it. */
static void
put_frame(struct buf *out, const struct ipc_desc *d, const void *m)
{
	size_t at = buf_len(out);

	buf_put_u32(out, 0);
	buf_put_u16(out, d->type);
	buf_put_u16(out, 0);
	ipc_put(out, d, m);
	buf_patch_u32(out, at, (uint32_t)(buf_len(out) - at - IPC_HEADER));
}

static void
emit(struct ctl_call *call, const struct ipc_desc *d, const void *m)
{
	if (call->conn)
		channel_send(&call->conn->ch, d, m, -1);
	else
		put_frame(call->rows, d, m);
}

static void
emit_end(struct ctl_call *call)
{
	struct ipc_ctl_end m = { .status = call->status, .text = view_str(call->text) };

	emit(call, &ipc_desc_ctl_end, &m);
}

static void
complete(struct ctl_call *call)
{
	struct ctl_conn *conn = call->conn;

	emit_end(call);
	conn->call = NULL;
	call_release(call);
	free(call);
}

static void
run_step(struct loop_timer *t)
{
	struct ctl_conn *conn = CONTAINER(t, struct ctl_conn, step);
	struct ctl_call *call = conn->call;

	if (channel_backlog(&conn->ch) > CTL_BACKLOG_MAX) {
		conn->wait_ms = conn->wait_ms * 2 < WAIT_MAX_MS ? conn->wait_ms * 2 : WAIT_MAX_MS;
		loop_timer_set(conn->loop, &conn->step, conn->wait_ms);
		return;
	}
	conn->wait_ms = WAIT_FIRST_MS;
	call->active = true;
	enum ctl_result r = call->command->run(call);
	call->active = false;
	if (r == CTL_DONE || call->finished)
		complete(call);
	else if (r == CTL_MORE || r == CTL_AGAIN)
		loop_timer_set(conn->loop, &conn->step, r == CTL_MORE ? 0 : AGAIN_MS);
}

bool
ctl_has_room(const struct ctl_call *call)
{
	return call->conn == NULL || channel_backlog(&call->conn->ch) <= CTL_BACKLOG_MAX;
}

void
ctl_finish(struct ctl_call *call)
{
	if (call->active || call->conn == NULL)
		call->finished = true;
	else
		complete(call);
}

/* Takes a part of the arguments; false: hostile. */
static bool
take_args(struct ctl_call *call, struct view args, bool more)
{
	if (!ipc_records_ok(&ipc_desc_ctl_arg, args))
		return false;
	buf_putv(&call->args, args);
	call->receiving = more;
	return !call->args.bad;
}

/* All arguments are there. */
static void
start(struct ctl_conn *conn)
{
	struct ctl_call *call = conn->call;

	if (call->receiving)
		return;
	if (call->command == NULL) {
		ctl_end(call, 2, "this daemon has no such command; is it of another version?");
		complete(call);
		return;
	}
	loop_timer_set(conn->loop, &conn->step, 0);
}

static bool
on_ctl_call(struct ctl_conn *conn, struct channel *ch, const struct ipc_ctl_call *m, int *fd)
{
	(void)ch;
	(void)fd;
	if (conn->call)
		return false; /* one at a time */
	conn->call = x_malloc(sizeof(*conn->call));
	call_init(conn->call, conn, NULL);
	conn->call->command = find_command(conn->table, m->command);
	conn->call->daemon = conn->daemon;
	conn->call->uid = conn->uid;
	if (!take_args(conn->call, m->args, m->more))
		return false;
	start(conn);
	return true;
}

static bool
on_ctl_args(struct ctl_conn *conn, struct channel *ch, const struct ipc_ctl_args *m, int *fd)
{
	(void)ch;
	(void)fd;
	if (conn->call == NULL || !conn->call->receiving ||
	    !take_args(conn->call, m->args, m->more))
		return false;
	start(conn);
	return true;
}

/* The role's choice of a daemon was master's business: a second ctl_open is not expected. */
static bool
on_ctl_open(struct ctl_conn *conn, struct channel *ch, const struct ipc_ctl_open *m, int *fd)
{
	(void)conn;
	(void)ch;
	(void)m;
	(void)fd;
	return false;
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct ctl_conn *d = ch->ctx;

	switch (type) {
		IPC_CTL_CALLS(IPC_CASE)
	default:
		return false;
	}
}

static void
free_conn(struct loop_reap *r)
{
	free(CONTAINER(r, struct ctl_conn, reap));
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	struct ctl_conn *conn = ch->ctx;
	struct ctl_call *call = conn->call;

	if (e)
		log_warn("control connection of user %u: %s", conn->uid, e->text);
	loop_timer_cancel(conn->loop, &conn->step);
	channel_close(&conn->ch);
	if (call) {
		if (call->cancel)
			call->cancel(call);
		call_release(call);
		free(call);
		conn->call = NULL;
	}
	loop_reap(conn->loop, &conn->reap);
}

void
ctl_serve(struct loop *l, int fd, uint32_t uid, const struct ctl_command *table, void *daemon)
{
	static const struct channel_ops ops = { on_frame, on_closed };
	struct ctl_conn *conn = x_calloc(1, sizeof(*conn));

	conn->reap.free = free_conn;
	conn->step.fire = run_step;
	conn->wait_ms = WAIT_FIRST_MS;
	conn->loop = l;
	conn->table = table;
	conn->daemon = daemon;
	conn->uid = uid;
	if (channel_open(&conn->ch, l, fd, &ops, conn, ROLE_MTACTL, 0) < 0) {
		log_warn("control connection of user %u cannot be watched", uid);
		close(fd);
		free(conn);
	}
}

int
ctl_run_local(const struct ctl_command *table, void *daemon, struct view command, struct view args,
    struct buf *frames)
{
	return ctl_run_as(getuid(), table, daemon, command, args, frames);
}

int
ctl_run_as(uint32_t uid, const struct ctl_command *table, void *daemon, struct view command,
    struct view args, struct buf *frames)
{
	struct ctl_call call;
	enum ctl_result r = CTL_DONE;

	call_init(&call, NULL, frames);
	call.command = find_command(table, command);
	call.daemon = daemon;
	call.uid = uid;
	if (call.command == NULL || !take_args(&call, args, false)) {
		call_release(&call);
		return -1;
	}
	do {
		call.active = true;
		r = call.command->run(&call);
		call.active = false;
	} while (r == CTL_MORE && !call.finished);
	if ((r == CTL_WAIT || r == CTL_AGAIN) && !call.finished) {
		if (call.cancel)
			call.cancel(&call);
		ctl_end(&call, 1, "%s needs the running suite", call.command->command);
	}
	emit_end(&call);
	call_release(&call);
	return 0;
}

bool
ctl_arg_nth(const struct ctl_call *call, const char *name, size_t n, struct view *out)
{
	struct view rest = buf_view(&call->args);
	struct ipc_ctl_arg arg;

	while (ipc_next(&ipc_desc_ctl_arg, &rest, &arg)) {
		if (!view_is(arg.name, name) || n-- > 0)
			continue;
		*out = arg.value;
		return true;
	}
	return false;
}

bool
ctl_arg_next(const struct ctl_call *call, const char *name, size_t *place, struct view *out)
{
	struct view rest = view_skip(buf_view(&call->args), *place);
	struct ipc_ctl_arg arg;

	while (ipc_next(&ipc_desc_ctl_arg, &rest, &arg)) {
		*place = buf_len(&call->args) - rest.n;
		if (!view_is(arg.name, name))
			continue;
		*out = arg.value;
		return true;
	}
	return false;
}

struct view
ctl_arg(const struct ctl_call *call, const char *name)
{
	struct view v = VIEW("");

	ctl_arg_nth(call, name, 0, &v);
	return v;
}

bool
ctl_flag(const struct ctl_call *call, const char *name)
{
	struct view v;

	return ctl_arg_nth(call, name, 0, &v);
}

static void
put_field(struct ctl_call *call, const char *name, enum ctl_type type, struct view v)
{
	struct view label = view_str(name);
	size_t used = buf_len(&call->row) + FIELD_OVERHEAD + label.n;

	if (used > IPC_BULK_MAX)
		return;
	v = view_first(v, FIELD_MAX);
	v = view_first(v, IPC_BULK_MAX - used);
	IPC_RECORD(&call->row, ctl_field, .name = label, .type = (uint8_t)type, .value = v);
}

void
ctl_text(struct ctl_call *call, const char *name, struct view v)
{
	put_field(call, name, CTL_TEXT, v);
}

void
ctl_str(struct ctl_call *call, const char *name, const char *s)
{
	put_field(call, name, CTL_TEXT, view_str(s));
}

static void
put_digits(struct ctl_call *call, const char *name, enum ctl_type type, uint64_t x)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRIu64, x);

	put_field(call, name, type, view_of(text, (size_t)n));
}

void
ctl_number(struct ctl_call *call, const char *name, uint64_t x)
{
	put_digits(call, name, CTL_NUMBER, x);
}

void
ctl_time(struct ctl_call *call, const char *name, uint64_t wall_us)
{
	if (wall_us)
		put_digits(call, name, CTL_TIME, wall_us);
	else
		put_field(call, name, CTL_TIME, VIEW(""));
}

void
ctl_bool(struct ctl_call *call, const char *name, bool x)
{
	put_digits(call, name, CTL_BOOL, x);
}

void
ctl_list(struct ctl_call *call, const char *name, const struct view *v, size_t n)
{
	struct buf b = BUF_INIT(FIELD_MAX);

	for (size_t i = 0; i < n && buf_len(&b) + 4 + v[i].n <= FIELD_MAX; i++)
		buf_put_block(&b, v[i]);
	put_field(call, name, CTL_LIST, buf_view(&b));
	buf_free(&b);
}

void
ctl_row_end(struct ctl_call *call)
{
	struct ipc_ctl_row m = { .fields = buf_view(&call->row) };

	emit(call, &ipc_desc_ctl_row, &m);
	buf_wipe(&call->row);
}

enum ctl_result
ctl_end(struct ctl_call *call, uint8_t status, const char *fmt, ...)
{
	va_list ap;

	call->status = status;
	va_start(ap, fmt);
	vsnprintf(call->text, sizeof(call->text), fmt, ap);
	va_end(ap);
	for (char *s = call->text; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	return CTL_DONE;
}
