/* SPDX-License-Identifier: ISC */
/*
 * Making segments: real zeros are written, in slices between other work, because a sync into blocks
 * that were written before is several times faster than one into blocks that are only allocated.
 * They go past the page cache and beside the loop where that is possible: nobody reads them, and
 * copying them there cost more CPU than all the mail that later overwrites them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/fault.h"
#include "qmgr/compact.h"
#include "qmgr/conn.h"
#include "qmgr/list.h"
#include "qmgr/segment_make.h"
#include "qmgr/store.h"

enum {
	SLICE = 512 << 10,	/* also of memory, aligned to PAGE for O_DIRECT */
	PAGE = 4096,
	DONE_BYTES = 256 << 10, /* of a done file, pre-written for the same reason */
	PAUSE_MS = 5,		/* between slices while nobody waits */
	SPACE_RETRY_MS = 5000
};
/* The first segments of a new spool are small, so that writers do not wait for them. */
#define STARTER_BYTES (8ull << 20)
/* Left to the database, done marks and the rest of the host. */
#define SPACE_MARGIN (32ull << 20)

struct making {
	int fd;
	int direct; /* O_DIRECT; -1: not here */
	uint64_t gen, size, at;
	char name[20];
	char *zeros;
};

static void
end_making(struct qmgr *q, bool remove)
{
	struct making *m = q->pool.making;
	char done[32];

	if (m == NULL)
		return;
	q->pool.making = NULL;
	if (remove && m->fd >= 0) {
		snprintf(done, sizeof(done), "%s.done", m->name);
		unlinkat(q->pool.seg_dir, m->name, 0);
		unlinkat(q->pool.seg_dir, done, 0);
		close(m->fd);
	}
	if (m->direct >= 0)
		close(m->direct);
	free(m->zeros);
	free(m);
}

static void
no_space(struct qmgr *q, const char *why)
{
	if (!q->pool.no_space)
		log_error("no space for another segment: %s", why);
	q->pool.no_space = true;
	end_making(q, true);
	loop_timer_set(q->loop, &q->pool.step, SPACE_RETRY_MS);
}

static bool
room_for(const struct qmgr *q, uint64_t size)
{
	struct statvfs v;

	if (fstatvfs(q->pool.seg_dir, &v) < 0)
		return true; /* writing will tell */
	return (uint64_t)v.f_bavail * v.f_frsize > size + SPACE_MARGIN;
}

/* Header, and the end mark at the place of the first record. */
static int
write_header(int fd, uint64_t gen, uint64_t size, uint64_t now_us, struct err *e)
{
	struct buf b = BUF_INIT(SEGMENT_DATA + END_MARK);
	struct segment_header h = { .gen = gen, .size = size, .created_us = now_us };

	segment_header_put(&b, &h);
	end_mark_put(&b, gen);
	int rc = durable_pwrite(fd, b.p + b.off, buf_len(&b), 0, e);
	buf_free(&b);
	return rc;
}

static int
make_done_file(struct qmgr *q, const struct making *m, struct err *e)
{
	char done[32];

	snprintf(done, sizeof(done), "%s.done", m->name);
	int fd = openat(q->pool.seg_dir, done, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (fd < 0)
		return err_errno(e, "create %s", done);
	errno = FAULT("make.done");
	if (errno == 0 && durable_pwrite(fd, m->zeros, DONE_BYTES, 0, e) == 0 &&
	    FAULT_CALL("make.done-sync", fsync(fd), -1) == 0)
		return fd;
	if (errno)
		err_errno(e, "write %s", done);
	close(fd);
	return -1;
}

/* The last slice is written: header last, so that a file without one is known to be unfinished. */
static int
finish_making(struct qmgr *q, struct making *m, struct err *e)
{
	struct segment_header h = { .gen = m->gen, .size = m->size };
	int done_fd = make_done_file(q, m, e);

	if (done_fd < 0)
		return -1;
	if ((errno = FAULT("make.header")) != 0) {
		err_errno(e, "write");
		goto fail;
	}
	if (write_header(m->fd, m->gen, m->size, loop_wall_us(q->loop), e) < 0)
		goto fail;
	if (FAULT_CALL("make.sync", fsync(m->fd), -1) < 0) {
		err_errno(e, "fsync");
		goto fail;
	}
	if (durable_sync_dir(q->pool.seg_dir, e) < 0)
		goto fail;
	segment_set_free(q, segment_add(q, m->name, m->fd, done_fd, &h));
	end_making(q, false);
	return 0;
fail:
	close(done_fd);
	return -1;
}

/* How many are wanted beyond those that are free; *urgent: a writer has none. */
static size_t
missing(struct qmgr *q, bool *urgent)
{
	size_t want = q->set.spare_segments + compact_wants_segment(q);

	*urgent = false;
	LIST_EACH(&q->writers, l, after) {
		struct writer *w = CONTAINER(l, struct writer, link);
		want += w->wanted;
		*urgent |= w->wanted && w->held == 0;
	}
	return want > q->pool.free_count ? want - q->pool.free_count : 0;
}

static size_t
slice_of(const struct making *m)
{
	return m->size - m->at < SLICE ? (size_t)(m->size - m->at) : SLICE;
}

/* Room and blocks for all of the file; NULL, or why not. */
static const char *
reserve(struct qmgr *q, const struct making *m)
{
	if (m->fd < 0)
		return strerror(errno);
	if (!room_for(q, m->size))
		return "the file system is nearly full";
	if (fallocate(m->fd, 0, 0, (off_t)m->size) == 0 || errno == EOPNOTSUPP)
		return NULL;
	return strerror(errno);
}

static int
begin(struct qmgr *q, bool urgent)
{
	struct making *m = x_calloc(1, sizeof(*m));

	q->pool.making = m;
	m->size = urgent && q->set.segment_size > STARTER_BYTES ? STARTER_BYTES : q->set.segment_size;
	m->gen = segments_next_gen(q);
	m->direct = -1;
	snprintf(m->name, sizeof(m->name), "%" PRIx64, m->gen);
	m->fd = openat(q->pool.seg_dir, m->name,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	const char *why = reserve(q, m);
	if (why) {
		no_space(q, why);
		return -1;
	}
	if (q->pool.aio)
		m->direct = openat(q->pool.seg_dir, m->name, O_WRONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);
	m->zeros = aligned_alloc(PAGE, SLICE);
	if (m->zeros == NULL)
		abort();
	memset(m->zeros, 0, SLICE);
	return 0;
}

/* A slice is written, or could not be (an errno value): the next one, or the end. */
static void
slice_done(struct qmgr *q, int error)
{
	struct making *m = q->pool.making;
	struct err e;
	bool urgent;

	missing(q, &urgent);
	m->at += slice_of(m);
	if (error == 0 && m->at < m->size) {
		loop_timer_set(q->loop, &q->pool.step, urgent ? 0 : PAUSE_MS);
		return;
	}
	if (error) {
		no_space(q, strerror(error));
	} else if (finish_making(q, m, &e) < 0) {
		no_space(q, e.text);
	} else {
		if (q->pool.no_space)
			log_info("space for segments again");
		q->pool.no_space = false;
	}
	segments_serve(q);
}

static void
direct_done(struct aio_op *op, long res)
{
	struct qmgr *q = CONTAINER(op, struct qmgr, pool.slice);
	struct making *m = q->pool.making;

	if (m == NULL)
		return;
	if (res >= 0 && (size_t)res < slice_of(m))
		res = -ENOSPC;
	if (res == -EINVAL || res == -EOPNOTSUPP) { /* the file system says so only now */
		close(m->direct);
		m->direct = -1;
		loop_timer_set(q->loop, &q->pool.step, 0);
		return;
	}
	slice_done(q, res < 0 ? (int)-res : 0);
}

static void
write_slice(struct qmgr *q, struct making *m)
{
	size_t n = slice_of(m);
	int error = FAULT("make.write");
	struct err e;

	if (error == 0 && m->direct >= 0) {
		if (aio_pwrite(q->pool.aio, &q->pool.slice, m->direct, m->zeros, n, m->at) == 0)
			return;
		error = errno;
	} else if (error == 0) {
		error = durable_pwrite(m->fd, m->zeros, n, m->at, &e) < 0 ? errno : 0;
		/*
		 * Writing starts now, so that the one sync at the end finds little to do; a sync for each
		 * slice would commit the journal each time and hold up those of the writers.
		 */
		if (error == 0)
			sync_file_range(m->fd, (off_t)m->at, (off_t)n, SYNC_FILE_RANGE_WRITE);
	}
	slice_done(q, error);
}

static void
step(struct loop_timer *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, pool.step);
	bool urgent;

	if (missing(q, &urgent) == 0 && q->pool.making == NULL)
		return;
	if (q->pool.making == NULL && begin(q, urgent) < 0) {
		segments_serve(q);
		return;
	}
	write_slice(q, q->pool.making);
}

void
segments_make(struct qmgr *q)
{
	bool urgent;

	if (q->draining || q->pool.no_space || loop_timer_armed(&q->pool.step) ||
	    q->pool.slice.pending || missing(q, &urgent) == 0)
		return;
	loop_timer_set(q->loop, &q->pool.step, urgent ? 0 : PAUSE_MS);
}

void
segment_make_init(struct qmgr *q)
{
	q->pool.step.fire = step;
	q->pool.slice.done = direct_done;
	q->pool.aio = aio_new(q->loop, 1);
	if (q->pool.aio == NULL)
		log_warn("segments are made in turn with other work: %s", strerror(errno));
	list_init(&q->pool.recycle);
}

void
segment_make_stop(struct qmgr *q)
{
	loop_timer_cancel(q->loop, &q->pool.step);
	aio_free(&q->pool.aio);
	end_making(q, true);
}

void
segment_recycle_later(struct qmgr *q, struct segment *s)
{
	list_put(&q->pool.recycle, &s->link);
	store_wake(q);
}

static void
remove_segment(struct qmgr *q, struct segment *s)
{
	char done[32];

	snprintf(done, sizeof(done), "%s.done", s->name);
	unlinkat(q->pool.seg_dir, s->name, 0);
	(void)FAULT("remove.half");
	unlinkat(q->pool.seg_dir, done, 0);
	segment_drop(q, s);
}

/* The new generation makes every record and mark in the files one of a former life. */
static void
recycle(struct qmgr *q, struct segment *s)
{
	struct err e;
	uint64_t old = s->gen, gen = segments_next_gen(q);

	conn_drop_content(q, old);
	if (s->indexed || s->sealed)
		store_del_segment(q, old);
	link_cut(&s->link);
	/* A starter, or of a former setting: others take its place. */
	if (s->size != q->set.segment_size && q->pool.free_count) {
		remove_segment(q, s);
		return;
	}
	errno = FAULT("recycle.write");
	int rc = errno ? err_errno(&e, "write") :
	    write_header(s->fd, gen, s->size, loop_wall_us(q->loop), &e);
	if (rc < 0 || FAULT_CALL("recycle.sync", durable_sync(s->fd, &e),
	    err_errno(&e, "fdatasync")) < 0) {
		log_error("segment %s cannot be recycled: %s", s->name, e.text);
		remove_segment(q, s);
		return;
	}
	table_del(&q->pool.segments, &s->node);
	s->gen = gen;
	table_put(&q->pool.segments, &s->node, hash_u64(gen));
	segment_set_free(q, s);
}

void
segments_recycle(struct qmgr *q)
{
	bool any = false;

	LIST_EACH(&q->pool.recycle, l, after) {
		struct segment *s = CONTAINER(l, struct segment, link);
		any = true;
		recycle(q, s);
	}
	if (any) {
		store_put_gen(q);
		segments_serve(q);
	}
}
