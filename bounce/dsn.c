/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "bounce/dsn.h"
#include "bounce/encode.h"
#include "lib/addr.h"
#include "lib/header.h"
#include "lib/log.h"
#include "lib/segment.h"

enum { LINE_MAX_BYTES = 998 };

/* What differs between the kinds of report. */
struct wording {
	const char *subject, *action, *opening;
	uint8_t class;	   /* that Status must have; 0: as it came, a temporary one at least */
	struct esc status; /* where none came */
	const char *part;  /* description of the third part */
};

static const struct wording wordings[] = {
	[REPORT_FAILED] = { "Undelivered Mail Returned to Sender", "failed",
	    "Your message could not be delivered to the recipients named below. It will\r\n"
	    "not be tried again.\r\n",
	    5, { 5, 0, 0 }, "Undelivered Message" },
	[REPORT_EXPIRED] = { "Undelivered Mail Returned to Sender", "failed",
	    "Your message could not be delivered to the recipients named below in the time\r\n"
	    "that this system keeps trying. It will not be tried again.\r\n",
	    0, { 4, 4, 7 }, "Undelivered Message" },
	[REPORT_DELAYED] = { "Delayed Mail (still being retried)", "delayed",
	    "This is a warning only: you need not send your message again.\r\n\r\n"
	    "It has not yet been delivered to the recipients named below. This system\r\n"
	    "goes on trying.\r\n",
	    4, { 4, 4, 7 }, "Delayed Message" },
};

void
dsn_text_init(struct dsn_text *t)
{
	*t = (struct dsn_text){ .message = BUF_INIT(DSN_MAX), .message_id = BUF_INIT(512) };
}

void
dsn_text_free(struct dsn_text *t)
{
	buf_free(&t->message);
	buf_free(&t->message_id);
}

static void
put_date(struct buf *b, const char *field, uint64_t wall_us)
{
	char date[40];

	buf_printf(b, "%s: %s\r\n", field, header_date(wall_us, date));
}

/* The host name part of "HOST[ADDRESS]:PORT"; empty when there was no host. */
static struct view
relay_host(struct view relay)
{
	ptrdiff_t bracket = view_index(relay, '[');

	if (view_is(relay, "none"))
		return VIEW("");
	return bracket > 0 ? view_first(relay, (size_t)bracket) : relay;
}

static struct view
without_port(struct view relay)
{
	ptrdiff_t bracket = view_index(relay, ']');

	return bracket >= 0 ? view_first(relay, (size_t)bracket + 1) : relay;
}

/* "550 5.1.1 text", as the remote host said it; or the text alone. */
static void
put_said(struct buf *b, const struct ipc_report_rcpt *r)
{
	char esc[ESC_TEXT_MAX];
	struct esc code = esc_unpack(r->esc);

	if (r->remote && r->code) {
		buf_printf(b, "%u ", r->code);
		if (code.class == r->code / 100)
			buf_printf(b, "%s ", esc_text(code, esc));
	}
	buf_putv(b, r->text);
}

/* Lines of at most ENCODE_WIDTH, the later ones set in. */
static void
put_paragraph(struct buf *b, struct view v)
{
	size_t column = 0;

	while (v.n) {
		struct view word = view_cut(&v, ' ');
		if (word.n == 0)
			continue;
		if (column && column + 1 + word.n > ENCODE_WIDTH) {
			buf_puts(b, "\r\n    ");
			column = 4;
		} else if (column) {
			buf_putc(b, ' ');
			column++;
		}
		while (word.n > LINE_MAX_BYTES / 2) {
			size_t n = LINE_MAX_BYTES / 2;
			while (
			    ((unsigned char)word.p[n] & 0xc0) == 0x80 && n > LINE_MAX_BYTES / 2 - 4)
				n--; /* not inside a character */
			encode_utf8(b, view_first(word, n));
			buf_puts(b, "\r\n    ");
			word = view_skip(word, n);
			column = 4;
		}
		encode_utf8(b, word);
		column += word.n;
	}
	buf_puts(b, "\r\n");
}

static void
put_reason(struct buf *b, const struct ipc_report_rcpt *r)
{
	struct buf line = BUF_INIT(8192);

	buf_putc(&line, '<');
	buf_putv(&line, r->rcpt);
	buf_puts(&line, ">: ");
	if (r->remote && relay_host(r->relay).n) {
		struct view host = without_port(r->relay);
		buf_printf(&line, "host " VIEW_FMT " said: ", VIEW_ARG(host));
	}
	put_said(&line, r);
	put_paragraph(b, buf_view(&line));
	buf_puts(b, "\r\n");
	buf_free(&line);
}

/* First part: for people. */
static void
put_notification(struct buf *b, const struct dsn *d, const struct wording *w)
{
	struct view rcpts = d->rcpts;
	struct ipc_report_rcpt r;
	char date[40];

	buf_puts(b, "This is the mail system at host ");
	encode_plain(b, d->hostname);
	buf_puts(b, ".\r\n\r\n");
	buf_puts(b, w->opening);
	if (d->kind == REPORT_DELAYED && d->expires_us)
		buf_printf(b, "It will give up after %s.\r\n", header_date(d->expires_us, date));
	buf_puts(b, "\r\nThe reason stands behind each address. The second part of this report says\r\n"
		    "the same in a form for programs; the third is what you sent.\r\n\r\n"
		    "For further help, please write to ");
	encode_plain(b, d->postmaster);
	buf_puts(b, "\r\nand include this report.\r\n\r\n"
		    "                   The mail system\r\n\r\n");
	while (ipc_next(&ipc_desc_report_rcpt, &rcpts, &r))
		put_reason(b, &r);
}

static void
put_part(struct buf *b, const char *boundary, const char *description, const char *type)
{
	buf_printf(b, "--%s\r\nContent-Description: %s\r\nContent-Type: %s\r\n", boundary,
	    description, type);
}

static void
put_text_part(struct buf *b, const struct dsn *d, const struct wording *w, const char *boundary)
{
	struct buf text = BUF_INIT(DSN_MAX);

	put_notification(&text, d, w);
	if (encode_is_ascii(buf_view(&text))) {
		put_part(b, boundary, "Notification", "text/plain; charset=us-ascii");
		buf_puts(b, "\r\n");
		buf_putv(b, buf_view(&text));
	} else {
		put_part(b, boundary, "Notification", "text/plain; charset=utf-8");
		buf_puts(b, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
		encode_quoted_printable(b, buf_view(&text));
	}
	b->bad = b->bad || text.bad;
	buf_puts(b, "\r\n");
	buf_free(&text);
}

/* "rfc822;address" from ORCPT, decoded; what has no proper type is left out. */
static void
put_original_recipient(struct buf *b, struct view orcpt)
{
	struct view type = view_cut(&orcpt, ';');
	struct view addr = view_trim(orcpt);

	if (type.n == 0 || addr.n == 0)
		return;
	for (size_t i = 0; i < type.n; i++) {
		unsigned char c = (unsigned char)type.p[i];
		if (c <= ' ' || c >= 0x7f || strchr("()<>@,;:\\\"/[]?=", c))
			return;
	}
	buf_puts(b, "Original-Recipient: ");
	encode_typed_addr(b, type, addr);
	buf_puts(b, "\r\n");
}

/*
 * A failed delivery is 5.x.x, or the last 4.x.x that it failed with until the end; delayed is
 * 4.x.x.
 */
static struct esc
status_of(const struct wording *w, uint32_t packed)
{
	struct esc s = esc_unpack(packed);

	if (s.class != 4 && s.class != 5)
		return w->status;
	if (w->class)
		s.class = w->class;
	return s;
}

/* Without the "(in reply to X command)" that smtp puts behind a reply for people (D15). */
static struct view
remote_words(struct view said)
{
	static const char note[] = " (in reply to ";
	const size_t n = sizeof(note) - 1;

	for (size_t at = said.n; at-- > 0;)
		if (view_starts(view_skip(said, at), note) && said.n > at + n)
			return view_first(said, at);
	return said;
}

static void
put_diagnostic(struct buf *b, const struct ipc_report_rcpt *r)
{
	static const char smtp[] = "Diagnostic-Code: smtp; ";
	static const char local[] = "Diagnostic-Code: X-Ekiden; ";
	struct buf said = BUF_INIT(4096);

	put_said(&said, r);
	if (buf_len(&said)) {
		struct view words = buf_view(&said);
		buf_puts(b, r->remote ? smtp : local);
		encode_field(b, r->remote ? remote_words(words) : words, (r->remote ? sizeof(smtp) : sizeof(local)) - 1);
		buf_puts(b, "\r\n");
	}
	buf_free(&said);
}

static void
put_recipient(struct buf *b, const struct dsn *d, const struct wording *w,
    const struct ipc_report_rcpt *r)
{
	char esc[ESC_TEXT_MAX];
	struct view host = relay_host(r->relay);

	buf_puts(b, "\r\nFinal-Recipient: ");
	encode_typed_addr(b, VIEW("rfc822"), r->rcpt);
	buf_puts(b, "\r\n");
	put_original_recipient(b, r->orcpt);
	buf_printf(
	    b, "Action: %s\r\nStatus: %s\r\n", w->action, esc_text(status_of(w, r->esc), esc));
	if (r->remote && host.n) {
		buf_puts(b, "Remote-MTA: dns; ");
		encode_plain(b, host);
		buf_puts(b, "\r\n");
	}
	put_diagnostic(b, r);
	if (r->last_attempt_us)
		put_date(b, "Last-Attempt-Date", r->last_attempt_us);
	if (d->kind == REPORT_DELAYED && d->expires_us)
		put_date(b, "Will-Retry-Until", d->expires_us);
}

/* Second part: for programs. */
static void
put_status_part(struct buf *b, const struct dsn *d, const struct wording *w, const char *boundary)
{
	struct view rcpts = d->rcpts;
	struct ipc_report_rcpt r;

	put_part(b, boundary, "Delivery report", "message/delivery-status");
	buf_puts(b, "\r\nReporting-MTA: dns; ");
	encode_plain(b, d->hostname);
	buf_printf(b, "\r\nX-Ekiden-Queue-ID: %s\r\nX-Ekiden-Sender: ", d->qid);
	encode_typed_addr(b, VIEW("rfc822"), d->sender);
	buf_puts(b, "\r\n");
	if (d->envid.n) {
		buf_puts(b, "Original-Envelope-Id: ");
		encode_plain(b, d->envid);
		buf_puts(b, "\r\n");
	}
	put_date(b, "Arrival-Date", d->arrival_us);
	while (ipc_next(&ipc_desc_report_rcpt, &rcpts, &r))
		put_recipient(b, d, w, &r);
	buf_puts(b, "\r\n");
}

/* Lines that can stand in a 7-bit message as they are: ASCII, CRLF only, none too long. */
static bool
is_seven_bit(struct view v)
{
	size_t line = 0;

	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c == '\r' && i + 1 < v.n && v.p[i + 1] == '\n') {
			line = 0;
			i++;
		} else if (c == '\0' || c == '\r' || c == '\n' || c >= 0x80 ||
			   ++line > LINE_MAX_BYTES) {
			return false;
		}
	}
	return true;
}

/* The header lines, at most DSN_ORIGINAL_MAX bytes and, if that cuts them, whole lines. */
static struct view
header_of(struct view message)
{
	struct view v = view_first(message, DSN_ORIGINAL_MAX);

	if (view_starts(v, "\r\n"))
		return VIEW("");
	const char *end = v.n ? memmem(v.p, v.n, "\r\n\r\n", 4) : NULL;
	if (end)
		return view_first(v, (size_t)(end - v.p) + 2);
	for (size_t n = v.n; n >= 2; n--)
		if (v.p[n - 2] == '\r' && v.p[n - 1] == '\n')
			return view_first(v, n);
	return v;
}

/*
 * Whether all of the message comes back: not if it is large (H7) or headers were asked for, not
 * with a warning (RFC 3461, 4.3), and not if it would need an encoding, which message/rfc822 may
 * not have.
 */
static bool
returns_all(const struct dsn *d)
{
	return d->kind != REPORT_DELAYED && d->ret != RET_HDRS &&
	       d->original.n == d->original_size && d->original_size <= DSN_ORIGINAL_MAX &&
	       is_seven_bit(d->original);
}

static void
put_line_end(struct buf *b)
{
	struct view v = buf_view(b);

	if (v.n < 2 || memcmp(v.p + v.n - 2, "\r\n", 2) != 0)
		buf_puts(b, "\r\n");
}

/* Third part: what came. */
static void
put_original_part(struct buf *b, const struct dsn *d, const struct wording *w, const char *boundary)
{
	struct view header = header_of(d->original);

	if (returns_all(d)) {
		put_part(b, boundary, w->part, "message/rfc822");
		buf_puts(b, "\r\n");
		buf_putv(b, d->original);
	} else if (is_seven_bit(header)) {
		put_part(b, boundary, "Headers of the message", "text/rfc822-headers");
		buf_puts(b, "\r\n");
		buf_putv(b, header);
	} else {
		put_part(b, boundary, "Headers of the message", "text/rfc822-headers");
		buf_puts(b, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
		encode_quoted_printable(b, header);
	}
	put_line_end(b);
	buf_puts(b, "\r\n");
}

static bool
contains(struct view v, const char *what)
{
	return v.n && memmem(v.p, v.n, what, strlen(what)) != NULL;
}

/*
 * Nothing inside may look like it: "=_" is in no encoded part, and what comes from others is
 * searched.
 */
static void
make_boundary(const struct dsn *d, char *out, size_t size)
{
	unsigned n = 0;

	do
		snprintf(out, size, "=_%s.%llx.%u", d->qid, (unsigned long long)d->now_us, n++);
	while (contains(d->original, out) || contains(d->rcpts, out));
}

static void
put_header(struct dsn_text *t, const struct dsn *d, const struct wording *w, const char *boundary)
{
	struct buf *b = &t->message;

	buf_printf(&t->message_id, "<%s.%llx@", d->qid, (unsigned long long)d->now_us);
	encode_plain(&t->message_id, d->hostname);
	buf_putc(&t->message_id, '>');
	put_date(b, "Date", d->now_us);
	buf_puts(b, "From: MAILER-DAEMON@");
	encode_plain(b, d->hostname);
	buf_puts(b, " (Mail Delivery System)\r\nTo: ");
	encode_mailbox(b, d->sender);
	buf_printf(b, "\r\nSubject: %s\r\nMessage-ID: ", w->subject);
	buf_putv(b, buf_view(&t->message_id));
	buf_printf(b,
	    "\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n\r\n"
	    "This is a MIME-encapsulated message.\r\n\r\n",
	    boundary);
}

static bool
has_dots(struct view v)
{
	return view_starts(v, ".") || contains(v, "\n.");
}

int
dsn_write(const struct dsn *d, struct dsn_text *t)
{
	char boundary[96];

	if (d->kind < REPORT_FAILED || d->kind > REPORT_DELAYED || d->rcpts.n == 0 ||
	    !ipc_records_ok(&ipc_desc_report_rcpt, d->rcpts))
		return -1;
	const struct wording *w = &wordings[d->kind];
	make_boundary(d, boundary, sizeof(boundary));
	put_header(t, d, w, boundary);
	put_text_part(&t->message, d, w, boundary);
	put_status_part(&t->message, d, w, boundary);
	put_original_part(&t->message, d, w, boundary);
	buf_printf(&t->message, "--%s--\r\n", boundary);
	if (t->message.bad || t->message_id.bad)
		return -1;
	t->flags = (has_dots(buf_view(&t->message)) ? SEGMENT_DOTS : 0u) |
	    (encode_is_ascii(d->sender) ? 0u : SEGMENT_UTF8);
	return 0;
}
