/* SPDX-License-Identifier: ISC */
/*
 * The DKIM keys of the suite: the folder state-dir/dkim, which belongs to root alone. Each private key is a
 * file SELECTOR._domainkey.DOMAIN.pem; the file `index` says which there are and what state they are
 * in, one line a key. A change is one replacement of the index (durable_replace()): a key file is there
 * before a line names it and removed after the line is gone, so that a crash leaves the old state or the
 * new one, and at most a file that nothing names, which the next change removes.
 *
 * mtactl writes, under a lock on the folder; master reads.
 */
#ifndef EKIDEN_DKIM_STORE_H
#define EKIDEN_DKIM_STORE_H

#include "lib/dkim.h"

enum dkim_state {
	DKIM_PENDING, /* made; its record may not be seen yet */
	DKIM_ACTIVE,  /* signs: at most one of each algorithm in a domain */
	DKIM_RETIRING /* was replaced; mail that it signed is on its way */
};

enum { DKIM_KEYS_MAX = 32768, DKIM_INDEX_MAX = 32 << 20, DKIM_FILE_MAX = 250 };

struct dkim_entry {
	char *domain, *selector; /* canonical */
	enum dkim_algorithm algorithm;
	enum dkim_state state;
	uint64_t made_s, since_s; /* wall clock; since: in this state */
	uint64_t until_s;	  /* retiring: its record stays published until then */
	unsigned line;		  /* of the index, for messages */
};

struct dkim_store {
	char *path; /* of the folder */
	int dir;    /* -1: there is none */
	struct dkim_entry *v;
	size_t n;
	/* private: files of removed entries, which go after the index was replaced */
	char **gone_files;
	size_t gone;
};

const char *dkim_state_name(enum dkim_state s);

/*
 * Reads the index. A folder or index that is not there is an empty one; for `change` the folder must be
 * there, and is locked until dkim_store_close(). Errors begin with "FILE:LINE:" where there is a line.
 */
int dkim_store_open(struct dkim_store *s, const char *state_dir, bool change, struct err *e);
void dkim_store_close(struct dkim_store *s);
/* Makes the index on disk what s->v is, then removes the files of entries that were removed. */
int dkim_store_save(struct dkim_store *s, struct err *e);

struct dkim_entry *dkim_store_find(const struct dkim_store *s, struct view domain, struct view selector);
/* Writes the key's file, then adds an entry (not yet on disk). -1 also when the name is taken or too long. */
int dkim_store_add(struct dkim_store *s, const struct dkim_entry *x, struct view pem, struct err *e);
void dkim_store_remove(struct dkim_store *s, struct dkim_entry *x);
/* x signs from now on; the key that did is retiring. */
void dkim_store_activate(struct dkim_store *s, struct dkim_entry *x, uint64_t now_s, uint64_t until_s);

/* "SELECTOR._domainkey.DOMAIN", and with ".pem" the file in the folder. */
void dkim_store_dns_name(const struct dkim_entry *x, struct buf *out);
void dkim_store_file(const struct dkim_entry *x, char out[static DKIM_FILE_MAX]);
/* A name that may be a selector: labels of letters, digits and hyphens, in lower case. */
bool dkim_selector_valid(struct view v);

#endif
