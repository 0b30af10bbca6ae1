/* SPDX-License-Identifier: ISC */
/* What a milter is told about a message, command by command. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "smtpd/milter_impl.h"

static void
say_header(struct milters *c, struct milter_link *l)
{
	const struct header_list *h = &c->s->txn.header;

	while (c->field < h->count && (h->fields[c->field].deleted || h->fields[c->field].name_n == 0))
		c->field++;
	if (c->field >= h->count || milter_steps(l) & SMFIP_NOHDRS) {
		c->part = PART_EOH;
		return;
	}
	milter_put_header(
	    milter_out(l), milter_steps(l), header_list_name(h, c->field), header_list_value(h, c->field));
	c->field++;
	milter_said(c, l, SMFIP_NR_HDR);
}

static void
say_eoh(struct milters *c, struct milter_link *l)
{
	c->part = PART_BODY;
	if (milter_steps(l) & SMFIP_NOEOH)
		return;
	milter_put_macros(milter_out(l), c->s, &l->conn->terms, SMFIM_EOH, SMFIC_EOH, VIEW(""));
	milter_put(milter_out(l), SMFIC_EOH, VIEW(""));
	milter_said(c, l, SMFIP_NR_EOH);
}

/* From memory, or from the file; empty at the end. -1: it cannot be read. */
static int
read_body(struct milters *c, struct view *v)
{
	const struct txn *t = &c->s->txn;
	ssize_t n;

	if (!t->big_open) {
		*v = view_first(view_skip(buf_view(&t->content), (size_t)c->body_at), MILTER_CHUNK_SIZE);
		c->body_at += v->n;
		return 0;
	}
	c->chunk.max = MILTER_CHUNK_SIZE;
	buf_clear(&c->chunk);
	char *room = buf_reserve(&c->chunk, MILTER_CHUNK_SIZE);
	do
		n = pread(t->big.fd, room, MILTER_CHUNK_SIZE, (off_t)c->body_at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	buf_commit(&c->chunk, (size_t)n);
	c->body_at += (size_t)n;
	*v = buf_view(&c->chunk);
	return 0;
}

static void
say_body(struct milters *c, struct milter_link *l)
{
	struct view v = VIEW("");

	if (!(milter_steps(l) & SMFIP_NOBODY) && read_body(c, &v) < 0) {
		log_error("message file: %s", strerror(errno));
		milter_refuse(c, 451, ESC(4, 3, 0), "Error: queue file read error");
		return;
	}
	if (v.n == 0) {
		c->part = PART_END;
		return;
	}
	milter_put(milter_out(l), SMFIC_BODY, v);
	milter_said(c, l, SMFIP_NR_BODY);
}

static void
say_end(struct milters *c, struct milter_link *l)
{
	milter_put_macros(milter_out(l), c->s, &l->conn->terms, SMFIM_EOM, SMFIC_BODYEOB, VIEW(""));
	milter_put(milter_out(l), SMFIC_BODYEOB, VIEW(""));
	milter_said(c, l, 0);
}

void
milter_say_part(struct milters *c, struct milter_link *l)
{
	static void (*const parts[])(struct milters *c, struct milter_link *l) = {
		[PART_HEADER] = say_header, [PART_EOH] = say_eoh, [PART_BODY] = say_body,
		[PART_END] = say_end };

	parts[c->part](c, l);
}
