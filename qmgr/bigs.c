/* SPDX-License-Identifier: ISC */
/*
 * Content files of messages over the inline limit: big/<number in hexadecimal>. The folder is synced
 * before a writer gets one, so that the record that names it never names nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/fault.h"
#include "qmgr/list.h"
#include "qmgr/segment_make.h"
#include "qmgr/store.h"

struct big {
	struct table_node node;
	uint64_t number;
	struct writer *writer; /* still writes it; NULL: gone, or a record names it */
	bool named;
};

struct want {
	struct writer *w;
	uint64_t req, number;
	int fd;
};

static struct big *
find(const struct qmgr *q, uint64_t number)
{
	for (struct table_node *n = table_first(&q->pool.bigs, hash_u64(number)); n;
	     n = table_next(n)) {
		struct big *b = CONTAINER(n, struct big, node);
		if (b->number == number)
			return b;
	}
	return NULL;
}

static struct big *
add(struct qmgr *q, uint64_t number, struct writer *w)
{
	struct big *b = x_calloc(1, sizeof(*b));

	b->number = number;
	b->writer = w;
	table_put(&q->pool.bigs, &b->node, hash_u64(number));
	return b;
}

static void
forget(struct qmgr *q, struct big *b)
{
	table_del(&q->pool.bigs, &b->node);
	free(b);
}

static void
file_name(uint64_t number, char out[static 20])
{
	snprintf(out, 20, "%" PRIx64, number);
}

int
big_open_reader(struct qmgr *q, uint64_t number)
{
	char name[20];

	file_name(number, name);
	return openat(q->pool.big_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

static bool
writer_is_here(const struct qmgr *q, const struct writer *w)
{
	LIST_EACH(&q->writers, l, after)
		if (CONTAINER(l, struct writer, link) == w)
			return true;
	return false;
}

static void
make_file(struct qmgr *q, struct want *m)
{
	char name[20];

	m->number = segments_next_gen(q);
	file_name(m->number, name);
	m->fd = q->pool.no_space || FAULT("big.make") ? -1 :
	    openat(q->pool.big_dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static void
answer(struct qmgr *q, struct want *m, bool synced)
{
	char name[20];

	if (m->fd >= 0 && synced && writer_is_here(q, m->w)) {
		add(q, m->number, m->w);
		IPC_SEND_FD(&m->w->ch, m->fd, big, .req = m->req, .big = m->number);
		return;
	}
	if (m->fd >= 0) {
		close(m->fd);
		file_name(m->number, name);
		unlinkat(q->pool.big_dir, name, 0);
	}
	if (writer_is_here(q, m->w))
		IPC_SEND(&m->w->ch, big, .req = m->req, .big = 0);
}

/* All of the turn share one sync of the folder. */
static void
serve(struct loop_task *t)
{
	struct qmgr *q = CONTAINER(t, struct qmgr, pool.big_task);
	struct buf *b = &q->pool.big_wants;
	struct want *m = (struct want *)(void *)(b->p + b->off);
	size_t count = buf_len(b) / sizeof(*m);
	struct err e;

	for (size_t i = 0; i < count; i++)
		make_file(q, &m[i]);
	bool synced = durable_sync_dir(q->pool.big_dir, &e) == 0;
	if (!synced)
		log_error("folder big: %s", e.text);
	(void)FAULT("big.made");
	store_put_gen(q);
	for (size_t i = 0; i < count; i++)
		answer(q, &m[i], synced);
	buf_free(b);
}

void
big_want(struct qmgr *q, struct writer *w, uint64_t req)
{
	struct want m = { .w = w, .req = req, .fd = -1 };

	buf_put(&q->pool.big_wants, &m, sizeof(m));
	loop_post(q->loop, LOOP_COMMIT, &q->pool.big_task);
}

void
big_named(struct qmgr *q, uint64_t number)
{
	struct big *b = find(q, number);

	if (b == NULL)
		b = add(q, number, NULL);
	b->named = true;
	b->writer = NULL;
}

void
big_remove(struct qmgr *q, uint64_t number)
{
	struct big *b = find(q, number);

	if (b)
		forget(q, b);
	store_unlink_big(q, number);
}

bool
big_drop(struct qmgr *q, struct writer *w, uint64_t number)
{
	struct big *b = find(q, number);

	if (b == NULL || b->writer != w)
		return false;
	big_remove(q, number);
	return true;
}

struct gone {
	struct qmgr *q;
	struct writer *w;
};

static void
orphan(void *ctx, struct table_node *n)
{
	const struct gone *g = ctx;
	struct big *b = CONTAINER(n, struct big, node);

	if (b->writer == g->w)
		b->writer = NULL;
}

/* A record in a tail not yet read may still name one: big_sweep() decides later. */
void
big_writer_gone(struct qmgr *q, struct writer *w)
{
	struct gone g = { q, w };

	table_each(&q->pool.bigs, orphan, &g);
}

static void
sweep_orphan(void *ctx, struct table_node *n)
{
	struct qmgr *q = ctx;
	struct big *b = CONTAINER(n, struct big, node);

	if (b->named || b->writer)
		return;
	store_unlink_big(q, b->number);
	forget(q, b);
}

static void
sweep_folder(struct qmgr *q)
{
	DIR *dir = opendir("big");

	if (dir == NULL)
		return;
	for (struct dirent *de; (de = readdir(dir)) != NULL;) {
		char *end;
		uint64_t number = strtoull(de->d_name, &end, 16);
		if (*end || number == 0 || number >= q->pool.big_sweep_below || find(q, number))
			continue;
		log_info("content file %s belongs to no message: removed", de->d_name);
		unlinkat(q->pool.big_dir, de->d_name, 0);
	}
	closedir(dir);
}

void
big_sweep(struct qmgr *q)
{
	table_each(&q->pool.bigs, sweep_orphan, q);
	if (q->pool.big_sweep_below)
		sweep_folder(q);
	q->pool.big_sweep_below = 0;
}

/* Numbers of files that are there are used up, whatever the clock says. */
int
big_open_all(struct qmgr *q, struct err *e)
{
	DIR *dir = opendir("big");

	q->pool.big_task.run = serve;
	if (dir == NULL)
		return err_errno(e, "read folder big");
	for (struct dirent *de; (de = readdir(dir)) != NULL;) {
		char *end;
		uint64_t number = strtoull(de->d_name, &end, 16);
		if (*end == '\0' && number > q->pool.last_gen)
			q->pool.last_gen = number;
	}
	closedir(dir);
	return 0;
}

static void
close_one(void *ctx, struct table_node *n)
{
	forget(ctx, CONTAINER(n, struct big, node));
}

void
big_close_all(struct qmgr *q)
{
	loop_unpost(q->loop, &q->pool.big_task);
	table_each(&q->pool.bigs, close_one, q);
	table_free(&q->pool.bigs);
	buf_free(&q->pool.big_wants);
}
