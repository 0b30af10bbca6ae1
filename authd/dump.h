/* SPDX-License-Identifier: ISC */
/*
 * Records as JSON lines: {"v":1,"type":"tenant","name":"acme","enabled":true,...}. Settings are written
 * in the words of `set` (lists as arrays, quotas as numbers where they are), all else by its kind: flags,
 * numbers (times in microseconds), texts, bytes in hex. A line holds every field, so that it restores the
 * record whatever is there; one that a person wrote may leave fields out.
 */
#ifndef EKIDEN_AUTHD_DUMP_H
#define EKIDEN_AUTHD_DUMP_H

#include "authd/setting.h"

enum { DUMP_LINE_MAX = 16384, DUMP_VERSION = 1 };

/* Appends the line with its end. */
void dump_put(enum store_table t, const char *name, const void *record, struct buf *out);

/* A parsed line, owned. */
struct dump_line {
	enum store_table table;
	char name[DOMAIN_BYTES + 1];
	struct json_t *object;
};

/* 0, or -1 with what is wrong. */
int dump_parse(struct view line, struct dump_line *out, struct err *e);
/* Puts the fields that the line has into the record. 0, or -1 with what is wrong. */
int dump_apply(const struct dump_line *line, void *record, struct err *e);
void dump_free(struct dump_line *line);

#endif
