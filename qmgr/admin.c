/* SPDX-License-Identifier: ISC */
/* mtactl queue list, count, show. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmgr/answer.h"
#include "qmgr/segments.h"
#include "qmgr/walk.h"

CTL_QMGR(CTL_PROTOTYPE)

enum { CONTENT_ROW = 30000 };

static void
put_id(struct ctl_call *call, uint64_t qid)
{
	char id[QID_CHARS + 1];

	ctl_str(call, "id", qid_text(qid, id));
}

static bool
list_one(struct visitor *v, const struct seen *s, struct rcpt *r)
{
	struct ctl_call *call = v->call;
	uint64_t limit;

	(void)r;
	if (limit_get(call, UINT64_MAX, &limit) && v->count[1] >= limit)
		return false;
	v->count[1]++;
	put_id(call, s->qid);
	ctl_str(call, "state", s->state);
	ctl_text(call, "sender", s->sender);
	ctl_text(call, "rcpt", s->addr);
	ctl_text(call, "tenant", s->tenant);
	ctl_text(call, "key", s->user);
	ctl_number(call, "size", s->size);
	ctl_time(call, "arrival", s->arrival_us);
	ctl_number(call, "attempts", s->attempts);
	ctl_time(call, "next", s->next_us);
	answer_reason(call, s);
	ctl_row_end(call);
	return true;
}

enum ctl_result
ctl_queue_list(struct ctl_call *call)
{
	struct qmgr *q = call->daemon;
	struct visitor v = { .meet = list_one, .call = call, .q = q };
	struct filter f;
	uint64_t limit;

	if (!filter_get(call, &f) || !limit_get(call, UINT64_MAX, &limit))
		return CTL_DONE;
	if (call->cursor == NULL)
		walk_start(call, q, &f);
	return walk_step(&v, &f) ? CTL_MORE : CTL_DONE;
}

static void
put_counts(struct ctl_call *call, uint64_t messages, uint64_t rcpts, uint64_t bytes)
{
	ctl_number(call, "messages", messages);
	ctl_number(call, "recipients", rcpts);
	ctl_number(call, "bytes", bytes);
}

static bool
count_one(struct visitor *v, const struct seen *s, struct rcpt *r)
{
	(void)r;
	v->count[0] += s->first;
	v->count[1]++;
	v->count[2] += s->first ? s->size : 0;
	return true;
}

enum ctl_result
ctl_queue_count(struct ctl_call *call)
{
	struct qmgr *q = call->daemon;
	struct visitor v = { .meet = count_one, .call = call, .q = q };
	const struct counts *c = &q->counts;
	struct filter f;

	if (!filter_get(call, &f))
		return CTL_DONE;
	if (!f.any && !f.ids) {
		put_counts(call, c->messages, c->active + c->deferred + c->held, c->bytes);
		ctl_number(call, "active", c->active);
		ctl_number(call, "deferred", c->deferred);
		ctl_number(call, "held", c->held);
		ctl_row_end(call);
		return CTL_DONE;
	}
	if (call->cursor == NULL)
		walk_start(call, q, &f);
	if (walk_step(&v, &f))
		return CTL_MORE;
	put_counts(call, v.count[0], v.count[1], v.count[2]);
	ctl_row_end(call);
	return CTL_DONE;
}

/* One message. */

static void
show_message(struct ctl_call *call, const struct message *m)
{
	put_id(call, m->qid);
	ctl_text(call, "sender", m->sender);
	ctl_str(call, "tenant", m->tenant->name);
	ctl_text(call, "key", m->user);
	ctl_number(call, "size", whole_bytes(&m->rec, m->size));
	ctl_time(call, "arrival", m->arrival_us);
	ctl_time(call, "release", m->release_us);
	ctl_time(call, "expires", message_expires(m));
	ctl_number(call, "accepted_recipients", m->total);
	ctl_number(call, "recipients", m->live);
	ctl_text(call, "envid", m->envid);
	ctl_text(call, "header_from", m->header_from);
	ctl_text(call, "retry", m->retry);
	ctl_str(call, "segment", m->seg->name);
	ctl_number(call, "offset", m->offset);
	ctl_row_end(call);
}

static bool
show_rcpt(struct visitor *v, const struct seen *s, struct rcpt *r)
{
	struct ctl_call *call = v->call;
	char esc[ESC_TEXT_MAX];

	ctl_text(call, "rcpt", s->addr);
	ctl_str(call, "state", s->state);
	ctl_number(call, "attempts", s->attempts);
	ctl_time(call, "next", s->next_us);
	ctl_time(call, "last", s->last_us);
	ctl_str(call, "dsn", esc_text(esc_unpack(s->esc), esc));
	answer_reason(call, s);
	ctl_text(call, "relay", s->relay);
	ctl_str(call, "lane", s->lane);
	ctl_row_end(call);
	(void)r;
	return true;
}

/* Rows of one field "content": parts of the text. */
static int
show_range(struct ctl_call *call, int fd, uint64_t at, uint64_t end)
{
	char *chunk = x_malloc(CONTENT_ROW);
	ssize_t n = 0;

	for (; at < end; at += (uint64_t)n) {
		size_t want = end - at < CONTENT_ROW ? (size_t)(end - at) : CONTENT_ROW;
		n = pread(fd, chunk, want, (off_t)at);
		if (n <= 0)
			break;
		ctl_text(call, "content", view_of(chunk, (size_t)n));
		ctl_row_end(call);
	}
	free(chunk);
	return at < end ? -1 : 0;
}

static int
show_content(struct ctl_call *call, struct qmgr *q, const struct message *m)
{
	uint64_t at = m->offset + record_front_at(&m->rec), front = at + m->rec.front_len;

	if (m->big == 0)
		return show_range(call, m->seg->fd, at, front + m->rec.content_len);
	if (show_range(call, m->seg->fd, at, front) < 0)
		return -1;
	int fd = big_open_reader(q, m->big);
	if (fd < 0)
		return -1;
	int rc = show_range(call, fd, 0, m->size);
	close(fd);
	return rc;
}

enum ctl_result
ctl_queue_show(struct ctl_call *call)
{
	struct qmgr *q = call->daemon;
	struct visitor v = { .meet = show_rcpt, .call = call, .q = q };
	struct message *m;
	struct filter f;
	uint64_t qid;

	if (!filter_get(call, &f))
		return CTL_DONE;
	if (!f.ids || !qid_parse(ctl_arg(call, "id"), &qid))
		return ctl_end(call, 2, "a queue id is needed");
	if (call->cursor == NULL) {
		if ((m = message_get(q, qid)) == NULL)
			return ctl_end(call, 1, "no such message");
		show_message(call, m);
		walk_start(call, q, &f);
	}
	if (walk_step(&v, &f))
		return CTL_MORE;
	if (ctl_flag(call, "content") &&
	    ((m = message_get(q, qid)) == NULL || show_content(call, q, m) < 0))
		return ctl_end(call, 1, "the content cannot be read: %s", strerror(errno));
	return CTL_DONE;
}
