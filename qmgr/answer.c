/* SPDX-License-Identifier: ISC */
/* mtactl why: what a recipient waits for, in every state. */
#include <stdio.h>

#include "lib/addr.h"
#include "qmgr/answer.h"
#include "qmgr/shape.h"
#include "qmgr/walk.h"

CTL_QMGR(CTL_PROTOTYPE)

enum { LIMIT = 100 };

const char *
stop_words(enum stop_cause cause)
{
	static const char *const words[] = {
#define STOP_WORDS(name, text) [STOP_##name] = text,
		STOP_CAUSES(STOP_WORDS)
	};

	return words[cause];
}

const char *
tls_policy_word(uint8_t policy)
{
	static const char *const words[] = { [TLS_POLICY_NONE] = "none", [TLS_POLICY_MAY] = "may",
		[TLS_POLICY_ENCRYPT] = "encrypt", [TLS_POLICY_VERIFY] = "verify" };

	return policy <= TLS_POLICY_VERIFY ? words[policy] : "";
}

bool
limit_get(struct ctl_call *call, uint64_t usual, uint64_t *limit)
{
	struct view v = ctl_arg(call, "limit");

	*limit = usual;
	if (v.n == 0 || view_u64(v, UINT64_MAX, limit))
		return true;
	ctl_end(call, 2, "limit is not a number");
	return false;
}

void
answer_stop(struct ctl_call *call, const char *what, const struct stop *why, uint64_t until_us)
{
	ctl_str(call, "waits_for", what);
	ctl_number(call, "used", why->used);
	ctl_number(call, "limit", why->limit);
	ctl_number(call, "per_s", why->per_ms / 1000);
	ctl_time(call, "until", why->until_us ? qmgr_wall(call->daemon, why->until_us) : until_us);
}

/* The last reply as one text: code and enhanced code in front unless it has them. */
void
answer_reason(struct ctl_call *call, const struct seen *s)
{
	struct buf b = BUF_INIT(IPC_TEXT_MAX * 2);
	char code[8], esc[ESC_TEXT_MAX];

	snprintf(code, sizeof(code), "%u", s->code);
	if (s->text.n && s->code && !view_starts(s->text, code))
		buf_printf(&b, "%s %s ", code, esc_text(esc_unpack(s->esc), esc));
	buf_putv(&b, s->text);
	ctl_text(call, "reason", buf_view(&b));
	buf_free(&b);
}

/* Of the recipient, where no limit of a lane is concerned. */
static const char *
state_words(const struct rcpt *r)
{
	switch (r->state) {
	case R_WAIT:
		return r->paused ? "the end of a pause" : r->scheduled ? "the time that its sender asked for" : "its next attempt";
	case R_HELD:
		return "its release by the administrator";
	case R_READY:
		return "its turn";
	case R_JOB:
		return "the answer of its destination: it is under way";
	case R_FAILED:
	case R_REPORT:
		return "the report of its failure";
	default:
		return "";
	}
}

/* Of a READY one: first what its tenant may, then what its lane may. */
static void
find_stop(struct rcpt *r, struct stop *why)
{
	*why = (struct stop){ .cause = STOP_NONE };
	if (r->state != R_READY)
		return;
	struct lane *lane = r->item->lane;
	if (!lane_tenant_stop(lane, r->m->tenant, why))
		lane_stop(lane, why);
}

/* "mx.example.jp", with what stands before it in the lane. */
static void
put_lane(struct ctl_call *call, const struct rcpt *r)
{
	const struct lane *lane = r->state == R_READY ? r->item->lane : NULL;

	ctl_str(call, "lane", lane ? lane->name : "");
	ctl_number(call, "lane_messages", lane ? lane->sched.waiting : 0);
}

static bool
explain(struct visitor *v, const struct seen *s, struct rcpt *r)
{
	struct ctl_call *call = v->call;
	struct view what = ctl_arg(call, "what");
	char id[QID_CHARS + 1];
	struct stop why;
	uint64_t limit;

	if (r == NULL || (view_index(what, '@') >= 0 && !view_ieq(what, s->addr)))
		return true;
	limit_get(call, LIMIT, &limit);
	if (v->count[1] >= limit)
		return false;
	v->count[1]++;
	find_stop(r, &why);
	ctl_str(call, "id", qid_text(s->qid, id));
	ctl_text(call, "rcpt", s->addr);
	ctl_str(call, "state", s->state);
	answer_stop(call, why.cause ? stop_words(why.cause) : state_words(r), &why, s->next_us);
	put_lane(call, r);
	ctl_number(call, "attempts", s->attempts);
	ctl_time(call, "last", s->last_us);
	ctl_text(call, "relay", s->relay);
	answer_reason(call, s);
	ctl_text(call, "hold_reason", r->state == R_HELD ? r->m->hold_reason : VIEW(""));
	ctl_time(call, "expires", message_expires(r->m));
	ctl_row_end(call);
	return true;
}

/* What is asked about, as a filter; false: it is none of the three. */
static bool
read_what(struct ctl_call *call, struct filter *f)
{
	struct view what = ctl_arg(call, "what");
	uint64_t qid;

	if (!filter_get(call, f))
		return false;
	if (view_index(what, '@') >= 0 || view_index(what, '.') >= 0 || !qid_parse(what, &qid))
		f->domain = view_index(what, '@') >= 0 ? addr_domain(what) : what;
	else
		f->id = qid;
	if (f->id || f->domain.n)
		return true;
	ctl_end(call, 2, "a queue id, an address or a domain is needed");
	return false;
}

enum ctl_result
ctl_why(struct ctl_call *call)
{
	struct qmgr *q = call->daemon;
	struct visitor v = { .meet = explain, .call = call, .q = q, .load = true };
	struct filter f;
	uint64_t limit;

	if (!read_what(call, &f) || !limit_get(call, LIMIT, &limit))
		return CTL_DONE;
	if (call->cursor == NULL)
		walk_start(call, q, &f);
	if (walk_step(&v, &f))
		return CTL_MORE;
	if (v.count[1])
		return CTL_DONE;
	return ctl_end(call, 1, "nothing of it is in the queue; what became of it is in the log");
}
