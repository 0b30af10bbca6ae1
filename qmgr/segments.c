/* SPDX-License-Identifier: ISC */
/* The pool: opening at start, giving segments to writers, taking them back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/durable.h"
#include "qmgr/conn.h"
#include "qmgr/list.h"
#include "qmgr/loader.h"
#include "qmgr/recover.h"
#include "qmgr/segment_make.h"
#include "qmgr/segments.h"
#include "qmgr/store.h"

enum { LOCK_RETRY_MS = 50 };

struct segment *
segment_find(const struct qmgr *q, uint64_t gen)
{
	for (struct table_node *n = table_first(&q->pool.segments, hash_u64(gen)); n;
	     n = table_next(n)) {
		struct segment *s = CONTAINER(n, struct segment, node);
		if (s->gen == gen)
			return s;
	}
	return NULL;
}

uint64_t
segments_next_gen(struct qmgr *q)
{
	uint64_t ms = loop_wall_us(q->loop) / 1000;

	q->pool.last_gen = ms > q->pool.last_gen ? ms : q->pool.last_gen + 1;
	return q->pool.last_gen;
}

int
segment_open_reader(struct qmgr *q, const struct segment *s)
{
	return openat(q->pool.seg_dir, s->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

void
segment_live(struct segment *s, int change, uint64_t bytes)
{
	if (change > 0) {
		s->live++;
		s->live_bytes += bytes;
	} else {
		s->live--;
		s->live_bytes -= bytes;
	}
}

bool
segment_lock(struct segment *s)
{
	return flock(s->fd, LOCK_EX | LOCK_NB) == 0;
}

struct segment *
segment_add(struct qmgr *q, const char *name, int fd, int done_fd, const struct segment_header *h)
{
	struct segment *s = x_calloc(1, sizeof(*s));

	snprintf(s->name, sizeof(s->name), "%s", name);
	s->fd = fd;
	s->done_fd = done_fd;
	s->gen = h->gen;
	s->size = h->size;
	buf_init(&s->marks, 64 << 20);
	table_put(&q->pool.segments, &s->node, hash_u64(s->gen));
	if (s->gen > q->pool.last_gen)
		q->pool.last_gen = s->gen;
	return s;
}

void
segment_marks_reset(struct segment *s, uint64_t at)
{
	buf_clear(&s->marks);
	s->done_at = at;
	s->marks_written = 0;
	s->marks_failed = false;
}

void
segment_drop(struct qmgr *q, struct segment *s)
{
	if (link_in(&s->link))
		q->pool.free_count -= s->state == SEG_FREE;
	link_cut(&s->link);
	link_cut(&s->dirty);
	table_del(&q->pool.segments, &s->node);
	close(s->fd);
	close(s->done_fd);
	buf_free(&s->marks);
	free(s);
}

void
segment_set_free(struct qmgr *q, struct segment *s)
{
	link_cut(&s->link);
	s->state = SEG_FREE;
	s->told = SEGMENT_DATA;
	s->sealed = 0;
	segment_marks_reset(s, 0);
	s->indexed = s->stuck = false;
	list_put(&q->pool.free, &s->link);
	q->pool.free_count++;
}

static struct segment *
take_free(struct qmgr *q)
{
	if (list_empty(&q->pool.free))
		return NULL;
	struct segment *s = CONTAINER(q->pool.free.next, struct segment, link);
	link_cut(&s->link);
	q->pool.free_count--;
	return s;
}

/* Write-only: what lies in a recycled segment is not the writer's business. */
static int
open_writer(struct qmgr *q, struct segment *s)
{
	int fd = openat(q->pool.seg_dir, s->name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -1;
	flock(s->fd, LOCK_UN);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
give(struct qmgr *q, struct writer *w)
{
	struct segment *s = take_free(q);
	int fd = open_writer(q, s);

	if (fd < 0) {
		/* Not our pool any more: somebody else has it open, or it is gone. */
		log_error("segment %s cannot be used: %s", s->name, strerror(errno));
		segment_drop(q, s);
		return;
	}
	s->state = SEG_WRITER;
	s->writer = w;
	w->wanted--;
	w->held++;
	w->told_full = false;
	IPC_SEND_FD(&w->ch, fd, segment, .gen = s->gen, .start = SEGMENT_DATA, .size = s->size);
}

/* Who has none goes before who wants a spare. */
static struct writer *
neediest(struct qmgr *q)
{
	struct writer *best = NULL;

	LIST_EACH(&q->writers, l, after) {
		struct writer *w = CONTAINER(l, struct writer, link);
		if (w->wanted && (best == NULL || w->held < best->held))
			best = w;
	}
	return best;
}

static void
tell_no_space(struct qmgr *q)
{
	LIST_EACH(&q->writers, l, after) {
		struct writer *w = CONTAINER(l, struct writer, link);
		if (w->wanted && !w->told_full) {
			w->told_full = true;
			IPC_SEND(&w->ch, no_space, .count = w->wanted);
		}
	}
}

void
segments_serve(struct qmgr *q)
{
	struct writer *w;

	while (!list_empty(&q->pool.free) && (w = neediest(q)) != NULL)
		give(q, w);
	if (q->pool.no_space)
		tell_no_space(q);
	segments_make(q);
}

struct segment *
segment_take_own(struct qmgr *q)
{
	struct segment *s = take_free(q);

	if (s) {
		s->state = SEG_OWN;
		/* Never scanned: the rows decide which of its records count. */
		s->indexed = true;
		store_put_segment(q, s);
	}
	segments_make(q);
	return s;
}

static bool
try_close(struct qmgr *q, struct segment *s)
{
	if (!segment_lock(s))
		return false;
	if (s->told < (s->sealed ? s->sealed : s->size))
		recover_scan(q, s);
	s->state = SEG_FULL;
	loader_reset(q);
	segment_check(q, s);
	return true;
}

struct closing {
	struct qmgr *q;
	bool left;
};

static void
visit_closing(void *ctx, struct table_node *n)
{
	struct closing *c = ctx;
	struct segment *s = CONTAINER(n, struct segment, node);

	if (s->state == SEG_CLOSING && !try_close(c->q, s))
		c->left = true;
}

void
segments_try_locks(struct loop_timer *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, pool.locks);
	struct closing c = { q, false };

	table_each(&q->pool.segments, visit_closing, &c);
	if (c.left)
		loop_timer_set(q->loop, &q->pool.locks, LOCK_RETRY_MS);
	else
		big_sweep(q);
}

void
segment_closing(struct qmgr *q, struct segment *s)
{
	if (s->writer)
		s->writer->held--;
	s->writer = NULL;
	s->state = SEG_CLOSING;
	loop_timer_set(q->loop, &q->pool.locks, 0);
}

void
segment_check(struct qmgr *q, struct segment *s)
{
	if (s->state != SEG_FULL)
		return;
	if (s->live == 0) {
		if (!link_in(&s->link))
			segment_recycle_later(q, s);
	} else if (s->loose == 0 && !s->indexed) {
		s->indexed = true;
		store_put_segment(q, s);
	}
}

/* Opening at start. */

static bool
all_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static void
quarantine_file(struct qmgr *q, const char *name)
{
	char to[32];

	snprintf(to, sizeof(to), "%s.segment", name);
	if (renameat(q->pool.seg_dir, name, q->pool.quarantine_dir, to) < 0)
		log_error("segment %s: damaged header, and it cannot be moved: %s", name,
		    strerror(errno));
	else
		log_error("segment %s: damaged header; moved to quarantine/%s", name, to);
}

/* Whether the file is a segment; what a crash left of making one is removed. */
static bool
read_header(struct qmgr *q, const char *name, int fd, struct segment_header *h)
{
	char page[SEGMENT_DATA], done[32];
	struct stat st;
	ssize_t n = pread(fd, page, sizeof(page), 0);

	if (n < 0 || fstat(fd, &st) < 0) {
		log_error("segment %s: %s", name, strerror(errno));
		return false;
	}
	if (segment_header_get(view_of(page, (size_t)n), h)) {
		if (h->size > (uint64_t)st.st_size) {
			log_error("segment %s is shorter than it was: %jd bytes", name,
			    (intmax_t)st.st_size);
			h->size = (uint64_t)st.st_size & ~(uint64_t)(SEGMENT_ALIGN - 1);
		}
		return true;
	}
	if (!all_zero(page, (size_t)n)) {
		quarantine_file(q, name);
		return false;
	}
	snprintf(done, sizeof(done), "%s.done", name);
	unlinkat(q->pool.seg_dir, name, 0);
	unlinkat(q->pool.seg_dir, done, 0);
	return false;
}

static void
open_one(struct qmgr *q, const char *name)
{
	char done[NAME_MAX + 8];
	struct segment_header h;
	int fd = openat(q->pool.seg_dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC), done_fd = -1;

	if (fd < 0) {
		log_error("segment %s: %s", name, strerror(errno));
		return;
	}
	if (!read_header(q, name, fd, &h)) {
		close(fd);
		return;
	}
	snprintf(done, sizeof(done), "%s.done", name);
	done_fd = openat(q->pool.seg_dir, done, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (done_fd < 0 || segment_find(q, h.gen)) {
		log_error("segment %s: %s", name,
		    done_fd < 0 ? strerror(errno) : "a second one of its generation");
		close(fd);
		if (done_fd >= 0)
			close(done_fd);
		return;
	}
	struct segment *s = segment_add(q, name, fd, done_fd, &h);
	s->state = SEG_CLOSING;
	s->told = SEGMENT_DATA;
}

static bool
segment_name(const char *name)
{
	size_t n = strspn(name, "0123456789abcdef");

	return n > 0 && n <= 16 && name[n] == '\0';
}

static int
open_folder(const char *name, struct err *e)
{
	if (mkdir(name, 0700) < 0 && errno != EEXIST)
		return err_errno(e, "create folder %s", name);
	int fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(e, "open folder %s", name) : fd;
}

static int
open_folders(struct pool *p, struct err *e)
{
	p->seg_dir = open_folder("seg", e);
	p->big_dir = p->seg_dir < 0 ? -1 : open_folder("big", e);
	p->quarantine_dir = p->big_dir < 0 ? -1 : open_folder("quarantine", e);
	if (p->quarantine_dir < 0)
		return -1;
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (here < 0)
		return err_errno(e, "open the spool folder");
	int rc = durable_sync_dir(here, e);
	close(here);
	return rc;
}

int
segments_open(struct qmgr *q, struct err *e)
{
	list_init(&q->pool.free);
	buf_init(&q->pool.big_wants, 1 << 20);
	q->pool.locks.fire = segments_try_locks;
	segment_make_init(q);
	if (open_folders(&q->pool, e) < 0)
		return -1;
	DIR *dir = opendir("seg");
	if (dir == NULL)
		return err_errno(e, "read folder seg");
	for (struct dirent *de; (de = readdir(dir)) != NULL;)
		if (segment_name(de->d_name))
			open_one(q, de->d_name);
	closedir(dir);
	return big_open_all(q, e);
}

static void
close_one(void *ctx, struct table_node *n)
{
	segment_drop(ctx, CONTAINER(n, struct segment, node));
}

void
segments_close(struct qmgr *q)
{
	segment_make_stop(q);
	loop_timer_cancel(q->loop, &q->pool.locks);
	table_each(&q->pool.segments, close_one, q);
	table_free(&q->pool.segments);
	big_close_all(q);
	close(q->pool.seg_dir);
	close(q->pool.big_dir);
	close(q->pool.quarantine_dir);
}
