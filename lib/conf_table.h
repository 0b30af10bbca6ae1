/* SPDX-License-Identifier: ISC */
/*
 * lib/conf_schema.h as tables, and the state of one reading. Private to lib/conf*.c.
 *
 * A kind knows how to parse, print and release one value; a directive is a kind with a place in a
 * struct; a block is a list of directives with a place in struct conf. `main` is block 0.
 */
#ifndef EKIDEN_CONF_TABLE_H
#define EKIDEN_CONF_TABLE_H

#include "lib/arena.h"
#include "lib/conf.h"
#include "lib/conf_lex.h"

enum {
	CONF_ERRORS_MAX = 100,	    /* then one line says that there are more */
	CONF_WORDS_MAX = 5000,	    /* in one directive */
	CONF_BLOCKS_MAX = 1000,	    /* of one kind */
	CONF_DEPTH_MAX = 10,	    /* of includes */
	CONF_FILES_MAX = 1000,	    /* included */
	CONF_BYTES_MAX = 16 << 20,  /* of all files */
	CONF_NAME_MAX = 64	    /* of a block */
};

struct conf_pos {
	const char *file; /* lives as long as the reading */
	unsigned line, column; /* line 0: not written anywhere */
};

struct conf_word {
	struct conf_pos pos;
	struct view text; /* NUL-terminated behind its end */
	bool quoted;
};

struct conf_words {
	const struct conf_word *v;
	size_t n;
};

struct conf_parse;
struct conf_directive;

struct conf_kind {
	const char *name;
	const char *syntax; /* for messages and the manual page; NULL: the choices */
	bool list;	    /* more than one word */
	bool optional;	    /* `""` means left out, also where the least value is over 0 */
	bool repeat;	    /* may be given again: adds */
	/* On false an error was reported and *at owns nothing. `at` comes zeroed. */
	bool (*parse)(struct conf_parse *p, const struct conf_directive *d, struct conf_words w,
	    void *at);
	/* As words that parse() reads back. */
	void (*print)(const struct conf_kind *k, const void *at, struct buf *out);
	void (*release)(void *at); /* NULL: owns nothing */
	const char *const *choices;
	size_t choice_count;
};

struct conf_directive {
	const char *name;
	const struct conf_kind *kind;
	size_t offset, size;
	const char *deflt;
	int64_t min, max;
	const char *doc;
};

struct conf_block {
	const char *name; /* "" for main */
	bool many;
	const struct conf_directive *(*directives)(size_t *count);
	size_t size;		/* of one struct */
	size_t at, count_at;	/* in struct conf */
	const char *doc;
};

/* A block as it was written (or, for single ones and main, could have been). */
struct conf_instance {
	const struct conf_block *block;
	size_t index;	      /* in the array of a `many` block */
	struct conf_pos begin;
	struct conf_pos *set; /* of each directive */
};

struct conf_parse {
	struct conf *conf;
	struct buf *errors; /* NULL: not wanted */
	struct buf warnings;
	size_t error_count;
	struct conf_instance *instances; /* main, the single blocks in table order, then the others */
	size_t instance_count, instance_cap;
	struct arena names; /* of files */
	const char *main_file;
	const char *dir; /* absolute folder of the main file; NULL: text, without files */
	bool lenient;	 /* read what can be read */
	unsigned depth;
	size_t files, bytes;
};

/* conf_table.c */
const struct conf_block *conf_blocks(size_t *count);
const struct conf_block *conf_block_find(struct view name);
const struct conf_directive *conf_directive_find(const struct conf_block *b, struct view name);
/* The struct of a block; index counts only for `many`. */
void *conf_block_get(const struct conf *c, const struct conf_block *b, size_t index);
size_t conf_block_count(const struct conf *c, const struct conf_block *b);
/* Appends a zeroed struct to a `many` block and returns it. */
void *conf_block_add(struct conf *c, const struct conf_block *b);
/* Nothing but a value in [min, max] with min >= 1 will do, and there is no default. */
bool conf_required(const struct conf_directive *d);
/* The same value in both places? Compared as it would be printed. */
bool conf_is_default(const struct conf_directive *d, const void *at);

/* conf_kind.c */
#define CONF_KINDS(K)                                                                              \
	K(flag) K(number) K(signed) K(size) K(duration) K(text) K(path) K(list) K(hostport)        \
	K(hostports) K(relay) K(cidrs) K(auth) K(opt_number) K(opt_duration) K(rate) K(spans)     \
	K(members) K(zone)
#define CONF_KIND_DECLARE(kind) extern const struct conf_kind conf_kind_##kind;
#define CONF_KIND_CHOICE(choice) extern const struct conf_kind conf_kind_choice_##choice;
CONF_KINDS(CONF_KIND_DECLARE)
CONF_CHOICES(CONF_KIND_CHOICE)

/* `""`, which stands for "not set". */
bool conf_unset(struct conf_words w);
/* Reports `NAME: "WORD" is not WANTED`; returns false. */
bool conf_malformed(struct conf_parse *p, const struct conf_directive *d, const struct conf_word *w,
    const char *wanted);
/* Reports the first word over d->max. */
bool conf_count_ok(struct conf_parse *p, const struct conf_directive *d, struct conf_words w);

/* Room for a value of any kind. */
#define CONF_KIND_MEMBER(kind) conf_t_##kind of_##kind;
#define CONF_CHOICE_MEMBER(choice) conf_t_choice_##choice of_##choice;
union conf_any {
	CONF_KINDS(CONF_KIND_MEMBER)
	CONF_CHOICES(CONF_CHOICE_MEMBER)
};

/* conf_parse.c */
void conf_parse_begin(struct conf_parse *p, struct conf *c, const char *main_file,
    struct buf *errors);
void conf_parse_end(struct conf_parse *p);
void conf_parse_text(struct conf_parse *p, const char *file, struct view text);
/* conf_file.c */
/* The files of an `include` in `file`. */
void conf_include(struct conf_parse *p, const char *file, struct conf_pos from,
    struct conf_words w);
/* Reads a file below the limits; errors are reported at `from` (line 0: at the file itself). */
bool conf_parse_file(struct conf_parse *p, const char *path, struct conf_pos from);
/* Whether a file's mode lets nobody but its owner change it (ATTACKS I6); reports at `at`. */
struct stat;
bool conf_file_trusted(struct conf_parse *p, struct conf_pos at, const char *path,
    const struct stat *st);

/* conf_parse.c */
/* Parses a directive's default into its place. */
void conf_set_default(struct conf_parse *p, const struct conf_directive *d, void *at);
void conf_error(struct conf_parse *p, struct conf_pos at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void conf_warn(struct conf_parse *p, struct conf_pos at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct conf_instance *conf_instance_of(const struct conf_parse *p, const char *block, size_t index);
/* Where a directive was written, else where its block begins, else the main file. */
struct conf_pos conf_where(const struct conf_parse *p, const struct conf_instance *in,
    const char *directive);

/* conf_check.c, conf_check_queue.c: across directives; conf_host.c: against this host. */
void conf_check(struct conf_parse *p);
void conf_check_queue(struct conf_parse *p);
void conf_host_defaults(struct conf_parse *p);
/* The listeners of a configuration without any, as text. */
void conf_default_listeners(bool v6, struct buf *out);
void conf_host_check(struct conf_parse *p);

/* A word in a message: not longer than a line. */
#define CONF_SHOW(v) ((int)((v).n < 80 ? (v).n : 80)), ((v).p)

#endif
