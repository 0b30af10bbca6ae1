/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/event.h"
#include "lib/log.h"
#include "lib/segment.h"
#include "smtp/dialogue.h"
#include "smtp/report.h"

enum { LOG_LINE_MAX = 8192, LOG_ADDR_MAX = 400, LOG_TEXT_MAX = 1024, SECOND_US = 1000000 };

static void
name(const struct session *s, char out[static TARGET_TEXT_MAX])
{
	target_text(session_target(s), false, out);
}

/*
 * "550 5.1.1 text" of the reply, on one line. Result: how long the codes in front are; the enhanced
 * one belongs to them when it is what will be recorded.
 */
static size_t
put_reply(const struct session *s, struct esc recorded, struct buf *out)
{
	char esc[ESC_TEXT_MAX];
	struct esc given = s->reply.esc;
	size_t codes;

	buf_printf(out, "%u", s->reply.code);
	codes = buf_len(out);
	if (given.class)
		buf_printf(out, " %s", esc_text(given, esc));
	if (given.class && given.class == recorded.class)
		codes = buf_len(out);
	if (buf_len(&s->reply.text)) {
		buf_putc(out, ' ');
		reply_flat(&s->reply, out);
	}
	return codes;
}

/* A text goes into frames and reports: one line without control bytes, whoever it came from. */
static void
clean(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* The reply between our words, cut so that those behind it always fit. */
static void
take_reply(const struct session *s, struct verdict *v, const char *before, const char *behind)
{
	struct buf reply = BUF_INIT(2 * REPLY_BYTES_MAX);
	size_t rest = strlen(before) + strlen(behind) + 1, room = sizeof(v->text) - 1;
	size_t codes = put_reply(s, v->esc, &reply);

	struct view mid = view_first(buf_view(&reply), room - rest);
	snprintf(v->text, sizeof(v->text), "%s" VIEW_FMT "%s", before, VIEW_ARG(mid), behind);
	clean(v->text);
	v->bare = strlen(before) + codes;
	v->bare += strspn(v->text + v->bare, " ");
	buf_free(&reply);
}

/* Which of the admin's patterns the reply fits; what follows is qmgr's to decide. */
static void
take_throttle(const struct session *s, struct verdict *v)
{
	struct buf text = BUF_INIT(REPLY_BYTES_MAX);

	if (s->smtp->throttles == NULL || v->code < 400)
		return;
	reply_flat(&s->reply, &text);
	const char *name = throttles_match(s->smtp->throttles,
	    &(struct throttle_facts){ .code = v->code,
		.esc = s->reply.esc,
		.stage = v->stage,
		.text = buf_view(&text),
		.group = view_str(s->group),
		.host = view_str(session_target(s)->host) });
	buf_free(&text);
	if (name)
		snprintf(v->throttle, sizeof(v->throttle), "%s", name);
}

void
verdict_reply(const struct session *s, enum step step, struct verdict *v)
{
	struct view text = buf_view(&s->reply.text);
	char host[TARGET_TEXT_MAX], before[TARGET_TEXT_MAX + 64], behind[64] = "";

	*v = (struct verdict){
		.stage = step_info(step)->stage, .code = s->reply.code, .remote = true
	};
	v->class = reply_class(s->reply.code, s->reply.esc,
	    step == STEP_RCPT ? REPLY_AT_RCPT : REPLY_ELSEWHERE, text, &v->esc);
	v->too_many = step == STEP_RCPT && reply_too_many(s->reply.code, s->reply.esc, text);
	/* A good reply where it does not belong is no success. */
	if (v->class == ERR_NONE) {
		v->class = ERR_TEMP;
		v->esc = ESC(4, 5, 0);
	}
	name(s, host);
	if (step == STEP_GREETING) {
		snprintf(before, sizeof(before), "host %s refused to talk to me: ", host);
	} else {
		snprintf(before, sizeof(before), "host %s said: ", host);
		snprintf(
		    behind, sizeof(behind), " (in reply to %s command)", step_info(step)->command);
	}
	take_reply(s, v, before, behind);
	take_throttle(s, v);
}

void
verdict_sent(const struct session *s, struct verdict *v)
{
	*v = (struct verdict){
		.class = ERR_NONE, .stage = STAGE_EOD, .code = s->reply.code, .remote = true
	};
	(void)reply_class(s->reply.code, s->reply.esc, REPLY_ELSEWHERE, VIEW(""), &v->esc);
	take_reply(s, v, "", "");
}

uint8_t
event_of(int error)
{
	switch (error) {
	case ECONNRESET:
	case EPIPE:
		return CONN_EVENT_RESET;
	case ECONNREFUSED:
		return CONN_EVENT_REFUSED;
	case ETIMEDOUT:
		return CONN_EVENT_TIMEOUT;
	default:
		return CONN_EVENT_NONE;
	}
}

void
verdict_lost(const struct session *s, enum step step, int error, struct verdict *v)
{
	char host[TARGET_TEXT_MAX];

	name(s, host);
	verdict_set(v, ERR_TEMP, step_info(step)->stage, ESC(4, 4, 2),
	    "lost connection with %s while %s", host, step_info(step)->doing);
	v->event = event_of(error);
}

void
verdict_timeout(const struct session *s, enum step step, struct verdict *v)
{
	char host[TARGET_TEXT_MAX];

	name(s, host);
	verdict_set(v, ERR_TEMP, step_info(step)->stage, ESC(4, 4, 2),
	    "conversation with %s timed out while %s", host, step_info(step)->doing);
	v->event = CONN_EVENT_TIMEOUT;
}

void
verdict_set(
    struct verdict *v, enum err_class class, uint8_t stage, struct esc esc, const char *fmt, ...)
{
	va_list ap;

	*v = (struct verdict){ .class = class, .stage = stage, .esc = esc };
	va_start(ap, fmt);
	vsnprintf(v->text, sizeof(v->text), fmt, ap);
	va_end(ap);
	clean(v->text);
}

void
verdict_err(struct verdict *v, uint8_t stage, const struct err *e)
{
	verdict_set(v, e->class == ERR_PERM ? ERR_PERM : ERR_TEMP, stage, e->esc, "%s", e->text);
}

void
report_delay(struct buf *out, uint64_t us)
{
	uint64_t unit = 1;
	char s[32];

	if (us >= 10 * (uint64_t)SECOND_US) {
		buf_printf(out, "%llu", (unsigned long long)((us + SECOND_US / 2) / SECOND_US));
		return;
	}
	while (us / unit >= 100)
		unit *= 10;
	us = (us + unit / 2) / unit * unit;
	int n = snprintf(s, sizeof(s), "%llu.%06llu", (unsigned long long)(us / SECOND_US),
	    (unsigned long long)(us % SECOND_US));
	while (s[n - 1] == '0')
		n--;
	if (s[n - 1] == '.')
		n--;
	buf_put(out, s, (size_t)n);
}

static uint64_t
since(uint64_t from_us, uint64_t to_us)
{
	return to_us > from_us ? to_us - from_us : 0;
}

/* a, b, c, d of the log: before the queue, in it, setting up the connection, transmission. */
static void
delays_of(const struct session *s, const struct job *j, uint64_t delays[4])
{
	uint64_t now = loop_wall_us(session_loop(s));
	uint64_t started = j->started_us ? j->started_us : now;
	uint64_t setup = j->use <= 1 ? s->setup_us : 0, queued = since(j->active_us, started);

	if (setup > queued)
		setup = queued;
	delays[0] = since(j->arrival_us, j->active_us);
	delays[1] = queued - setup;
	delays[2] = setup;
	delays[3] = since(started, now);
}

static void
put_delays(const uint64_t delays[4], struct buf *out)
{
	buf_puts(out, ", delay=");
	report_delay(out, delays[0] + delays[1] + delays[2] + delays[3]);
	for (int i = 0; i < 4; i++) {
		buf_puts(out, i ? "/" : ", delays=");
		report_delay(out, delays[i]);
	}
}

static void
write_event(
    const struct session *s, const struct job *j, const struct rcpt *r, const uint64_t delays[4])
{
	static const enum event_type types[] = { [RCPT_SENT] = EVENT_delivered,
		[RCPT_DEFERRED] = EVENT_deferred,
		[RCPT_BOUNCED] = EVENT_bounced,
		[RCPT_DAMAGED] = EVENT_deferred };
	static const char *const stages[] = { [STAGE_NONE] = NULL,
		[STAGE_DNS] = "dns",
		[STAGE_CONNECT] = "connect",
		[STAGE_GREETING] = "greeting",
		[STAGE_EHLO] = "ehlo",
		[STAGE_TLS] = "tls",
		[STAGE_AUTH] = "auth",
		[STAGE_MAIL] = "mail",
		[STAGE_RCPT] = "rcpt",
		[STAGE_DATA] = "data",
		[STAGE_EOD] = "eod",
		[STAGE_RSET] = "rset" };
	struct event ev = { .type = types[r->status],
		.qid = j->qid,
		.tenant = j->tenant,
		.key = j->user,
		.tag = j->tag,
		.batch = j->batch,
		.label = j->label,
		.sender = &j->sender,
		.sender_original = j->sender_original,
		.rcpt = r->addr,
		.size = job_size(j),
		.lane = j->lane,
		.site = j->site,
		.source = { .name = j->source_name,
		    .addr = view_str(s->local),
		    .helo = view_str(session_helo(s)) },
		.relay = view_str(s->relay),
		.tls = view_str(s->tls_text),
		.attempt = j->attempt,
		.delays_us = delays,
		.code = r->code,
		.esc = r->esc,
		.text = r->text,
		.stage = stages[r->stage] };

	event_write(&ev);
}

/* Nothing when it is empty. */
static void
put_field(struct buf *out, const char *label, struct view v)
{
	if (v.n == 0)
		return;
	buf_puts(out, label);
	log_escape(out, v, LOG_ADDR_MAX, " ,");
}

void
report_rcpt(const struct session *s, const struct job *j, const struct rcpt *r)
{
	static const char *const status[] = { [RCPT_SENT] = "sent",
		[RCPT_DEFERRED] = "deferred",
		[RCPT_BOUNCED] = "bounced",
		[RCPT_DAMAGED] = "deferred" };
	char qid[QID_CHARS + 1], esc[ESC_TEXT_MAX];
	struct buf line = BUF_INIT(LOG_LINE_MAX);
	uint64_t delays[4];

	if (r->status == RCPT_AGAIN)
		return; /* nothing happened to it */
	delays_of(s, j, delays);
	buf_printf(&line, "%s: to=<", qid_text(j->qid, qid));
	log_escape(&line, r->addr, LOG_ADDR_MAX, "<> ,");
	buf_printf(&line, ">, relay=%s", *s->relay ? s->relay : "none");
	if (j->use > 1)
		buf_printf(&line, ", conn_use=%u", j->use);
	put_delays(delays, &line);
	buf_printf(&line, ", dsn=%s, status=%s (", esc_text(r->esc, esc), status[r->status]);
	log_escape(&line, r->said, LOG_TEXT_MAX, NULL);
	buf_putc(&line, ')');
	put_field(&line, " tenant=", j->tenant);
	put_field(&line, " key=", j->user);
	put_field(&line, " tag=", j->tag);
	put_field(&line, " batch=", j->batch);
	put_field(&line, " label=", j->label);
	if (j->sender_original.n) {
		put_field(&line, " sender=", j->sender);
		put_field(&line, " sender_original=", j->sender_original);
	}
	put_field(&line, " lane=", j->lane);
	put_field(&line, " source=", j->source_name);
	buf_printf(&line, " tls=%s", *s->tls_text ? s->tls_text : "none");
	log_line(buf_view(&line));
	buf_free(&line);
	if (event_enabled() && !j->copy)
		write_event(s, j, r, delays);
}

void
report_tls(const struct session *s, const struct tls_info *info)
{
	const char *trust = !info->verified		     ? "Untrusted"
			    : s->policy == TLS_POLICY_VERIFY ? "Verified"
							     : "Trusted";

	log_info("%s TLS connection established to %s: %s with cipher %s (%d/%d bits)", trust,
	    s->relay, info->version, info->cipher, info->bits, info->alg_bits);
}
