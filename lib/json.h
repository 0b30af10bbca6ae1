/* SPDX-License-Identifier: ISC */
/*
 * Writes one JSON value into a buf, member by member; commas and nesting are its own business.
 * Strings are made valid UTF-8: each byte that is not part of a valid sequence becomes U+FFFD.
 */
#ifndef EKIDEN_JSON_H
#define EKIDEN_JSON_H

#include "lib/buf.h"

struct json {
	struct buf *out;
	bool comma; /* the next member or element needs one */
};

#define JSON_INIT(buf) { .out = (buf) }

/* `name` NULL: an element of an array, or the outermost value. Names are ASCII literals. */
void json_open(struct json *j, const char *name, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);			/* '}' or ']' */
void json_text(struct json *j, const char *name, struct view v);
void json_number(struct json *j, const char *name, uint64_t x);
/* Seconds with milliseconds, as a number. */
void json_seconds(struct json *j, const char *name, uint64_t us);
void json_bool(struct json *j, const char *name, bool x);
void json_null(struct json *j, const char *name);
/* "2026-11-22T03:04:05.678Z" */
void json_time(struct json *j, const char *name, uint64_t wall_us);

#endif
