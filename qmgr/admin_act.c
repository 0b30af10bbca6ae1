/* SPDX-License-Identifier: ISC */
/* mtactl queue flush, hold, release, delete, bounce: the same walk, another deed. */
#include "qmgr/lane.h"
#include "qmgr/logline.h"
#include "qmgr/pause.h"
#include "qmgr/source.h"
#include "qmgr/walk.h"

CTL_QMGR(CTL_PROTOTYPE)

static const struct outcome returned = { .code = 554, .esc = { 5, 7, 0 },
	.text = { "returned by the administrator", 29 } };

/* Takes it out of its lane; false: it is with another process, which is told the wish. */
static bool
take_back(struct rcpt *r, enum rcpt_wish wish)
{
	if (r->state == R_READY)
		lane_cut(r);
	if (r->state == R_JOB)
		r->wish = (uint8_t)wish;
	return r->state != R_JOB && r->state != R_REPORT;
}

/* What its sender wants to be sent later goes before its time only when the admin names it. */
static bool
act_flush(struct rcpt *r)
{
	if (r->state != R_WAIT || r->scheduled || r->paused)
		return false;
	rcpt_activate(r);
	return true;
}

static bool
act_flush_named(struct rcpt *r)
{
	if (r->state != R_WAIT)
		return false;
	rcpt_activate(r);
	return true;
}

static bool
act_hold(struct rcpt *r)
{
	if (r->state == R_HELD || r->state == R_FAILED || r->state == R_REPORT)
		return false;
	if (take_back(r, WISH_HOLD))
		rcpt_hold(r);
	return true;
}

static bool
act_release(struct rcpt *r)
{
	if (r->state != R_HELD)
		return false;
	event_rcpt(r, EVENT_released);
	rcpt_start(r);
	return true;
}

static bool
act_delete(struct rcpt *r)
{
	if (r->state == R_REPORT)
		return false;
	if (take_back(r, WISH_DELETE)) {
		logline_note(r, "deleted by the administrator");
		rcpt_done(r);
	}
	return true;
}

static bool
act_bounce(struct rcpt *r)
{
	if (r->state == R_FAILED || r->state == R_REPORT)
		return false;
	if (take_back(r, WISH_BOUNCE)) {
		logline_rcpt(r, &returned, "bounced", NULL);
		rcpt_bounce(r, &returned);
		event_rcpt(r, EVENT_admin_bounced);
	}
	return true;
}

struct act {
	struct visitor v;
	bool (*act)(struct rcpt *r);
};

static bool
act_one(struct visitor *v, const struct seen *s, struct rcpt *r)
{
	struct act *a = CONTAINER(v, struct act, v);

	if (r && a->act(r)) {
		v->count[0] += s->first;
		v->count[1]++;
	}
	return true;
}

static enum ctl_result
run(struct ctl_call *call, struct visitor *v)
{
	struct filter f;

	if (!filter_get(call, &f))
		return CTL_DONE;
	if (!f.any && !f.ids && !f.all)
		return ctl_end(call, 2, "give queue ids, a filter, or --all");
	if (call->cursor == NULL)
		walk_start(call, v->q, &f);
	if (walk_step(v, &f))
		return CTL_MORE;
	if (call->status)
		return CTL_DONE;
	ctl_number(call, "recipients", v->count[1]);
	ctl_row_end(call);
	if (f.ids && v->count[1] == 0)
		return ctl_end(call, 1, "no such message, or nothing to do with it");
	return CTL_DONE;
}

static enum ctl_result
run_act(struct ctl_call *call, bool (*act)(struct rcpt *r))
{
	struct act a = { .v = { .meet = act_one, .call = call, .q = call->daemon, .load = true }, .act = act };

	return run(call, &a.v);
}

enum ctl_result
ctl_queue_flush(struct ctl_call *call)
{
	struct view id;

	if (call->cursor == NULL)
		lanes_unrest_all(call->daemon);
	return run_act(call, ctl_arg_nth(call, "id", 0, &id) ? act_flush_named : act_flush);
}

static bool
act_resume(struct rcpt *r)
{
	if (r->state != R_WAIT || !r->paused)
		return false;
	rcpt_activate(r);
	return true;
}

/* What it held back goes on, unless another pause holds it. */
enum ctl_result
ctl_resume(struct ctl_call *call)
{
	struct act a = { .v = { .meet = act_one, .call = call, .q = call->daemon, .load = true }, .act = act_resume };
	const struct filter f = { .state = VIEW("paused"), .any = true };

	if (call->cursor == NULL) {
		if (!pause_end(call))
			return CTL_DONE;
		walk_start(call, call->daemon, &f);
	}
	if (walk_step(&a.v, &f))
		return CTL_MORE;
	ctl_number(call, "recipients", a.v.count[1]);
	ctl_row_end(call);
	return CTL_DONE;
}

/* What is under way goes on as it is. */
static bool
move_one(struct visitor *v, const struct seen *s, struct rcpt *r)
{
	if (r == NULL || (r->state != R_READY && r->state != R_WAIT && r->state != R_HELD))
		return true;
	rcpt_move(r, ctl_arg(v->call, "pool"));
	v->count[0] += s->first;
	v->count[1]++;
	return true;
}

enum ctl_result
ctl_queue_move(struct ctl_call *call)
{
	struct visitor v = { .meet = move_one, .call = call, .q = call->daemon, .load = true };
	struct view pool = ctl_arg(call, "pool");

	if (!ctl_flag(call, "pool"))
		return ctl_end(call, 2, "--pool is needed");
	if (pool.n && !pool_known(call->daemon, pool))
		return ctl_end(call, 2, "there is no pool \"" VIEW_FMT "\"", VIEW_ARG(view_first(pool, 64)));
	return run(call, &v);
}

enum ctl_result
ctl_queue_hold(struct ctl_call *call)
{
	return run_act(call, act_hold);
}

enum ctl_result
ctl_queue_release(struct ctl_call *call)
{
	return run_act(call, act_release);
}

enum ctl_result
ctl_queue_delete(struct ctl_call *call)
{
	return run_act(call, act_delete);
}

enum ctl_result
ctl_queue_bounce(struct ctl_call *call)
{
	return run_act(call, act_bounce);
}
