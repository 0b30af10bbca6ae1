/* SPDX-License-Identifier: ISC */
/*
 * One command line in each state it can come in. The first byte chooses the listener; the rest is the line.
 * It gets exactly one reply of a class that its verb has; what comes out of MAIL and RCPT is clean;
 * a command that is refused moves nothing; an unfinished transaction is what it was. ATTACKS C3, C5, C7-C9,
 * C18, C26, D4.
 */
#include "t/fuzz/smtpd_rig.h"

enum { LINE_LIMIT = 2046 };

static const char *const leads[] = {
	"",
	"EHLO a\r\n",
	"EHLO a\r\nAUTH PLAIN AGFwcABnb29k\r\n",
	"EHLO a\r\nMAIL FROM:<a@acme.example>\r\n",
	"EHLO a\r\nMAIL FROM:<a@acme.example>\r\nRCPT TO:<b@dest.example>\r\n",
};

/* One reply: lines of one code, the last one with a blank behind it. */
static unsigned
one_reply(struct view v)
{
	uint64_t code = 0;
	bool last = false;

	while (v.n) {
		struct view line = view_cut(&v, '\n');
		uint64_t this = 0;
		REQUIRE(!last && view_u64(view_first(line, 3), 999, &this));
		REQUIRE(code == 0 || this == code);
		code = this;
		last = line.p[3] == ' ';
	}
	REQUIRE(last);
	return (unsigned)code;
}

static void
clean(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		REQUIRE((unsigned char)v.p[i] >= 0x20 && (unsigned char)v.p[i] < 0x7f);
}

/* What the session became; only where it lives on. */
static void
check_state(const struct session *s, unsigned code, unsigned state, uint32_t nrcpt)
{
	const struct envelope *env = &s->txn.env;

	if (code >= 400 && code != 500 && state >= ST_MAIL)
		REQUIRE(s->state == state && env->nrcpt == nrcpt);
	if (s->state < ST_MAIL)
		REQUIRE(env->nrcpt == 0);
	clean(env->sender);
	REQUIRE(s->txn.hold_s == 0 || env->release_us == 0);
	REQUIRE(s->txn.hold_s <= RIG_FUTURE_MAX_S && s->txn.priority >= -9 && s->txn.priority <= 9);
	REQUIRE(env->release_us <= clock_wall_us() + RIG_FUTURE_MAX_S * 1000000ull);
	REQUIRE(env->sender.n <= ADDR_MAX && s->txn.declared <= s->listener->site->limits.message_size);
	for (uint32_t i = 0; i < env->nrcpt; i++) {
		struct addr a;
		clean(env->rcpts[i].addr);
		REQUIRE(addr_parse(env->rcpts[i].addr, 0, &a, NULL) == 0 && a.domain.n > 0);
	}
}

static void
run(struct rig *d, unsigned listener, struct view line, const char *lead)
{
	struct buf text = BUF_INIT(1 << 16);
	struct client c;
	struct session *s = rig_connect(d, listener, &c);

	for (struct view v = view_str(lead); v.n;) { /* a line at a time: mx wants that */
		size_t n = (size_t)view_index(v, '\n') + 1;
		rig_send(d, &c, view_first(v, n));
		v = view_skip(v, n);
	}
	unsigned state = s->state;
	uint32_t nrcpt = s->txn.env.nrcpt;
	rig_check_replies(buf_view(&c.got));
	buf_clear(&c.got);
	buf_putv(&text, line);
	buf_puts(&text, "\r\n");
	rig_send(d, &c, buf_view(&text));
	if (d->d.sessions == 1 && buf_len(&c.got)) {
		unsigned code = one_reply(buf_view(&c.got));
		REQUIRE(code >= 200 && code < 600);
		if (s->state != ST_CLOSE && s->state != ST_HANDSHAKE)
			check_state(s, code, state, nrcpt);
	} else {
		REQUIRE(d->d.sessions == 0); /* a foreign protocol, or QUIT and the like */
	}
	rig_end(d, listener, &c);
	REQUIRE(d->stored == 0);
	buf_free(&c.got);
	buf_free(&text);
}

void
fuzz_one(struct view in)
{
	struct rig *d = rig_get();
	unsigned listener = in.n ? (unsigned char)in.p[0] % RIG_LISTENERS : 0;
	struct view line = view_first(view_skip(in, 1), LINE_LIMIT);

	/* What ends or breaks a line is the session target's. */
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] == '\r' || line.p[i] == '\n' || line.p[i] == '\0')
			line = view_first(line, i);
	for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++)
		run(d, listener, line, leads[i]);
}
