/* SPDX-License-Identifier: ISC */
/*
 * smtpd in this process, for fuzz targets: the real sessions on a real loop, over socket pairs, with
 * authd, qmgr and signd played on the same loop. One rig lives through all inputs; each input has
 * sessions of its own, and the rig checks what must hold behind every one of them:
 *
 * - replies are well-formed lines of printable ASCII, ended by CRLF (S15, ATTACKS J8);
 * - as many messages are stored as were answered "queued as", their checksums are right, and their
 *   content holds no bare CR, bare LF or NUL (ATTACKS A1-A9);
 * - where nobody may relay without a key, nothing is stored without one (A1, A2);
 * - every log line is printable ASCII (ATTACKS J8);
 * - no session is left over.
 *
 * authd: the secret "good" opens every user; the sender <> and those of refused.example are refused; the
 * recipients of checked.example are asked for, and those that begin with "full" are 452.
 */
#ifndef EKIDEN_FUZZ_SMTPD_RIG_H
#define EKIDEN_FUZZ_SMTPD_RIG_H

#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/log.h"
#include "smtpd/command.h"
#include "smtpd/gate.h"
#include "t/fuzz/fuzz.h"
#include "t/unit/tls_fixture.h"

enum {
	RIG_NET,	/* no key needed */
	RIG_KEY,	/* AUTH in plain text */
	RIG_MX,		/* STARTTLS, relays nothing */
	RIG_SUBMISSION, /* STARTTLS, then AUTH */
	RIG_LISTENERS,
	RIG_SEGMENT = 16 << 20,
	RIG_FUTURE_MAX_S = 86400,
	RIG_TURNS_MAX = 400
};

struct rig {
	struct loop *loop;
	struct smtpd d;
	struct site site;
	struct listener listeners[RIG_LISTENERS];
	struct channel authd, qmgr;
	struct identity id;
	struct loop_task stop;
	const char *segment; /* mapped, read-only */
	uint64_t gen, big;
	int log, here; /* here: clients that authd was told of */
	/* Since rig_connect(). */
	bool strangers; /* may write to what is hosted here, in nobody's name */
	unsigned stored, auths, auths_good;
	struct buf user, secret; /* what authd was asked last */
};

/* authd */

static bool
on_auth(struct rig *d, struct channel *ch, struct ipc_auth *m, int *fd)
{
	bool good = view_is(m->secret, "good");

	(void)fd;
	d->auths++;
	d->auths_good += good;
	buf_clear(&d->user);
	buf_clear(&d->secret);
	buf_putv(&d->user, m->user);
	buf_putv(&d->secret, m->secret);
	IPC_SEND(ch, auth_result, .req = m->req, .code = good ? 235 : 535,
	    .esc = esc_pack(good ? ESC(2, 7, 0) : ESC(5, 7, 8)), .text = VIEW("Error: no"),
	    .tenant = good ? VIEW("acme") : VIEW(""), .user = VIEW("app"), .why = VIEW("because"),
	    .may_future = good, .may_priority = good);
	return true;
}

static bool
on_mail_check(struct rig *d, struct channel *ch, struct ipc_mail_check *m, int *fd)
{
	struct view domain = m->sender;

	(void)d, (void)fd;
	view_cut(&domain, '@');
	bool good = m->sender.n && !view_is(domain, "refused.example");
	IPC_SEND(ch, mail_result, .req = m->req, .code = good ? 250 : 550,
	    .esc = esc_pack(good ? ESC(2, 1, 0) : ESC(5, 7, 1)), .text = VIEW("Sender"),
	    .check_rcpts = view_is(domain, "checked.example"), .reserved_s = 7,
	    .may_future = true, .may_priority = !view_is(domain, "low.example"), .lease = 3);
	return true;
}

static bool
on_connect(struct rig *d, struct channel *ch, struct ipc_connect *m, int *fd)
{
	(void)fd;
	d->here++;
	if (m->req)
		IPC_SEND(ch, connect_result, .req = m->req, .code = 220);
	return true;
}

static bool
on_disconnect(struct rig *d, struct channel *ch, struct ipc_disconnect *m, int *fd)
{
	(void)ch, (void)m, (void)fd;
	d->here--;
	return true;
}

static bool
on_scram_start(struct rig *d, struct channel *ch, struct ipc_scram_start *m, int *fd)
{
	(void)d, (void)fd;
	IPC_SEND(ch, scram_salt, .req = m->req, .salt = VIEW("0123456789abcdef"), .iterations = 4096);
	return true;
}

/* No proof is right. */
static bool
on_scram_finish(struct rig *d, struct channel *ch, struct ipc_scram_finish *m, int *fd)
{
	(void)d, (void)fd;
	IPC_SEND(ch, auth_result, .req = m->req, .code = 535, .esc = esc_pack(ESC(5, 7, 8)),
	    .text = VIEW("Error: no"), .why = VIEW("because"));
	return true;
}

static bool
on_rcpt_check(struct rig *d, struct channel *ch, struct ipc_rcpt_check *m, int *fd)
{
	struct buf results = BUF_INIT(IPC_BULK_MAX);
	struct view names = m->rcpts;
	struct ipc_rcpt_name name;
	uint32_t count = 0;

	(void)d, (void)fd;
	while (ipc_next(&ipc_desc_rcpt_name, &names, &name)) {
		bool full = view_starts(name.addr, "full");
		count++;
		IPC_RECORD(&results, rcpt_verdict, .code = full ? 452 : 250,
		    .esc = esc_pack(full ? ESC(4, 7, 0) : ESC(2, 1, 5)), .text = VIEW("Quota"));
	}
	REQUIRE(count == m->count);
	IPC_SEND(ch, rcpt_result, .req = m->req, .results = buf_view(&results));
	buf_free(&results);
	return true;
}

static bool
on_txn_end(struct rig *d, struct channel *ch, struct ipc_txn_end *m, int *fd)
{
	(void)d, (void)ch, (void)fd;
	REQUIRE(m->leased ? m->stored && m->leased <= 3 && m->reserved_s == 0 : m->reserved_s == 7);
	return true;
}

static bool
on_from_check(struct rig *d, struct channel *ch, struct ipc_from_check *m, int *fd)
{
	(void)d, (void)fd;
	IPC_SEND(ch, from_result, .req = m->req, .ok = true);
	return true;
}

static bool
authd_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct rig *d = ch->ctx;

	switch (type) {
		IPC_SMTPD_TO_AUTHD(IPC_CASE)
	default:
		return false;
	}
}

/* qmgr */

static int
rig_file(size_t size)
{
	int fd = memfd_create("rig", MFD_CLOEXEC);

	REQUIRE(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

/* One at a time: smtpd asks for two, the second comes when the first is used up. */
static void
rig_give(struct rig *d)
{
	int fd = rig_file(RIG_SEGMENT);

	if (d->segment)
		munmap((void *)(uintptr_t)d->segment, RIG_SEGMENT);
	d->segment = mmap(NULL, RIG_SEGMENT, PROT_READ, MAP_SHARED, fd, 0);
	REQUIRE(d->segment != MAP_FAILED);
	IPC_SEND_FD(&d->qmgr, fd, segment, .gen = ++d->gen, .start = SEGMENT_DATA, .size = RIG_SEGMENT);
}

static bool
on_segment_want(struct rig *d, struct channel *ch, struct ipc_segment_want *m, int *fd)
{
	(void)ch, (void)m, (void)fd;
	if (d->segment == NULL)
		rig_give(d);
	return true;
}

static bool
on_segment_release(struct rig *d, struct channel *ch, struct ipc_segment_release *m, int *fd)
{
	(void)ch, (void)fd;
	REQUIRE(!m->failed && m->gen == d->gen);
	rig_give(d);
	return true;
}

/* What a next host would be sent: the framing must leave no room for a second message. */
static void
rig_check_lines(struct view v)
{
	for (size_t i = 0; i < v.n; i++) {
		REQUIRE(v.p[i] != '\0');
		REQUIRE(v.p[i] != '\n' || (i > 0 && v.p[i - 1] == '\r'));
		REQUIRE(v.p[i] != '\r' || (i + 1 < v.n && v.p[i + 1] == '\n'));
	}
	REQUIRE(v.n == 0 || v.p[v.n - 1] == '\n');
}

static bool
on_stored(struct rig *d, struct channel *ch, struct ipc_stored *m, int *fd)
{
	struct view all = view_of(d->segment + m->offset, m->end - m->offset);
	struct arena a = { 0 };
	struct envelope env;
	struct record r;
	bool damaged;

	(void)ch, (void)fd;
	d->stored++;
	REQUIRE(m->gen == d->gen && record_header_get(all, m->gen, &r, &damaged));
	struct view head = view_first(view_skip(all, RECORD_HEADER), r.envelope_len);
	REQUIRE(record_envelope_get(&r, head, &a, &env) && env.nrcpt > 0);
	REQUIRE(env.tenant.n > 0 || (d->strangers && env.user.n == 0));
	struct view front = view_first(view_skip(all, record_front_at(&r)), r.front_len);
	struct view content = view_first(view_skip(all, record_front_at(&r) + r.front_len), r.content_len);
	rig_check_lines(front);
	if (!(env.flags & SEGMENT_BIG)) {
		REQUIRE(content.n == env.size);
		REQUIRE(crc32c(crc32c(0, front.p, front.n), content.p, content.n) == r.content_crc);
		rig_check_lines(content);
	}
	arena_free(&a);
	return true;
}

static bool
on_big_want(struct rig *d, struct channel *ch, struct ipc_big_want *m, int *fd)
{
	(void)fd;
	IPC_SEND_FD(ch, rig_file(0), big, .req = m->req, .big = ++d->big);
	return true;
}

static bool
on_big_drop(struct rig *d, struct channel *ch, struct ipc_big_drop *m, int *fd)
{
	(void)ch, (void)fd;
	REQUIRE(m->big <= d->big);
	return true;
}

static bool
qmgr_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct rig *d = ch->ctx;

	switch (type) {
		IPC_WRITER_TO_QMGR(IPC_CASE)
	default:
		return false;
	}
}

/* No input may bring smtpd to break a channel. */
static void
rig_channel_closed(struct channel *ch, const struct err *e)
{
	(void)ch;
	fprintf(stderr, "channel: %s\n", e ? e->text : "closed");
	abort();
}

/* The turn */

static void
rig_stop(struct loop_task *t)
{
	loop_stop(CONTAINER(t, struct rig, stop)->loop);
}

static void
rig_turn(struct rig *d)
{
	loop_post(d->loop, LOOP_AFTER, &d->stop);
	loop_run(d->loop);
	while (answer(&d->id.signer))
		;
}

/* Waits for authd, qmgr or the spool, in any session. */
static bool
rig_busy(const struct rig *d)
{
	const unsigned waiting = 1u << ST_ADMIT | 1u << ST_VERIFY | 1u << ST_CHECK | 1u << ST_RCPTS |
	    1u << ST_FILE | 1u << ST_FINISH | 1u << ST_STORE;

	for (uint32_t i = 0; i < d->d.slots_count; i++) {
		const struct session *s = d->d.slots[i].s;
		if (s && (waiting & 1u << s->state || buf_len(&s->io.out)))
			return true;
	}
	return false;
}

static void
rig_settle(struct rig *d)
{
	unsigned turns = 0;

	rig_turn(d);
	do
		rig_turn(d);
	while (rig_busy(d) && ++turns < RIG_TURNS_MAX);
}

/* Set-up, once */

static void
rig_channel(struct rig *d, struct channel *ch, const struct channel_ops *ops, enum role role)
{
	int fds[2];

	REQUIRE(channel_pair(fds) == 0);
	peers_attach(&d->d, role, 0, fds[1]);
	REQUIRE(channel_open(ch, d->loop, fds[0], ops, d, ROLE_SMTPD, 0) == 0);
}

static void
rig_listeners(struct rig *d)
{
	static struct cidr all = { .v6 = false, .bits = 0 };
	static char acme[] = "acme", none[] = "";
	static const struct policy policies[RIG_LISTENERS] = {
		[RIG_NET] = { CONF_TLS_none, AUTH_NETWORKS, { &all, 1 }, acme },
		[RIG_KEY] = { CONF_TLS_none, AUTH_REQUIRED, { NULL, 0 }, none },
		[RIG_MX] = { CONF_TLS_starttls, AUTH_OPTIONAL, { NULL, 0 }, none },
		[RIG_SUBMISSION] = { CONF_TLS_starttls, AUTH_REQUIRED, { NULL, 0 }, none },
	};
	static char name[] = "door", host[] = "mta.test", postmaster[] = "postmaster@mta.test";
	static char sim[] = "sim.example", bounce[] = "bounce.example", tag[] = "X-Tag";
	static char carrier[] = "carrier.example", *legacy[] = { carrier };

	d->site = (struct site){ .refs = 1, .hostname = host, .postmaster = postmaster,
		.limits = { .message_size = 40000, .inline_size = 4096, .line_length = 200,
		    .messages_per_connection = 20, .recipients_per_message = 100, .sessions = 100,
		    .errors = 40, .idle_commands = 100, .hops = 20, .header_size = 4096,
		    .command_timeout = 300, .data_timeout = 300, .tls_timeout = 300,
		    .future_release_max = RIG_FUTURE_MAX_S },
		.simulator = sim, .bounce_domain = bounce, .copies = true,
		.duplicates = CONF_DUPLICATES_log, .tags = { tag, none, none }, .legacy = { legacy, 1 } };
	for (int i = 0; i < RIG_LISTENERS; i++) {
		d->listeners[i] = (struct listener){ .refs = 1, .site = &d->site, .name = name,
			.policy = policies[i] };
		if (policies[i].tls != CONF_TLS_none)
			d->listeners[i].tls = identity_ctx(&d->id, false, VIEW(""));
	}
}

/* Syncs beside the loop would take their own time: without kernel AIO they are done in the turn. */
static void
rig_without_aio(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	REQUIRE(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_setup), 0) == 0);
	REQUIRE(seccomp_load(ctx) == 0);
	seccomp_release(ctx);
}

/* The rig of this process. */
static struct rig *
rig_get(void)
{
	static const struct channel_ops authd_ops = { authd_frame, rig_channel_closed },
		qmgr_ops = { qmgr_frame, rig_channel_closed };
	static struct rig *d;

	if (d)
		return d;
	rig_without_aio();
	d = x_calloc(1, sizeof(*d));
	d->loop = loop_new();
	d->stop.run = rig_stop;
	buf_init(&d->user, 1 << 16);
	buf_init(&d->secret, 1 << 16);
	d->log = rig_file(0);
	log_open(d->log, false);
	log_attach(d->loop);
	identity_init(&d->id, "P-256");
	rig_listeners(d);
	smtpd_setup(&d->d, d->loop, 1);
	rig_channel(d, &d->authd, &authd_ops, ROLE_AUTHD);
	rig_channel(d, &d->qmgr, &qmgr_ops, ROLE_QMGR);
	for (int i = 0; i < 4; i++)
		rig_turn(d);
	REQUIRE(d->segment != NULL);
	return d;
}

/* One client */

struct client {
	int fd;
	struct buf got;
};

static void
rig_read(struct client *c)
{
	ssize_t n;

	do {
		char *room = buf_reserve(&c->got, 65536);
		REQUIRE(room != NULL);
		n = recv(c->fd, room, 65536, 0);
		if (n > 0)
			buf_commit(&c->got, (size_t)n);
	} while (n > 0);
}

/* A connection to one of the listeners, and its session. The greeting is in c->got. */
static struct session *
rig_connect(struct rig *d, unsigned listener, struct client *c)
{
	static const struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = { 0x0100007f } };
	int fds[2];

	d->stored = d->auths = d->auths_good = 0;
	d->strangers = listener == RIG_MX;
	*c = (struct client){ .got = BUF_INIT(8 << 20) };
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	c->fd = fds[0];
	uint32_t slot = d->d.slot_free ? d->d.slot_free - 1 : d->d.slots_count;
	struct gate *gate = gate_take(&d->d, VIEW("127.0.0.1:25"));
	session_new(&d->d, &d->listeners[listener], gate, fds[1], (const struct sockaddr *)&from);
	gate_unref(&d->d, &gate);
	rig_settle(d);
	rig_read(c);
	return d->d.slots[slot].s;
}

/* Sends all of it, as far as smtpd takes it, and waits until it was dealt with. */
static void
rig_send(struct rig *d, struct client *c, struct view v)
{
	for (int i = 0; v.n && i < RIG_TURNS_MAX; i++) {
		ssize_t n = send(c->fd, v.p, v.n, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		v = view_skip(v, n > 0 ? (size_t)n : 0);
		if (v.n)
			rig_turn(d);
		rig_read(c);
	}
	rig_settle(d);
	rig_read(c);
}

/* Every line but what follows a TLS record's start, which is no text. */
static unsigned
rig_check_replies(struct view v)
{
	unsigned queued = 0;

	while (v.n && v.p[0] >= 0x20) {
		const char *end = memchr(v.p, '\r', v.n);
		REQUIRE(end != NULL);
		struct view line = view_first(v, (size_t)(end - v.p));
		v = view_skip(v, line.n);
		REQUIRE(v.n >= 2 && v.p[1] == '\n' && line.n >= 4);
		v = view_skip(v, 2);
		REQUIRE(line.p[0] >= '2' && line.p[0] <= '5' && (line.p[3] == ' ' || line.p[3] == '-'));
		for (size_t i = 0; i < line.n; i++)
			REQUIRE(line.p[i] >= 0x20 && line.p[i] < 0x7f);
		queued += view_starts(line, "250 2.0.0 Ok: queued as ");
	}
	return queued;
}

static void
rig_check_log(struct rig *d)
{
	char text[65536];
	ssize_t n;

	log_flush();
	for (off_t at = 0; (n = pread(d->log, text, sizeof(text), at)) > 0; at += n)
		for (ssize_t i = 0; i < n; i++)
			REQUIRE(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
	REQUIRE(ftruncate(d->log, 0) == 0 && lseek(d->log, 0, SEEK_SET) == 0);
}

/* The client closes its half, takes what is left, and goes; then all that must hold is checked. */
static void
rig_end(struct rig *d, unsigned listener, struct client *c)
{
	shutdown(c->fd, SHUT_WR);
	for (int i = 0; d->d.sessions && i < RIG_TURNS_MAX; i++) {
		rig_turn(d);
		rig_read(c);
	}
	close(c->fd);
	rig_settle(d);
	REQUIRE(d->d.sessions == 0);
	REQUIRE(d->here == 0);
	REQUIRE(rig_check_replies(buf_view(&c->got)) == d->stored);
	REQUIRE(d->stored == 0 || listener == RIG_NET || d->strangers || d->auths_good > 0);
	REQUIRE(d->stored == 0 || listener != RIG_SUBMISSION); /* nobody speaks TLS here */
	rig_check_log(d);
}

#endif
