/* SPDX-License-Identifier: ISC */
/* AUTH PLAIN (RFC 4616), LOGIN and SCRAM-SHA-256 (RFC 7677), with and without initial response (RFC 4954). */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "smtpd/command.h"
#include "smtpd/lease.h"
#include "smtpd/scram.h"

enum {
	RESPONSE_MAX = 12288, /* base64 text, RFC 4954, 4 */
	USER_MAX = 1024,
	FAILURES_MAX = 5 /* then 421 */
};

/* What a response leads to. */
enum next {
	NEXT_MORE,	/* another response is due, after the mechanism's challenge */
	NEXT_SECRET,	/* authd judges user and secret */
	NEXT_SALT,	/* authd has what the next challenge is made of */
	NEXT_PROOF,	/* authd judges the proof */
	NEXT_DONE,	/* the client has seen that we know its secret too */
	NEXT_MALFORMED, /* 501 */
	NEXT_REFUSED	/* 535 */
};

struct mechanism {
	const char *name;
	const char *challenge[2]; /* base64, one for each response; the first may come with AUTH */
	enum next (*take)(struct auth *a, struct view response); /* decoded */
};

/* An exchange from AUTH to its reply. */
struct auth {
	const struct mechanism *mech;
	unsigned responses;
	struct buf user, secret;
	struct scram scram;
	char *tenant, *key; /* who it is, when authd said yes */
	uint64_t asked_ms;
	bool may_future, may_priority;
	/* A refusal that waits for its delay. */
	uint16_t code;
	struct esc esc;
	char text[256];
};

static enum next take_plain(struct auth *a, struct view response);
static enum next take_login(struct auth *a, struct view response);
static enum next take_scram(struct auth *a, struct view response);

static const struct mechanism mechanisms[] = {
	{ "PLAIN", { "", NULL }, take_plain },
	{ "LOGIN", { "VXNlcm5hbWU6", "UGFzc3dvcmQ6" }, take_login },
	{ "SCRAM-SHA-256", { "", NULL }, take_scram },
};

static const struct mechanism *
find_mechanism(struct view name)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
		if (view_iis(name, mechanisms[i].name))
			return &mechanisms[i];
	return NULL;
}

bool
auth_mechanism(struct view name)
{
	return find_mechanism(name) != NULL;
}

/* authzid NUL authcid NUL passwd; to act for somebody else is nothing that a key can do. */
static enum next
take_plain(struct auth *a, struct view response)
{
	struct view authzid = view_cut(&response, '\0');

	if (memchr(response.p, '\0', response.n) == NULL)
		return NEXT_MALFORMED;
	struct view user = view_cut(&response, '\0');
	if (memchr(response.p, '\0', response.n) || (authzid.n && !view_eq(authzid, user)))
		return NEXT_MALFORMED;
	buf_putv(&a->user, user);
	buf_putv(&a->secret, response);
	return NEXT_SECRET;
}

static enum next
take_login(struct auth *a, struct view response)
{
	bool first = a->responses == 1;

	buf_putv(first ? &a->user : &a->secret, response);
	return first ? NEXT_MORE : NEXT_SECRET;
}

/* For a nonce: 24 characters of base64. */
static bool
random_text(char out[static SCRAM_NONCE_CHARS + 1])
{
	unsigned char raw[SCRAM_NONCE_CHARS / 4 * 3];
	struct buf b = { .p = out, .cap = SCRAM_NONCE_CHARS + 1, .max = SCRAM_NONCE_CHARS };

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return false;
	base64_encode(view_of(raw, sizeof(raw)), &b);
	out[SCRAM_NONCE_CHARS] = '\0';
	return !b.bad;
}

static enum next
take_scram(struct auth *a, struct view response)
{
	static const enum next faults[] = {
		[SCRAM_MALFORMED] = NEXT_MALFORMED, [SCRAM_REFUSED] = NEXT_REFUSED
	};
	char nonce[SCRAM_NONCE_CHARS + 1];
	enum scram_result rc;

	switch (a->responses) {
	case 1:
		if (!random_text(nonce))
			return NEXT_REFUSED;
		rc = scram_first(&a->scram, response, nonce);
		buf_putv(&a->user, buf_view(&a->scram.user));
		return rc == SCRAM_GOOD ? NEXT_SALT : faults[rc];
	case 2:
		rc = scram_final(&a->scram, response);
		return rc == SCRAM_GOOD ? NEXT_PROOF : faults[rc];
	default:
		return response.n == 0 ? NEXT_DONE : NEXT_MALFORMED;
	}
}

void
auth_free(struct auth **ap)
{
	struct auth *a = *ap;

	if (a == NULL)
		return;
	buf_wipe(&a->secret);
	buf_wipe(&a->user);
	buf_free(&a->secret);
	buf_free(&a->user);
	scram_free(&a->scram);
	free(a->tenant);
	free(a->key);
	free(a);
	*ap = NULL;
}

struct verdict
check_auth(const struct session *s)
{
	struct policy_facts f = session_facts(s);

	return policy_auth(&s->listener->policy, &f);
}

static void
give_up(struct session *s, unsigned code, struct esc esc, const char *text)
{
	auth_free(&s->auth);
	session_enter(s, ST_READY);
	session_reply(s, code, esc, "%s", text);
}

/*
 * A refusal is not answered before the delay, so that guessing is slow on every connection. The delay runs from
 * the question: how long authd took for the answer does not show.
 */
static void
refuse(struct session *s, uint16_t code, struct esc esc, struct view text)
{
	struct auth *a = s->auth;

	a->code = code;
	a->esc = esc;
	memcpy(a->text, text.p, text.n < sizeof(a->text) ? text.n : sizeof(a->text) - 1);
	buf_wipe(&a->secret);
	if (s->state != ST_VERIFY)
		session_enter(s, ST_VERIFY);
	uint64_t due = a->asked_ms + session_limits(s)->auth_delay * 1000, now = loop_now_ms(s->d->loop);
	loop_timer_set(s->d->loop, &s->timer, due > now ? due - now : 0);
}

void
auth_delayed(struct session *s)
{
	struct auth *a = s->auth;

	if (a->code == 0) { /* authd said nothing for the whole time */
		give_up(s, 454, ESC(4, 7, 0), "Temporary authentication failure");
	} else if (a->code / 100 == 5 && ++s->auth_failures >= FAILURES_MAX) {
		session_end(s, 421, ESC(4, 7, 0), "Error: too many failed authentications");
		return;
	} else {
		session_enter(s, ST_READY);
		session_reply(s, a->code, a->esc, "%s", a->text);
		auth_free(&s->auth);
	}
	session_settle(s);
}

/* authd is asked, or cannot be. */
static void
asked(struct session *s, bool put)
{
	if (put)
		return;
	trace_auth_failed(s, s->auth->mech->name, buf_view(&s->auth->user),
	    VIEW("authd is not there"));
	refuse(s, 454, ESC(4, 7, 0), VIEW("Temporary authentication failure"));
}

static void
fail(struct session *s, struct view why)
{
	trace_auth_failed(s, s->auth->mech->name, view_first(buf_view(&s->auth->user), 64), why);
	refuse(s, 535, ESC(5, 7, 8), VIEW("Error: authentication failed"));
}

static void
ask(struct session *s, enum next what)
{
	struct auth *a = s->auth;
	struct view user = buf_view(&a->user), secret = buf_view(&a->secret);
	struct view proof = view_of(a->scram.proof, SCRAM_PROOF);

	a->asked_ms = loop_now_ms(s->d->loop);
	session_enter(s, ST_VERIFY);
	if (user.n == 0 || user.n > USER_MAX || a->user.bad || a->secret.bad)
		fail(s, VIEW("no such user"));
	else if (what == NEXT_SALT)
		asked(s, peers_ask_salt(s, user));
	else if (what == NEXT_PROOF)
		asked(s, peers_ask_proof(s, user, buf_view(&a->scram.message), proof));
	else
		asked(s, peers_ask_auth(s, a->mech->name, user, secret));
	buf_wipe(&a->secret);
}

/* What the client is to answer next, in base64. */
static void
challenge(struct session *s, struct view text)
{
	struct buf b = BUF_INIT(RESPONSE_MAX);

	base64_encode(text, &b);
	session_enter(s, ST_AUTH);
	session_reply(s, 334, ESC(0, 0, 0), "%s", buf_cstr(&b));
	buf_free(&b);
}

void
session_got_salt(struct session *s, const struct ipc_scram_salt *m)
{
	struct buf b = BUF_INIT(1024);

	if (m == NULL) {
		refuse(s, 454, ESC(4, 7, 0), VIEW("Temporary authentication failure"));
		return;
	}
	scram_challenge(&s->auth->scram, m->salt, m->iterations, &b);
	challenge(s, buf_view(&b));
	buf_free(&b);
}

/* server-final-message: the client answers it with an empty response (RFC 4954, 4). */
static void
show_signature(struct session *s, struct view signature)
{
	struct buf b = BUF_INIT(128);

	buf_puts(&b, "v=");
	base64_encode(signature, &b);
	challenge(s, buf_view(&b));
	buf_free(&b);
}

static void
grant(struct session *s)
{
	struct auth *a = s->auth;

	lease_end(s);
	s->tenant = a->tenant;
	s->user = a->key;
	a->tenant = a->key = NULL;
	s->may_future = a->may_future;
	s->may_priority = a->may_priority;
	s->method = a->mech->name;
	s->authenticated = true;
	give_up(s, 235, ESC(2, 7, 0), "Authentication successful");
	session_settle(s);
}

void
session_got_auth(struct session *s, const struct ipc_auth_result *m)
{
	struct auth *a = s->auth;
	struct view user = buf_view(&a->user);

	if (m == NULL) {
		refuse(s, 454, ESC(4, 7, 0), VIEW("Temporary authentication failure"));
		return;
	}
	bool here = policy_tenant(&s->listener->policy, m->tenant);
	if (m->code != 235 || !here || m->tenant.n == 0) {
		trace_auth_failed(s, a->mech->name, user,
		    m->code == 235 ? VIEW("key of another tenant") : m->why);
		if (m->code == 235 || m->code < 400)
			refuse(s, 535, ESC(5, 7, 8), VIEW("Error: authentication failed"));
		else
			refuse(s, m->code, esc_unpack(m->esc), m->text);
		return;
	}
	a->tenant = x_strndup(m->tenant);
	a->key = x_strndup(m->user);
	a->may_future = m->may_future;
	a->may_priority = m->may_priority;
	if (m->server_signature.n)
		show_signature(s, m->server_signature);
	else
		grant(s);
}

/* A decoded response, or one that cannot be decoded. */
static void
go_on(struct session *s, enum next next)
{
	struct auth *a = s->auth;

	switch (next) {
	case NEXT_MORE:
		session_enter(s, ST_AUTH);
		session_reply(s, 334, ESC(0, 0, 0), "%s", a->mech->challenge[a->responses]);
		break;
	case NEXT_SECRET:
	case NEXT_SALT:
	case NEXT_PROOF:
		ask(s, next);
		break;
	case NEXT_DONE:
		grant(s);
		break;
	case NEXT_MALFORMED:
		give_up(s, 501, ESC(5, 5, 2), "Error: malformed authentication response");
		break;
	case NEXT_REFUSED:
		fail(s, VIEW("SCRAM attributes refused"));
		break;
	}
}

/* One response in base64, at most RESPONSE_MAX; "=" alone is the empty initial response. */
static void
take_response(struct session *s, struct view text, bool initial)
{
	struct auth *a = s->auth;
	struct buf plain = BUF_INIT(RESPONSE_MAX);
	enum next next = NEXT_MALFORMED;

	if (text.n > RESPONSE_MAX) {
		give_up(s, 500, ESC(5, 5, 6), "Authentication exchange line is too long");
		return;
	}
	bool good = (initial && view_is(text, "=")) || base64_decode(text, &plain);
	a->responses++;
	if (good)
		next = a->mech->take(a, buf_view(&plain));
	buf_wipe(&plain);
	buf_free(&plain);
	go_on(s, next);
}

/* The text holds a secret and stands in the io's buffer, which is ours. */
static void
wipe(struct view text)
{
	explicit_bzero((void *)(uintptr_t)text.p, text.n);
}

void
run_auth(struct session *s, struct view arg, size_t rest)
{
	struct view initial = arg;
	struct view name = view_cut(&initial, ' ');
	const struct mechanism *mech = find_mechanism(name);

	(void)rest;
	initial = view_trim(initial);
	if (mech == NULL) {
		session_reply(s, 504, ESC(5, 5, 4), "Error: unrecognized authentication type");
		wipe(arg);
		return;
	}
	s->auth = x_calloc(1, sizeof(*s->auth));
	s->auth->mech = mech;
	buf_init(&s->auth->user, RESPONSE_MAX);
	buf_init(&s->auth->secret, RESPONSE_MAX);
	scram_init(&s->auth->scram);
	if (initial.n) {
		take_response(s, initial, true);
		wipe(arg);
		return;
	}
	session_enter(s, ST_AUTH);
	session_reply(s, 334, ESC(0, 0, 0), "%s", mech->challenge[0]);
}

void
auth_line(struct session *s, struct view line)
{
	if (view_is(line, "*"))
		give_up(s, 501, ESC(5, 7, 0), "Authentication aborted");
	else
		take_response(s, line, false);
	wipe(line);
}
