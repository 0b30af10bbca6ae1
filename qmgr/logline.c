/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "qmgr/logline.h"

enum { LINE = 4096, ADDRESS_SHOWN = 400, TEXT_SHOWN = 1024 };

static void
begin(struct buf *b, const struct message *m)
{
	char id[QID_CHARS + 1];

	buf_init(b, LINE * 2);
	buf_puts(b, qid_text(m->qid, id));
	buf_puts(b, ": ");
}

static void
put_addr(struct buf *b, const char *name, struct view addr)
{
	buf_puts(b, name);
	buf_puts(b, "=<");
	log_escape(b, addr, ADDRESS_SHOWN, "<>");
	buf_puts(b, ">");
}

static void
end(struct buf *b)
{
	log_line(buf_view(b));
	buf_free(b);
}

void
logline_active(const struct message *m, uint32_t nrcpt)
{
	struct buf b;

	begin(&b, m);
	put_addr(&b, "from", m->sender);
	buf_printf(&b, ", size=%llu, nrcpt=%u (queue active)",
	    (unsigned long long)whole_bytes(&m->rec, m->size), nrcpt);
	end(&b);
}

void
logline_removed(const struct message *m)
{
	struct buf b;

	begin(&b, m);
	buf_puts(&b, "removed");
	end(&b);
}

void
logline_expired(const struct message *m)
{
	struct buf b;

	begin(&b, m);
	put_addr(&b, "from", m->sender);
	buf_puts(&b, ", status=expired, returned to sender");
	end(&b);
}

/* Two significant digits, as readers expect them: 0, 0.05, 1.2, 12, 120. */
static void
put_seconds(struct buf *b, uint64_t us)
{
	if (us < 5000)
		buf_putc(b, '0');
	else if (us < 995000)
		buf_printf(b, us < 95000 ? "%.2f" : "%.2g", (double)us / 1e6);
	else if (us < 9950000)
		buf_printf(b, "%.1f", (double)us / 1e6);
	else
		buf_printf(b, "%llu", (unsigned long long)((us + 500000) / 1000000));
}

static uint64_t
since(uint64_t from, uint64_t to)
{
	return to > from ? to - from : 0;
}

static void
delays_of(const struct message *m, uint64_t delays[4])
{
	uint64_t now = loop_wall_us(m->q->loop);

	delays[0] = since(m->arrival_us, m->active_us);
	delays[1] = since(m->active_us, now);
	delays[2] = delays[3] = 0;
}

static void
fill_event(const struct rcpt *r, struct event *ev, const uint64_t *delays)
{
	const struct message *m = r->m;

	ev->qid = m->qid;
	ev->tenant = view_str(m->tenant->name);
	ev->key = m->user;
	ev->tag = m->tag;
	ev->batch = m->batch;
	ev->label = m->label;
	ev->sender = &m->sender;
	ev->sender_original = m->sender_original;
	ev->rcpt = r->addr;
	ev->size = whole_bytes(&m->rec, m->size);
	ev->attempt = r->attempts;
	ev->delays_us = delays;
	ev->code = r->code;
	ev->esc = esc_unpack(r->esc);
	ev->text = view_str(r->text);
	ev->relay = view_str(r->relay);
}

void
event_rcpt(const struct rcpt *r, enum event_type type)
{
	struct event ev = { .type = type };
	uint64_t delays[4];

	if (!event_enabled() || r->kind == RCPT_COPY)
		return;
	delays_of(r->m, delays);
	fill_event(r, &ev, delays);
	if (r->state == R_WAIT)
		ev.next_attempt_us = qmgr_wall(r->m->q, r->due_us);
	event_write(&ev);
}

static void
put_tag(struct buf *b, const char *name, struct view v)
{
	if (v.n == 0)
		return;
	buf_puts(b, name);
	log_escape(b, v, 255, " ");
}

static void
put_fields(struct buf *b, const struct message *m, const char *lane)
{
	if (*m->tenant->name) {
		buf_puts(b, " tenant=");
		log_escape(b, view_str(m->tenant->name), IPC_NAME_MAX, " ");
	}
	if (m->user.n) {
		buf_puts(b, " key=");
		log_escape(b, m->user, IPC_NAME_MAX, " ");
	}
	put_tag(b, " tag=", m->tag);
	put_tag(b, " batch=", m->batch);
	put_tag(b, " label=", m->label);
	if (lane) {
		buf_puts(b, " lane=");
		log_escape(b, view_str(lane), 300, " ");
	}
}

void
logline_rcpt(const struct rcpt *r, const struct outcome *o, const char *status, const char *lane)
{
	struct buf b;
	char esc[ESC_TEXT_MAX];
	uint64_t delays[4];

	delays_of(r->m, delays);
	begin(&b, r->m);
	put_addr(&b, "to", r->addr);
	buf_puts(&b, ", relay=");
	log_escape(&b, o->relay.n ? o->relay : VIEW("none"), 330, ",");
	buf_puts(&b, ", delay=");
	put_seconds(&b, delays[0] + delays[1]);
	buf_puts(&b, ", delays=");
	put_seconds(&b, delays[0]);
	buf_putc(&b, '/');
	put_seconds(&b, delays[1]);
	buf_printf(&b, "/0/0, dsn=%s, status=%s (", esc_text(o->esc, esc), status);
	log_escape(&b, o->text, TEXT_SHOWN, NULL);
	buf_putc(&b, ')');
	put_fields(&b, r->m, lane);
	end(&b);
}

void
logline_note(const struct rcpt *r, const char *what)
{
	struct buf b;

	begin(&b, r->m);
	put_addr(&b, "to", r->addr);
	buf_printf(&b, ", %s", what);
	end(&b);
}
