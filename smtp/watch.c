/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "smtp/verb.h"
#include "smtp/watch.h"

struct about {
	const struct session *s;
	const struct job *j;
};

static bool
is_at(struct view addr, struct view domain)
{
	if (addr.n <= domain.n)
		return false;
	struct view end = view_skip(addr, addr.n - domain.n - 1);
	return end.p[0] == '@' && view_ieq(view_skip(end, 1), domain);
}

static bool
concerns(const void *ctx, struct view domain)
{
	const struct about *a = ctx;
	const struct session *s = a->s;

	if (view_iis(domain, s->nexthop) || (s->targets && view_iis(domain, session_target(s)->host)))
		return true;
	for (uint32_t i = 0; a->j && i < a->j->count; i++)
		if (is_at(a->j->rcpts[i].addr, domain))
			return true;
	return false;
}

static void
put(const struct session *s, const struct job *j, enum watch_direction d, struct view lines)
{
	struct about about = { s, j };
	char ip[INET6_ADDRSTRLEN] = "", id[24];

	if (s->targets)
		target_ip(session_target(s), ip);
	snprintf(id, sizeof(id), "%llx", (unsigned long long)s->conn);
	watch_lines(&s->smtp->watch,
	    &(struct watch_facts){ .session = s,
		.id = view_str(id),
		.peer = view_str(s->relay),
		.ip = view_str(ip),
		.tenant = j ? j->tenant : VIEW(""),
		.concerns = concerns,
		.ctx = &about },
	    d, lines);
}

static bool
in_auth(const struct session *s)
{
	enum step step = session_step(s);

	return step == STEP_AUTH || step == STEP_AUTH_USER || step == STEP_AUTH_SECRET;
}

/* "AUTH PLAIN" and "AUTH LOGIN" are no secrets; what stands behind the first, or alone on a line, is one. */
static struct view
without_secret(struct view line)
{
	if (view_starts(line, "AUTH PLAIN "))
		return VIEW("AUTH PLAIN (masked)");
	return view_starts(line, "AUTH ") ? line : VIEW("(masked)");
}

void
watch_put_command(const struct session *s)
{
	struct view out = buf_view(&s->link->io.out);
	size_t from = out.n ? out.n - 1 : 0;

	while (from && out.p[from - 1] != '\n')
		from--;
	struct view line = view_skip(out, from);
	put(s, NULL, WATCH_OUT, in_auth(s) ? without_secret(line) : line);
}

void
watch_put_sent(const struct session *s, const struct job *j, size_t from)
{
	put(s, j, WATCH_OUT, view_skip(buf_view(&s->link->io.out), from));
}

static bool
contains(struct view text, struct view part)
{
	if (part.n == 0)
		return false;
	for (; text.n >= part.n; text = view_skip(text, 1))
		if (view_eq(view_first(text, part.n), part))
			return true;
	return false;
}

/* A server may say our secret back to us, as it is or as it was sent. */
static bool
tells_secret(const struct session *s, struct view line)
{
	const struct secret *c = smtp_secret(s->smtp, s->auth);
	struct buf sent = BUF_INIT(VERB_MAX);

	if (c == NULL)
		return false;
	bool tells = contains(line, buf_view(&c->secret));
	base64_encode(buf_view(&c->secret), &sent);
	tells |= contains(line, buf_view(&sent));
	buf_clear(&sent);
	verb_auth_plain(&sent, view_str(c->user), buf_view(&c->secret));
	struct view response = view_trim(view_skip(buf_view(&sent), sizeof("AUTH PLAIN ") - 1));
	while (response.n && (response.p[response.n - 1] == '\n' || response.p[response.n - 1] == '\r'))
		response.n--;
	tells |= contains(line, response);
	buf_wipe(&sent);
	buf_free(&sent);
	return tells;
}

void
watch_put_received(const struct session *s, struct view lines)
{
	const struct job *j = s->ready ? s->jobs : NULL;
	char masked[32];

	while (lines.n) {
		struct view line = view_cut(&lines, '\n');
		if ((in_auth(s) && view_starts(line, "334")) || tells_secret(s, line)) {
			snprintf(masked, sizeof(masked), VIEW_FMT " (masked)", VIEW_ARG(view_first(line, 3)));
			line = view_str(masked);
		}
		put(s, j, WATCH_IN, line);
	}
}

void
watch_put_content(const struct session *s, const struct job *j)
{
	char text[64];

	snprintf(text, sizeof(text), "(content of %llu bytes)", (unsigned long long)job_size(j));
	put(s, j, WATCH_OUT, view_str(text));
}

void
watch_put_connected(const struct session *s)
{
	char text[sizeof("connected from ") + INET6_ADDRSTRLEN];

	snprintf(text, sizeof(text), "connected from %s", s->local);
	watch_put_note(s, view_str(text));
}

void
watch_put_note(const struct session *s, struct view text)
{
	put(s, s->ready ? s->jobs : NULL, WATCH_NOTE, text);
}
