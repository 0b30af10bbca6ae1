/* SPDX-License-Identifier: ISC */
/*
 * The daemon's side of mtactl: a control connection carries one or more calls, each answered by rows
 * of named fields and an end with an exit status (0 done, 1 could not, 2 wrong use).
 *
 * A handler runs to the end (CTL_DONE), or in steps (CTL_MORE: called again when the output so far was
 * taken; keep a cursor in call->cursor), or asks to be called again in a moment (CTL_AGAIN), or waits (CTL_WAIT: ctl_finish() comes later, from anywhere).
 */
#ifndef EKIDEN_CTL_H
#define EKIDEN_CTL_H

#include "lib/channel.h"
#include "lib/ctl_schema.h"

enum ctl_result { CTL_DONE, CTL_MORE, CTL_AGAIN, CTL_WAIT };

struct ctl_call;

struct ctl_command {
	const char *command;
	enum ctl_result (*run)(struct ctl_call *call);
};

struct ctl_call {
	const struct ctl_command *command;
	void *daemon;		    /* what ctl_serve() was given */
	uint32_t uid;		    /* of the admin */
	void *cursor;		    /* the handler's */
	void (*free_cursor)(void *cursor); /* at the end of the call; NULL: free() */
	void (*cancel)(struct ctl_call *call); /* CTL_WAIT: the connection ended; the call is going away */
	uint8_t status;
	/* private */
	struct ctl_conn *conn;
	struct buf args, row, *rows; /* rows: in-process use (mtactl --offline) */
	char text[IPC_TEXT_MAX];
	bool receiving; /* more arguments follow */
	bool active;	/* inside run() */
	bool finished;	/* ctl_finish() came inside run() */
};

enum { CTL_ARGS_MAX = 64 << 20, CTL_BACKLOG_MAX = 256 << 10 };

/*
 * Serves one connection that master handed over (takes fd; self-freeing). The table ends with
 * { NULL, NULL }.
 */
void ctl_serve(struct loop *l, int fd, uint32_t uid, const struct ctl_command *table, void *daemon);
/*
 * Runs one command in this process: its frames, the last one a ctl_end, as they would be sent go to
 * `frames`. A command that has to wait for somebody else ends with status 1. -1: unknown command. For
 * mtactl --offline.
 */
int ctl_run_local(const struct ctl_command *table, void *daemon, struct view command,
    struct view args, struct buf *frames);
/* The same in the name of another user. */
int ctl_run_as(uint32_t uid, const struct ctl_command *table, void *daemon, struct view command,
    struct view args, struct buf *frames);

/* Arguments by name; an absent one is an empty view. */
struct view ctl_arg(const struct ctl_call *call, const char *name);
bool ctl_flag(const struct ctl_call *call, const char *name);
/* The n-th value of a repeated argument; false behind the last. */
/* The next value of a repeated argument; *place begins all zero. false behind the last. */
bool ctl_arg_next(const struct ctl_call *call, const char *name, size_t *place, struct view *out);
bool ctl_arg_nth(const struct ctl_call *call, const char *name, size_t n, struct view *out);

/*
 * One row: fields in the order in which they are shown, then ctl_row_end(). A value over 32 KiB, or
 * over what still fits into the row (60000 bytes), is cut.
 *
 * On the wire a number is its decimal digits, a time microseconds in decimal (empty: none), a bool "1"
 * or "0", a list its elements as blocks (buf_put_block).
 */
void ctl_text(struct ctl_call *call, const char *name, struct view v);
void ctl_str(struct ctl_call *call, const char *name, const char *s);
void ctl_number(struct ctl_call *call, const char *name, uint64_t x);
void ctl_time(struct ctl_call *call, const char *name, uint64_t wall_us); /* 0: null */
void ctl_bool(struct ctl_call *call, const char *name, bool x);
void ctl_list(struct ctl_call *call, const char *name, const struct view *v, size_t n);
void ctl_row_end(struct ctl_call *call);
/* The result of the call; printed by mtactl on stderr when status is not 0. Returns CTL_DONE. */
enum ctl_result ctl_end(struct ctl_call *call, uint8_t status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether the admin's side takes what it is sent: who has rows without end waits, or leaves some out. */
bool ctl_has_room(const struct ctl_call *call);
/* Ends a call that returned CTL_WAIT (after ctl_end() set the result, or 0). */
void ctl_finish(struct ctl_call *call);

/* Expands a daemon's table: static const struct ctl_command table[] = { CTL_AUTHD(CTL_ROW) { NULL, NULL } }; */
#define CTL_ROW(role, handler, command, args, doc) { command, ctl_##handler },
#define CTL_PROTOTYPE(role, handler, command, args, doc) enum ctl_result ctl_##handler(struct ctl_call *call);

#endif
