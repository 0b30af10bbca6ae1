/* SPDX-License-Identifier: ISC */
/* The dialogue of a session for those who watch it (lib/watch.h), without secrets and content. */
#ifndef EKIDEN_SMTP_WATCH_H
#define EKIDEN_SMTP_WATCH_H

#include "smtp/session.h"

/* The command at the end of the output, while the connection is set up. */
void watch_put_command(const struct session *s);
/* What was put into the output behind `from` bytes; j: what it is about, NULL: the connection itself. */
void watch_put_sent(const struct session *s, const struct job *j, size_t from);
/* Whole lines of a reply that was due, as they came. */
void watch_put_received(const struct session *s, struct view lines);
void watch_put_content(const struct session *s, const struct job *j);
void watch_put_connected(const struct session *s);
void watch_put_note(const struct session *s, struct view text);

static inline bool
session_watched(const struct session *s)
{
	return watched(&s->smtp->watch);
}
static inline void
watch_command(const struct session *s)
{
	if (session_watched(s))
		watch_put_command(s);
}
static inline void
watch_sent(const struct session *s, const struct job *j, size_t from)
{
	if (session_watched(s))
		watch_put_sent(s, j, from);
}
static inline void
watch_received(const struct session *s, struct view lines)
{
	if (session_watched(s))
		watch_put_received(s, lines);
}
static inline void
watch_content(const struct session *s, const struct job *j)
{
	if (session_watched(s))
		watch_put_content(s, j);
}
static inline void
watch_connected(const struct session *s)
{
	if (session_watched(s))
		watch_put_connected(s);
}
static inline void
watch_note(const struct session *s, const char *text)
{
	if (session_watched(s))
		watch_put_note(s, view_str(text));
}

#endif
