/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "smtpd/command.h"

/* RFC 5321 asks for 512, its extensions for some more. */
enum { LINE_MAX_OCTETS = 2048, PARAMS_MAX = 16 };

#define IN(state) (1u << ST_##state)
#define ANY (IN(HELLO) | IN(READY) | IN(MAIL) | IN(RCPT))

enum {
	NEED_ARG = 1,
	NO_ARG = 2,
	BEFORE_TLS = 4, /* also where TLS has to come first */
	IDLE = 8,	/* moves no mail: has a budget */
	UNKNOWN = 16,	/* known by name only */
	CARRIES = 32	/* brings octets that are no commands: nothing behind a refused one is run */
};

struct command {
	const char *name;
	unsigned states, flags;
	struct verdict (*check)(const struct session *s); /* rights; no effects */
	void (*run)(struct session *s, struct view arg, size_t rest);
	const char *misplaced; /* why it is 503 in another state */
	const char *syntax;
};

/* In the order of the disconnect line. */
static const struct command commands[] = {
	{ "EHLO", ANY, NEED_ARG | BEFORE_TLS | IDLE, NULL, run_ehlo, NULL, "EHLO hostname" },
	{ "HELO", ANY, NEED_ARG | BEFORE_TLS | IDLE, NULL, run_helo, NULL, "HELO hostname" },
	{ "STARTTLS", IN(HELLO) | IN(READY), NO_ARG | BEFORE_TLS, check_starttls, run_starttls,
	    "MAIL transaction in progress", "STARTTLS" },
	{ "AUTH", IN(READY), NEED_ARG, check_auth, run_auth, "MAIL transaction in progress",
	    "AUTH mechanism" },
	{ "MAIL", IN(READY), NEED_ARG, check_mail, run_mail, "nested MAIL command",
	    "MAIL FROM:<address>" },
	{ "RCPT", IN(MAIL) | IN(RCPT), NEED_ARG, check_rcpt, run_rcpt, "need MAIL command",
	    "RCPT TO:<address>" },
	{ "BDAT", ANY, UNKNOWN | CARRIES, NULL, NULL, NULL, NULL },
	{ "DATA", IN(RCPT), NO_ARG, NULL, run_data, "need RCPT command", "DATA" },
	{ "RSET", ANY, NO_ARG | BEFORE_TLS | IDLE, NULL, run_rset, NULL, "RSET" },
	{ "NOOP", ANY, BEFORE_TLS | IDLE, NULL, run_noop, NULL, "NOOP" },
	{ "VRFY", ANY, NEED_ARG | IDLE, NULL, run_vrfy, NULL, "VRFY address" },
	{ "EXPN", ANY, UNKNOWN, NULL, NULL, NULL, NULL },
	{ "HELP", ANY, IDLE, NULL, run_help, NULL, "HELP" },
	{ "ETRN", ANY, UNKNOWN, NULL, NULL, NULL, NULL },
	{ "TURN", ANY, UNKNOWN, NULL, NULL, NULL, NULL },
	{ "SEND", ANY, UNKNOWN, NULL, NULL, NULL, NULL },
	{ "SOML", ANY, UNKNOWN, NULL, NULL, NULL, NULL },
	{ "SAML", ANY, UNKNOWN, NULL, NULL, NULL, NULL },
	{ "QUIT", ANY, NO_ARG | BEFORE_TLS, NULL, run_quit, NULL, "QUIT" },
	{ "unknown", 0, UNKNOWN, NULL, NULL, NULL, NULL }, /* counts the others; last */
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };
_Static_assert(COMMANDS <= (int)COMMAND_COUNT_MAX, "a session counts fewer commands");

/* What a browser or a proxy says first (D6). */
static const char *const foreign[] = { "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE",
	"PATCH", "TRACE", "PROPFIND", "PRI", "SSH-2.0" };

const char *
command_name(int verb)
{
	return verb < 0 ? "CONNECT" : commands[verb].name;
}

size_t
command_count(void)
{
	return COMMANDS;
}

size_t
command_line_max(struct view line)
{
	return view_istarts(line, "AUTH ") ? AUTH_LINE_MAX : LINE_MAX_OCTETS;
}

static int
find(struct view name)
{
	for (int i = 0; i < COMMANDS - 1; i++)
		if (view_iis(name, commands[i].name))
			return i;
	return COMMANDS - 1;
}

bool
command_known(struct view line)
{
	return find(view_cut(&line, ' ')) < COMMANDS - 1;
}

static bool
is_foreign(struct view name)
{
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		if (view_is(name, foreign[i]))
			return true;
	return view_starts(name, "SSH-");
}

static void
count_command(struct session *s, int verb)
{
	s->verb = (int8_t)verb;
	s->verb_failed = false;
	s->count[verb].all++;
	s->count[verb].good++;
}

/* Why the session's state does not allow the command. */
static void
misplaced(struct session *s, const struct command *c)
{
	session_reply(s, 503, ESC(5, 5, 1), "Error: %s",
	    s->state == ST_HELLO ? "send EHLO first" : c->misplaced);
}

static void
reply_unknown(struct session *s)
{
	bool known = s->verb != COMMANDS - 1;

	session_reply(s, known ? 502 : 500, ESC(5, 5, 1), "Error: command not %s",
	    known ? "implemented" : "recognized");
}

/* It is refused either way; milters may do it in their words. */
static void
unknown_judged(struct session *s, const struct verdict *v)
{
	session_enter(s, s->back);
	if (v)
		session_refuse(s, v);
	else
		reply_unknown(s);
	session_settle(s);
}

static void
unknown(struct session *s, struct view line)
{
	if (s->txn.asks || !milters_ask(s, MILTER_UNKNOWN, line, VIEW(""), unknown_judged)) {
		reply_unknown(s);
		return;
	}
	s->back = s->state;
	session_enter(s, ST_MILTER);
}

/* The form of the command and the place it has; false when it was answered. */
static bool
admitted(struct session *s, const struct command *c, struct view line, struct view arg)
{
	struct policy_facts f = session_facts(s);

	if (c->flags & CARRIES) {
		session_end(s, 502, ESC(5, 5, 1), "Error: command not implemented");
	} else if (c->flags & UNKNOWN) {
		unknown(s, line);
	} else if (!(c->flags & BEFORE_TLS) && policy_tls_first(&s->listener->policy, &f)) {
		session_reply(s, 530, ESC(5, 7, 0), "Must issue a STARTTLS command first");
	} else if (!(c->states & 1u << s->state)) {
		misplaced(s, c);
	} else if ((c->flags & NEED_ARG && arg.n == 0) || (c->flags & NO_ARG && arg.n)) {
		session_reply(s, 501, ESC(5, 5, 4), "Syntax: %s", c->syntax);
	} else {
		return true;
	}
	return false;
}

/* True when the budget is used up; the session then is at its end. */
static bool
over_idle_budget(struct session *s, const struct command *c)
{
	if (!(c->flags & IDLE) || ++s->idle_commands <= session_limits(s)->idle_commands)
		return false;
	session_end(s, 421, ESC(4, 7, 0), "Error: too many commands without mail");
	return true;
}

void
command_line(struct session *s, struct view line, size_t rest)
{
	struct view arg = line;
	struct view name = view_cut(&arg, ' ');

	arg = view_trim(arg);
	if (is_foreign(name)) {
		trace_odd(s, "non-SMTP command", line);
		session_hang_up(s);
		return;
	}
	int verb = find(name);
	const struct command *c = &commands[verb];
	count_command(s, verb);
	if (over_idle_budget(s, c) || !admitted(s, c, line, arg))
		return;
	struct verdict v = { 0 };
	if (c->check)
		v = c->check(s);
	if (v.code == 421)
		session_end(s, v.code, v.esc, "%s", v.text);
	else if (v.code)
		session_reply_verdict(s, &v);
	else
		c->run(s, arg, rest);
}

bool
command_keyword(struct view *arg, const char *keyword)
{
	if (!view_istarts(*arg, keyword))
		return false;
	*arg = view_trim(view_skip(*arg, strlen(keyword)));
	return true;
}

static bool
bad_param(struct verdict *v, uint16_t code, const char *text)
{
	*v = (struct verdict){ code, ESC(5, 5, 4), text };
	return false;
}

/* esmtp-keyword ["=" esmtp-value] of RFC 5321, 4.1.2. */
static bool
param_form(struct view name, struct view value, bool has_value)
{
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
		if (!alnum && !(c == '-' && i > 0))
			return false;
	}
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		if (c <= 0x20 || c == '=' || c == 0x7f)
			return false;
	}
	return name.n > 0 && (!has_value || value.n > 0);
}

static bool
take_param(struct session *s, struct view token, const struct param *known, size_t count,
    unsigned *seen, struct verdict *bad)
{
	struct view value = token;
	struct view name = view_cut(&value, '=');
	bool has_value = name.n < token.n;

	if (!param_form(name, value, has_value))
		return bad_param(bad, 501, "Error: malformed parameter");
	for (size_t i = 0; i < count; i++) {
		if (!view_iis(name, known[i].name))
			continue;
		if (known[i].offered && !known[i].offered(s))
			break;
		if (*seen & 1u << i)
			return bad_param(bad, 501, "Error: parameter given twice");
		*seen |= 1u << i;
		return known[i].take(s, value, has_value, bad);
	}
	return bad_param(bad, 555, "Error: unsupported parameter");
}

bool
command_params(struct session *s, struct view v, const struct param *known, size_t count,
    struct verdict *bad)
{
	unsigned seen = 0, params = 0;

	if (v.n && v.p[0] != ' ')
		return bad_param(bad, 501, "Error: text behind the path");
	while ((v = view_trim(v)).n) {
		struct view token = view_cut(&v, ' ');
		if (++params > PARAMS_MAX)
			return bad_param(bad, 501, "Error: too many parameters");
		if (!take_param(s, token, known, s->esmtp ? count : 0, &seen, bad))
			return false;
	}
	return true;
}
