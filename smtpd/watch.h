/* SPDX-License-Identifier: ISC */
/* The dialogue of a session for those who watch it (lib/watch.h), without secrets and content. */
#ifndef EKIDEN_SMTPD_WATCH_H
#define EKIDEN_SMTPD_WATCH_H

#include "smtpd/session.h"

/*
 * What may be shown of input: its first line, and nothing of an AUTH exchange. A line that is no command may be a
 * response that a client sends although its AUTH was refused.
 */
struct view watch_shown(const struct session *s, struct view input);

/* A line from the client, without its end. */
void watch_put_command(const struct session *s, struct view line);
/* Whole lines to it. */
void watch_put_reply(const struct session *s, struct view lines);
void watch_put_content(const struct session *s, uint64_t size);
void watch_put_note(const struct session *s, struct view text);

static inline void
watch_command(const struct session *s, struct view line)
{
	if (watched(&s->d->watch))
		watch_put_command(s, line);
}
static inline void
watch_reply(const struct session *s, struct view lines)
{
	if (watched(&s->d->watch))
		watch_put_reply(s, lines);
}
static inline void
watch_content(const struct session *s, uint64_t size)
{
	if (watched(&s->d->watch))
		watch_put_content(s, size);
}
static inline void
watch_note(const struct session *s, const char *text)
{
	if (watched(&s->d->watch))
		watch_put_note(s, view_str(text));
}

#endif
