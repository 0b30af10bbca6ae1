/* SPDX-License-Identifier: ISC */
/* The parts of `mtactl dkim`. */
#ifndef EKIDEN_MTACTL_DKIM_H
#define EKIDEN_MTACTL_DKIM_H

#include "lib/dkim_key.h"
#include "lib/dkim_store.h"
#include "mtactl/mtactl.h"
#include "mtactl/output.h"

enum { RECORD_MAX = 8192 };

/* A key on disk. */
struct key_text {
	struct buf name, record; /* what is to be published, and where */
	struct buf bytes;	 /* the public key */
	unsigned bits;
	struct buf pem; /* the private one: wiped by key_text_free() */
};
/* dkim.c: new, list, show, and what every command begins and ends with. */

/* One command. */
struct work {
	struct conf *c;
	struct dkim_store store;
	struct output o;
	struct buf row, domain; /* domain: the canonical one, or empty */
	struct view selector;
	bool changed;
};

/* Reads arguments, configuration and store; for a change it is locked. Exit status; work_end() in any case. */
int work_begin(struct work *w, const struct mtactl *m, const struct args *a, bool change, bool list);
/* Saves what was changed and has the running suite take it. The final exit status. */
int work_end(struct work *w, int status);
uint64_t work_now_s(void);
/* Is it one that the command is about? */
bool work_wants(const struct work *w, const struct dkim_entry *x);
/* A row with the record to publish. */
void work_put_key(struct work *w, const struct dkim_entry *x, const struct key_text *t);
int work_show_key(struct work *w, const struct dkim_entry *x);
/* A new key, not yet saved; NULL: told. */
struct dkim_entry *work_make_key(struct work *w, enum dkim_algorithm a, const char *selector, unsigned bits);
void work_free_selector(const struct work *w, enum dkim_algorithm a, char out[static 32]);
/* --algorithm; false: told. */
bool work_algorithm(const struct args *a, enum dkim_algorithm *out);
/* Keys that were replaced go when their time is over and the last message that they signed has left. */
void work_retire(struct work *w);

/* dkim_dns.c */
/* What the DNS has at a name; asked through the running suite. */
enum txt_result { TXT_FOUND, TXT_NONE, TXT_UNKNOWN /* no answer; told when nobody could be asked */ };
/* The record is appended to out; several at one name are no DKIM record: TXT_FOUND with out->bad. */
enum txt_result txt_lookup(const struct conf *c, struct view name, struct buf *out);

/* Reads the key's file. */
int key_text_read(struct key_text *t, const struct dkim_store *s, const struct dkim_entry *x, struct err *e);
void key_text_free(struct key_text *t);
/* NULL, or what is wrong with the record (static text). */
const char *record_problem(const struct key_text *t, const struct dkim_entry *x, struct view record);

/* dkim_probe.c */
/* A message signed with the key must verify against the record, by libopendkim. */
int probe(const struct dkim_entry *x, const struct key_text *t, struct view record, struct err *e);

/* dkim_verify.c */
struct signature_result {
	struct view domain, selector;
	const char *algorithm;
	const char *why; /* NULL: good */
};
struct verifier {
	/* Appends the record of a name; false: there is none. */
	bool (*lookup)(void *ctx, struct view name, struct buf *out);
	void (*result)(void *ctx, const struct signature_result *r);
	void *ctx;
};
/* Verifies every signature of a message. The number of good ones, or -1. */
int verify_message(const struct verifier *v, struct view message, struct err *e);

#endif
