/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "smtpd/gate.h"
#include "smtpd/command.h"
#include "smtpd/lease.h"
#include "smtpd/watch.h"

enum {
	IN_MAX = 32768,
	OUT_MAX = 1 << 20,
	OUT_HIGH = 65536,    /* no more commands are run before this has left */
	NAME_WAIT_MS = 5000,
	PEER_WAIT_MS = 30000, /* for authd and for a file from qmgr */
	CLOSE_WAIT_MS = 10000,
	TLS_HANDSHAKE_BYTE = 0x16
};

enum deadline { NONE, NAME, HANDSHAKE, COMMAND, PEER, DATA, CLOSE };

#define TO(state) (1u << ST_##state)

/* What may follow a state, its deadline, and whether the client has to wait in it. */
static const struct edge {
	unsigned next;
	enum deadline deadline;
	bool waits;
} edges[] = {
	[ST_CONNECT] = { TO(ADMIT) | TO(CLOSE), NAME, false },
	[ST_ADMIT] = { TO(GREET) | TO(HANDSHAKE) | TO(HELLO) | TO(CLOSE), PEER, false },
	[ST_GREET] = { TO(HANDSHAKE) | TO(HELLO) | TO(CLOSE), NONE, false },
	[ST_HANDSHAKE] = { TO(HELLO) | TO(CLOSE), HANDSHAKE, false },
	[ST_HELLO] = { TO(READY) | TO(MILTER) | TO(HANDSHAKE) | TO(CLOSE), COMMAND, false },
	[ST_READY] = { TO(READY) | TO(MILTER) | TO(AUTH) | TO(VERIFY) | TO(CHECK) | TO(MAIL) | TO(HANDSHAKE) |
		TO(CLOSE), COMMAND, false },
	[ST_AUTH] = { TO(AUTH) | TO(VERIFY) | TO(READY) | TO(CLOSE), COMMAND, false },
	[ST_VERIFY] = { TO(AUTH) | TO(READY) | TO(CLOSE), PEER, true },
	[ST_CHECK] = { TO(MILTER) | TO(MAIL) | TO(READY) | TO(CLOSE), PEER, true },
	[ST_MAIL] = { TO(MILTER) | TO(RCPT) | TO(RCPTS) | TO(READY) | TO(CLOSE), COMMAND, false },
	[ST_RCPT] = { TO(MILTER) | TO(RCPT) | TO(RCPTS) | TO(DATA) | TO(READY) | TO(CLOSE), COMMAND, false },
	[ST_RCPTS] = { TO(MILTER) | TO(MAIL) | TO(RCPT) | TO(CLOSE), PEER, true },
	[ST_MILTER] = { TO(HELLO) | TO(READY) | TO(MAIL) | TO(RCPT) | TO(DATA) | TO(FINISH) |
		TO(STORE) | TO(CLOSE), NONE, true },
	[ST_DATA] = { TO(FILE) | TO(MILTER) | TO(FINISH) | TO(STORE) | TO(READY) | TO(CLOSE), DATA, false },
	[ST_FILE] = { TO(DATA) | TO(MILTER) | TO(FINISH) | TO(STORE) | TO(READY) | TO(CLOSE), PEER, true },
	[ST_FINISH] = { TO(FINISH) | TO(STORE) | TO(READY) | TO(CLOSE), PEER, true },
	[ST_STORE] = { TO(READY) | TO(CLOSE), NONE, true },
	[ST_CLOSE] = { 0, CLOSE, true },
};
/* The client is in the middle of a message, and the spool has not got it. */
enum { ON_THE_WAY = TO(CHECK) | TO(MAIL) | TO(RCPT) | TO(RCPTS) | TO(MILTER) | TO(DATA) | TO(FILE) | TO(FINISH) };
_Static_assert(sizeof(edges) / sizeof(edges[0]) == STATES, "a state has no edges");

static uint64_t
deadline_ms(const struct session *s, enum deadline deadline)
{
	const struct conf_limits *limits = session_limits(s);

	switch (deadline) {
	case NAME:
		return NAME_WAIT_MS;
	case HANDSHAKE:
		return limits->tls_timeout * 1000;
	case COMMAND:
		return limits->command_timeout * 1000;
	case PEER:
		return PEER_WAIT_MS;
	case DATA:
		return limits->data_timeout * 1000;
	default:
		return CLOSE_WAIT_MS;
	}
}

static void
arm(struct session *s)
{
	enum deadline deadline = edges[s->state].deadline;

	if (deadline == NONE)
		loop_timer_cancel(s->d->loop, &s->timer);
	else
		loop_timer_set(s->d->loop, &s->timer, deadline_ms(s, deadline));
}

/* The transaction ends without an answer to its content. */
static void
abort_txn(struct session *s)
{
	if (s->txn.msg.queued)
		spool_cancel(s->d->spool, &s->txn.msg);
	txn_clear(&s->txn);
}

void
session_enter(struct session *s, enum session_state to)
{
	if (!(edges[s->state].next & 1u << to)) {
		/* Our own bug: no input may lead here. */
		log_error("session: no way from state %u to %u", s->state, to);
		log_flush();
		abort();
	}
	int more = !!(ON_THE_WAY & 1u << to) - !!(ON_THE_WAY & 1u << s->state);
	if (more)
		spool_expect(s->d->spool, more);
	s->state = (uint8_t)to;
	arm(s);
	if (to == ST_CLOSE) {
		session_forget(s);
		abort_txn(s);
	}
	if (edges[to].waits)
		io_pause(&s->io);
	else if (s->io.paused)
		io_resume(&s->io);
}

/* One line of a reply. */
static void __attribute__((format(printf, 5, 0)))
put_line(struct session *s, unsigned code, char sep, struct esc esc, const char *fmt, va_list ap)
{
	/* Behind recipients that authd has not judged yet, replies wait for theirs. */
	struct buf *out = s->txn.asks ? &s->txn.late : io_out(&s->io);
	char text[ESC_TEXT_MAX];
	size_t before = buf_len(out);

	buf_printf(out, "%u%c%s%s", code, sep, esc_text(esc, text), esc.class ? " " : "");
	buf_vprintf(out, fmt, ap);
	buf_puts(out, "\r\n");
	if (out == &s->io.out)
		watch_reply(s, view_skip(buf_view(out), before));
}

static void
count_reply(struct session *s, unsigned code)
{
	if (code < 400)
		return;
	if (code >= 500)
		s->errors++;
	if (s->verb >= 0 && !s->verb_failed) {
		s->verb_failed = true;
		s->count[s->verb].good--;
	}
}

void
session_reply(struct session *s, unsigned code, struct esc esc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put_line(s, code, ' ', esc, fmt, ap);
	va_end(ap);
	count_reply(s, code);
}

void
session_reply_more(struct session *s, unsigned code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put_line(s, code, '-', ESC(0, 0, 0), fmt, ap);
	va_end(ap);
}

void
session_reply_verdict(struct session *s, const struct verdict *v)
{
	session_reply(s, v->code, v->esc, "%s", v->text);
}

void
session_end(struct session *s, unsigned code, struct esc esc, const char *fmt, ...)
{
	va_list ap;

	if (s->state == ST_CLOSE || s->closed)
		return;
	if (s->txn.asks)
		rcpts_give_up(s);
	va_start(ap, fmt);
	put_line(s, code, ' ', esc, fmt, ap);
	va_end(ap);
	count_reply(s, code);
	session_enter(s, ST_CLOSE);
	io_finish(&s->io);
}

void
session_refuse(struct session *s, const struct verdict *v)
{
	if (v->code == 421)
		session_end(s, v->code, v->esc, "%s", v->text);
	else
		session_reply_verdict(s, v);
}

void
session_hang_up(struct session *s)
{
	if (s->txn.asks)
		rcpts_give_up(s);
	if (buf_len(&s->io.out) == 0) {
		session_close(s);
		return;
	}
	session_enter(s, ST_CLOSE);
	io_finish(&s->io);
}

static void
reap(struct loop_reap *r)
{
	free(CONTAINER(r, struct session, reap));
}

static void
leave_table(struct session *s)
{
	struct smtpd *d = s->d;

	d->slots[s->slot] = (struct session_slot){ NULL, d->slot_free };
	d->slot_free = s->slot + 1;
	d->sessions--;
}

void
session_close(struct session *s)
{
	struct smtpd *d = s->d;

	if (s->closed)
		return;
	s->closed = true;
	trace_disconnect(s);
	abort_txn(s);
	lease_end(s);
	milters_end(s);
	peers_disconnect(s);
	auth_free(&s->auth);
	loop_timer_cancel(d->loop, &s->timer);
	loop_unpost(d->loop, &s->after_flush);
	io_close(&s->io);
	leave_table(s);
	listener_unref(&s->listener);
	gate_unref(d, &s->gate);
	free(s->name);
	free(s->helo);
	free(s->tenant);
	free(s->user);
	free(s->refusal);
	loop_reap(d->loop, &s->reap);
	if (d->draining && d->sessions == 0)
		d->drained(d);
}

void
session_drain(struct session *s)
{
	if (s->state == ST_HELLO || s->state == ST_READY)
		session_end(s, 421, ESC(4, 3, 2), "%s Service shutting down",
		    s->listener->site->hostname);
	else if (s->state < ST_HELLO)
		session_close(s);
}

void
session_settle(struct session *s)
{
	if (s->closed || s->state == ST_CLOSE)
		return;
	if (s->errors >= session_limits(s)->errors)
		session_end(s, 421, ESC(4, 7, 0), "%s Error: too many errors",
		    s->listener->site->hostname);
	else if (s->d->draining || s->gate->state == LISTENER_DRAINED)
		session_drain(s);
}

void
session_forget_hello(struct session *s)
{
	free(s->helo);
	s->helo = NULL;
	s->esmtp = false;
	txn_clear(&s->txn);
}

/* Input. */

/* CRLF at the end and nothing of it before; NUL nowhere (A9). */
static bool
well_formed(struct view line)
{
	return line.n >= 2 && line.p[line.n - 2] == '\r' && !memchr(line.p, '\r', line.n - 2) &&
	    !memchr(line.p, '\0', line.n);
}

/* Takes one line; false when there is no whole one. */
static bool
take_line(struct session *s)
{
	struct view in = buf_view(&s->io.in);
	const char *lf = memchr(in.p, '\n', in.n);
	size_t max = s->state == ST_AUTH ? AUTH_LINE_MAX : command_line_max(in);

	if (s->verb < 0 && in.p[0] == TLS_HANDSHAKE_BYTE) {
		trace_odd(s, "TLS handshake on a plain port", VIEW(""));
		session_close(s);
		return false;
	}
	size_t n = lf ? (size_t)(lf + 1 - in.p) : in.n;
	if (n > max) {
		session_end(s, 500, ESC(5, 5, 2), "Error: line too long");
		return false;
	}
	if (lf == NULL)
		return false;
	struct view line = view_first(in, n);
	buf_consume(&s->io.in, n);
	if (!well_formed(line)) {
		trace_odd(s, "bare CR, bare LF or NUL in a command", watch_shown(s, line));
		explicit_bzero((void *)(uintptr_t)line.p, line.n);
		session_end(s, 500, ESC(5, 5, 2), "Error: lines end in CRLF");
		return false;
	}
	line.n -= 2;
	watch_command(s, line);
	if (s->state == ST_AUTH)
		auth_line(s, line);
	else
		command_line(s, line, buf_len(&s->io.in));
	session_settle(s);
	if (!s->closed)
		rcpts_settle(s);
	if (!s->closed && edges[s->state].deadline == COMMAND)
		arm(s);
	return true;
}

/* Who speaks before the greeting did not wait for it (D3). */
static void
early_talker(struct session *s)
{
	session_forget(s);
	if (s->state != ST_GREET) {
		s->name_static = "unknown";
		trace_connect(s);
	}
	trace_odd(s, "commands before the greeting", watch_shown(s, buf_view(&s->io.in)));
	session_end(s, 554, ESC(5, 5, 0), "%s Error: commands sent before the greeting",
	    s->listener->site->hostname);
}

static void
on_input(struct io *io)
{
	struct session *s = CONTAINER(io, struct session, io);

	while (!s->closed && !io->paused && buf_len(&io->in)) {
		if (s->state == ST_DATA)
			data_input(s);
		else if (s->state <= ST_GREET)
			early_talker(s);
		else if (edges[s->state].deadline != COMMAND || !take_line(s))
			break;
		if (!s->closed && buf_len(&io->out) > OUT_HIGH) {
			io_pause(io);
			loop_post(s->d->loop, LOOP_AFTER, &s->after_flush);
		}
	}
}

/* Goes on with commands once the output has left: here, or when the peer has taken it. */
static void
go_on(struct session *s)
{
	if (!s->closed && !edges[s->state].waits && buf_len(&s->io.out) == 0 && s->io.paused)
		io_resume(&s->io);
}

static void
on_after_flush(struct loop_task *t)
{
	go_on(CONTAINER(t, struct session, after_flush));
}

static void
on_drained(struct io *io)
{
	go_on(CONTAINER(io, struct session, io));
}

static void
on_secured(struct io *io, const struct err *e)
{
	struct session *s = CONTAINER(io, struct session, io);

	tls_secured(s, e);
	session_settle(s);
}

static void
on_closed(struct io *io, const struct err *e)
{
	struct session *s = CONTAINER(io, struct session, io);

	if (s->state == ST_CONNECT || s->state == ST_ADMIT)
		trace_connect(s); /* it did not wait to be greeted */
	if (s->state != ST_CLOSE)
		trace_lost(s, "lost connection");
	if (e == NULL && buf_len(&io->out)) {
		/* The client has only closed its own half: it gets its replies. */
		if (s->state != ST_CLOSE)
			session_enter(s, ST_CLOSE);
		if (!io->finishing)
			io_finish(io);
		return;
	}
	session_close(s);
}

/* The start. */

static void
greet(struct session *s)
{
	if (s->listener->policy.tls != CONF_TLS_implicit) {
		session_enter(s, ST_HELLO);
		session_reply(s, 220, ESC(0, 0, 0), "%s ESMTP", s->listener->site->hostname);
		return;
	}
	struct tls *t = tls_server(s->listener->tls, io_fd(&s->io), io_tls_wake, &s->io);
	if (t == NULL) {
		session_close(s);
		return;
	}
	session_enter(s, ST_HANDSHAKE);
	io_tls(&s->io, t);
}

void
session_turn_away(struct session *s)
{
	session_end(s, 421, ESC(4, 7, 0), "%s %s", s->listener->site->hostname, s->refusal);
}

/* What milters say of the connection. */
static void
greet_judged(struct session *s, const struct verdict *v)
{
	if (v)
		trace_reject(s, "CONNECT", v->code, v->esc, view_str(v->text), VIEW(""), NULL);
	if (v == NULL) {
		greet(s);
	} else if (s->listener->policy.tls == CONF_TLS_implicit) {
		s->refusal = x_strdup(v->text);
		greet(s);
	} else {
		session_end(s, v->code >= 500 ? 554 : 421, v->esc, "%s %s", s->listener->site->hostname,
		    v->text);
	}
}

/* Input before the greeting is judged only where it is forbidden. */
static void
hold_early_input(struct session *s)
{
	if (!policy_strict_order(&s->listener->policy) ||
	    s->listener->policy.tls == CONF_TLS_implicit)
		io_pause(&s->io);
}

/* Without authd (NULL) everybody is welcome: what needs its word will not get it. */
void
session_got_connect(struct session *s, const struct ipc_connect_result *m)
{
	trace_connect(s);
	if (m && m->code != 220) {
		trace_reject(s, "CONNECT", 421, ESC(4, 7, 0), m->text, VIEW(""), NULL);
		s->refusal = x_strndup(m->text);
		peers_disconnect(s);
		if (s->listener->policy.tls != CONF_TLS_implicit) {
			session_turn_away(s);
			return;
		}
	}
	if (s->refusal == NULL)
		milters_begin(s);
	if (!milters_ask(s, MILTER_CONNECT, VIEW(""), VIEW(""), greet_judged)) {
		greet(s);
		return;
	}
	session_enter(s, ST_GREET);
	hold_early_input(s);
}

static void
admit(struct session *s)
{
	session_enter(s, ST_ADMIT);
	if (peers_ask_connect(s))
		hold_early_input(s);
	else
		session_got_connect(s, NULL);
}

void
session_got_name(struct session *s, struct view name)
{
	if (name.n)
		s->name = x_strndup(name);
	else
		s->name_static = "unknown";
	admit(s);
}

static void
on_deadline(struct loop_timer *t)
{
	struct session *s = CONTAINER(t, struct session, timer);
	enum session_state state = s->state;

	session_forget(s);
	switch (state) {
	case ST_CONNECT:
		session_got_name(s, VIEW(""));
		break;
	case ST_ADMIT:
		session_got_connect(s, NULL);
		break;
	case ST_VERIFY:
		auth_delayed(s);
		break;
	case ST_RCPTS:
		session_got_rcpts(s, NULL);
		break;
	case ST_CHECK:
		session_got_mail(s, NULL);
		break;
	case ST_FILE:
		data_no_file(s);
		break;
	case ST_DATA:
		data_deadline(s);
		break;
	case ST_FINISH:
		finish_deadline(s);
		break;
	case ST_HANDSHAKE:
		trace_lost(s, "timeout");
		session_close(s);
		break;
	case ST_CLOSE:
		session_close(s);
		break;
	default:
		trace_lost(s, "timeout");
		session_end(s, 421, ESC(4, 4, 2), "%s Error: timeout exceeded",
		    s->listener->site->hostname);
		break;
	}
}

/* The address as text, an IPv4 one in IPv6 clothes as IPv4; true when it is this host's loopback. */
static bool
put_address(struct session *s, const struct sockaddr *sa)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, s->ip, sizeof(s->ip));
		return ntohl(in.sin_addr.s_addr) >> 24 == 127;
	}
	memcpy(&in6, sa, sizeof(in6));
	inet_ntop(AF_INET6, &in6.sin6_addr, s->ip, sizeof(s->ip));
	return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

static void
enter_table(struct session *s)
{
	struct smtpd *d = s->d;

	if (d->slot_free) {
		s->slot = d->slot_free - 1;
		d->slot_free = d->slots[s->slot].next_free;
	} else {
		if (d->slots_count == d->slots_cap) {
			d->slots_cap = d->slots_cap ? d->slots_cap * 2 : 64;
			d->slots = x_realloc(d->slots, d->slots_cap, sizeof(*d->slots));
		}
		s->slot = d->slots_count++;
	}
	d->slots[s->slot] = (struct session_slot){ s, 0 };
	d->sessions++;
	s->serial = ++d->session_serial;
}

void
session_new(struct smtpd *d, struct listener *l, struct gate *g, int fd, const struct sockaddr *sa)
{
	static const struct io_ops ops = { .input = on_input, .drained = on_drained,
		.secured = on_secured, .closed = on_closed };
	struct session *s = x_calloc(1, sizeof(*s));

	s->d = d;
	s->listener = listener_ref(l);
	s->gate = gate_ref(g);
	s->state = ST_CONNECT;
	s->verb = -1;
	s->timer.fire = on_deadline;
	s->after_flush.run = on_after_flush;
	s->reap.free = reap;
	s->trusted = cidrs_match(&l->policy.networks, sa);
	if (put_address(s, sa))
		s->name_static = "localhost";
	enter_table(s);
	if (io_open(&s->io, d->loop, fd, &ops, IN_MAX, OUT_MAX) < 0) {
		session_close(s);
		return;
	}
	if (s->name_static) {
		admit(s);
	} else if (l->reverse_lookup && peers_ask_name(s, sa)) {
		arm(s);
		hold_early_input(s);
	} else {
		session_got_name(s, VIEW(""));
	}
}

/* Facts and names. */

struct policy_facts
session_facts(const struct session *s)
{
	return (struct policy_facts){ .can_tls = s->listener->tls != NULL,
		.tls = s->tls,
		.trusted = s->trusted,
		.authenticated = s->authenticated };
}

const char *
session_name(const struct session *s)
{
	return s->name ? s->name : s->name_static ? s->name_static : "unknown";
}

void
session_put_client(const struct session *s, struct buf *b)
{
	buf_printf(b, "%s[%s]", session_name(s), s->ip);
}

void
session_put_id(const struct session *s, struct buf *b)
{
	buf_printf(b, "%x.%x.%llx", s->d->started_s, s->d->instance, (unsigned long long)s->serial);
}

const char *
session_proto(const struct session *s)
{
	static const char *const protos[] = { "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA" };

	if (!s->esmtp)
		return "SMTP";
	return protos[(s->tls ? 1 : 0) + (s->authenticated ? 2 : 0)];
}
