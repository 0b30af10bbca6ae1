/* SPDX-License-Identifier: ISC */
/* AUTH PLAIN (RFC 4616) and LOGIN, with and without initial response (RFC 4954). */
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "smtpd/command.h"

enum {
	RESPONSE_MAX = 12288, /* base64 text, RFC 4954, 4 */
	USER_MAX = 1024,
	FAILURES_MAX = 5 /* then 421 */
};

struct mechanism {
	const char *name;
	const char *challenge[2]; /* base64, one for each response; the first may come with AUTH */
	/* A decoded response. false: malformed. *more: another one is due. */
	bool (*take)(struct auth *a, struct view response, bool *more);
};

/* An exchange from AUTH to its reply. */
struct auth {
	const struct mechanism *mech;
	unsigned responses;
	struct buf user, secret;
	/* A refusal that waits for its delay. */
	uint16_t code;
	struct esc esc;
	char text[256];
};

static bool take_plain(struct auth *a, struct view response, bool *more);
static bool take_login(struct auth *a, struct view response, bool *more);

static const struct mechanism mechanisms[] = {
	{ "PLAIN", { "", NULL }, take_plain },
	{ "LOGIN", { "VXNlcm5hbWU6", "UGFzc3dvcmQ6" }, take_login },
};

/* authzid NUL authcid NUL passwd; to act for somebody else is nothing that a key can do. */
static bool
take_plain(struct auth *a, struct view response, bool *more)
{
	*more = false;
	struct view authzid = view_cut(&response, '\0');
	if (memchr(response.p, '\0', response.n) == NULL)
		return false;
	struct view user = view_cut(&response, '\0');
	if (memchr(response.p, '\0', response.n) || (authzid.n && !view_eq(authzid, user)))
		return false;
	buf_putv(&a->user, user);
	buf_putv(&a->secret, response);
	return true;
}

static bool
take_login(struct auth *a, struct view response, bool *more)
{
	*more = a->responses == 1;
	buf_putv(*more ? &a->user : &a->secret, response);
	return true;
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

/* A refusal is not answered before the delay, so that guessing is slow on every connection. */
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
	loop_timer_set(s->d->loop, &s->timer, session_limits(s)->auth_delay * 1000);
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

/* All responses are here: authd knows whether they are right. */
static void
ask(struct session *s)
{
	struct auth *a = s->auth;
	struct view user = buf_view(&a->user), secret = buf_view(&a->secret);

	session_enter(s, ST_VERIFY);
	if (user.n == 0 || user.n > USER_MAX || a->user.bad || a->secret.bad) {
		trace_auth_failed(s, a->mech->name, view_first(user, 64), VIEW("no such user"));
		refuse(s, 535, ESC(5, 7, 8), VIEW("Error: authentication failed"));
	} else if (!peers_ask_auth(s, a->mech->name, user, secret)) {
		trace_auth_failed(s, a->mech->name, user, VIEW("authd is not there"));
		refuse(s, 454, ESC(4, 7, 0), VIEW("Temporary authentication failure"));
	}
	buf_wipe(&a->secret);
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
	s->tenant = x_strndup(m->tenant);
	s->user = x_strndup(m->user);
	s->method = a->mech->name;
	s->authenticated = true;
	give_up(s, 235, ESC(2, 7, 0), "Authentication successful");
	session_settle(s);
}

/* One response in base64, at most RESPONSE_MAX; "=" alone is the empty initial response. */
static void
take_response(struct session *s, struct view text, bool initial)
{
	struct auth *a = s->auth;
	struct buf plain = BUF_INIT(RESPONSE_MAX);
	bool more = false, good = true;

	if (text.n > RESPONSE_MAX) {
		give_up(s, 500, ESC(5, 5, 6), "Authentication exchange line is too long");
		return;
	}
	if (!(initial && view_is(text, "=")))
		good = base64_decode(text, &plain);
	a->responses++;
	good = good && a->mech->take(a, buf_view(&plain), &more);
	buf_wipe(&plain);
	buf_free(&plain);
	if (!good) {
		give_up(s, 501, ESC(5, 5, 2), "Error: malformed authentication response");
	} else if (more) {
		session_enter(s, ST_AUTH);
		session_reply(s, 334, ESC(0, 0, 0), "%s", a->mech->challenge[a->responses]);
	} else {
		ask(s);
	}
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
	const struct mechanism *mech = NULL;

	(void)rest;
	initial = view_trim(initial);
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
		if (view_iis(name, mechanisms[i].name))
			mech = &mechanisms[i];
	if (mech == NULL) {
		session_reply(s, 504, ESC(5, 5, 4), "Error: unrecognized authentication type");
		wipe(arg);
		return;
	}
	s->auth = x_calloc(1, sizeof(*s->auth));
	s->auth->mech = mech;
	buf_init(&s->auth->user, RESPONSE_MAX);
	buf_init(&s->auth->secret, RESPONSE_MAX);
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
