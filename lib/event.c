/* SPDX-License-Identifier: ISC */
#include <unistd.h>

#include "lib/event.h"
#include "lib/json.h"
#include "lib/segment.h"

enum { BACKLOG_MAX = 16 << 20 };

/* The one stream of the process. */
static struct events {
	int fd;
	struct loop *loop;
	struct loop_task task;
	struct buf out;
} ev = { .fd = -1, .out = BUF_INIT(BACKLOG_MAX) };

void
event_flush(void)
{
	while (ev.fd >= 0 && buf_len(&ev.out)) {
		ssize_t n = write(ev.fd, ev.out.p + ev.out.off, buf_len(&ev.out));
		if (n <= 0)
			return; /* kept, up to the limit */
		buf_consume(&ev.out, (size_t)n);
	}
}

static void
flush_task(struct loop_task *t)
{
	(void)t;
	event_flush();
}

void
event_open(struct loop *l, int fd)
{
	event_flush();
	if (ev.fd >= 0 && ev.fd != fd)
		close(ev.fd);
	ev.fd = fd;
	ev.loop = l;
	ev.task.run = flush_task;
	if (fd < 0)
		buf_free(&ev.out);
}

bool
event_enabled(void)
{
	return ev.fd >= 0;
}

static void
put(struct json *j, const char *name, struct view v)
{
	if (v.n)
		json_text(j, name, v);
}

static void
put_client(struct json *j, const struct event_client *c)
{
	if (c->addr.n == 0)
		return;
	json_open(j, "client", '{');
	json_text(j, "addr", c->addr);
	put(j, "name", c->name);
	put(j, "helo", c->helo);
	put(j, "tls", c->tls);
	json_close(j, '}');
}

static void
put_source(struct json *j, const struct event_source *s)
{
	if (s->name.n == 0 && s->addr.n == 0)
		return;
	json_open(j, "source", '{');
	put(j, "name", s->name);
	put(j, "addr", s->addr);
	put(j, "helo", s->helo);
	json_close(j, '}');
}

/* "host[addr]:port" */
static void
put_relay(struct json *j, struct view relay)
{
	uint64_t port;

	if (relay.n == 0)
		return;
	json_open(j, "mx", '{');
	json_text(j, "host", view_cut(&relay, '['));
	put(j, "addr", view_cut(&relay, ']'));
	if (view_u64(view_skip(relay, 1), 65535, &port))
		json_number(j, "port", port);
	json_close(j, '}');
}

static void
put_delays(struct json *j, const uint64_t *d)
{
	if (d == NULL)
		return;
	json_seconds(j, "delay", d[0] + d[1] + d[2] + d[3]);
	json_open(j, "delays", '[');
	for (int i = 0; i < 4; i++)
		json_seconds(j, NULL, d[i]);
	json_close(j, ']');
}

static void
put_message(struct json *j, const struct event *e)
{
	char qid[QID_CHARS + 1];

	if (e->qid)
		json_text(j, "id", view_str(qid_text(e->qid, qid)));
	put(j, "session", e->session);
	put(j, "tenant", e->tenant);
	put(j, "key", e->key);
	if (e->key_serial)
		json_number(j, "key_serial", e->key_serial);
	put(j, "tag", e->tag);
	put(j, "batch", e->batch);
	put(j, "label", e->label);
	if (e->sender)
		json_text(j, "sender", *e->sender);
	put(j, "sender_original", e->sender_original);
	if (e->rcpt_index)
		json_number(j, "rcpt_index", *e->rcpt_index);
	put(j, "rcpt", e->rcpt);
	if (e->size)
		json_number(j, "size", e->size);
	if (e->nrcpt)
		json_number(j, "nrcpt", e->nrcpt);
}

static void
put_outcome(struct json *j, const struct event *e)
{
	char esc[ESC_TEXT_MAX];

	put(j, "site", e->site);
	put(j, "lane", e->lane);
	put_source(j, &e->source);
	put_relay(j, e->relay);
	if (e->tls.n) {
		json_open(j, "tls", '{');
		json_text(j, "version", e->tls);
		json_close(j, '}');
	}
	if (e->attempt)
		json_number(j, "attempt", e->attempt);
	put_delays(j, e->delays_us);
	if (e->code)
		json_number(j, "code", e->code);
	put(j, "enhanced", view_str(esc_text(e->esc, esc)));
	put(j, "text", e->text);
	put(j, "stage", view_str(e->stage));
	if (e->type == EVENT_bounced)
		json_bool(j, "hard", e->esc.class == 5);
	if (e->next_attempt_us)
		json_time(j, "next_attempt", e->next_attempt_us);
	if (e->expires_us)
		json_time(j, "expires", e->expires_us);
	put(j, "message_id", e->message_id);
	if (e->admin_uid)
		json_number(j, "uid", *e->admin_uid);
	put(j, "command", view_str(e->command));
}

void
event_write(const struct event *e)
{
#define EVENT_NAME(name) #name,
	static const char *const names[] = { EVENT_TYPES(EVENT_NAME) };
	struct json j = JSON_INIT(&ev.out);
	size_t before = buf_len(&ev.out);

	if (ev.fd < 0)
		return;
	json_open(&j, NULL, '{');
	json_number(&j, "v", EVENT_VERSION);
	json_text(&j, "type", view_str(names[e->type]));
	json_time(&j, "time", clock_wall_us());
	put_message(&j, e);
	put_client(&j, &e->client);
	put_outcome(&j, e);
	json_close(&j, '}');
	buf_putc(&ev.out, '\n');
	if (ev.out.bad) {
		/* The file takes nothing for long: whole lines are lost, never parts of one. */
		ev.out.bad = false;
		buf_truncate(&ev.out, before);
	}
	if (ev.loop)
		loop_post(ev.loop, LOOP_LOG, &ev.task);
}
