/* SPDX-License-Identifier: ISC */
/*
 * Rows to standard output. JSON: one object a line, names and types as the command declares them; a
 * time is "2026-11-22T03:04:05.678Z" or null.
 * For people: rows of equal names are a table (its first ROWS_KEPT rows decide the widths); a row
 * that stands alone is "name: value" lines, except in a list. Control characters never reach the
 * terminal.
 */
#ifndef EKIDEN_MTACTL_OUTPUT_H
#define EKIDEN_MTACTL_OUTPUT_H

#include "lib/err.h"
#include "lib/ipc.h"

enum { ROWS_KEPT = 500, COLUMNS_MAX = 64 };

struct column {
	char name[65];
	bool right; /* numbers */
	size_t width;
};

struct output {
	bool json;
	bool list; /* a single row is a table, too */
	struct buf out;
	/* The rows of one table that wait for its widths: cells as blocks. */
	struct column columns[COLUMNS_MAX];
	size_t column_count;
	struct buf cells;
	size_t kept;
	bool started; /* widths are fixed, the heading is written */
	size_t rows, groups;
	bool failed; /* standard output does not take it */
	/* Takes the rows in place of standard output; NULL: none. */
	void (*capture)(void *ctx, struct view fields);
	void *ctx;
};

void output_init(struct output *o, bool json, bool list);
/* One ctl_row; false: not a valid one. */
bool output_row(struct output *o, struct view fields);
/* What there is of whole lines goes out now. */
void output_flush(struct output *o);
/*
 * For people: UTF-8 as it is; control characters and what is no UTF-8 as \ooo. Line ends if `lines`.
 */
void output_text(struct buf *out, struct view v, bool lines);
/* Writes what was kept back. false: standard output failed (told). Frees and wipes. */
bool output_end(struct output *o);

/* A row of our own: its fields are put into `b`, which the end empties. */
void row_text(struct buf *b, const char *name, struct view v);
void row_str(struct buf *b, const char *name, const char *s);
void row_number(struct buf *b, const char *name, uint64_t x);
void row_time(struct buf *b, const char *name, uint64_t wall_s); /* 0: none */
void row_end(struct output *o, struct buf *b);

#endif
