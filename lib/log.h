/* SPDX-License-Identifier: ISC */
/*
 * Log lines in the shapes that Postfix log readers know (doc/ARCHITECTURE.md, "Logs").
 * A line is formatted at once and leaves the process with all others of the turn in one write.
 * Every byte outside printable ASCII is written as \ooo, so no peer can forge a line.
 * The process has one log; before log_open() lines go to stderr.
 */
#ifndef EKIDEN_LOG_H
#define EKIDEN_LOG_H

#include "lib/buf.h"
#include "lib/loop.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/*
 * ident: "ekiden/smtpd" (tag prefix and service). host: as written into each line.
 * Neither is copied; both live as long as the process.
 */
void log_init(const char *ident, const char *host, enum log_level least);
/*
 * Takes the destination: a file (O_APPEND), or a connected datagram socket (syslog), which gets one
 * datagram a line with priority in front and without host. Replaces (and closes) the former one.
 * A destination that would block loses lines after 4 MiB of backlog; the loss is counted and logged.
 */
void log_open(int fd, bool syslog);
/* With a loop, lines wait for the LOG phase; without, each is written at once. */
void log_attach(struct loop *l);
void log_flush(void);

void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* "warning: " in front */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* "error: " in front */
/* For start-up only: logs "fatal: ...", flushes, exits 1. */
_Noreturn void log_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A line built in a buf by the caller, as log_info(). */
void log_line(struct view line);

/*
 * Appends v for use in a log line: printable ASCII as is, all else as \ooo, backslash as \\, at most
 * max source bytes ("..." marks a cut). `also` lists further bytes to escape (e.g. ">" inside <...>).
 */
void log_escape(struct buf *out, struct view v, size_t max, const char *also);

#define VIEW_FMT "%.*s"
#define VIEW_ARG(v) ((int)(v).n), ((v).p ? (v).p : "")

#endif
