/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qmgr/marks.h"

struct mark {
	struct table_node node;
	struct done_mark m;
};

static uint64_t
mark_hash(uint64_t qid, uint32_t rcpt)
{
	return hash_u64(qid ^ (uint64_t)rcpt << 40);
}

static bool
read_file(struct segment *s, struct buf *b)
{
	struct stat st;

	if (fstat(s->done_fd, &st) < 0)
		return false;
	while (buf_len(b) < (size_t)st.st_size) {
		size_t at = buf_len(b), want = (size_t)st.st_size - at;
		ssize_t n = pread(s->done_fd, buf_reserve(b, want), want, (off_t)at);
		if (n <= 0)
			return false;
		buf_commit(b, (size_t)n);
	}
	return true;
}

/* Marks have one size: a damaged one hides no other. */
void
marks_read(struct marks *k, struct segment *s)
{
	struct buf b = BUF_INIT(1ul << 32);
	struct done_mark m;
	uint64_t at = 0;

	*k = (struct marks){ 0 };
	if (!read_file(s, &b))
		log_error("done marks of segment %s: %s: mail may go out twice", s->name, strerror(errno));
	k->all = x_calloc(buf_len(&b) / DONE_MARK, sizeof(*k->all));
	for (struct view v = buf_view(&b); v.n >= DONE_MARK; v = view_skip(v, DONE_MARK)) {
		at += DONE_MARK;
		if (!done_mark_get(view_first(v, DONE_MARK), s->gen, &m))
			continue;
		if (at > s->done_at)
			s->done_at = at;
		struct mark *n = &k->all[k->count++];
		n->m = m;
		table_put(&k->table, &n->node, mark_hash(m.qid, m.rcpt));
	}
	buf_free(&b);
}

bool
marks_has(const struct marks *k, uint64_t qid, uint32_t rcpt)
{
	for (struct table_node *n = table_first(&k->table, mark_hash(qid, rcpt)); n; n = table_next(n)) {
		const struct mark *m = CONTAINER(n, struct mark, node);
		if (m->m.qid == qid && m->m.rcpt == rcpt)
			return true;
	}
	return false;
}

void
marks_free(struct marks *k)
{
	table_free(&k->table);
	free(k->all);
	*k = (struct marks){ 0 };
}
