/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "qmgr/lane.h"
#include "qmgr/walk.h"

enum { MESSAGES_A_STEP = 200, ROWS_A_STEP = 200, PLACE_MAX = 600, KEY = 12 };
enum phase { PHASE_IDS, PHASE_MEMORY, PHASE_ROWS, PHASE_END };

/* call->cursor */
struct walk {
	void *data; /* of the command */
	void (*free_data)(void *data);
	enum phase phase;
	uint64_t counts[WALK_COUNTS];
	uint64_t last_qid; /* whose message was met last */
	bool met;
	size_t place_len;
	char place[PLACE_MAX]; /* in the table or index: where to go on */
	size_t n, at;
	size_t kept;	 /* of those in memory: still there when their turn came */
	uint64_t qids[]; /* the ids given, or those in memory at the start, in order */
};

static bool
wrong(struct ctl_call *call, const char *what, struct view v)
{
	ctl_end(call, 2, "%s \"" VIEW_FMT "\" is not valid", what, VIEW_ARG(view_first(v, 200)));
	return false;
}

static bool
state_known(struct view v)
{
	return view_is(v, "active") || view_is(v, "deferred") || view_is(v, "held") ||
	    view_is(v, "scheduled") || view_is(v, "paused");
}

bool
filter_get(struct ctl_call *call, struct filter *f)
{
	struct view age = ctl_arg(call, "age"), id;
	uint64_t seconds = 0, qid;

	*f = (struct filter){ .tenant = ctl_arg(call, "tenant"), .key = ctl_arg(call, "key"),
		.domain = ctl_arg(call, "domain"), .sender = ctl_arg(call, "sender"),
		.state = ctl_arg(call, "state"), .all = ctl_flag(call, "all") };
	if (age.n && !conf_parse_duration(age, &seconds))
		return wrong(call, "age", age);
	if (f->state.n && !state_known(f->state))
		return wrong(call, "state", f->state);
	f->older_us = seconds * 1000000;
	f->ids = ctl_arg_nth(call, "id", 0, &id);
	if (f->ids && !qid_parse(id, &qid))
		return wrong(call, "queue id", id);
	f->any = f->tenant.n || f->key.n || f->domain.n || f->sender.n || f->state.n || age.n ||
	    ctl_flag(call, "sender");
	return true;
}

/* Start. */

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
walk_free(void *cursor)
{
	struct walk *w = cursor;

	if (w && w->data)
		w->free_data(w->data);
	free(w);
}

static struct walk *
walk_new(size_t max)
{
	return x_calloc(1, sizeof(struct walk) + max * sizeof(uint64_t));
}

/* All arguments named id, in one pass: there may be very many. */
static struct walk *
from_ids(const struct ctl_call *call)
{
	struct view rest = buf_view(&call->args);
	struct ipc_ctl_arg arg;
	size_t max = 0;
	uint64_t qid;

	while (ipc_next(&ipc_desc_ctl_arg, &rest, &arg))
		max += view_is(arg.name, "id");
	struct walk *w = walk_new(max);
	rest = buf_view(&call->args);
	while (ipc_next(&ipc_desc_ctl_arg, &rest, &arg))
		if (view_is(arg.name, "id") && qid_parse(arg.value, &qid))
			w->qids[w->n++] = qid;
	w->phase = PHASE_IDS;
	return w;
}

static void
note_qid(void *ctx, struct table_node *n)
{
	struct walk *w = ctx;

	w->qids[w->n++] = CONTAINER(n, struct message, node)->qid;
}

/* The index that reads least, and where its part for the filter begins. */
static struct db *
choose_index(struct qmgr *q, const struct filter *f, struct buf *prefix)
{
	struct view v = f->domain.n ? f->domain : f->tenant;

	if (v.n == 0)
		return q->store.rcpt;
	for (size_t i = 0; i < v.n; i++)
		buf_putc(prefix, f->domain.n && v.p[i] >= 'A' && v.p[i] <= 'Z' ? (char)(v.p[i] | 0x20) :
										  v.p[i]);
	buf_putc(prefix, '\0');
	return f->domain.n ? q->store.by_domain : q->store.by_tenant;
}

void
walk_start(struct ctl_call *call, struct qmgr *q, const struct filter *f)
{
	struct walk *w;

	if (f->id) {
		w = walk_new(1);
		w->qids[w->n++] = f->id;
		w->phase = PHASE_IDS;
	} else if (f->ids) {
		w = from_ids(call);
	} else {
		w = walk_new(q->messages.count);
		w->phase = PHASE_MEMORY;
		table_each(&q->messages, note_qid, w);
		struct buf prefix = { .p = w->place, .cap = PLACE_MAX, .max = PLACE_MAX };
		choose_index(q, f, &prefix);
		w->place_len = prefix.bad ? 0 : buf_len(&prefix);
	}
	qsort(w->qids, w->n, sizeof(uint64_t), compare);
	call->cursor = w;
	call->free_cursor = walk_free;
}

void **
walk_data(struct ctl_call *call, void (*free_data)(void *data))
{
	struct walk *w = call->cursor;

	w->free_data = free_data;
	return &w->data;
}

uint64_t *
walk_counts(struct ctl_call *call)
{
	return ((struct walk *)call->cursor)->counts;
}

/* What is met. */

static const char *
wait_name(bool scheduled, bool paused)
{
	return paused ? "paused" : scheduled ? "scheduled" : "deferred";
}

const char *
rcpt_state_name(const struct rcpt *r)
{
	switch (r->state) {
	case R_WAIT:
		return wait_name(r->scheduled, r->paused);
	case R_HELD:
		return "held";
	default:
		return "active";
	}
}

static void
seen_message(struct seen *s, const struct message *m)
{
	*s = (struct seen){ .qid = m->qid, .size = whole_bytes(&m->rec, m->size), .arrival_us = m->arrival_us,
		.sender = m->sender, .tenant = view_str(m->tenant->name), .user = m->user };
}

static void
seen_rcpt(struct seen *s, const struct rcpt *r)
{
	s->addr = r->addr;
	s->text = view_str(r->text);
	s->relay = view_str(r->relay);
	s->state = rcpt_state_name(r);
	s->lane = r->state == R_READY && r->item ? r->item->lane->name : "";
	s->index = r->index;
	s->attempts = r->attempts;
	s->esc = r->esc;
	s->code = r->code;
	s->last_us = r->last_us;
	s->next_us = r->state == R_WAIT ? qmgr_wall(r->m->q, r->due_us) : 0;
}

static void
seen_row(struct seen *s, struct qmgr *q, const struct message_row *m, const struct rcpt_row *r)
{
	*s = (struct seen){ .qid = m->qid, .size = whole_bytes(&m->rec, m->size), .arrival_us = m->arrival_us,
		.sender = m->sender, .tenant = m->tenant, .user = m->user, .addr = r->addr,
		.text = r->text, .relay = r->relay, 
		.state = r->held ? "held" : wait_name(r->scheduled, r->paused),
		.lane = "", .index = r->index, .attempts = r->attempts, .esc = r->esc,
		.code = r->code, .last_us = r->last_us,
		.next_us = r->held ? 0 : qmgr_wall(q, r->due_us) };
}

static bool
wanted(const struct qmgr *q, const struct filter *f, const struct seen *s)
{
	uint64_t now = loop_wall_us(q->loop);

	return (f->tenant.n == 0 || view_eq(f->tenant, s->tenant)) &&
	    (f->key.n == 0 || view_eq(f->key, s->user)) &&
	    (f->domain.n == 0 || view_ieq(f->domain, addr_domain(s->addr))) &&
	    (f->sender.n == 0 || view_ieq(f->sender, s->sender) ||
		(view_is(f->sender, "<>") && s->sender.n == 0)) &&
	    (f->state.n == 0 || view_is(f->state, s->state)) &&
	    (f->older_us == 0 || s->arrival_us + f->older_us <= now);
}

static bool
meet(struct visitor *v, struct walk *w, struct seen *s, struct rcpt *r)
{
	s->first = !w->met || w->last_qid != s->qid;
	w->met = true;
	w->last_qid = s->qid;
	return v->meet(v, s, r);
}

/* Recipients in memory; index UINT32_MAX: all of them. */
static bool
meet_message(struct visitor *v, const struct filter *f, struct message *m, uint32_t index)
{
	struct walk *w = v->call->cursor;
	struct seen s;

	for (uint32_t i = 0; i < m->nrcpt; i++) {
		struct rcpt *r = &m->rcpts[i];
		if (r->state == R_DONE || (index != UINT32_MAX && r->index != index))
			continue;
		seen_message(&s, m);
		seen_rcpt(&s, r);
		if (wanted(v->q, f, &s) && !meet(v, w, &s, r))
			return false;
	}
	return true;
}

/*
 * Messages by id, loaded when they are not in memory: these are few, or the admin named them. One that has left
 * memory since the start is met in its rows, if it has any.
 */
static bool
step_qids(struct visitor *v, const struct filter *f, bool load)
{
	struct walk *w = v->call->cursor;

	for (int n = 0; n < MESSAGES_A_STEP && w->at < w->n; n++, w->at++) {
		uint64_t qid = w->qids[w->at];
		struct message *m = load ? message_get(v->q, qid) : message_find(v->q, qid);
		bool again = w->at > 0 && w->qids[w->at - 1] == qid;
		if (m && !load)
			w->qids[w->kept++] = qid;
		if (m && !again && !meet_message(v, f, m, UINT32_MAX))
			return false;
	}
	if (w->at == w->n)
		w->phase = w->phase == PHASE_IDS ? PHASE_END : PHASE_ROWS;
	return true;
}

/* Rows: primary keys first, since what is done with them uses the database too. */
static int
collect(struct walk *w, struct qmgr *q, const struct filter *f, struct buf *keys)
{
	char prefix_bytes[PLACE_MAX];
	struct buf prefix = { .p = prefix_bytes, .cap = PLACE_MAX, .max = PLACE_MAX };
	struct db *db = choose_index(q, f, &prefix);
	bool index = db != q->store.rcpt;
	struct view key, primary;
	struct err e;
	int rc = -1, n = 0;

	struct db_cursor *c = db_cursor(db, NULL, view_of(w->place, w->place_len), &e);
	while (c && n < ROWS_A_STEP && (rc = db_next(c, &key, index ? &primary : NULL, NULL, &e)) > 0) {
		if (index && (key.n < buf_len(&prefix) ||
				 memcmp(key.p, prefix.p, buf_len(&prefix)) != 0)) {
			rc = 0;
			break;
		}
		if (key.n + 1 > PLACE_MAX)
			continue;
		memcpy(w->place, key.p, key.n);
		w->place[key.n] = '\0'; /* behind it */
		w->place_len = key.n + 1;
		buf_putv(keys, index ? primary : key);
		n++;
	}
	db_cursor_close(&c);
	if (rc < 0)
		log_error("queue database: %s", e.text);
	return rc <= 0 ? 0 : n;
}

static bool
met_in_memory(const struct walk *w, uint64_t qid)
{
	return bsearch(&qid, w->qids, w->kept, sizeof(qid), compare) != NULL;
}

static bool
meet_row(struct visitor *v, const struct filter *f, uint64_t qid, uint32_t index)
{
	struct walk *w = v->call->cursor;
	struct message *m = message_find(v->q, qid);
	struct message_row mrow;
	struct rcpt_row rrow;
	struct seen s;

	if (met_in_memory(w, qid))
		return true;
	/* What an index chose is wanted, most likely: it is loaded without a look at its rows. */
	if (m == NULL && v->load && (f->domain.n || f->tenant.n))
		m = message_load(v->q, qid);
	if (m)
		return meet_message(v, f, m, index);
	if (store_get_message(v->q, qid, &mrow) <= 0 || store_get_rcpt(v->q, qid, index, &rrow) <= 0)
		return true;
	seen_row(&s, v->q, &mrow, &rrow);
	if (!wanted(v->q, f, &s))
		return true;
	if (!v->load)
		return meet(v, w, &s, NULL);
	m = message_load(v->q, qid);
	return m == NULL || meet_message(v, f, m, index);
}

static bool
step_rows(struct visitor *v, const struct filter *f)
{
	struct walk *w = v->call->cursor;
	struct buf keys = BUF_INIT(ROWS_A_STEP * KEY);
	bool go = true;

	if (store_apply(v->q) < 0) {
		ctl_end(v->call, 1, "the queue database cannot be read now");
		return false;
	}
	if (collect(w, v->q, f, &keys) == 0)
		w->phase = PHASE_END;
	for (struct view k = buf_view(&keys); go && k.n >= KEY;) {
		uint64_t qid = view_get_u64(&k);
		go = meet_row(v, f, qid, view_get_u32(&k));
	}
	buf_free(&keys);
	return go;
}

bool
walk_step(struct visitor *v, const struct filter *f)
{
	struct walk *w = v->call->cursor;
	bool go = true;

	v->count = w->counts;
	if (w->phase == PHASE_IDS)
		go = step_qids(v, f, true);
	else if (w->phase == PHASE_MEMORY)
		go = step_qids(v, f, false);
	else if (w->phase == PHASE_ROWS)
		go = step_rows(v, f);
	return go && w->phase != PHASE_END;
}
