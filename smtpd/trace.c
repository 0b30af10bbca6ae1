/* SPDX-License-Identifier: ISC */
/* What a session leaves in the log and in the event stream. */
#include <ctype.h>

#include "lib/event.h"
#include "lib/log.h"
#include "smtpd/command.h"
#include "smtpd/watch.h"

enum { LINE_MAX_BYTES = 4000, FIELD_MAX = 512 };

static void
emit(struct buf *b)
{
	log_line(buf_view(b));
	buf_free(b);
}

static void
put_sasl(const struct session *s, const char *sep, struct buf *b)
{
	if (!s->authenticated)
		return;
	buf_printf(b, "%ssasl_method=%s%ssasl_username=", sep, s->method, sep);
	log_escape(b, view_str(s->user), FIELD_MAX, ", ");
}

static void
set_client(const struct session *s, struct event *ev, struct buf *id)
{
	session_put_id(s, id);
	ev->session = buf_view(id);
	ev->client.addr = view_str(s->ip);
	ev->client.name = view_str(session_name(s));
	ev->client.helo = view_str(s->helo);
	ev->tenant = view_str(s->tenant);
	ev->key = view_str(s->user);
	if (s->tls) {
		struct tls_info info;
		tls_info(s->io.tls, &info);
		ev->client.tls = view_str(info.version);
	}
}

void
trace_connect(const struct session *s)
{
	log_info("connect from %s[%s]", session_name(s), s->ip);
	watch_note(s, "connect");
}

static void
put_count(struct buf *b, const char *name, uint32_t good, uint32_t all)
{
	buf_putc(b, ' ');
	for (; *name; name++)
		buf_putc(b, (char)tolower((unsigned char)*name));
	if (good == all)
		buf_printf(b, "=%u", all);
	else
		buf_printf(b, "=%u/%u", good, all);
}

void
trace_disconnect(const struct session *s)
{
	struct buf b = BUF_INIT(LINE_MAX_BYTES);
	uint32_t good = 0, all = 0;

	buf_puts(&b, "disconnect from ");
	session_put_client(s, &b);
	for (int i = 0; i < (int)command_count(); i++) {
		if (s->count[i].all)
			put_count(&b, command_name(i), s->count[i].good, s->count[i].all);
		good += s->count[i].good;
		all += s->count[i].all;
	}
	buf_printf(&b, " commands=%u/%u", good, all);
	watch_note(s, "disconnect");
	emit(&b);
}

void
trace_lost(const struct session *s, const char *how)
{
	log_info("%s after %s from %s[%s]", how, command_name(s->verb), session_name(s), s->ip);
	watch_note(s, how);
}

void
trace_tls(const struct session *s)
{
	struct buf b = BUF_INIT(LINE_MAX_BYTES);
	struct tls_info info;

	tls_info(s->io.tls, &info);
	buf_puts(&b, "Anonymous TLS connection established from ");
	session_put_client(s, &b);
	if (info.sni && info.by_name) {
		buf_puts(&b, " to ");
		log_escape(&b, view_str(info.sni), FIELD_MAX, " :");
	}
	buf_printf(&b, ": %s with cipher %s (%d/%d bits)", info.version, info.cipher, info.bits,
	    info.alg_bits);
	emit(&b);
	watch_note(s, info.version);
	if (info.sni && !info.by_name && s->listener->by_name)
		trace_odd(s, "no certificate for the name of a TLS client", view_str(info.sni));
}

void
trace_tls_failed(const struct session *s, const struct err *e)
{
	log_info("TLS handshake failed from %s[%s]: %s", session_name(s), s->ip, e->text);
	watch_note(s, e->text);
}

void
trace_auth_failed(const struct session *s, const char *method, struct view user, struct view why)
{
	struct buf b = BUF_INIT(LINE_MAX_BYTES), id = BUF_INIT(128);
	struct event ev = { .type = EVENT_auth_failed, .text = why };

	session_put_client(s, &b);
	buf_printf(&b, ": SASL %s authentication failed: ", method);
	log_escape(&b, why, FIELD_MAX, ",");
	buf_puts(&b, ", sasl_username=");
	log_escape(&b, user, FIELD_MAX, ", ");
	log_warn(VIEW_FMT, VIEW_ARG(buf_view(&b)));
	if (event_enabled()) {
		set_client(s, &ev, &id);
		ev.key = user;
		event_write(&ev);
	}
	buf_free(&id);
	buf_free(&b);
}

static void
put_path(struct buf *b, const char *name, struct view v)
{
	buf_printf(b, "%s=<", name);
	log_escape(b, v, FIELD_MAX, "<>");
	buf_putc(b, '>');
}

static void
event_rejected(const struct session *s, const char *verb, unsigned code, struct esc esc,
    struct view text, struct view sender, const struct view *rcpt)
{
	struct buf id = BUF_INIT(128);
	struct event ev = { .type = EVENT_rejected, .code = (uint16_t)code, .esc = esc, .text = text,
		.sender = &sender, .stage = verb };

	if (rcpt)
		ev.rcpt = *rcpt;
	set_client(s, &ev, &id);
	event_write(&ev);
	buf_free(&id);
}

void
trace_reject(const struct session *s, const char *verb, unsigned code, struct esc esc,
    struct view text, struct view sender, const struct view *rcpt)
{
	struct buf b = BUF_INIT(LINE_MAX_BYTES);
	char esc_chars[ESC_TEXT_MAX];

	buf_printf(&b, "NOQUEUE: reject: %s from ", verb);
	session_put_client(s, &b);
	buf_printf(&b, ": %u %s%s", code, esc_text(esc, esc_chars), esc.class ? " " : "");
	log_escape(&b, text, FIELD_MAX, ";");
	buf_puts(&b, "; ");
	put_path(&b, "from", sender);
	if (rcpt)
		put_path(&b, " to", *rcpt);
	buf_printf(&b, " proto=%s ", session_proto(s));
	put_path(&b, "helo", view_str(s->helo));
	put_sasl(s, " ", &b);
	emit(&b);
	if (event_enabled())
		event_rejected(s, verb, code, esc, text, sender, rcpt);
}

static void
event_received(const struct session *s, uint64_t qid)
{
	const struct envelope *env = &s->txn.env;
	struct buf id = BUF_INIT(128);
	struct event ev = { .type = EVENT_received, .qid = qid, .sender = &env->sender,
		.message_id = env->message_id, .size = s->txn.msg.front.n + env->size, .nrcpt = env->nrcpt - s->txn.copies,
		.tag = env->tag, .batch = env->batch, .label = env->label,
		.sender_original = env->sender_original, .key_serial = env->key_serial };

	set_client(s, &ev, &id);
	ev.tenant = env->tenant;
	event_write(&ev);
	buf_free(&id);
}

/* A25: what says nothing of its batch and label is logged so. */
static void
put_tag(struct buf *b, const char *name, struct view v, bool always)
{
	if (v.n == 0 && !always)
		return;
	buf_printf(b, ", %s=", name);
	log_escape(b, v.n ? v : VIEW("unset"), FIELD_MAX, ", ");
}

void
trace_stored(const struct session *s, uint64_t qid)
{
	const struct envelope *env = &s->txn.env;
	struct buf b = BUF_INIT(LINE_MAX_BYTES);
	char text[QID_CHARS + 1];

	qid_text(qid, text);
	buf_printf(&b, "%s: client=", text);
	session_put_client(s, &b);
	put_sasl(s, ", ", &b);
	if (env->tenant.n) {
		buf_puts(&b, ", tenant=");
		log_escape(&b, env->tenant, FIELD_MAX, ", ");
	}
	buf_puts(&b, ", session=");
	buf_putv(&b, env->session);
	put_tag(&b, "tag", env->tag, false);
	put_tag(&b, "batch", env->batch, true);
	put_tag(&b, "label", env->label, true);
	if (env->sender_original.n) {
		bool verp = env->flags & SEGMENT_VERP;
		put_path(&b, ", sender", verp ? VIEW("by recipient") : env->sender);
		put_path(&b, ", sender_original", env->sender_original);
	}
	log_line(buf_view(&b));
	buf_clear(&b);
	buf_printf(&b, "%s: message-id=", text);
	log_escape(&b, env->message_id, FIELD_MAX, " ");
	emit(&b);
	if (event_enabled())
		event_received(s, qid);
}

void
trace_odd(const struct session *s, const char *what, struct view input)
{
	struct buf b = BUF_INIT(LINE_MAX_BYTES);

	buf_printf(&b, "%s from ", what);
	session_put_client(s, &b);
	if (input.n) {
		buf_puts(&b, ": ");
		log_escape(&b, input, 128, NULL);
	}
	log_warn(VIEW_FMT, VIEW_ARG(buf_view(&b)));
	buf_free(&b);
}
