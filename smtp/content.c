/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/durable.h"
#include "smtp/content.h"

struct content {
	struct content *next;
	uint64_t number;
	int fd;
};

static struct content **
find(struct contents *c, uint64_t number)
{
	struct content **at = &c->bucket[number % CONTENT_BUCKETS];

	while (*at && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

static int
fd_of(const struct contents *c, uint64_t number)
{
	const struct content *at = c->bucket[number % CONTENT_BUCKETS];

	while (at && at->number != number)
		at = at->next;
	return at ? at->fd : -1;
}

static void
remove_at(struct content **at)
{
	struct content *c = *at;

	*at = c->next;
	close(c->fd);
	free(c);
}

void
contents_add(struct contents *c, uint64_t number, int fd)
{
	struct content **at = find(c, number);

	if (*at)
		remove_at(at);
	struct content *fresh = x_malloc(sizeof(*fresh));
	*fresh = (struct content){ .next = *at, .number = number, .fd = fd };
	*at = fresh;
}

void
contents_drop(struct contents *c, uint64_t number)
{
	struct content **at = find(c, number);

	if (*at)
		remove_at(at);
}

void
contents_drop_all(struct contents *c)
{
	for (size_t i = 0; i < CONTENT_BUCKETS; i++)
		while (c->bucket[i])
			remove_at(&c->bucket[i]);
}

int
reader_open(struct reader *r, const struct contents *c, uint64_t number, uint64_t offset,
    uint32_t front_len, uint64_t big, uint64_t content_len, struct err *e)
{
	*r = (struct reader){ .line_start = true };
	r->fd[0] = fd_of(c, number);
	r->fd[1] = big ? fd_of(c, big) : r->fd[0];
	r->at[0] = offset;
	r->at[1] = big ? 0 : offset + front_len;
	r->left[0] = front_len;
	r->left[1] = content_len;
	/* Neighbours are read at once. */
	if (big == 0) {
		r->left[0] += r->left[1];
		r->left[1] = 0;
	}
	if (r->fd[0] < 0 || r->fd[1] < 0)
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "the message's file is not open");
	return 0;
}

/* Doubles each dot at the start of a line of what is in `out` from `start` on. */
static void
stuff(struct reader *r, struct buf *out, size_t start)
{
	struct view v = view_skip(buf_view(out), start);
	bool at_line = r->line_start;
	size_t dots = 0;

	for (size_t i = 0; i < v.n;) {
		if (at_line && v.p[i] == '.')
			dots++;
		const char *lf = memchr(v.p + i, '\n', v.n - i);
		at_line = lf != NULL;
		i = lf ? (size_t)(lf - v.p) + 1 : v.n;
	}
	if (dots == 0)
		return;
	char *copy = x_malloc(v.n);
	memcpy(copy, v.p, v.n);
	v.p = copy;
	buf_truncate(out, start);
	at_line = r->line_start;
	while (v.n) {
		const char *lf = memchr(v.p, '\n', v.n);
		struct view line = view_first(v, lf ? (size_t)(lf - v.p) + 1 : v.n);
		if (at_line && line.p[0] == '.')
			buf_putc(out, '.');
		buf_putv(out, line);
		at_line = lf != NULL;
		v = view_skip(v, line.n);
	}
	free(copy);
}

/* One pread of up to n bytes into out; -1 and *e when they are not there. */
static ssize_t
read_some(struct reader *r, int part, struct buf *out, size_t n, struct err *e)
{
	char *room = buf_reserve(out, n);
	ssize_t got;

	if (room == NULL)
		return err_set(e, ERR_BUG, ESC(4, 3, 0), "output is full");
	do
		got = pread(r->fd[part], room, n, (off_t)r->at[part]);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_errno(e, "read the message");
	if (got == 0)
		return err_set(e, ERR_PERM, ESC(4, 3, 0), "the message ends too early");
	r->crc = crc32c(r->crc, room, (size_t)got);
	r->at[part] += (size_t)got;
	r->left[part] -= (size_t)got;
	buf_commit(out, (size_t)got);
	return got;
}

enum reader_result
reader_read(struct reader *r, struct buf *out, struct err *e)
{
	size_t room = CONTENT_CHUNK;

	for (int part = 0; part < 2; part++)
		while (r->left[part] && room) {
			size_t start = buf_len(out);
			size_t n = r->left[part] < room ? (size_t)r->left[part] : room;
			ssize_t got = read_some(r, part, out, n, e);
			if (got < 0)
				return READER_DAMAGED;
			room -= (size_t)got;
			struct view v = view_skip(buf_view(out), start);
			bool ends_line = v.p[v.n - 1] == '\n', ends_cr = v.p[v.n - 1] == '\r';
			if (r->dots)
				stuff(r, out, start);
			r->line_start = ends_line;
			r->cr = ends_cr;
		}
	if (r->left[0] || r->left[1])
		return READER_MORE;
	if (r->crc != r->want_crc) {
		err_set(e, ERR_PERM, ESC(5, 3, 0), "the message is damaged: its checksum is wrong");
		return READER_DAMAGED;
	}
	if (!r->line_start)
		buf_puts(out, r->cr ? "\n" : "\r\n");
	buf_puts(out, ".\r\n");
	return READER_END;
}
