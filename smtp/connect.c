/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "smtp/connect.h"
#include "smtp/dialogue.h"
#include "smtp/report.h"
#include "smtp/watch.h"

enum {
	UNBOUND_TOLD_MS = 60000,
	REFUSED_MS = 2000,
	TIMED_OUT_MS = 60000,
	DEAD_KEY_MAX = 80,
	DNS_KEY_MAX = 300,
	DNS_KEEP_S = 60,
	DNS_KEEP_NEGATIVE_S = 5
};

static void
dead_key(const struct target *t, char out[static DEAD_KEY_MAX])
{
	char text[TARGET_TEXT_MAX];

	target_text(t, true, text);
	snprintf(out, DEAD_KEY_MAX, "dead:%.70s", strrchr(text, '['));
}

/* The connect to the target at hand failed. For the connections after this one: event and text. */
static void
set_failed(struct session *s, struct verdict *v, const char *why, uint8_t event, uint64_t dead_ms)
{
	struct buf memory = BUF_INIT(IPC_TEXT_MAX + 1);
	char key[DEAD_KEY_MAX];

	verdict_set(v, ERR_TEMP, STAGE_CONNECT, ESC(4, 4, 1), "connect to %s: %s", s->relay, why);
	v->event = event;
	log_info("%s", v->text);
	watch_note(s, v->text);
	dead_key(session_target(s), key);
	buf_putc(&memory, (char)v->event);
	buf_puts(&memory, v->text);
	recall_put(&s->smtp->recall, key, buf_view(&memory), loop_now_ms(session_loop(s)), dead_ms);
	buf_free(&memory);
}

/* Our own listener on a wildcard address: the same address at both ends, and a port of ours. */
static bool
is_ourselves(const struct session *s, const struct target *self)
{
	const struct conf *c = session_conf(s);
	const struct target *t = session_target(s);

	if (t->addr.sa.sa_family == AF_INET
		? self->addr.in4.sin_addr.s_addr != t->addr.in4.sin_addr.s_addr
		: memcmp(&self->addr.in6.sin6_addr, &t->addr.in6.sin6_addr, 16) != 0)
		return false;
	for (size_t i = 0; i < c->listen_count; i++)
		for (size_t k = 0; k < c->listen[i].address.n; k++) {
			const struct sockaddr *sa =
			    (const struct sockaddr *)&c->listen[i].address.v[k].addr;
			const struct sockaddr_in *in4 = (const void *)sa;
			const struct sockaddr_in6 *in6 = (const void *)sa;
			bool any = sa->sa_family == AF_INET
				       ? in4->sin_addr.s_addr == 0
				       : IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
			if (any && in4->sin_port == t->addr.in4.sin_port)
				return true;
		}
	return false;
}

void
connect_done(struct session *s, const struct err *e)
{
	struct target self = { .addr.sa.sa_family = AF_UNSPEC };
	socklen_t len = sizeof(self.addr);
	struct verdict v;
	int on = 1;

	if (e) {
		set_failed(s, &v, e->text, event_of(s->link->io.error), REFUSED_MS);
		connect_next(s, &v);
		return;
	}
	getsockname(io_fd(&s->link->io), &self.addr.sa, &len);
	target_ip(&self, s->local);
	if (is_ourselves(s, &self)) {
		verdict_set(&v, ERR_PERM, STAGE_CONNECT, ESC(5, 4, 6),
		    "mail for %s loops back to myself", s->nexthop);
		session_end(s, CONN_REFUSED, &v);
		return;
	}
	setsockopt(io_fd(&s->link->io), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	watch_connected(s);
	s->step = STEP_GREETING;
	session_expect(s);
}

void
connect_timed_out(struct session *s)
{
	struct verdict v;

	set_failed(s, &v, "Connection timed out", CONN_EVENT_TIMEOUT, TIMED_OUT_MS);
	connect_next(s, &v);
}

/* The address to send from to one of that family, or of any. false: none is given. */
static bool
source_address(const struct session *s, int family, struct target *out)
{
	const char *const given[] = { s->source, s->source6 };

	for (size_t i = 0; i < 2; i++)
		if (target_literal(view_str(given[i]), 0, out) &&
		    (family == AF_UNSPEC || out->addr.sa.sa_family == family))
			return true;
	return false;
}

/* Nothing was tried from it; its other family may do. */
static void
source_failed(struct session *s, const struct target *local, const struct err *e)
{
	char key[DEAD_KEY_MAX];
	struct verdict v;
	struct view told;
	uint64_t now = loop_now_ms(session_loop(s));

	verdict_set(&v, ERR_TEMP, STAGE_CONNECT, ESC(4, 3, 5), "source address %s: %s", local->host, e->text);
	watch_note(s, v.text);
	s->unbound = true;
	if (!s->knocked)
		*s->last = v;
	snprintf(key, sizeof(key), "source:%.70s", local->host);
	if (recall_get(&s->smtp->recall, key, now, &told))
		return;
	log_warn("%s", v.text);
	recall_put(&s->smtp->recall, key, VIEW(""), now, UNBOUND_TOLD_MS);
}

/* 0, or -1 when the attempt failed at once. */
static int
try_connect(struct session *s)
{
	struct target local;
	bool bound = source_address(s, session_target(s)->addr.sa.sa_family, &local);
	struct err e;

	target_text(session_target(s), true, s->relay);
	int rc = session_link(s, session_target(s), bound ? &local : NULL, &e);
	if (rc == IO_UNBOUND) {
		source_failed(s, &local, &e);
		return -1;
	}
	s->knocked = true;
	if (rc < 0)
		set_failed(s, s->last, view_starts(view_str(e.text), "connect: ") ? e.text + 9 : e.text,
		    event_of(errno), REFUSED_MS);
	return rc;
}

static bool
is_dead(struct session *s)
{
	char key[DEAD_KEY_MAX];
	struct view why;

	dead_key(session_target(s), key);
	if (!recall_get(&s->smtp->recall, key, loop_now_ms(session_loop(s)), &why))
		return false;
	s->knocked = true;
	verdict_set(s->last, ERR_TEMP, STAGE_CONNECT, ESC(4, 4, 1), VIEW_FMT, VIEW_ARG(view_skip(why, 1)));
	s->last->event = (uint8_t)why.p[0];
	return true;
}

/* From target_at on: the first one that takes a connection, or the end. */
static void
try_rest(struct session *s)
{
	for (; s->target_at < s->target_count && s->greeted < SESSION_GREETED_MAX; s->target_at++)
		if ((s->probe || !is_dead(s)) && try_connect(s) == 0)
			return;
	session_end(s, s->unbound && !s->knocked ? CONN_SOURCE : CONN_FAILED, s->last);
}

void
connect_next(struct session *s, const struct verdict *v)
{
	*s->last = *v;
	session_unlink(s);
	s->no_tls = false;
	s->target_at++;
	try_rest(s);
}

void
connect_retry_plain(struct session *s)
{
	session_unlink(s);
	s->no_tls = true;
	if (try_connect(s) < 0) {
		s->target_at++;
		try_rest(s);
	}
}

static void
put_rules(const struct session *s, struct target_rules *r)
{
	struct target local;

	*r = (struct target_rules){ .conf = session_conf(s),
		.nexthop = s->nexthop,
		.mx = s->mx,
		.port = s->port,
		.family = AF_UNSPEC,
		.seed = smtp_random(s->smtp) };
	bool v4 = source_address(s, AF_INET, &local), v6 = source_address(s, AF_INET6, &local);
	if (v4 != v6)
		r->family = v4 ? AF_INET : AF_INET6;
}

static void
not_possible(struct session *s, uint8_t stage, const struct err *e)
{
	struct verdict v;

	verdict_err(&v, stage, e);
	watch_note(s, v.text);
	session_end(s, v.class == ERR_PERM ? CONN_REFUSED : CONN_FAILED, &v);
}

/* What DNS has to say when there is no address. A host that the admin named is no fault of the
 * mail. */
static void
not_found(struct session *s, const struct ipc_mx_answer *m)
{
	static const struct {
		enum err_class class;
		struct esc esc;
	} by_status[] = { [DNS_OK] = { ERR_TEMP, ESC(4, 4, 3) },
		[DNS_NXDOMAIN] = { ERR_PERM, ESC(5, 1, 2) },
		[DNS_NODATA] = { ERR_PERM, ESC(5, 4, 4) },
		[DNS_NULLMX] = { ERR_PERM, ESC(5, 1, 10) },
		[DNS_TEMP] = { ERR_TEMP, ESC(4, 4, 3) },
		[DNS_BOGUS] = { ERR_TEMP, ESC(4, 4, 3) } };
	size_t at = m->status < sizeof(by_status) / sizeof(by_status[0]) ? m->status : DNS_TEMP;
	struct err e;

	if (by_status[at].class == ERR_PERM && !s->mx)
		err_set(&e, ERR_TEMP, ESC(4, 3, 5), VIEW_FMT, VIEW_ARG(m->text));
	else
		err_set(&e, by_status[at].class, by_status[at].esc, VIEW_FMT, VIEW_ARG(m->text));
	not_possible(s, STAGE_DNS, &e);
}

static void
resolved(struct session *s, const struct ipc_mx_answer *m)
{
	struct target found[TARGET_MAX];
	struct target_rules rules;
	struct err e;

	if (s->targets)
		return; /* asked twice, when dnsd was restarted */
	if (m->status != DNS_OK) {
		not_found(s, m);
		return;
	}
	put_rules(s, &rules);
	int n = target_build(&rules, m, found, &e);
	if (n < 0) {
		not_possible(s, STAGE_DNS, &e);
		return;
	}
	s->target_count = (size_t)n;
	s->targets = x_calloc(s->target_count, sizeof(*s->targets));
	memcpy(s->targets, found, s->target_count * sizeof(*found));
	try_rest(s);
}

void
connect_ask(struct session *s)
{
	struct channel *dnsd = &s->smtp->dnsd;
	struct err e;

	if (s->targets || s->dying || !channel_is_open(dnsd))
		return; /* it is asked when there is one */
	if (IPC_SEND(dnsd, mx_query, .req = s->conn, .name = view_str(s->nexthop), .mx = s->mx) <
	    0) {
		err_set(&e, ERR_PERM, ESC(5, 1, 2), "Host or domain name not found. Bad name");
		not_possible(s, STAGE_DNS, &e);
	}
}

static void
dns_key(const struct session *s, char out[static DNS_KEY_MAX])
{
	snprintf(out, DNS_KEY_MAX, "dns:%d:%s", s->mx, s->nexthop);
}

void
connect_answered(struct session *s, const struct ipc_mx_answer *m, struct view frame)
{
	uint64_t most_s = m->status == DNS_OK ? DNS_KEEP_S : DNS_KEEP_NEGATIVE_S;
	char key[DNS_KEY_MAX];

	if (m->ttl_s) {
		dns_key(s, key);
		recall_put(&s->smtp->recall, key, frame, loop_now_ms(session_loop(s)),
		    (m->ttl_s < most_s ? m->ttl_s : most_s) * 1000);
	}
	resolved(s, m);
}

static void
use_literal(struct session *s, const struct target *t)
{
	struct target_rules rules;
	struct err e;

	put_rules(s, &rules);
	if (target_allowed(&rules, t, &e) < 0) {
		not_possible(s, STAGE_DNS, &e);
		return;
	}
	s->targets = x_calloc(1, sizeof(*t));
	s->targets[0] = *t;
	s->target_count = 1;
	try_rest(s);
}

/* Mail never leaves from another address than the ones it is meant to. */
static bool
sources_are_addresses(struct session *s)
{
	const char *const given[] = { s->source, s->source6 };
	struct target literal;
	struct verdict v;

	for (size_t i = 0; i < 2; i++)
		if (*given[i] && !target_literal(view_str(given[i]), 0, &literal)) {
			verdict_set(&v, ERR_TEMP, STAGE_CONNECT, ESC(4, 3, 5), "bad source address %s", given[i]);
			session_end(s, CONN_SOURCE, &v);
			return false;
		}
	return true;
}

/* From what this process heard of DNS lately, or from DNS. */
static void
look_up(struct session *s)
{
	struct ipc_mx_answer m;
	struct view known;
	char key[DNS_KEY_MAX];

	dns_key(s, key);
	if (recall_get(&s->smtp->recall, key, loop_now_ms(session_loop(s)), &known) &&
	    ipc_get(&ipc_desc_mx_answer, known, &m))
		resolved(s, &m);
	else
		connect_ask(s);
}

void
connect_start(struct session *s, const struct ipc_conn_open *m)
{
	struct target literal;

	if (!sources_are_addresses(s))
		return;
	if (target_literal(view_str(s->nexthop), s->port, &literal))
		use_literal(s, &literal);
	else if (m->hosts.n)
		resolved(s, &(struct ipc_mx_answer){ .status = DNS_OK,
				.secure = m->secure,
				.implicit = m->implicit,
				.hosts = m->hosts });
	else
		look_up(s);
}
