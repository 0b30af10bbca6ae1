/* SPDX-License-Identifier: ISC */
/* What of a message is changed before it is stored: fields of its header, its envelope. */
#include "lib/ipc.h"
#include "lib/log.h"
#include "smtpd/future.h"
#include "smtpd/received.h"
#include "smtpd/steps.h"

enum { TAG_BYTES = 255 };

/* Unfolded, on one line, for log lines and events. */
static struct view
tag_value(struct txn *t, struct view raw)
{
	struct buf text = BUF_INIT(TAG_BYTES);
	bool blank = false;

	for (size_t i = 0; i < raw.n && buf_len(&text) + 1 < TAG_BYTES; i++) {
		unsigned char c = (unsigned char)raw.p[i];
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			blank = true;
			continue;
		}
		if (blank && buf_len(&text))
			buf_putc(&text, ' ');
		blank = false;
		buf_putc(&text, c < 0x20 || c == 0x7f ? '?' : (char)c);
	}
	struct view v = arena_view(&t->arena, buf_view(&text));
	buf_free(&text);
	return v;
}

/* The first one counts; all are taken out (P8). */
static void
take_tags(const struct site *site, struct txn *t)
{
	struct view *const to[TAGS] = { [TAG_TAG] = &t->env.tag, [TAG_BATCH] = &t->env.batch,
		[TAG_LABEL] = &t->env.label };

	for (int k = 0; k < TAGS; k++) {
		struct view name = view_str(site->tags[k]);
		for (ptrdiff_t i = -1; name.n &&
		     (i = header_list_find_name(&t->header, name, (uint32_t)(i + 1))) >= 0;) {
			if (to[k]->n == 0)
				*to[k] = tag_value(t, header_list_value(&t->header, (uint32_t)i));
			header_list_delete(&t->header, (uint32_t)i);
		}
	}
}

static void
learn_message_id(struct txn *t)
{
	for (ptrdiff_t i = -1; t->env.message_id.n == 0 &&
	     (i = header_list_find(&t->header, HEADER_MESSAGE_ID, (uint32_t)(i + 1))) >= 0;) {
		struct view id = header_msgid(header_list_value(&t->header, (uint32_t)i));
		t->env.message_id = arena_view(&t->arena, id);
	}
}

enum step_result
step_edit(struct session *s, struct verdict *v)
{
	const struct site *site = s->listener->site;
	struct txn *t = &s->txn;

	(void)v;
	learn_message_id(t);
	if (site->received == CONF_RECEIVED_strip)
		header_list_delete_all(&t->header, HEADER_RECEIVED);
	if (t->right == RIGHT_RELAY) {
		take_tags(site, t);
		received_complete(s, t);
	}
	return STEP_GO_ON;
}

/* When and in which order it is to go: as the key may have it and MAIL asked. */
static void
set_delivery(struct txn *t)
{
	struct envelope *env = &t->env;

	env->priority = t->grant.priority;
	env->retry = t->grant.retry;
	if (t->prioritized && t->grant.may_priority)
		env->mt_priority = (uint8_t)(t->priority + PRIORITY_BIAS);
	if (t->hold_s)
		env->release_us = env->received_us + t->hold_s * 1000000;
	else if (env->release_us <= env->received_us)
		env->release_us = 0;
}

/* A13-A17, C19-C22. The client's own sender stays on record, and is whom we report to. */
static void
rewrite_sender(const struct site *site, struct txn *t)
{
	struct envelope *env = &t->env;

	env->key_serial = t->grant.key_serial;
	if (t->grant.rewrite == SENDER_REPLACE && t->grant.sender.n) {
		env->sender_original = env->sender;
		env->sender = t->grant.sender;
	} else if (t->grant.rewrite == SENDER_TOKEN && *site->bounce_domain) {
		env->sender_original = env->sender;
		env->return_domain = view_str(site->bounce_domain);
		env->flags |= SEGMENT_VERP;
	}
}

/* C15: what came back to us is no mail of anybody. */
static void
add_copies(struct txn *t)
{
	uint32_t count = t->env.nrcpt;

	for (uint32_t i = 0; i < count; i++)
		if (t->env.rcpts[i].kind != RCPT_RETURNED) {
			txn_add_rcpt(t, t->env.rcpts[i].addr, RCPT_COPY);
			t->copies++;
		}
}

static struct view
client_of(const struct session *s, struct txn *t)
{
	struct buf text = BUF_INIT(1024);

	session_put_client(s, &text);
	struct view v = arena_view(&t->arena, buf_view(&text));
	buf_free(&text);
	return v;
}

static struct view
id_of(const struct session *s, struct txn *t)
{
	struct buf text = BUF_INIT(128);

	session_put_id(s, &text);
	struct view v = arena_view(&t->arena, buf_view(&text));
	buf_free(&text);
	return v;
}

enum step_result
step_envelope(struct session *s, struct verdict *v)
{
	struct txn *t = &s->txn;
	struct envelope *env = &t->env;
	bool dots = t->scan.dots || header_list_added_dots(&t->header);

	(void)v;
	env->received_us = loop_wall_us(s->d->loop);
	env->flags |= (dots ? SEGMENT_DOTS : 0u) | (t->scan.eight_bit ? SEGMENT_8BIT : 0u) |
	    (t->scan.eight_bit_header ? SEGMENT_8BIT_HEADER : 0u);
	if (t->grant.hold) {
		env->flags |= SEGMENT_HELD;
		if (env->hold_reason.n == 0)
			env->hold_reason = VIEW("held: over quota");
	}
	if (t->right == RIGHT_RELAY) {
		env->tenant = view_str(s->tenant ? s->tenant : s->listener->policy.tenant);
		rewrite_sender(s->listener->site, t);
		set_delivery(t);
	}
	env->user = view_str(s->user);
	env->client = client_of(s, t);
	env->session = id_of(s, t);
	if (s->listener->site->copies)
		add_copies(t);
	return STEP_GO_ON;
}
