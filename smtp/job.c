/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "smtp/job.h"
#include "smtp/report.h"
#include "smtp/session.h"

enum { RESULT_ROOM = IPC_TEXT_MAX + THROTTLE_NAME_MAX + 64 };

static bool
take_rcpts(struct job *j, struct view blob)
{
	struct ipc_job_rcpt r;
	struct view v = blob;
	uint32_t n = 0;

	if (!ipc_records_ok(&ipc_desc_job_rcpt, blob))
		return false;
	while (ipc_next(&ipc_desc_job_rcpt, &v, &r))
		n++;
	j->rcpts = arena_alloc(&j->arena, n * sizeof(*j->rcpts));
	while (ipc_next(&ipc_desc_job_rcpt, &blob, &r))
		j->rcpts[j->count++] = (struct rcpt){ .index = r.index,
			.addr = arena_view(&j->arena, r.rcpt),
			.orcpt = arena_view(&j->arena, r.orcpt),
			.notify = r.notify };
	return n > 0;
}

struct job *
job_new(const struct ipc_deliver *m)
{
	struct job *j = x_calloc(1, sizeof(*j));
	struct arena *a = &j->arena;

	j->id = m->job;
	j->qid = m->qid;
	j->content = m->content;
	j->offset = m->offset;
	j->big = m->big;
	j->content_len = m->content_len;
	j->front_len = m->front_len;
	j->crc = m->crc;
	j->flags = m->flags;
	j->arrival_us = m->arrival_us;
	j->active_us = m->active_us;
	j->sender = arena_view(a, m->sender);
	j->tenant = arena_view(a, m->tenant);
	j->user = arena_view(a, m->user);
	j->sender_original = arena_view(a, m->sender_original);
	j->tag = arena_view(a, m->tag);
	j->batch = arena_view(a, m->batch);
	j->label = arena_view(a, m->label);
	j->copy = m->copy;
	j->lane = arena_view(a, m->lane);
	j->site = arena_view(a, m->site);
	j->source_name = arena_view(a, m->source_name);
	j->mt_priority = m->mt_priority;
	j->envid = arena_view(a, m->envid);
	j->ret = m->ret;
	j->attempt = m->attempt;
	if (take_rcpts(j, m->rcpts))
		return j;
	job_free(j);
	return NULL;
}

void
job_free(struct job *j)
{
	arena_free(&j->arena);
	free(j);
}

void
job_note(struct job *j, struct rcpt *r, const struct verdict *v)
{
	struct view said = view_str(v->text);

	r->stage = v->stage;
	r->code = v->code;
	r->esc = v->esc;
	r->remote = v->remote;
	/* Most recipients of a message share the text of the one before. */
	if (r > j->rcpts && r[-1].said.p && view_eq(r[-1].said, said))
		r->said = r[-1].said;
	else
		r->said = arena_view(&j->arena, said);
	r->text = view_skip(r->said, v->bare);
}

void
job_set(struct job *j, struct rcpt *r, enum rcpt_status status, const struct verdict *v)
{
	if (r->status)
		return;
	r->status = (uint8_t)status;
	job_note(j, r, v);
}

/* false: it was decided before. */
static bool
decide(struct job *j, struct rcpt *r, const struct verdict *v)
{
	if (r->status)
		return false;
	job_set(j, r,
	    v->class == ERR_NONE   ? RCPT_SENT
	    : v->class == ERR_PERM ? RCPT_BOUNCED
				   : RCPT_DEFERRED,
	    v);
	return true;
}

static void
note_throttle(struct job *j, struct rcpt *r, const struct verdict *v)
{
	if (*v->throttle)
		r->throttle = arena_view(&j->arena, view_str(v->throttle));
}

void
job_decide(struct job *j, struct rcpt *r, const struct verdict *v)
{
	if (decide(j, r, v))
		note_throttle(j, r, v);
}

/* What a reply says of the pace is said once, however many recipients it decides. */
bool
job_decide_rest(struct job *j, const struct verdict *v, bool accepted_only)
{
	struct rcpt *first = NULL;

	for (uint32_t i = 0; i < j->count; i++)
		if ((!accepted_only || j->rcpts[i].accepted) && decide(j, &j->rcpts[i], v) &&
		    first == NULL)
			first = &j->rcpts[i];
	if (first)
		note_throttle(j, first, v);
	return first != NULL;
}

uint64_t
job_size(const struct job *j)
{
	return j->content_len + j->front_len;
}

static bool
has_8bit(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] > 0x7f)
			return true;
	return false;
}

bool
job_needs_utf8(const struct job *j)
{
	bool needs = has_8bit(j->sender);

	for (uint32_t i = 0; !needs && i < j->count; i++)
		needs = has_8bit(j->rcpts[i].addr);
	return needs;
}

void
job_report(const struct job *j, struct session *s, uint8_t event)
{
	struct buf results = BUF_INIT(IPC_BULK_MAX);
	struct view relay = view_str(s->relay);

	for (uint32_t i = 0; i < j->count; i++) {
		const struct rcpt *r = &j->rcpts[i];
		report_rcpt(s, j, r);
		if (buf_len(&results) + RESULT_ROOM > IPC_BULK_MAX) {
			IPC_SEND(session_qmgr(s), job_done, .conn = s->conn, .job = j->id,
			    .relay = relay, .more = true, .results = buf_view(&results));
			buf_clear(&results);
		}
		IPC_RECORD(&results, job_result, .index = r->index, .status = r->status,
		    .stage = r->stage, .code = r->code, .esc = esc_pack(r->esc), .text = r->text,
		    .remote = r->remote, .throttle = r->throttle);
	}
	IPC_SEND(session_qmgr(s), job_done, .conn = s->conn, .job = j->id, .relay = relay,
	    .event = event, .results = buf_view(&results));
	buf_free(&results);
}
