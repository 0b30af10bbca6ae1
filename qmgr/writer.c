/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmgr/list.h"
#include "qmgr/message.h"
#include "qmgr/report.h"
#include "qmgr/segments.h"
#include "qmgr/special.h"
#include "qmgr/store.h"
#include "qmgr/writer.h"

enum { WANTED_MAX = 16 };

static bool
on_segment_want(struct writer *w, struct channel *ch, const struct ipc_segment_want *m, int *fd)
{
	(void)ch, (void)fd;
	if (m->count == 0 || m->count > WANTED_MAX || w->wanted + m->count > WANTED_MAX)
		return false;
	w->wanted += m->count;
	w->told_full = false;
	segments_serve(w->q);
	return true;
}

/* Its end is what the `stored` frames said: behind a failed write nothing counts. */
static bool
on_segment_release(struct writer *w, struct channel *ch, const struct ipc_segment_release *m, int *fd)
{
	struct segment *s = segment_find(w->q, m->gen);

	(void)ch, (void)fd;
	if (s == NULL || s->writer != w || m->end != s->told)
		return false;
	if (m->failed) {
		s->sealed = s->told;
		store_put_segment(w->q, s);
	}
	segment_closing(w->q, s);
	return true;
}

/* Header and envelope as they are on the disk, when the frame could not hold them. */
static bool
read_head(const struct segment *s, uint64_t offset, struct buf *b)
{
	struct record r;
	bool damaged;

	if (pread(s->fd, buf_reserve(b, RECORD_HEADER), RECORD_HEADER, (off_t)offset) != RECORD_HEADER)
		return false;
	buf_commit(b, RECORD_HEADER);
	if (!record_header_get(buf_view(b), s->gen, &r, &damaged))
		return false;
	for (size_t left = r.envelope_len; left;) {
		ssize_t n = pread(s->fd, buf_reserve(b, left), left, (off_t)(offset + buf_len(b)));
		if (n <= 0)
			return false;
		buf_commit(b, (size_t)n);
		left -= (size_t)n;
	}
	return true;
}

static bool
arrive(struct writer *w, struct segment *s, const struct ipc_stored *m, struct view head)
{
	struct record r;
	struct envelope env;
	struct arena a = { 0 };
	bool damaged;

	bool good = record_header_get(head, s->gen, &r, &damaged) && m->offset + r.length == m->end &&
	    qid_gen(r.qid) == s->gen && message_find(w->q, r.qid) == NULL &&
	    record_envelope_get(&r, view_skip(head, RECORD_HEADER), &a, &env);
	if (good) {
		s->told = m->end;
		message_arrived(w->q, s, m->offset, &r, &env);
	}
	arena_free(&a);
	return good;
}

static bool
on_stored(struct writer *w, struct channel *ch, const struct ipc_stored *m, int *fd)
{
	struct segment *s = segment_find(w->q, m->gen);
	struct buf b = BUF_INIT(ENVELOPE_MAX + RECORD_HEADER);

	(void)ch, (void)fd;
	if (s == NULL || s->writer != w || m->offset != s->told || m->end <= m->offset ||
	    m->end > s->size)
		return false;
	if (m->head.n)
		return arrive(w, s, m, m->head);
	bool good = read_head(s, m->offset, &b) && arrive(w, s, m, buf_view(&b));
	buf_free(&b);
	return good;
}

static bool
on_big_want(struct writer *w, struct channel *ch, const struct ipc_big_want *m, int *fd)
{
	(void)ch, (void)fd;
	big_want(w->q, w, m->req);
	return true;
}

static bool
on_big_drop(struct writer *w, struct channel *ch, const struct ipc_big_drop *m, int *fd)
{
	(void)ch, (void)fd;
	return big_drop(w->q, w, m->big);
}

static bool
on_report_done(struct writer *w, struct channel *ch, const struct ipc_report_done *m, int *fd)
{
	(void)fd;
	return ch->role == ROLE_BOUNCE && report_answer(w->q, m);
}

static bool
on_returned_done(struct writer *w, struct channel *ch, const struct ipc_returned_done *m, int *fd)
{
	(void)fd;
	return ch->role == ROLE_BOUNCE && returned_answer(w->q, m->req);
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct writer *d = ch->ctx;

	switch (type) {
		IPC_WRITER_TO_QMGR(IPC_CASE)
		IPC_BOUNCE_TO_QMGR(IPC_CASE)
	default:
		return false;
	}
}

static void
writer_free(struct loop_reap *r)
{
	free(CONTAINER(r, struct writer, reap));
}

static void
close_segment(void *ctx, struct table_node *n)
{
	struct writer *w = ctx;
	struct segment *s = CONTAINER(n, struct segment, node);

	if (s->writer == w)
		segment_closing(w->q, s);
}

static void
writer_gone(struct writer *w)
{
	struct qmgr *q = w->q;

	link_cut(&w->link);
	if (q->bounce == &w->ch)
		reports_detach(q);
	channel_close(&w->ch);
	table_each(&q->pool.segments, close_segment, w);
	big_writer_gone(q, w);
	loop_reap(q->loop, &w->reap);
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	struct writer *w = ch->ctx;

	if (!w->q->draining) /* else master stops them one after the other */
		log_warn("%s process %u is gone%s%s", role_name(ch->role), ch->instance,
		    e ? ": " : "", e ? e->text : "");
	writer_gone(w);
}

void
writer_detach(struct qmgr *q, enum role role, uint32_t instance)
{
	LIST_EACH(&q->writers, l, after) {
		struct writer *w = CONTAINER(l, struct writer, link);
		if (w->ch.role == role && w->ch.instance == instance)
			writer_gone(w);
	}
}

void
writer_attach(struct qmgr *q, enum role role, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { on_frame, on_closed };
	struct writer *w = x_calloc(1, sizeof(*w));

	writer_detach(q, role, instance);
	w->q = q;
	w->reap.free = writer_free;
	if (channel_open(&w->ch, q->loop, fd, &ops, w, role, instance) < 0) {
		log_error("channel to %s %u: %s", role_name(role), instance, strerror(errno));
		close(fd);
		free(w);
		return;
	}
	list_put(&q->writers, &w->link);
	if (role == ROLE_BOUNCE)
		reports_attach(q, &w->ch);
}

void
writers_close(struct qmgr *q)
{
	LIST_EACH(&q->writers, l, after)
		writer_gone(CONTAINER(l, struct writer, link));
}
