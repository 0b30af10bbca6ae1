/* SPDX-License-Identifier: ISC */
#include "smtpd/command.h"
#include "smtpd/watch.h"

enum { SHOWN_MAX = 8192 };

struct view
watch_shown(const struct session *s, struct view input)
{
	struct view line = view_cut(&input, '\n');

	if (s->state == ST_AUTH)
		return VIEW("(AUTH response)");
	if (!command_known(line))
		return VIEW("(no command)");
	for (size_t i = 0; i + 4 <= line.n; i++)
		if (view_istarts(view_skip(line, i), "AUTH"))
			return view_first(line, i + 4);
	return line;
}

static void
put(const struct session *s, enum watch_direction d, struct view text)
{
	struct buf id = BUF_INIT(128), peer = BUF_INIT(512);

	session_put_id(s, &id);
	session_put_client(s, &peer);
	watch_lines(&s->d->watch,
	    &(struct watch_facts){ .session = s,
		.id = buf_view(&id),
		.peer = buf_view(&peer),
		.ip = view_str(s->ip),
		.tenant = view_str(s->tenant) },
	    d, text);
	buf_free(&id);
	buf_free(&peer);
}

void
watch_put_command(const struct session *s, struct view line)
{
	struct view shown = watch_shown(s, line), rest = view_trim(view_skip(line, shown.n));
	struct view mechanism = view_cut(&rest, ' ');
	struct buf b = BUF_INIT(SHOWN_MAX);

	buf_putv(&b, shown);
	/* Where it was cut. The name of a mechanism is no secret. */
	if (shown.p == line.p && mechanism.n) {
		bool known = auth_mechanism(mechanism);
		if (known) {
			buf_putc(&b, ' ');
			buf_putv(&b, mechanism);
		}
		if (!known || rest.n)
			buf_puts(&b, " (masked)");
	}
	put(s, WATCH_IN, buf_view(&b));
	buf_free(&b);
}

void
watch_put_reply(const struct session *s, struct view lines)
{
	/* A challenge of SCRAM is half of what its proof is made of. */
	put(s, WATCH_OUT, view_starts(lines, "334") ? VIEW("334 (masked)") : lines);
}

void
watch_put_content(const struct session *s, uint64_t size)
{
	struct buf b = BUF_INIT(64);

	buf_printf(&b, "(content of %llu bytes)", (unsigned long long)size);
	put(s, WATCH_IN, buf_view(&b));
	buf_free(&b);
}

void
watch_put_note(const struct session *s, struct view text)
{
	put(s, WATCH_NOTE, text);
}
