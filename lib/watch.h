/* SPDX-License-Identifier: ISC */
/*
 * Live SMTP dialogues for admins (mtactl trace): who watches which sessions of this process, and the lines sent to
 * them. While nobody watches, a line costs one branch (watched()).
 *
 * Whoever hands lines in takes care that no secret and no content of a message is in them. A watcher that does not
 * read loses lines and is told how many; a session never waits for one.
 */
#ifndef EKIDEN_WATCH_H
#define EKIDEN_WATCH_H

#include "lib/ctl.h"

enum { WATCHERS_MAX = 16 };

enum watch_direction { WATCH_IN, WATCH_OUT, WATCH_NOTE }; /* from the peer, to the peer, what happened */

struct watcher;

/* Of one process. */
struct watch {
	struct watcher *first; /* NULL: nobody watches */
	size_t count;
	struct loop *loop;
	enum role role;
	uint32_t instance;
};

/* Whose lines they are. Empty: not known, or not yet; that matches nobody who asks for it. */
struct watch_facts {
	const void *session; /* the object */
	struct view id, peer, ip, tenant;
	/* Whether mail for this domain is what the line is about; NULL: it never is. */
	bool (*concerns)(const void *ctx, struct view domain);
	const void *ctx;
};

static inline bool
watched(const struct watch *w)
{
	return w->first != NULL;
}
/* Sends each of the lines (each with its line end, or the one line without) to those who watch the session. */
void watch_lines(struct watch *w, const struct watch_facts *f, enum watch_direction d, struct view lines);
/* The command "trace": until its time is up or the admin leaves. */
enum ctl_result watch_call(struct watch *w, struct ctl_call *call);
/*
 * Sends all lines of one session to this call. gone(ctx): the admin left, the watcher is no more; otherwise
 * watcher_end() ends the call. NULL: too many watch; the call's end is set.
 */
struct watcher *watch_session(struct watch *w, struct ctl_call *call, const void *session,
    void (*gone)(void *ctx), void *ctx);
void watcher_end(struct watcher *who, uint8_t status, const char *text);

#endif
