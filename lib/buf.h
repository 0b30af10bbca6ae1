/* SPDX-License-Identifier: ISC */
/*
 * Bytes: a view borrows, a buf owns.
 *
 * Writing: every append to a buf is checked against its limit; the first one that does not fit sets
 * `bad` and from then on appends do nothing, so a whole record is written and tested once.
 * Reading: the view_get_* functions consume a view; short input makes the view bad (p == NULL) and
 * every later get returns zero, so a whole record is read and tested once (view_done()).
 * Integers are big-endian.  Allocation failure aborts.
 */
#ifndef EKIDEN_BUF_H
#define EKIDEN_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view {
	const char *p;
	size_t n;
};

struct buf {
	char *p;	/* start of the allocation */
	size_t off;	/* first live byte */
	size_t end;	/* one past the last live byte */
	size_t cap;	/* allocated bytes */
	size_t max;	/* limit on live bytes */
	bool bad;	/* an append did not fit */
};

#define BUF_INIT(limit) { .max = (limit) }
#define VIEW(lit) ((struct view){ "" lit, sizeof(lit) - 1 })

/* Views.  None of these allocates; a result borrows from the argument. */
struct view view_of(const void *p, size_t n);
struct view view_str(const char *s); /* NULL gives an empty view */
bool view_eq(struct view a, struct view b);
bool view_ieq(struct view a, struct view b); /* ASCII case-insensitive */
bool view_is(struct view v, const char *s);
bool view_iis(struct view v, const char *s);
bool view_starts(struct view v, const char *s);
/* No control bytes: may go into log lines, reports and SMTP commands, whoever wrote it. */
bool view_is_text(struct view v);
bool view_istarts(struct view v, const char *s);
/* Offset of the byte, or -1. */
ptrdiff_t view_index(struct view v, char c);
struct view view_skip(struct view v, size_t n); /* without the first n bytes */
struct view view_first(struct view v, size_t n);
struct view view_trim(struct view v); /* blanks and tabs at both ends */
/* Takes the part before the next `sep` out of *v (all of it when there is none). */
struct view view_cut(struct view *v, char sep);
/* Decimal digits only, no sign, no blanks; false on anything else or above max. */
bool view_u64(struct view v, uint64_t max, uint64_t *out);

/* Consuming reads. */
uint8_t view_get_u8(struct view *v);
uint16_t view_get_u16(struct view *v);
uint32_t view_get_u32(struct view *v);
uint64_t view_get_u64(struct view *v);
struct view view_get(struct view *v, size_t n);
struct view view_get_block(struct view *v, size_t max); /* u32 length, then bytes; over max is bad */
static inline bool
view_bad(struct view v)
{
	return v.p == NULL;
}
/* Everything was read and nothing was missing. */
static inline bool
view_done(struct view v)
{
	return v.p != NULL && v.n == 0;
}

/* Buffers. */
void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);  /* releases the memory; the buf stays usable */
void buf_clear(struct buf *b); /* empties, keeps the memory, clears bad */
/* Empties and wipes with explicit_bzero, for secrets. */
void buf_wipe(struct buf *b);
static inline size_t
buf_len(const struct buf *b)
{
	return b->end - b->off;
}
static inline struct view
buf_view(const struct buf *b)
{
	return (struct view){ b->p ? b->p + b->off : "", b->end - b->off };
}
/* Room for n more bytes, or NULL (and bad) when that exceeds the limit; buf_commit() takes them. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
void buf_consume(struct buf *b, size_t n); /* drops n bytes at the front */
void buf_truncate(struct buf *b, size_t n); /* keeps the first n bytes */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_putv(struct buf *b, struct view v);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_put_decimal(struct buf *b, uint64_t x);
void buf_put_u8(struct buf *b, uint8_t x);
void buf_put_u16(struct buf *b, uint16_t x);
void buf_put_u32(struct buf *b, uint32_t x);
void buf_put_u64(struct buf *b, uint64_t x);
void buf_put_block(struct buf *b, struct view v); /* u32 length, then the bytes */
/* Overwrites 4 bytes at an offset from the live start, e.g. a length known at the end. */
void buf_patch_u32(struct buf *b, size_t at, uint32_t x);
/* NUL-terminated live bytes (the NUL is not counted); "" for an empty buf. */
const char *buf_cstr(struct buf *b);

/* Checked allocation: abort on failure. */
void *x_malloc(size_t n);
void *x_calloc(size_t n, size_t size);
void *x_realloc(void *p, size_t n, size_t size);
char *x_strdup(const char *s);
char *x_strndup(struct view v); /* owned, NUL-terminated */

#endif
