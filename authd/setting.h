/* SPDX-License-Identifier: ISC */
/*
 * What an admin sets on a tenant, a key or a domain, declared once: `set`, `show`, export and import
 * read and write the same words. text() of a value is what set() takes to make it again.
 */
#ifndef EKIDEN_AUTHD_SETTING_H
#define EKIDEN_AUTHD_SETTING_H

#include "authd/store.h"

struct setting;

struct setting_kind {
	/* NULL when v was good, else what would have been ("a number, none or default"). */
	const char *(*set)(const struct setting *s, struct view v, void *at);
	void (*text)(const struct setting *s, const void *at, struct buf *out);
	bool number; /* digits stand for a number in JSON */
	bool list;   /* words between commas are a list in JSON */
};

/* Words whose places, or bits, are the values; up to NULL. */
struct setting_choice {
	const char *wanted;
	const char *words[8];
};

struct setting {
	const char *name; /* of the option: "quota-hour" */
	const struct setting_kind *kind;
	size_t offset, size; /* in the record: a field, or neighbours */
	const struct setting_choice *choice; /* NULL for kinds without */
};

/* NULL for a table without. */
const struct setting *settings_of(enum store_table t, size_t *count);

/* NULL when v was good, else what would have been; the record may be changed only then. */
const char *setting_put(const struct setting *s, struct view v, void *record);
void setting_text(const struct setting *s, const void *record, struct buf *out);

enum { SETTING_NAME_MAX = 64 };
/* Its name among the fields of a row or an object: "quota_hour". */
void setting_member(const struct setting *s, char out[static SETTING_NAME_MAX]);
/* The setting that the field at this place in the record belongs to, or NULL. */
const struct setting *setting_covering(enum store_table t, size_t offset);

/* "2026-12-31T00:00:00Z", or without the time of day; microseconds. false: neither. */
bool time_parse(struct view v, uint64_t *wall_us);
void time_text(uint64_t wall_us, struct buf *out);
/* UTF-8 without control characters. */
bool text_line_ok(struct view v, size_t max);

#endif
