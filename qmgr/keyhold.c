/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "qmgr/keyhold.h"
#include "qmgr/lane.h"
#include "qmgr/list.h"
#include "qmgr/logline.h"
#include "qmgr/walk.h"

/* What the admin sees on such a recipient, and how a release knows it: others held it for theirs. */
#define REASON "held: its key is frozen"

struct frozen {
	struct table_node node;
	const struct tenant *tenant;
	char user[IPC_NAME_MAX + 1];
};

/* An order under way: a walk over the queue in the name of nobody. */
struct keyhold {
	struct link link;
	struct loop_timer timer;
	struct loop_reap reap;
	struct qmgr *q;
	struct ctl_call call;
	struct visitor v;
	struct filter f;
	uint8_t act;
	uint64_t done;
	char tenant[IPC_NAME_MAX + 1], user[IPC_NAME_MAX + 1];
};

static struct frozen *
find(const struct qmgr *q, const struct tenant *tenant, struct view user)
{
	uint64_t hash = hash_view(user, (uint64_t)(uintptr_t)tenant);

	for (struct table_node *n = table_first(&q->frozen, hash); n; n = table_next(n)) {
		struct frozen *f = CONTAINER(n, struct frozen, node);
		if (f->tenant == tenant && view_is(user, f->user))
			return f;
	}
	return NULL;
}

bool
keyhold_frozen(const struct message *m)
{
	const struct qmgr *q = m->q;

	return q->frozen.count &&
	    (find(q, m->tenant, m->user) || find(q, m->tenant, VIEW("")));
}

static void
note(struct qmgr *q, const struct tenant *tenant, struct view user, bool on)
{
	struct frozen *f = find(q, tenant, user);

	if (on && f == NULL) {
		f = x_calloc(1, sizeof(*f));
		f->tenant = tenant;
		memcpy(f->user, user.p, user.n);
		table_put(&q->frozen, &f->node, hash_view(user, (uint64_t)(uintptr_t)tenant));
	} else if (!on && f) {
		table_del(&q->frozen, &f->node);
		free(f);
	}
}

void
keyhold_hold(struct rcpt *r)
{
	const struct outcome o = { .esc = ESC(4, 7, 0), .text = VIEW(REASON) };

	rcpt_set_outcome(r, &o);
	rcpt_hold(r);
}

static void
hold(struct rcpt *r)
{
	if (r->state == R_READY)
		lane_cut(r);
	if (r->state == R_NEW || r->state == R_WAIT)
		keyhold_hold(r);
	else if (r->state == R_JOB)
		r->wish = WISH_FREEZE; /* under way: if it comes back, it stays */
}

static void
release(struct rcpt *r)
{
	if (r->state != R_HELD || r->code || r->text == NULL || strcmp(r->text, REASON) != 0)
		return;
	event_rcpt(r, EVENT_released);
	rcpt_start(r);
}

static void
purge(struct rcpt *r)
{
	if (r->state == R_READY)
		lane_cut(r);
	if (r->state == R_JOB) {
		r->wish = WISH_DELETE;
	} else if (r->state != R_REPORT && r->state != R_DONE) {
		logline_note(r, "deleted: its key is frozen");
		rcpt_done(r);
	}
}

static void (*const acts[])(struct rcpt *r) = {
	[KEY_RELEASE] = release,
	[KEY_HOLD] = hold,
	[KEY_PURGE] = purge,
};

static bool
meet(struct visitor *v, const struct seen *s, struct rcpt *r)
{
	struct keyhold *k = CONTAINER(v, struct keyhold, v);

	(void)s;
	if (r) {
		acts[k->act](r);
		k->done++;
	}
	return true;
}

static void
reaped(struct loop_reap *r)
{
	free(CONTAINER(r, struct keyhold, reap));
}

static void
end(struct keyhold *k)
{
	link_cut(&k->link);
	loop_timer_cancel(k->q->loop, &k->timer);
	free(k->call.cursor);
	k->call.cursor = NULL;
	loop_reap(k->q->loop, &k->reap);
}

static void
step(struct loop_timer *t)
{
	static const char *const what[] = {
		[KEY_RELEASE] = "released", [KEY_HOLD] = "held", [KEY_PURGE] = "deleted"
	};
	struct keyhold *k = CONTAINER(t, struct keyhold, timer);

	if (walk_step(&k->v, &k->f)) {
		loop_timer_set(k->q->loop, &k->timer, 0);
		return;
	}
	log_info("key %s of tenant %s: queued mail %s, %llu recipients looked at",
	    *k->user ? k->user : "(all)", k->tenant, what[k->act], (unsigned long long)k->done);
	end(k);
}

bool
keyhold_order(struct qmgr *q, struct view tenant, struct view user, uint8_t act)
{
	if (act >= sizeof(acts) / sizeof(acts[0]) || tenant.n == 0)
		return false;
	if (act != KEY_PURGE)
		note(q, tenant_get(q, tenant), user, act == KEY_HOLD);
	struct keyhold *k = x_calloc(1, sizeof(*k));
	memcpy(k->tenant, tenant.p, tenant.n);
	memcpy(k->user, user.p, user.n);
	k->q = q;
	k->act = act;
	k->f = (struct filter){ .tenant = view_str(k->tenant), .key = view_str(k->user),
		.any = true };
	k->v = (struct visitor){ .meet = meet, .call = &k->call, .q = q, .load = true };
	k->timer.fire = step;
	k->reap.free = reaped;
	list_put(&q->keyholds, &k->link);
	walk_start(&k->call, q, &k->f);
	loop_timer_set(q->loop, &k->timer, 0);
	return true;
}

static void
forget(void *ctx, struct table_node *n)
{
	(void)ctx;
	free(CONTAINER(n, struct frozen, node));
}

void
keyhold_stop(struct qmgr *q)
{
	LIST_EACH(&q->keyholds, l, after)
		end(CONTAINER(l, struct keyhold, link));
	table_each(&q->frozen, forget, NULL);
	table_free(&q->frozen);
}
