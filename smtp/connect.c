/* SPDX-License-Identifier: ISC */
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "smtp/connect.h"
#include "smtp/dialogue.h"
#include "smtp/report.h"

enum {
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

/* For the connections after this one. */
static void
remember_dead(struct session *s, const struct verdict *v, uint64_t ms)
{
	char key[DEAD_KEY_MAX];

	dead_key(session_target(s), key);
	recall_put(&s->smtp->recall, key, view_str(v->text), loop_now_ms(session_loop(s)), ms);
}

static void
connect_failed(struct session *s, const char *why, uint64_t dead_ms)
{
	struct verdict v;

	verdict_set(&v, ERR_TEMP, STAGE_CONNECT, ESC(4, 4, 1), "connect to %s: %s", s->relay, why);
	log_info("%s", v.text);
	if (dead_ms)
		remember_dead(s, &v, dead_ms);
	connect_next(s, &v);
}

/* Our own listener on a wildcard address: the same address at both ends, and a port of ours. */
static bool
is_ourselves(const struct session *s)
{
	const struct conf *c = session_conf(s);
	struct target self;
	socklen_t len = sizeof(self.addr);

	if (getsockname(io_fd(&s->link->io), &self.addr.sa, &len) < 0)
		return false;
	const struct target *t = session_target(s);
	if (t->addr.sa.sa_family == AF_INET
		? self.addr.in4.sin_addr.s_addr != t->addr.in4.sin_addr.s_addr
		: memcmp(&self.addr.in6.sin6_addr, &t->addr.in6.sin6_addr, 16) != 0)
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
	struct verdict v;
	int on = 1;

	if (e) {
		connect_failed(s, e->text, REFUSED_MS);
		return;
	}
	if (is_ourselves(s)) {
		verdict_set(&v, ERR_PERM, STAGE_CONNECT, ESC(5, 4, 6),
		    "mail for %s loops back to myself", s->nexthop);
		session_end(s, CONN_REFUSED, &v);
		return;
	}
	setsockopt(io_fd(&s->link->io), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->step = STEP_GREETING;
	session_expect(s);
}

void
connect_timed_out(struct session *s)
{
	connect_failed(s, "Connection timed out", TIMED_OUT_MS);
}

static int
source_address(const struct session *s, struct target *out)
{
	return target_literal(view_str(s->source), 0, out) ? 0 : -1;
}

/* 0, or -1 when the attempt failed at once. */
static int
try_connect(struct session *s)
{
	struct target local;
	bool bound = source_address(s, &local) == 0;
	struct err e;

	target_text(session_target(s), true, s->relay);
	if (session_link(s, session_target(s), bound ? &local : NULL, &e) == 0)
		return 0;
	verdict_set(s->last, ERR_TEMP, STAGE_CONNECT, ESC(4, 4, 1), "connect to %s: %s", s->relay,
	    view_starts(view_str(e.text), "connect: ") ? e.text + 9 : e.text);
	log_info("%s", s->last->text);
	remember_dead(s, s->last, REFUSED_MS);
	return -1;
}

static bool
is_dead(struct session *s)
{
	char key[DEAD_KEY_MAX];
	struct view why;

	dead_key(session_target(s), key);
	if (!recall_get(&s->smtp->recall, key, loop_now_ms(session_loop(s)), &why))
		return false;
	verdict_set(s->last, ERR_TEMP, STAGE_CONNECT, ESC(4, 4, 1), VIEW_FMT, VIEW_ARG(why));
	return true;
}

/* From target_at on: the first one that takes a connection, or the end. */
static void
try_rest(struct session *s)
{
	for (; s->target_at < s->target_count && s->greeted < SESSION_GREETED_MAX; s->target_at++)
		if (!is_dead(s) && try_connect(s) == 0)
			return;
	session_end(s, CONN_FAILED, s->last);
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
	if (source_address(s, &local) == 0)
		r->family = local.addr.sa.sa_family;
}

static void
not_possible(struct session *s, uint8_t stage, const struct err *e)
{
	struct verdict v;

	verdict_err(&v, stage, e);
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

void
connect_start(struct session *s)
{
	struct target literal;
	struct ipc_mx_answer m;
	struct view known;
	struct err e;
	char key[DNS_KEY_MAX];

	/* Mail never leaves from another address than the one it is meant to. */
	if (*s->source && source_address(s, &literal) < 0) {
		err_set(&e, ERR_TEMP, ESC(4, 3, 5), "bad source address %s", s->source);
		not_possible(s, STAGE_CONNECT, &e);
		return;
	}
	if (target_literal(view_str(s->nexthop), s->port, &literal)) {
		use_literal(s, &literal);
		return;
	}
	dns_key(s, key);
	if (recall_get(&s->smtp->recall, key, loop_now_ms(session_loop(s)), &known) &&
	    ipc_get(&ipc_desc_mx_answer, known, &m))
		resolved(s, &m);
	else
		connect_ask(s);
}
