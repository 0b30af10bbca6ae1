/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/aio.h"
#include "lib/durable.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/spool.h"

enum {
	SEGMENTS_HELD = 2,
	IOV_BATCH = 1024,
	HEADS_KEPT = 1 << 20,
	PAGE = 4096, /* of the page cache */
	PAUSE_MAX_MS = 6
};

/* A segment this process may write to. */
struct slot {
	int fd; /* -1: none; the descriptor holds the lock */
	uint64_t gen, at, size;
	uint32_t index; /* of the next record */
};

/* A message that has its place in the batch under way. */
struct placed {
	struct spool_msg *m; /* NULL: cancelled by another one's callback */
	uint64_t offset;
	size_t head_at, head_len;
	struct record r;
};

struct spool {
	struct loop *loop;
	struct channel *qmgr; /* NULL: none */
	uint32_t writer, asked;
	bool full;
	struct slot use, spare;
	struct spool_msg *head, **end;
	struct spool_big *bigs; /* asked for, not yet answered */
	uint64_t last_req;
	struct loop_task commit;
	struct loop_timer wait;
	/* The batch under way: placed, written, and until `sync` is done not yet durable. */
	struct buf heads;
	struct placed *batch;
	size_t batch_count, batch_cap;
	uint64_t batch_gen, batch_end; /* its segment, and where it ends there */
	bool batch_left;	       /* it filled its segment: what is queued goes to the next */
	bool batch_lost;	       /* its segment was given up meanwhile: qmgr finds it by itself */
	struct aio *aio;	       /* NULL: syncs are waited for */
	struct aio_op sync;
	/*
	 * A sync costs as much for one message as for many. While others are on their way, it begins only
	 * when three times its usual time has passed since the last one began.
	 */
	uint32_t expected;
	uint64_t began_us, usual_us, next_ms;
	struct loop_timer pause;
	struct iovec *iov;
	size_t iov_count, iov_cap;
};

static void
clear_slot(struct slot *s)
{
	if (s->fd >= 0)
		close(s->fd);
	*s = (struct slot){ .fd = -1 };
}

static void
ask(struct spool *s)
{
	uint32_t have = (uint32_t)(s->use.fd >= 0) + (uint32_t)(s->spare.fd >= 0);

	if (s->qmgr == NULL || have + s->asked >= SEGMENTS_HELD)
		return;
	uint32_t count = SEGMENTS_HELD - have - s->asked;
	s->asked += count;
	IPC_SEND(s->qmgr, segment_want, .count = count);
}

/* The lock goes before qmgr reads the message: it can scan and recycle at once. */
static void
release(struct spool *s, struct slot *slot, bool failed)
{
	uint64_t gen = slot->gen, end = slot->at;

	clear_slot(slot);
	if (s->qmgr)
		IPC_SEND(s->qmgr, segment_release, .gen = gen, .end = end, .failed = failed);
	ask(s);
}

static void
enqueue(struct spool *s, struct spool_msg *m)
{
	m->queued = true;
	m->next = NULL;
	*s->end = m;
	s->end = &m->next;
}

static struct spool_msg *
dequeue(struct spool *s)
{
	struct spool_msg *m = s->head;

	s->head = m->next;
	if (s->head == NULL)
		s->end = &s->head;
	m->next = NULL;
	return m;
}

static void
finish(struct spool_msg *m, const struct err *e)
{
	m->queued = false;
	m->committed(m, e);
}

/* Callbacks may store new messages: only those that are here now fail. */
static void
fail_queue(struct spool *s, const struct err *e)
{
	struct spool_msg *last = s->head ? CONTAINER(s->end, struct spool_msg, next) : NULL;

	while (s->head && last) {
		struct spool_msg *m = dequeue(s);
		bool end = m == last;
		finish(m, e);
		if (end)
			break;
	}
}

static void
no_space_error(struct err *e)
{
	err_set(e, ERR_TEMP, ESC(4, 3, 1), "Insufficient system storage");
}

static void
wait_over(struct loop_timer *t)
{
	struct spool *s = CONTAINER(t, struct spool, wait);
	struct err e;

	err_set(&e, ERR_TEMP, ESC(4, 3, 0), "Queue not available, try again later");
	fail_queue(s, &e);
}

static void
add_iov(struct spool *s, struct view v)
{
	if (v.n == 0)
		return;
	if (s->iov_count == s->iov_cap) {
		s->iov_cap = s->iov_cap ? s->iov_cap * 2 : 64;
		s->iov = x_realloc(s->iov, s->iov_cap, sizeof(*s->iov));
	}
	s->iov[s->iov_count++] = (struct iovec){ (void *)(uintptr_t)v.p, v.n };
}

enum fit { FIT_OK, FIT_FULL, FIT_NEVER };

/* Encodes the head and gives the record its place in the segment in use. */
static enum fit
place(struct spool *s, struct spool_msg *m, uint64_t at)
{
	struct placed *p = &s->batch[s->batch_count];
	struct slot *slot = &s->use;
	bool big = m->env->flags & SEGMENT_BIG;
	uint32_t crc = m->content_crc;

	if (slot->index > SEGMENT_RECORDS_MAX)
		return FIT_FULL;
	if (!big) {
		crc = crc32c(0, m->front.p, m->front.n);
		crc = crc32c(crc, m->content.p, m->content.n);
		m->env->size = m->content.n;
	}
	*p = (struct placed){ .m = m, .offset = at, .head_at = buf_len(&s->heads) };
	m->env->qid = qid_make(slot->gen, slot->index);
	record_head_put(&s->heads, slot->gen, m->env, m->front.n, big ? 0 : m->content.n, crc, &p->r);
	if (s->heads.bad || p->r.length > slot->size - at) {
		bool never = s->heads.bad || at == SEGMENT_DATA;
		s->heads.bad = false;
		buf_truncate(&s->heads, p->head_at);
		return never ? FIT_NEVER : FIT_FULL;
	}
	p->head_len = buf_len(&s->heads) - p->head_at;
	slot->index++;
	s->batch_count++;
	return FIT_OK;
}

static void
fail_oversized(struct spool *s)
{
	struct err e;

	log_error("a message of %zu bytes does not fit into a spool segment of %llu",
	    s->head->content.n, (unsigned long long)s->use.size);
	err_set(&e, ERR_TEMP, ESC(4, 3, 1), "Message does not fit into the queue");
	finish(dequeue(s), &e);
}

/* Places what fits; the new end of the records. */
static uint64_t
fill_batch(struct spool *s)
{
	uint64_t at = s->use.at;

	s->batch_count = 0;
	buf_clear(&s->heads);
	while (s->head) {
		if (s->batch_count == s->batch_cap) {
			s->batch_cap = s->batch_cap ? s->batch_cap * 2 : 64;
			s->batch = x_realloc(s->batch, s->batch_cap, sizeof(*s->batch));
		}
		enum fit fit = place(s, s->head, at);
		if (fit == FIT_NEVER && s->batch_count == 0) {
			fail_oversized(s);
			continue;
		}
		if (fit != FIT_OK)
			break;
		dequeue(s);
		at += s->batch[s->batch_count - 1].r.length;
	}
	return at;
}

/* The addresses of heads are known only now: the buffer grew while they were put. */
static void
gather(struct spool *s, uint64_t end)
{
	static const char zeros[PAGE];
	size_t mark_at = buf_len(&s->heads);

	end_mark_put(&s->heads, s->use.gen);
	struct view heads = buf_view(&s->heads);
	s->iov_count = 0;
	for (size_t i = 0; i < s->batch_count; i++) {
		const struct placed *p = &s->batch[i];
		size_t used = p->head_len + p->r.front_len + (size_t)p->r.content_len;
		add_iov(s, view_first(view_skip(heads, p->head_at), p->head_len));
		add_iov(s, p->m->front);
		if (p->r.content_len)
			add_iov(s, p->m->content);
		add_iov(s, view_of(zeros, p->r.length - used));
	}
	if (s->use.size - end < END_MARK)
		return;
	add_iov(s, view_skip(heads, mark_at));
	/* Up to the end of the page: one that is written whole need not be read first. */
	add_iov(s, view_of(zeros, (size_t)-(end + END_MARK) % PAGE));
}

/* Drops n written bytes from the front of the vector. */
static struct iovec *
advance(struct iovec *v, const struct iovec *end, size_t n)
{
	for (; v < end && n >= v->iov_len; v++)
		n -= v->iov_len;
	if (v < end) {
		v->iov_base = (char *)v->iov_base + n;
		v->iov_len -= n;
	}
	return v;
}

static int
write_batch(struct spool *s)
{
	struct iovec *v = s->iov, *end = s->iov + s->iov_count;
	uint64_t at = s->use.at;

	if ((errno = FAULT("seg.write")) != 0)
		return -1;
	while (v < end) {
		size_t count = (size_t)(end - v) < IOV_BATCH ? (size_t)(end - v) : IOV_BATCH;
		ssize_t n = pwritev(s->use.fd, v, (int)FAULT_LENGTH(count), (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		at += (uint64_t)n;
		v = advance(v, end, (size_t)n);
	}
	return 0;
}

static void
tell_stored(struct spool *s)
{
	struct view heads = buf_view(&s->heads);

	if (s->batch_lost)
		return;
	for (size_t i = 0; i < s->batch_count; i++) {
		const struct placed *p = &s->batch[i];
		struct view head = view_first(view_skip(heads, p->head_at), p->head_len);
		if (head.n > IPC_BULK_MAX)
			head = VIEW("");
		if (s->qmgr)
			IPC_SEND(s->qmgr, stored, .gen = s->batch_gen, .offset = p->offset,
			    .end = p->offset + p->r.length, .head = head);
	}
	s->use.at = s->batch_end;
}

static void
answer_batch(struct spool *s, const struct err *e)
{
	/* Callbacks run on a list of their own: they may store and cancel. */
	size_t count = s->batch_count;

	for (size_t i = 0; i < count; i++) {
		struct spool_msg *m = s->batch[i].m;
		s->batch[i].m = NULL;
		if (m)
			finish(m, e);
	}
	s->batch_count = 0;
}

/* The batch is durable (error 0), or could not be made so (an errno value). */
static void
end_batch(struct spool *s, int error)
{
	struct err e;

	if (error == 0) {
		(void)FAULT("seg.synced");
		tell_stored(s);
		(void)FAULT("seg.told");
		answer_batch(s, NULL);
		if (s->batch_left && !s->batch_lost)
			release(s, &s->use, false);
		return;
	}
	/* Whether any of it is on the disk is not known, and asking again might get a wrong yes. */
	log_error("spool segment %llx: %s", (unsigned long long)s->batch_gen, strerror(error));
	if (!s->batch_lost)
		release(s, &s->use, true);
	if (error == ENOSPC || error == EDQUOT)
		no_space_error(&e);
	else
		err_set(&e, ERR_TEMP, ESC(4, 3, 0), "Queue file write error");
	answer_batch(s, &e);
}

static void
sync_done(struct aio_op *op, long res)
{
	struct spool *s = CONTAINER(op, struct spool, sync);

	s->usual_us = (7 * s->usual_us + clock_mono_us() - s->began_us) / 8;
	end_batch(s, res < 0 ? (int)-res : 0);
	loop_post(s->loop, LOOP_COMMIT, &s->commit);
}

/* The sync runs beside the loop, if it can; what completes meanwhile is the next batch. */
static int
begin_sync(struct spool *s)
{
	if (s->aio && aio_fdatasync(s->aio, &s->sync, s->use.fd) == 0)
		return 0;
	return fdatasync(s->use.fd);
}

static void
sync_batch(struct spool *s)
{
	uint64_t pause_ms = (3 * s->usual_us + 500) / 1000;

	s->began_us = clock_mono_us();
	s->next_ms = loop_now_ms(s->loop) + (pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
	int rc = FAULT_CALL("seg.sync", begin_sync(s), -1);

	if (!s->sync.pending)
		end_batch(s, rc < 0 ? errno : 0);
}

static void
commit_batch(struct spool *s)
{
	s->batch_gen = s->use.gen;
	s->batch_lost = false;
	s->batch_end = fill_batch(s);
	s->batch_left = s->head != NULL;
	if (s->batch_count == 0) {
		if (s->batch_left)
			release(s, &s->use, false);
		return;
	}
	gather(s, s->batch_end);
	if (write_batch(s) == 0)
		sync_batch(s);
	else
		end_batch(s, errno);
}

static void
wait_or_fail(struct spool *s)
{
	struct err e;

	if (s->head == NULL || s->sync.pending) {
		loop_timer_cancel(s->loop, &s->wait);
	} else if (s->full) {
		no_space_error(&e);
		fail_queue(s, &e);
	} else if (!loop_timer_armed(&s->wait)) {
		loop_timer_set(s->loop, &s->wait, SPOOL_WAIT_MS);
	}
}

/* More messages are worth waiting for; the timer ends it. */
static bool
pausing(struct spool *s)
{
	uint64_t now_ms = loop_now_ms(s->loop);

	if (s->expected && now_ms < s->next_ms) {
		loop_timer_set(s->loop, &s->pause, s->next_ms - now_ms);
		return true;
	}
	loop_timer_cancel(s->loop, &s->pause);
	return false;
}

static void
pause_over(struct loop_timer *t)
{
	struct spool *s = CONTAINER(t, struct spool, pause);

	loop_post(s->loop, LOOP_COMMIT, &s->commit);
}

static void
commit_run(struct loop_task *t)
{
	struct spool *s = CONTAINER(t, struct spool, commit);

	while (s->head && !s->sync.pending) {
		if (pausing(s))
			return;
		if (s->use.fd < 0) {
			s->use = s->spare;
			s->spare = (struct slot){ .fd = -1 };
		}
		if (s->use.fd < 0)
			break;
		commit_batch(s);
	}
	if (s->heads.cap > HEADS_KEPT && !s->sync.pending)
		buf_free(&s->heads);
	wait_or_fail(s);
}

struct spool *
spool_new(struct loop *l, uint32_t writer)
{
	struct spool *s = x_calloc(1, sizeof(*s));

	s->loop = l;
	s->writer = writer;
	s->use.fd = s->spare.fd = -1;
	s->end = &s->head;
	s->commit.run = commit_run;
	s->wait.fire = wait_over;
	s->pause.fire = pause_over;
	s->sync.done = sync_done;
	s->aio = aio_new(l, 1);
	if (s->aio == NULL)
		log_warn("no asynchronous sync here: %s", strerror(errno));
	buf_init(&s->heads, ENVELOPE_MAX * 4ul);
	return s;
}

void
spool_attach(struct spool *s, struct channel *qmgr)
{
	if (s->qmgr)
		spool_detach(s);
	s->qmgr = qmgr;
	s->asked = 0;
	s->full = false;
	ask(s);
	for (struct spool_big *b = s->bigs; b; b = b->next) /* opened while there was no qmgr */
		IPC_SEND(qmgr, big_want, .req = b->req);
}

void
spool_detach(struct spool *s)
{
	struct err e;

	s->qmgr = NULL;
	s->asked = 0;
	s->full = false;
	s->batch_lost = true; /* a sync under way goes on, and holds the lock until it ends */
	clear_slot(&s->use);
	clear_slot(&s->spare);
	err_set(&e, ERR_TEMP, ESC(4, 3, 0), "Queue not available, try again later");
	fail_queue(s, &e);
	for (struct spool_big *b, *list = s->bigs; (b = list) != NULL;) {
		list = b->next;
		s->bigs = list;
		b->next = NULL;
		b->opened(b, &e);
	}
}

static bool
on_segment(struct spool *s, struct view body, int *fd)
{
	struct ipc_segment m;
	struct slot *slot = s->use.fd < 0 ? &s->use : &s->spare;

	if (!ipc_get(&ipc_desc_segment, body, &m) || *fd < 0 || s->asked == 0 || slot->fd >= 0)
		return false;
	if (m.start < SEGMENT_DATA || m.start % SEGMENT_ALIGN || m.size % SEGMENT_ALIGN ||
	    m.size <= m.start || m.gen == 0)
		return false;
	*slot = (struct slot){ .fd = *fd, .gen = m.gen, .at = m.start, .size = m.size };
	*fd = -1;
	s->asked--;
	s->full = false;
	if (s->head)
		loop_post(s->loop, LOOP_COMMIT, &s->commit);
	return true;
}

static bool
on_no_space(struct spool *s, struct view body)
{
	struct ipc_no_space m;

	if (!ipc_get(&ipc_desc_no_space, body, &m))
		return false;
	s->full = true;
	if (s->head)
		loop_post(s->loop, LOOP_COMMIT, &s->commit);
	return true;
}

static struct spool_big *
take_big(struct spool *s, uint64_t req)
{
	for (struct spool_big **at = &s->bigs; *at; at = &(*at)->next) {
		struct spool_big *b = *at;
		if (b->req != req)
			continue;
		*at = b->next;
		b->next = NULL;
		return b;
	}
	return NULL;
}

static bool
on_big(struct spool *s, struct view body, int *fd)
{
	struct ipc_big m;
	struct err e;

	if (!ipc_get(&ipc_desc_big, body, &m) || (m.big != 0) != (*fd >= 0))
		return false;
	struct spool_big *b = take_big(s, m.req);
	if (b == NULL) { /* closed before the answer */
		if (m.big && s->qmgr)
			IPC_SEND(s->qmgr, big_drop, .big = m.big);
		return true;
	}
	if (m.big == 0) {
		no_space_error(&e);
		b->opened(b, &e);
		return true;
	}
	b->number = m.big;
	b->fd = *fd;
	*fd = -1;
	b->opened(b, NULL);
	return true;
}

bool
spool_frame(struct spool *s, uint16_t type, struct view body, int *fd)
{
	switch (type) {
	case IPC_TYPE_segment:
		return on_segment(s, body, fd);
	case IPC_TYPE_no_space:
		return on_no_space(s, body);
	case IPC_TYPE_big:
		return on_big(s, body, fd);
	default:
		return false;
	}
}

void
spool_free(struct spool **sp)
{
	struct spool *s = *sp;

	if (s == NULL)
		return;
	aio_free(&s->aio);
	loop_unpost(s->loop, &s->commit);
	loop_timer_cancel(s->loop, &s->wait);
	loop_timer_cancel(s->loop, &s->pause);
	clear_slot(&s->use);
	clear_slot(&s->spare);
	buf_free(&s->heads);
	free(s->batch);
	free(s->iov);
	free(s);
	*sp = NULL;
}

void
spool_store(struct spool *s, struct spool_msg *m)
{
	enqueue(s, m);
	loop_post(s->loop, LOOP_COMMIT, &s->commit);
}

void
spool_expect(struct spool *s, int more)
{
	s->expected += (uint32_t)more;
	/* The last one that a sync waited for may have gone without storing anything. */
	if (s->expected == 0 && s->head)
		loop_post(s->loop, LOOP_COMMIT, &s->commit);
}

void
spool_cancel(struct spool *s, struct spool_msg *m)
{
	if (!m->queued)
		return;
	m->queued = false;
	for (size_t i = 0; i < s->batch_count; i++)
		if (s->batch[i].m == m)
			s->batch[i].m = NULL;
	for (struct spool_msg **at = &s->head; *at; at = &(*at)->next) {
		if (*at != m)
			continue;
		*at = m->next;
		if (m->next == NULL)
			s->end = at;
		return;
	}
}

enum spool_state
spool_state(const struct spool *s)
{
	if (s->use.fd >= 0 || s->spare.fd >= 0)
		return SPOOL_READY;
	return s->full ? SPOOL_FULL : SPOOL_WAIT;
}

void
spool_big_open(struct spool *s, struct spool_big *b)
{
	b->fd = -1;
	b->number = b->size = 0;
	b->req = ++s->last_req;
	b->next = s->bigs;
	s->bigs = b;
	if (s->qmgr)
		IPC_SEND(s->qmgr, big_want, .req = b->req);
}

int
spool_big_write(struct spool_big *b, struct view v, struct err *e)
{
	if ((errno = FAULT("big.write")) != 0)
		return err_errno(e, "write");
	if (durable_write(b->fd, v.p, v.n, e) < 0) {
		if (errno == ENOSPC || errno == EDQUOT)
			no_space_error(e);
		return -1;
	}
	b->size += v.n;
	return 0;
}

int
spool_big_sync(struct spool_big *b, struct err *e)
{
	return FAULT_CALL("big.sync", durable_sync(b->fd, e), err_errno(e, "fdatasync"));
}

void
spool_big_close(struct spool *s, struct spool_big *b, bool keep)
{
	take_big(s, b->req);
	if (b->fd < 0)
		return;
	close(b->fd);
	b->fd = -1;
	if (!keep && s->qmgr)
		IPC_SEND(s->qmgr, big_drop, .big = b->number);
}
