/* SPDX-License-Identifier: ISC */
/* The daemon's side of mtactl: steps, waiting, back-pressure, hostile guests, in-process use. */
#include <sys/socket.h>
#include <unistd.h>

#include "lib/ctl.h"
#include "lib/log.h"
#include "t/tap.h"

enum { MANY = 3000, WIDE = 2000 };

struct world {
	struct loop *loop;
	struct loop_timer late, later;
	struct ctl_call *waiting;
	unsigned runs, cancelled;
	/* the guest */
	struct channel ch;
	bool open, stop_waiting, stop_row; /* stop the loop: a call waits; a row came */
	unsigned rows, ends, status, expect_ends;
	uint64_t number_sum;
	char text[IPC_TEXT_MAX];
	char last[256]; /* fields of the last row */
};

static enum ctl_result
ctl_echo(struct ctl_call *call)
{
	struct view v;

	ctl_text(call, "first", ctl_arg(call, "word"));
	for (size_t i = 1; ctl_arg_nth(call, "word", i, &v); i++)
		ctl_text(call, "more", v);
	ctl_bool(call, "flag", ctl_flag(call, "flag"));
	ctl_number(call, "uid", call->uid);
	ctl_row_end(call);
	return CTL_DONE;
}

static enum ctl_result
ctl_many(struct ctl_call *call)
{
	struct world *w = call->daemon;
	uint64_t *at = call->cursor;
	static char wide[WIDE];

	w->runs++;
	if (at == NULL)
		at = call->cursor = x_calloc(1, sizeof(*at));
	memset(wide, 'x', sizeof(wide));
	ctl_number(call, "n", ++*at);
	ctl_text(call, "wide", view_of(wide, sizeof(wide)));
	ctl_row_end(call);
	return *at == MANY ? ctl_end(call, 0, "%u rows", MANY) : CTL_MORE;
}

static void
on_cancel(struct ctl_call *call)
{
	struct world *w = call->daemon;

	w->cancelled++;
	w->waiting = NULL;
	if (w->loop)
		loop_stop(w->loop);
}

static enum ctl_result
ctl_later(struct ctl_call *call)
{
	struct world *w = call->daemon;

	w->waiting = call;
	call->cancel = on_cancel;
	if (w->stop_waiting)
		loop_stop(w->loop);
	return CTL_WAIT;
}

static enum ctl_result
ctl_at_once(struct ctl_call *call)
{
	ctl_end(call, 1, "line\nbreak");
	ctl_finish(call);
	return CTL_WAIT;
}

static enum ctl_result
ctl_large(struct ctl_call *call)
{
	static char large[100000];
	struct view list[] = { VIEW("a"), VIEW(""), VIEW("ccc") };

	memset(large, 'y', sizeof(large));
	ctl_list(call, "list", list, 3);
	ctl_time(call, "never", 0);
	ctl_time(call, "then", 1700000000000000);
	ctl_text(call, "a", view_of(large, sizeof(large)));
	ctl_text(call, "b", view_of(large, sizeof(large)));
	ctl_text(call, "c", view_of(large, sizeof(large)));
	ctl_row_end(call);
	return CTL_DONE;
}

static const struct ctl_command table[] = { { "echo", ctl_echo }, { "many", ctl_many },
	{ "later", ctl_later }, { "at once", ctl_at_once }, { "large", ctl_large },
	{ NULL, NULL } };

static void
take_row(struct world *w, const struct ipc_ctl_row *row)
{
	struct view rest = row->fields;
	struct ipc_ctl_field f;
	size_t n = 0;

	w->rows++;
	w->last[0] = '\0';
	while (ipc_next(&ipc_desc_ctl_field, &rest, &f) && n < sizeof(w->last)) {
		if (view_is(f.name, "n")) {
			uint64_t x = 0;
			view_u64(f.value, UINT64_MAX, &x);
			w->number_sum += x;
		}
		n += (size_t)snprintf(w->last + n, sizeof(w->last) - n, "%.*s/%u=%.*s;",
		    (int)f.name.n, f.name.p, f.type, (int)(f.value.n > 40 ? 40 : f.value.n),
		    f.value.p);
	}
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct world *w = ch->ctx;
	struct ipc_ctl_row row;
	struct ipc_ctl_end end;

	(void)fd;
	if (type == IPC_TYPE_ctl_row && ipc_get(&ipc_desc_ctl_row, body, &row)) {
		take_row(w, &row);
		if (w->stop_row)
			loop_stop(w->loop);
		return true;
	}
	if (type != IPC_TYPE_ctl_end || !ipc_get(&ipc_desc_ctl_end, body, &end))
		return false;
	w->status = end.status;
	snprintf(w->text, sizeof(w->text), "%.*s", (int)end.text.n, end.text.p);
	if (++w->ends == w->expect_ends)
		loop_stop(w->loop);
	return true;
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	struct world *w = ch->ctx;

	(void)e;
	w->open = false;
	channel_close(ch);
	loop_stop(w->loop);
}

static void
on_late(struct loop_timer *t)
{
	(void)t;
	printf("Bail out! timeout\n");
	exit(1);
}

static void
on_later(struct loop_timer *t)
{
	struct world *w = CONTAINER(t, struct world, later);

	if (w->waiting) {
		struct ctl_call *call = w->waiting;
		w->waiting = NULL;
		ctl_str(call, "came", "later");
		ctl_row_end(call);
		ctl_end(call, 0, "at last");
		ctl_finish(call);
	} else {
		loop_stop(w->loop);
	}
}

static void
begin(struct world *w)
{
	static const struct channel_ops ops = { on_frame, on_closed };
	int pair[2];

	*w = (struct world){
		.loop = loop_new(), .late.fire = on_late, .later.fire = on_later, .open = true
	};
	loop_timer_set(w->loop, &w->late, 30000);
	if (channel_pair(pair) < 0)
		abort();
	ctl_serve(w->loop, pair[0], 1234, table, w);
	channel_open(&w->ch, w->loop, pair[1], &ops, w, ROLE_QMGR, 0);
}

/* Lets the daemon's side see the end, so that everything is freed. */
static void
finish(struct world *w)
{
	channel_close(&w->ch);
	loop_timer_set(w->loop, &w->later, 20);
	loop_run(w->loop);
	loop_free(w->loop);
}

static void
call(struct world *w, const char *command, struct view args)
{
	IPC_SEND(&w->ch, ctl_call, .command = view_str(command), .args = args);
	w->expect_ends = w->ends + 1;
}

static void
test_calls(void)
{
	struct buf args = BUF_INIT(65536);
	struct world w;

	begin(&w);
	IPC_RECORD(&args, ctl_arg, .name = VIEW("word"), .value = VIEW("one"));
	IPC_RECORD(&args, ctl_arg, .name = VIEW("flag"), .value = VIEW(""));
	IPC_RECORD(&args, ctl_arg, .name = VIEW("word"), .value = VIEW("two"));
	call(&w, "echo", buf_view(&args));
	loop_run(w.loop);
	is_str(w.last, "first/0=one;more/0=two;flag/3=1;uid/1=1234;", "arguments by name, a row");
	is_int(w.status, 0, "done");
	call(&w, "echo", VIEW(""));
	loop_run(w.loop);
	is_str(w.last, "first/0=;flag/3=0;uid/1=1234;",
	    "a second call on the connection, no arguments");
	call(&w, "ech", VIEW(""));
	loop_run(w.loop);
	ok(w.status == 2 && strstr(w.text, "no such command"), "an unknown command is wrong use");
	call(&w, "at once", VIEW(""));
	loop_run(w.loop);
	ok(w.status == 1 && !strcmp(w.text, "line?break"),
	    "a result is one line; finished while running");
	call(&w, "large", VIEW(""));
	loop_run(w.loop);
	ok(strstr(w.last, "never/2=;then/2=1700000000000000;"), "times");
	is_int(w.status, 0, "a row that is too large is cut, not lost");
	finish(&w);
	buf_free(&args);
}

static void
test_parts(void)
{
	struct buf args = BUF_INIT(1 << 20);
	struct world w;

	begin(&w);
	IPC_RECORD(&args, ctl_arg, .name = VIEW("word"), .value = VIEW("x"));
	IPC_SEND(&w.ch, ctl_call, .command = VIEW("echo"), .more = true, .args = buf_view(&args));
	IPC_SEND(&w.ch, ctl_args, .more = true, .args = buf_view(&args));
	IPC_SEND(&w.ch, ctl_args, .args = buf_view(&args));
	w.expect_ends = 1;
	loop_run(w.loop);
	is_str(w.last, "first/0=x;more/0=x;more/0=x;flag/3=0;uid/1=1234;", "arguments in parts");
	finish(&w);
	buf_free(&args);
}

static void
test_steps(void)
{
	struct world w;

	begin(&w);
	call(&w, "many", VIEW(""));
	loop_run(w.loop);
	is_int(w.rows, MANY, "CTL_MORE: every row");
	is_int((long long)w.number_sum, (long long)MANY * (MANY + 1) / 2, "once, none lost");
	is_str(w.text, "3000 rows", "and the end");
	finish(&w);
}

/* A guest that does not read: the handler stops, memory stays bounded; it goes on when it reads. */
static void
test_back_pressure(void)
{
	struct world w;

	begin(&w);
	call(&w, "many", VIEW(""));
	w.stop_row = true;
	loop_run(w.loop); /* the first row came; now the guest goes away for a while */
	w.stop_row = false;
	int fd = w.ch.lf.fd;
	loop_del(w.loop, &w.ch.lf);
	loop_unpost(w.loop, &w.ch.read_task);
	loop_timer_set(w.loop, &w.later, 400);
	loop_run(w.loop);
	unsigned runs = w.runs;
	loop_timer_set(w.loop, &w.later, 400);
	loop_run(w.loop);
	is_int(w.runs, runs, "atk-J9 a guest that does not read stops the handler");
	ok(runs < MANY && runs <= (CTL_BACKLOG_MAX + (1 << 20)) / WIDE,
	    "after a bounded backlog (%u rows)", runs);
	w.ch.lf.fd = fd;
	loop_add(w.loop, &w.ch.lf);
	loop_post(w.loop, LOOP_WORK, &w.ch.read_task);
	loop_run(w.loop);
	is_int(w.rows, MANY, "it goes on when the guest reads");
	finish(&w);
}

static void
test_waiting(void)
{
	struct world w;

	begin(&w);
	call(&w, "later", VIEW(""));
	loop_timer_set(w.loop, &w.later, 20);
	loop_run(w.loop);
	ok(w.rows == 1 && !strcmp(w.text, "at last"), "CTL_WAIT: rows and the end come later");
	call(&w, "later", VIEW(""));
	w.stop_waiting = true;
	loop_run(w.loop);
	channel_close(&w.ch);
	loop_run(w.loop);
	is_int(w.cancelled, 1, "the end of the connection cancels a waiting call");
	loop_free(w.loop);
}

/* What ends the connection, and nothing else. */
static void
test_hostile(void)
{
	static const char zeros[16384];
	struct buf args = BUF_INIT(65536);
	struct world w;

	begin(&w);
	IPC_SEND(&w.ch, ctl_call, .command = VIEW("echo"), .args = VIEW("\0\0\0\xff"));
	loop_run(w.loop);
	ok(!w.open, "atk-I4 arguments that are no records end the connection");
	finish(&w);
	begin(&w);
	IPC_SEND(&w.ch, ctl_args, .args = VIEW(""));
	loop_run(w.loop);
	ok(!w.open, "atk-I4 arguments without a call");
	finish(&w);
	begin(&w);
	call(&w, "later", VIEW(""));
	call(&w, "echo", VIEW(""));
	loop_run(w.loop);
	ok(!w.open && w.rows == 0, "atk-I4 a call during a call");
	is_int(w.cancelled <= 1, 1, "the first one is over, too");
	finish(&w);
	begin(&w);
	IPC_SEND(&w.ch, ctl_open, .role = ROLE_AUTHD);
	loop_run(w.loop);
	ok(!w.open, "atk-I4 a second opening");
	finish(&w);
	begin(&w);
	IPC_SEND(&w.ch, segment, .gen = 1);
	loop_run(w.loop);
	ok(!w.open, "atk-I12 a message of another channel");
	finish(&w);
	begin(&w);
	IPC_RECORD(&args, ctl_arg, .name = VIEW("word"), .value = view_of(zeros, sizeof(zeros)));
	IPC_SEND(&w.ch, ctl_call, .command = VIEW("echo"), .more = true, .args = buf_view(&args));
	for (unsigned i = 0; i < CTL_ARGS_MAX / 16384 + 1; i++)
		IPC_SEND(&w.ch, ctl_args, .more = true, .args = buf_view(&args));
	loop_run(w.loop);
	ok(!w.open, "atk-I4 arguments without end");
	finish(&w);
	buf_free(&args);
}

static void
test_local(void)
{
	struct buf frames = BUF_INIT(64 << 20), args = BUF_INIT(65536);
	struct world w = { 0 };
	struct ipc_ctl_end end = { 0 };
	unsigned rows = 0;

	IPC_RECORD(&args, ctl_arg, .name = VIEW("word"), .value = VIEW("x"));
	is_int(ctl_run_local(table, &w, VIEW("nothing"), VIEW(""), &frames), -1, "no such command");
	is_int(ctl_run_local(table, &w, VIEW("many"), buf_view(&args), &frames), 0,
	    "in-process: steps");
	for (struct view v = buf_view(&frames); v.n;) {
		uint32_t len = view_get_u32(&v);
		uint16_t type = view_get_u16(&v);
		(void)view_get_u16(&v);
		struct view body = view_get(&v, len);
		rows += type == IPC_TYPE_ctl_row;
		if (type == IPC_TYPE_ctl_end && !ipc_get(&ipc_desc_ctl_end, body, &end))
			break;
	}
	is_int(rows, MANY, "as frames");
	is_view(end.text, "3000 rows", "with their end");
	buf_clear(&frames);
	ctl_run_as(77, table, &w, VIEW("later"), VIEW(""), &frames);
	struct view v = view_skip(buf_view(&frames), IPC_HEADER);
	ok(ipc_get(&ipc_desc_ctl_end, v, &end) && end.status == 1, "what has to wait fails");
	is_view(end.text, "later needs the running suite", "with the reason");
	buf_free(&frames);
	buf_free(&args);
}

int
main(void)
{
	log_init("ctl_t", "localhost", LOG_LEVEL_ERROR);
	test_calls();
	test_parts();
	test_steps();
	test_back_pressure();
	test_waiting();
	test_hostile();
	test_local();
	return done_testing();
}
