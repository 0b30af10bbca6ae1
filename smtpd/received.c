/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "lib/log.h"
#include "smtpd/received.h"

enum { LINE_WISH = 78 };

/* What a client said of itself, for a place between blanks: no byte that has a meaning there. */
static void
put_word(struct buf *b, struct view v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
		    (c < 0x80 && memchr(".-_:[]", c, 6));
		buf_putc(b, plain ? v.p[i] : '?');
	}
}

void
received_put_id(const struct session *s, struct buf *b)
{
	session_put_id(s, b);
	buf_printf(b, ".%u", s->txns);
}

/* "Received: from <what the client calls itself> by <us>; date": nothing of its network (C1). */
static void
put_abbreviated(struct session *s, struct buf *b)
{
	size_t start = buf_len(b);

	buf_puts(b, "Received: from ");
	put_word(b, view_str(s->helo));
	buf_printf(b, " by %s;", s->listener->site->hostname);
	const char *date = smtpd_date(s->d);
	buf_puts(b, buf_len(b) - start + strlen(date) < LINE_WISH ? " " : "\r\n\t");
	buf_printf(b, "%s\r\n", date);
}

/* RFC 5321, 4.4, with the tls clause of RFC 8314, 4.3, and the priority clause of RFC 6710. */
static void
put_full(struct session *s, const struct txn *t, struct buf *b)
{
	buf_puts(b, "Received: from ");
	put_word(b, view_str(s->helo));
	buf_puts(b, " (");
	put_word(b, view_str(session_name(s)));
	buf_printf(b, " [%s%s])\r\n\tby %s with %s id ", strchr(s->ip, ':') ? "IPv6:" : "", s->ip,
	    s->listener->site->hostname, session_proto(s));
	received_put_id(s, b);
	if (t->env.nrcpt == 1)
		buf_printf(b, "\r\n\tfor <" VIEW_FMT ">", VIEW_ARG(t->env.rcpts[0].addr));
	if (t->prioritized && t->grant.may_priority)
		buf_printf(b, "\r\n\tpriority %d", t->priority);
	if (s->tls) {
		struct tls_info info;
		tls_info(s->io.tls, &info);
		buf_printf(b, "\r\n\ttls %s (%s)", info.cipher, info.version);
	}
	buf_printf(b, ";\r\n\t%s\r\n", smtpd_date(s->d));
}

static void
add_message_id(struct session *s, struct txn *t)
{
	struct buf id = BUF_INIT(512);

	buf_puts(&id, " <");
	received_put_id(s, &id);
	buf_printf(&id, "@%s>", s->listener->site->hostname);
	t->env.message_id = arena_view(&t->arena, view_skip(buf_view(&id), 1));
	header_list_insert(&t->header, 0, VIEW("Message-ID"), buf_view(&id));
	buf_free(&id);
}

static void
add_date(struct session *s, struct txn *t)
{
	struct buf date = BUF_INIT(64);

	buf_printf(&date, " %s", smtpd_date(s->d));
	header_list_insert(&t->header, 0, VIEW("Date"), buf_view(&date));
	buf_free(&date);
}

void
received_complete(struct session *s, struct txn *t)
{
	if (t->header.counts[HEADER_MESSAGE_ID] == 0)
		add_message_id(s, t);
	if (t->header.counts[HEADER_DATE] == 0)
		add_date(s, t);
}

void
received_put(struct session *s, struct txn *t, struct buf *out)
{
	switch (s->listener->site->received) {
	case CONF_RECEIVED_abbreviated:
		put_abbreviated(s, out);
		break;
	case CONF_RECEIVED_full:
		put_full(s, t, out);
		break;
	case CONF_RECEIVED_none:
	case CONF_RECEIVED_strip:
		/* Without Received fields a loop would go unseen (C6). */
		buf_printf(out, HEADER_HOPS_FIELD ": %u\r\n", t->hops + 1);
		break;
	}
}
