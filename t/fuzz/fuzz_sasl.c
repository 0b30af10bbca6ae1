/* SPDX-License-Identifier: ISC */
/*
 * AUTH exchanges, against what RFC 4616 and RFC 4954 make of the same bytes when read by another, simpler
 * hand. First byte: bit 0 LOGIN instead of PLAIN, bit 1 the first response comes with AUTH, bit 2 responses
 * are sent as they are instead of in base64. The rest are responses, separated by 0xff; an exchange that
 * asks for more than there are is cancelled. ATTACKS C1, C11, C12, E3, E4.
 */
#include "t/fuzz/smtpd_rig.h"

enum { RESPONSE_LIMIT = 12288, USER_LIMIT = 1024 };

struct script {
	bool login, initial, raw;
	struct view responses;
};

struct expected {
	unsigned code;
	bool asks; /* authd is asked, for: */
	struct view user, secret;
};

static struct script
read_script(struct view in)
{
	unsigned flags = in.n ? (unsigned char)in.p[0] : 0;

	return (struct script){ flags & 1, flags & 2, flags & 4, view_skip(in, 1) };
}

/* What stands on the wire for a response; false: it cannot be sent as one line of its own. */
static bool
on_the_wire(const struct script *s, struct view response, bool first, struct buf *out)
{
	buf_clear(out);
	if (!s->raw)
		base64_encode(response, out);
	else
		buf_putv(out, response);
	if (first && s->initial && buf_len(out) == 0)
		buf_puts(out, "=");
	struct view v = buf_view(out);
	if (memchr(v.p, '\r', v.n) || memchr(v.p, '\n', v.n) || memchr(v.p, '\0', v.n))
		return false;
	/* Blanks around the first one belong to the command line. */
	return !(first && s->initial) || view_trim(v).n == v.n;
}

static bool
split_plain(struct view v, struct view *user, struct view *secret)
{
	const char *a = memchr(v.p, '\0', v.n);
	const char *b = a ? memchr(a + 1, '\0', (size_t)(v.p + v.n - a - 1)) : NULL;

	if (b == NULL || memchr(b + 1, '\0', (size_t)(v.p + v.n - b - 1)))
		return false;
	*user = view_of(a + 1, (size_t)(b - a - 1));
	*secret = view_of(b + 1, (size_t)(v.p + v.n - b - 1));
	return a == v.p || view_eq(view_of(v.p, (size_t)(a - v.p)), *user);
}

/* What the last response must lead to. `plain`: the decoded responses, or bad where base64 is. */
static struct expected
expect(const struct script *s, const struct view *plain, const bool *good, unsigned count)
{
	struct expected e = { .code = 535 };

	for (unsigned i = 0; i < count; i++)
		if (!good[i])
			return (struct expected){ .code = 501 };
	if (s->login) {
		e.user = plain[0];
		e.secret = plain[1];
	} else if (!split_plain(plain[0], &e.user, &e.secret)) {
		return (struct expected){ .code = 501 };
	}
	e.asks = e.user.n > 0 && e.user.n <= USER_LIMIT;
	if (e.asks && view_is(e.secret, "good"))
		e.code = 235;
	return e;
}

static unsigned
last_code(const struct client *c)
{
	struct view v = buf_view(&c->got), line = v;
	uint64_t code = 0;

	while (v.n)
		line = view_cut(&v, '\n');
	REQUIRE(view_u64(view_first(line, 3), 999, &code));
	return (unsigned)code;
}

static void
say(struct rig *d, struct client *c, const char *before, struct view v)
{
	struct buf line = BUF_INIT(1 << 20);

	buf_puts(&line, before);
	buf_putv(&line, v);
	buf_puts(&line, "\r\n");
	rig_send(d, c, buf_view(&line));
	buf_free(&line);
}

/* Both responses of LOGIN, or the one of PLAIN. */
static void
exchange(struct rig *d, struct client *c, const struct script *s)
{
	struct buf wire = BUF_INIT(1 << 20), store[2] = { BUF_INIT(1 << 20), BUF_INIT(1 << 20) };
	struct view rest = s->responses, plain[2];
	unsigned need = s->login ? 2 : 1, sent = 0;
	bool good[2] = { false, false };

	if (!s->initial)
		say(d, c, s->login ? "AUTH LOGIN" : "AUTH PLAIN", VIEW(""));
	while (sent < need) {
		struct view response = view_cut(&rest, (char)0xff);
		bool first = sent == 0;
		if (!on_the_wire(s, response, first, &wire) || buf_len(&wire) > RESPONSE_LIMIT)
			break;
		if (!(first && s->initial) && view_is(buf_view(&wire), "*"))
			break;
		if (s->raw && !(first && s->initial && view_is(buf_view(&wire), "=")))
			good[sent] = base64_decode(buf_view(&wire), &store[sent]);
		else
			good[sent] = true;
		plain[sent] = s->raw ? buf_view(&store[sent]) : response;
		const char *before = s->login ? "AUTH LOGIN " : "AUTH PLAIN ";
		say(d, c, first && s->initial ? before : "", buf_view(&wire));
		if (!good[sent++])
			break;
	}
	if (sent && (sent == need || !good[sent - 1])) {
		struct expected e = expect(s, plain, good, sent);
		REQUIRE(last_code(c) == e.code);
		REQUIRE(d->auths == e.asks);
		REQUIRE(!e.asks || view_eq(buf_view(&d->user), e.user));
		REQUIRE(!e.asks || view_eq(buf_view(&d->secret), e.secret));
	} else if (sent || !s->initial) {
		say(d, c, "", VIEW("*"));
		REQUIRE(last_code(c) == 501 && d->auths == 0);
	}
	buf_free(&wire);
	buf_free(&store[0]);
	buf_free(&store[1]);
}

void
fuzz_one(struct view in)
{
	struct rig *d = rig_get();
	struct script s = read_script(in);
	struct client c;

	rig_connect(d, RIG_KEY, &c);
	say(d, &c, "EHLO a", VIEW(""));
	exchange(d, &c, &s);
	bool authed = d->auths_good > 0;
	say(d, &c, "MAIL FROM:<a@acme.example>", VIEW(""));
	REQUIRE(last_code(&c) == (authed ? 250u : 530u));
	rig_end(d, RIG_KEY, &c);
	buf_free(&c.got);
}
