/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf.h"
#include "lib/log.h"
#include "lib/watch.h"

enum { LOST_TOLD_MS = 1000 };

/* What an admin asked for. Views are of the call's arguments. The call's cursor points to a pointer to it. */
struct watcher {
	struct loop_reap reap; /* first */
	struct watcher *next;
	struct watch *watch;
	struct ctl_call *call;
	struct view tenant, domain; /* empty: any */
	char ip[INET6_ADDRSTRLEN];  /* in the form that sessions have */
	const void *session;	    /* NULL: any */
	void (*gone)(void *ctx);
	void *ctx;
	uint64_t until_ms, lost; /* until: 0: for ever */
	struct loop_timer timer; /* the end, or when to tell of lost lines */
};

static void
put_row(struct watcher *who, const struct watch_facts *f, const char *direction, struct view text)
{
	const struct watch *w = who->watch;
	struct ctl_call *call = who->call;

	ctl_time(call, "time", loop_wall_us(w->loop));
	ctl_str(call, "process", role_name(w->role));
	ctl_number(call, "instance", w->instance);
	ctl_text(call, "session", f->id);
	ctl_text(call, "peer", f->peer);
	ctl_str(call, "direction", direction);
	ctl_text(call, "text", text);
	ctl_row_end(call);
}

static void
arm(struct watcher *who)
{
	uint64_t now = loop_now_ms(who->watch->loop), ms = UINT64_MAX;

	if (who->until_ms)
		ms = who->until_ms > now ? who->until_ms - now : 0;
	if (who->lost && ms > LOST_TOLD_MS)
		ms = LOST_TOLD_MS;
	if (ms != UINT64_MAX)
		loop_timer_set(who->watch->loop, &who->timer, ms);
}

/* false: the admin's side still does not read. */
static bool
tell_lost(struct watcher *who)
{
	struct buf text = BUF_INIT(64);

	if (!ctl_has_room(who->call))
		return false;
	buf_printf(&text, "%llu lines were lost here", (unsigned long long)who->lost);
	put_row(who, &(struct watch_facts){ 0 }, "note", buf_view(&text));
	buf_free(&text);
	who->lost = 0;
	return true;
}

static void
put_line(struct watcher *who, const struct watch_facts *f, enum watch_direction d, struct view line)
{
	static const char *const directions[] = { [WATCH_IN] = "in", [WATCH_OUT] = "out", [WATCH_NOTE] = "note" };

	if (ctl_has_room(who->call) && (who->lost == 0 || tell_lost(who))) {
		put_row(who, f, directions[d], line);
	} else if (who->lost++ == 0) {
		arm(who);
	}
}

static bool
asks_for(const struct watcher *who, const struct watch_facts *f)
{
	return (who->session == NULL || who->session == f->session) &&
	    (who->tenant.n == 0 || view_eq(who->tenant, f->tenant)) &&
	    (who->ip[0] == '\0' || view_is(f->ip, who->ip)) &&
	    (who->domain.n == 0 || (f->concerns && f->concerns(f->ctx, who->domain)));
}

void
watch_lines(struct watch *w, const struct watch_facts *f, enum watch_direction d, struct view lines)
{
	for (struct watcher *who = w->first; who; who = who->next) {
		if (!asks_for(who, f))
			continue;
		for (struct view rest = lines; rest.n;) {
			struct view line = view_cut(&rest, '\n');
			if (line.n && line.p[line.n - 1] == '\r')
				line.n--;
			put_line(who, f, d, line);
		}
	}
}

static void
watcher_free(struct loop_reap *r)
{
	free(CONTAINER(r, struct watcher, reap));
}

/* It watches no more; the call is still to be ended. */
static void
leave(struct watcher *who)
{
	struct watch *w = who->watch;
	struct watcher **at = &w->first;

	while (*at != who)
		at = &(*at)->next;
	*at = who->next;
	w->count--;
	loop_timer_cancel(w->loop, &who->timer);
	who->reap.free = watcher_free;
	loop_reap(w->loop, &who->reap);
}

void
watcher_end(struct watcher *who, uint8_t status, const char *text)
{
	struct ctl_call *call = who->call;

	if (who->lost)
		tell_lost(who);
	leave(who);
	ctl_end(call, status, "%s", text);
	ctl_finish(call);
}

static void
on_timer(struct loop_timer *t)
{
	struct watcher *who = CONTAINER(t, struct watcher, timer);

	if (who->lost)
		tell_lost(who);
	if (who->until_ms && who->until_ms <= loop_now_ms(who->watch->loop))
		watcher_end(who, 0, "");
	else
		arm(who);
}

static void
on_cancel(struct ctl_call *call)
{
	struct watcher *who = *(struct watcher **)call->cursor;

	leave(who);
	if (who->gone)
		who->gone(who->ctx);
}

/* NULL: too many. */
static struct watcher *
enter(struct watch *w, struct ctl_call *call)
{
	struct watcher *who;

	if (w->count >= WATCHERS_MAX) {
		ctl_end(call, 1, "%u others are watching already", WATCHERS_MAX);
		return NULL;
	}
	who = x_calloc(1, sizeof(*who));
	*who = (struct watcher){ .next = w->first, .watch = w, .call = call, .timer.fire = on_timer };
	w->first = who;
	w->count++;
	call->cursor = x_malloc(sizeof(who));
	*(struct watcher **)call->cursor = who;
	call->cancel = on_cancel;
	return who;
}

/* An address as sessions write it. false: it is none. */
static bool
ip_form(struct view v, char out[static INET6_ADDRSTRLEN])
{
	unsigned char raw[sizeof(struct in6_addr)];
	char text[INET6_ADDRSTRLEN] = "";

	if (v.n >= sizeof(text))
		return false;
	memcpy(text, v.p, v.n);
	for (int family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0)
		if (inet_pton(family, text, raw) == 1)
			return inet_ntop(family, raw, out, INET6_ADDRSTRLEN) != NULL;
	return false;
}

enum ctl_result
watch_call(struct watch *w, struct ctl_call *call)
{
	struct view ip = ctl_arg(call, "ip"), duration = ctl_arg(call, "for");
	char form[INET6_ADDRSTRLEN] = "";
	uint64_t seconds = 0;

	if (ip.n && !ip_form(ip, form))
		return ctl_end(call, 2, "--ip: " VIEW_FMT " is no address", VIEW_ARG(ip));
	if (duration.n && (!conf_parse_duration(duration, &seconds) || seconds == 0))
		return ctl_end(call, 2, "--for: a duration such as 30s or 5m");
	struct watcher *who = enter(w, call);
	if (who == NULL)
		return CTL_DONE;
	who->tenant = ctl_arg(call, "tenant");
	who->domain = ctl_arg(call, "domain");
	memcpy(who->ip, form, sizeof(form));
	if (seconds)
		who->until_ms = loop_now_ms(w->loop) + seconds * 1000;
	put_row(who, &(struct watch_facts){ 0 }, "note", VIEW("watching"));
	arm(who);
	return CTL_WAIT;
}

struct watcher *
watch_session(struct watch *w, struct ctl_call *call, const void *session, void (*gone)(void *ctx),
    void *ctx)
{
	struct watcher *who = enter(w, call);

	if (who) {
		who->session = session;
		who->gone = gone;
		who->ctx = ctx;
	}
	return who;
}
