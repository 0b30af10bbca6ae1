/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/event.h"
#include "qmgr/answer.h"
#include "qmgr/pause.h"
#include "qmgr/source.h"
#include "qmgr/store.h"

CTL_QMGR(CTL_PROTOTYPE)

enum { ROW_VERSION = 1, ROW_MAX = 1024, NAME_MAX_BYTES = 300, REASON_MAX = 255, LOOK_S = 3600 };

static const char *const kinds[] = { "tenant", "domain", "site", "source" };
enum kind { TENANT, DOMAIN, SITE, SOURCE, KINDS };

static const char key_prefix[] = "pause ";

struct pause {
	struct pause *next;
	enum kind kind;
	uint64_t since_us, until_us; /* wall clock; until 0: until it is resumed */
	uint32_t uid;
	char *name, *reason;
};

static bool
ended(const struct qmgr *q, const struct pause *p)
{
	return p->until_us && p->until_us <= loop_wall_us(q->loop);
}

/* ".example.jp": all below it. */
static bool
domain_is(const char *name, struct view domain)
{
	struct view v = view_str(name);

	if (*name == '.' && domain.n > v.n)
		domain = view_skip(domain, domain.n - v.n);
	return view_ieq(v, domain);
}

static bool
site_is(const char *name, const struct route *r)
{
	return !strcmp(name, r->site ? r->site->name : r->host) || (*r->group->name && !strcmp(name, r->group->name));
}

static bool
holds(const struct pause *p, const struct rcpt *r, const struct way *way)
{
	switch (p->kind) {
	case TENANT:
		return !strcmp(p->name, r->m->tenant->name);
	case DOMAIN:
		return domain_is(p->name, addr_domain(r->addr));
	case SITE:
		return site_is(p->name, &way->route);
	default:
		return way->route.source && !strcmp(p->name, way->route.source->name);
	}
}

const struct pause *
pause_find(const struct rcpt *r, const struct way *way)
{
	for (const struct pause *p = r->m->q->pauses; p; p = p->next)
		if (holds(p, r, way) && !ended(r->m->q, p))
			return p;
	return NULL;
}

void
pause_wait(struct rcpt *r, const struct pause *p)
{
	struct qmgr *q = r->m->q;
	uint64_t due = p->until_us ? qmgr_queue_time(q, p->until_us) : qmgr_now(q) + LOOK_S * 1000000ull;
	uint64_t expires = qmgr_queue_time(q, message_expires(r->m));

	if (message_expired(r->m)) {
		rcpt_expire(r);
		return;
	}
	r->paused = true;
	rcpt_wait(r, due > expires && expires > qmgr_now(q) ? expires + 1 : due);
}

void
pause_text(const struct pause *p, struct buf *out)
{
	buf_printf(out, "%s %s, by uid %" PRIu32, kinds[p->kind], p->name, p->uid);
	if (*p->reason)
		buf_printf(out, ": %s", p->reason);
}

/* On disk. */

static void
put_key(const struct pause *p, struct buf *key)
{
	buf_printf(key, "%s%s %s", key_prefix, kinds[p->kind], p->name);
}

static void
save(struct qmgr *q, const struct pause *p)
{
	struct buf key = BUF_INIT(ROW_MAX), row = BUF_INIT(ROW_MAX);

	put_key(p, &key);
	buf_put_u8(&row, ROW_VERSION);
	buf_put_u64(&row, p->since_us);
	buf_put_u64(&row, p->until_us);
	buf_put_u32(&row, p->uid);
	buf_put_block(&row, view_str(p->reason));
	store_put_meta(q, buf_view(&key), buf_view(&row));
	buf_free(&key);
	buf_free(&row);
}

static struct pause *
add(struct qmgr *q, enum kind kind, struct view name)
{
	struct pause *p = x_calloc(1, sizeof(*p));

	p->kind = kind;
	p->name = x_strndup(name);
	p->next = q->pauses;
	q->pauses = p;
	return p;
}

static bool
read_row(void *ctx, struct view key, struct view row)
{
	struct view name = key, word = view_skip(key, sizeof(key_prefix) - 1);
	size_t kind = 0;

	if (!view_starts(key, key_prefix) || view_get_u8(&row) != ROW_VERSION)
		return true;
	name = word;
	word = view_cut(&name, ' ');
	while (kind < KINDS && !view_is(word, kinds[kind]))
		kind++;
	if (kind == KINDS)
		return true;
	struct pause *p = add(ctx, (enum kind)kind, name);
	p->since_us = view_get_u64(&row);
	p->until_us = view_get_u64(&row);
	p->uid = view_get_u32(&row);
	p->reason = x_strndup(view_get_block(&row, REASON_MAX));
	return true;
}

int
pauses_load(struct qmgr *q, struct err *e)
{
	return store_each_meta(q, read_row, q, e);
}

static void
drop(struct qmgr *q, struct pause **at)
{
	struct pause *p = *at;
	struct buf key = BUF_INIT(ROW_MAX);

	put_key(p, &key);
	store_del_meta(q, buf_view(&key));
	buf_free(&key);
	*at = p->next;
	free(p->name);
	free(p->reason);
	free(p);
}

void
pauses_sweep(struct qmgr *q)
{
	struct pause **at = &q->pauses;

	while (*at) {
		if (!ended(q, *at)) {
			at = &(*at)->next;
			continue;
		}
		log_info("pause of %s %s: its time is over", kinds[(*at)->kind], (*at)->name);
		drop(q, at);
	}
}

void
pauses_free(struct qmgr *q)
{
	struct pause *p;

	while ((p = q->pauses) != NULL) {
		q->pauses = p->next;
		free(p->name);
		free(p->reason);
		free(p);
	}
}

/* Commands. */

static struct pause **
find(struct qmgr *q, enum kind kind, struct view name)
{
	struct pause **at = &q->pauses;

	while (*at && ((*at)->kind != kind || !view_is(name, (*at)->name)))
		at = &(*at)->next;
	return at;
}

/* The one thing that is named; false: none or several, and the call's end is set. */
static bool
read_what(struct ctl_call *call, enum kind *kind, struct view *name)
{
	size_t n = 0;

	for (size_t i = 0; i < KINDS; i++) {
		struct view v = ctl_arg(call, kinds[i]);
		if (v.n == 0)
			continue;
		n++;
		*kind = (enum kind)i;
		*name = v;
	}
	if (n == 1 && name->n <= NAME_MAX_BYTES && view_is_text(*name))
		return true;
	ctl_end(call, 2, "one of --tenant, --domain, --site, --source is needed");
	return false;
}

static void
tell(const struct ctl_call *call, const struct pause *p, const char *deed)
{
	struct buf what = BUF_INIT(ROW_MAX);

	pause_text(p, &what);
	log_info("admin uid=%" PRIu32 ": %s %s", call->uid, deed, buf_cstr(&what));
	event_write(&(struct event){ .type = EVENT_config, .admin_uid = &call->uid, .text = buf_view(&what),
	    .command = call->command->command });
	buf_free(&what);
}

enum ctl_result
ctl_pause(struct ctl_call *call)
{
	struct qmgr *q = call->daemon;
	struct view reason = ctl_arg(call, "reason"), span = ctl_arg(call, "for"), name;
	uint64_t seconds = 0;
	enum kind kind;

	if (!read_what(call, &kind, &name))
		return CTL_DONE;
	if (span.n && (!conf_parse_duration(span, &seconds) || seconds == 0))
		return ctl_end(call, 2, "for is not a duration");
	if (reason.n > REASON_MAX || !view_is_text(reason))
		return ctl_end(call, 2, "the reason is no text of up to %d bytes", REASON_MAX);
	struct pause **at = find(q, kind, name);
	if (*at)
		drop(q, at);
	struct pause *p = add(q, kind, name);
	p->since_us = loop_wall_us(q->loop);
	p->until_us = seconds ? p->since_us + seconds * 1000000 : 0;
	p->uid = call->uid;
	p->reason = x_strndup(reason);
	save(q, p);
	tell(call, p, "pause of");
	lanes_displace_all(q); /* what waits goes to the database when it is its lane's turn */
	return store_commit(q) < 0 ? ctl_end(call, 1, "it is paused, but the queue database cannot be written now") : CTL_DONE;
}

/* A pause may have gone by itself meanwhile: its mail goes on as with another one. */
bool
pause_end(struct ctl_call *call)
{
	struct qmgr *q = call->daemon;
	struct view name;
	enum kind kind;

	if (!read_what(call, &kind, &name))
		return false;
	struct pause **at = find(q, kind, name);
	if (*at == NULL) {
		ctl_end(call, 1, "%s " VIEW_FMT " is not paused", kinds[kind], VIEW_ARG(view_first(name, 200)));
		return false;
	}
	tell(call, *at, "end of the pause of");
	drop(q, at);
	return true;
}

enum ctl_result
ctl_pause_list(struct ctl_call *call)
{
	struct qmgr *q = call->daemon;

	for (const struct pause *p = q->pauses; p; p = p->next) {
		if (ended(q, p))
			continue;
		ctl_str(call, "what", kinds[p->kind]);
		ctl_str(call, "name", p->name);
		ctl_time(call, "since", p->since_us);
		ctl_time(call, "until", p->until_us);
		ctl_number(call, "uid", p->uid);
		ctl_str(call, "reason", p->reason);
		ctl_row_end(call);
	}
	return CTL_DONE;
}
