/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>

#include "smtp/connect.h"
#include "smtp/probe.h"

struct probe {
	struct watcher *watcher; /* NULL: the admin is gone */
	bool good;
	char text[IPC_TEXT_MAX];
};

void
probe_result(struct session *s, const struct verdict *v)
{
	struct probe *p = s->probe;

	p->good = v == NULL && s->ready;
	if (p->good)
		snprintf(p->text, sizeof(p->text), "%s would take mail, %s%s", s->relay,
		    s->tls_on ? "over " : "without TLS", s->tls_text);
	else
		snprintf(p->text, sizeof(p->text), "%s", v ? v->text : "the connection was ended");
}

void
probe_end(struct session *s)
{
	struct probe *p = s->probe;

	s->probe = NULL;
	if (p->watcher)
		watcher_end(p->watcher, p->good ? 0 : 1, *p->text ? p->text : "the connection was ended");
	free(p);
}

static void
admin_gone(void *ctx)
{
	struct session *s = ctx;

	s->probe->watcher = NULL;
	session_drop(s);
}

/* Digits up to max, or nothing: 0. false: something else. */
static bool
number(struct ctl_call *call, const char *name, uint64_t max, uint64_t *out)
{
	struct view v = ctl_arg(call, name);

	*out = 0;
	return v.n == 0 || view_u64(v, max, out);
}

/* false: the end of the call is set. */
static bool
read_args(struct ctl_call *call, struct ipc_conn_open *m)
{
	uint64_t port, tls;

	*m = (struct ipc_conn_open){ .nexthop = ctl_arg(call, "nexthop"),
		.mx = ctl_flag(call, "mx"),
		.source = ctl_arg(call, "source"),
		.source6 = ctl_arg(call, "source6"),
		.helo = ctl_arg(call, "helo"),
		.auth = ctl_arg(call, "auth") };
	if (m->nexthop.n == 0 || m->nexthop.n > TARGET_HOST_MAX || !number(call, "port", UINT16_MAX, &port) ||
	    !number(call, "tls", TLS_POLICY_VERIFY, &tls)) {
		ctl_end(call, 2, "a next hop, a port or a TLS policy that is none");
		return false;
	}
	m->port = (uint16_t)port;
	m->tls = (uint8_t)tls;
	return true;
}

CTL_SMTP(CTL_PROTOTYPE)

enum ctl_result
ctl_dialogue(struct ctl_call *call)
{
	struct smtp *p = call->daemon;
	struct ipc_conn_open m;

	if (!read_args(call, &m))
		return CTL_DONE;
	m.conn = PROBE_FIRST + p->probes++;
	struct session *s = session_new(p, &m);
	s->close_wanted = true; /* as soon as it is ready */
	s->probe = x_calloc(1, sizeof(*s->probe));
	s->probe->watcher = watch_session(&p->watch, call, s, admin_gone, s);
	if (s->probe->watcher == NULL) {
		session_drop(s);
		return CTL_DONE;
	}
	connect_start(s, &m);
	return CTL_WAIT;
}
