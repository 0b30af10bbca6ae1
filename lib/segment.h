/* SPDX-License-Identifier: ISC */
/*
 * The on-disk format of the spool: segments, records, done marks, queue ids. No I/O here; bytes in,
 * bytes out, every length checked. doc/QUEUE-FORMAT.md describes it for readers without this code.
 *
 * Segment file: SEGMENT_DATA bytes of segment header, then records, each aligned to SEGMENT_ALIGN.
 * A record is: fixed header | envelope (tagged fields) | front (headers to put in front) | content.
 * The header has its own CRC and one over the envelope, so that a damaged content never hides the
 * records behind it; front and content share a CRC that `smtp` checks while it sends.
 * Every record carries the generation of its segment: bytes of a former life never match.
 * Behind the last record of a commit stands an end mark, which the next commit overwrites: a reader
 * that meets it knows that nothing follows; one that meets neither record nor mark searches on.
 *
 * A queue id is 64 bits: generation (44 bits, never reused, at least the milliseconds of its creation)
 * and index of the record in its segment (20 bits); as text 13 characters [0-9B-DF-HJ-NP-TV-Z] (no
 * vowels). It stays the same when compaction moves the record to another segment.
 */
#ifndef EKIDEN_SEGMENT_H
#define EKIDEN_SEGMENT_H

#include "lib/arena.h"
#include "lib/err.h"
#include "lib/ipc_schema.h"

enum {
	SEGMENT_DATA = 4096, /* offset of the first record */
	SEGMENT_ALIGN = 64,
	RECORD_HEADER = 64,
	SEGMENT_INDEX_BITS = 20,
	QID_CHARS = 13,
	ENVELOPE_MAX = 64 << 20,
	END_MARK = 64, /* bytes */
	RCPTS_MAX = 200000 /* each recipient and its copy */
};
/* Records of one generation; a writer asks for another segment before this one is used up. */
#define SEGMENT_RECORDS_MAX ((1u << SEGMENT_INDEX_BITS) - 1)

enum {
	SEGMENT_DOTS = 1,     /* a content line begins with a dot: sending needs stuffing */
	SEGMENT_8BIT = 2,     /* content has bytes over 0x7f */
	SEGMENT_8BITMIME = 4, /* BODY=8BITMIME was given */
	SEGMENT_UTF8 = 8,     /* SMTPUTF8 was given */
	SEGMENT_BIG = 16,     /* content is in a file of its own */
	SEGMENT_REPORT = 32,  /* made by bounce */
	SEGMENT_8BIT_HEADER = 64,
	SEGMENT_VERP = 128, /* sent from a return address of its own to each recipient */
	SEGMENT_HELD = 256  /* not delivered until somebody releases it */
};

/* What a recipient is. */
enum rcpt_kind {
	RCPT_NORMAL = 0,
	RCPT_COPY = 1,	    /* of another one's mail, for the host that gets copies of all */
	RCPT_RETURNED = 2,  /* a return address of ours: for bounce */
	RCPT_SIMULATOR = 3  /* what happens to it stands in its local part */
};

struct segment_rcpt {
	struct view addr;
	struct view orcpt; /* "rfc822;..." decoded, or empty */
	uint8_t notify;	   /* NOTIFY_*; 0: default */
	uint8_t kind;	   /* enum rcpt_kind */
};

/* What is known of a message beside its bytes. Views borrow from the decoded bytes or the caller. */
struct envelope {
	uint64_t qid;
	uint64_t arrival_us;  /* wall clock: MAIL */
	uint64_t received_us; /* wall clock: end of data */
	struct view sender;   /* empty: null sender; with SEGMENT_VERP the client's */
	struct view sender_original; /* the client's, where it was replaced */
	struct view return_domain;   /* SEGMENT_VERP: of the return addresses */
	struct view hold_reason;     /* SEGMENT_HELD */
	struct view header_from;     /* first address of the header From, as it was judged; for routes */
	struct view retry;	     /* name of the key's retry schedule */
	uint64_t release_us;	     /* wall clock: not before (RFC 4865); 0: at once */
	uint32_t key_serial;
	uint8_t priority;	     /* of the key, 0-9 */
	uint8_t mt_priority;	     /* RFC 6710: value + 10; 0: none was given */
	struct view tenant, user, tag, batch, label;
	struct view client;   /* "name[addr]" for the log */
	struct view session;
	struct view message_id;
	struct view envid;
	uint8_t ret;
	uint32_t flags;
	uint64_t size;	      /* of content, bytes */
	uint64_t big;	      /* SEGMENT_BIG: number of the file */
	struct segment_rcpt *rcpts;
	uint32_t nrcpt;
};

struct record {
	uint64_t gen;
	uint32_t length;       /* whole record with header and padding */
	uint32_t envelope_len, front_len;
	uint64_t content_len;  /* inline bytes; 0 with SEGMENT_BIG (see env.size) */
	uint32_t content_crc;  /* over front and content, also of a big file */
	uint32_t envelope_crc;
	uint64_t qid;
	uint32_t flags;
};

struct segment_header {
	uint64_t gen;
	uint64_t size;	    /* of the file */
	uint64_t created_us;
	uint32_t writer;    /* role << 16 | instance */
};

/* Segment header: two copies, SEGMENT_DATA bytes together; one good copy is enough to read it. */
void segment_header_put(struct buf *b, const struct segment_header *h);
bool segment_header_get(struct view v, struct segment_header *h);

/* Length of the whole record, padding included; 0 if it would exceed 4 GiB - 1 or a limit. */
uint64_t record_length(const struct envelope *env, size_t envelope_len, size_t front_len,
    uint64_t inline_len);
/*
 * Appends header and envelope (what `stored.head` carries); the caller writes front and content behind
 * it and pads to r->length. Fills r.
 */
void record_head_put(struct buf *b, uint64_t gen, const struct envelope *env, size_t front_len,
    uint64_t inline_len, uint32_t content_crc, struct record *r);
/* The same for an envelope that is encoded already (a record moved to another segment). */
void record_head_copy(struct buf *b, uint64_t gen, struct view envelope, struct record *r);
/*
 * Header only (64 bytes at least). false: no record of this generation here (end of the segment, or
 * damage: bytes with the right magic and generation but a wrong CRC set *damaged).
 */
bool record_header_get(struct view v, uint64_t gen, struct record *r, bool *damaged);
/* The envelope of a record whose header was read; recipients are allocated in `a`. */
bool record_envelope_get(const struct record *r, struct view envelope, struct arena *a,
    struct envelope *env);
/* Offset of the front part in the record. */
static inline uint64_t
record_front_at(const struct record *r)
{
	return RECORD_HEADER + (uint64_t)r->envelope_len;
}

/* Of a message as it is sent: its front and `size` bytes of content. */
static inline uint64_t
whole_bytes(const struct record *r, uint64_t size)
{
	return r->front_len + size;
}

/* END_MARK bytes. */
void end_mark_put(struct buf *b, uint64_t gen);
bool end_mark_is(struct view v, uint64_t gen);

/* Done marks: fixed size, appended in batches to <segment>.done. */
enum { DONE_MARK = 24 };
struct done_mark {
	uint64_t qid;
	uint32_t rcpt; /* index */
};
void done_mark_put(struct buf *b, uint64_t gen, const struct done_mark *m);
/* false: not a mark of this generation. */
bool done_mark_get(struct view v, uint64_t gen, struct done_mark *m);

static inline uint64_t
qid_make(uint64_t gen, uint32_t index)
{
	return gen << SEGMENT_INDEX_BITS | index;
}
static inline uint64_t
qid_gen(uint64_t qid)
{
	return qid >> SEGMENT_INDEX_BITS;
}
const char *qid_text(uint64_t qid, char out[static QID_CHARS + 1]);
bool qid_parse(struct view v, uint64_t *qid);

#endif
