/* SPDX-License-Identifier: ISC */
/*
 * RFC 5322 header fields. The scanner takes the content of a message as it streams, in pieces of any
 * size, with bounded memory, and separates header and body; it checks framing (RFC 5321, 2.3.8: CRLF only;
 * bare CR, bare LF and NUL are refused without exemption), line and header limits.
 */
#ifndef EKIDEN_HEADER_H
#define EKIDEN_HEADER_H

#include "lib/addr.h"
#include "lib/header_list.h"

/* What can be wrong; the worst one is reported, however the input was cut into pieces. */
enum header_fault {
	HEADER_GOOD,
	HEADER_TOO_LARGE, /* 5.3.4 */
	HEADER_LINE,	  /* 5.5.2: a line over line_max */
	HEADER_FRAMING	  /* 5.5.2: bare CR, bare LF or NUL */
};

struct header_scan {
	size_t line_max;	  /* with CRLF */
	size_t header_max;	  /* whole header */
	struct header_list *list; /* where the header goes */
	/* results */
	uint64_t size;		/* bytes taken, without dot stuffing and final dot */
	enum header_fault fault;
	bool dots, eight_bit, eight_bit_header; /* see SEGMENT_* */
	bool header_done;	/* the empty line, or the end of the data, was seen */
	/* state, private */
	size_t header_size, line_len;
	uint8_t state;
};

/* list: the caller's, initialised for header_max bytes at least, which must outlive the scan. */
void header_scan_init(struct header_scan *h, size_t line_max, size_t header_max,
    struct header_list *list);

enum scan_result { SCAN_MORE, SCAN_END };
/*
 * Takes DATA bytes from the front of *in (all of it, or up to and with the final CRLF.CRLF: SCAN_END,
 * the rest stays in *in), puts the header into the list and appends the body, dots unstuffed, to out,
 * whose limit the caller guards. After a fault the scanner only looks for the end of the data, and
 * list and out take nothing more.
 */
enum scan_result header_scan_data(struct header_scan *h, struct view *in, struct buf *out);

/*
 * The value of a From field (RFC 5322, 3.4 mailbox-list, comments and folds allowed): whether every
 * address in it is valid, and there is one (A22). Each (local@domain, without comments) is shown to
 * `each`, which may be NULL; those in front of the first bad one, too.
 */
typedef void header_mailbox_fn(void *ctx, const struct addr *a);
bool header_from_read(struct view value, header_mailbox_fn *each, void *ctx);
/*
 * Message-ID's value for logs and the envelope: without folds and blanks around it, up to the first control
 * byte or inner fold, at most 998 bytes.
 */
struct view header_msgid(struct view value);
/* "Sun, 22 Nov 2026 12:00:00 +0900 (JST)" without the comment. out takes 40 bytes. */
const char *header_date(uint64_t wall_us, char out[static 40]);

#endif
