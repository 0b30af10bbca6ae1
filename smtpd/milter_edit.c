/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "smtpd/milter.h"
#include "smtpd/milter_impl.h"

enum { EDITS_MAX = 4096, PACKETS_MAX = 1 << 20, CHUNK_SLACK = 1 << 20, REASON_MAX = 200 };

void
milter_edits_init(struct milter_edits *e, const struct session *s)
{
	*e = (struct milter_edits){ .packets = BUF_INIT(PACKETS_MAX) };
	buf_init(&e->body, session_limits(s)->message_size + CHUNK_SLACK);
}

void
milter_edits_free(struct milter_edits *e)
{
	buf_free(&e->packets);
	buf_free(&e->body);
	e->replaces_body = false;
	e->count = 0;
}

bool
milter_edits_add(struct milter_edits *e, const struct milter_packet *p, const struct milter_response *r)
{
	if (p->command == SMFIR_REPLBODY) {
		e->replaces_body = true;
		buf_putv(&e->body, r->name);
		return !e->body.bad;
	}
	milter_put(&e->packets, p->command, p->data);
	return ++e->count <= EDITS_MAX && !e->packets.bad;
}

/* One edit that is being made. */
struct edit {
	struct session *s;
	const struct milter_terms *terms;
	const struct milter_response *r;
	struct err *err;
};

static int
refused(const struct edit *d, const char *what)
{
	return err_set(d->err, ERR_PEER, ESC(4, 3, 0), "%s cannot be made", what);
}

/*
 * As the message has it: folds are CRLF and a blank. Milters write line feeds, some with the carriage return;
 * what they put behind the last line is not part of it.
 */
static void
put_value(const struct edit *d, struct buf *b)
{
	struct view v = d->r->value;

	while (v.n && (v.p[v.n - 1] == '\n' || v.p[v.n - 1] == '\r'))
		v.n--;
	if (!(d->terms->steps & SMFIP_HDR_LEADSPC))
		buf_putc(b, ' ');
	while (v.n) {
		struct view line = v;
		line = view_cut(&v, '\n');
		bool fold = v.p > line.p + line.n;
		if (fold && line.n && line.p[line.n - 1] == '\r')
			line.n--;
		buf_putv(b, line);
		if (fold)
			buf_puts(b, "\r\n");
	}
}

static bool
is_8bit(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] & 0x80)
			return true;
	return false;
}

/* Puts a field in, or (at >= 0) a value into one. */
static int
put_field(const struct edit *d, ptrdiff_t at, uint32_t before)
{
	struct txn *t = &d->s->txn;
	struct buf value = BUF_INIT(MILTER_PACKET_MAX * 2);

	put_value(d, &value);
	bool good = !value.bad &&
	    (at >= 0 ? header_list_change(&t->header, (uint32_t)at, buf_view(&value)) :
		       header_list_insert(&t->header, before, d->r->name, buf_view(&value)));
	if (is_8bit(buf_view(&value)))
		t->scan.eight_bit = t->scan.eight_bit_header = true;
	buf_free(&value);
	return good ? 0 : refused(d, "a change of the header");
}

static int
add_field(const struct edit *d)
{
	return put_field(d, -1, d->s->txn.header.count);
}

/* The index counts the fields that the milter was shown. */
static int
insert_field(const struct edit *d)
{
	const struct header_list *l = &d->s->txn.header;
	uint32_t at = 0, index = d->r->index;

	for (; at < l->count && index; at++)
		index -= !l->fields[at].deleted && l->fields[at].name_n;
	return put_field(d, -1, at);
}

/* The index counts fields of that name from 1; an empty value takes it out; one too many is put in. */
static int
change_field(const struct edit *d)
{
	struct header_list *l = &d->s->txn.header;
	ptrdiff_t at = header_list_find_name(l, d->r->name, 0);

	for (uint32_t i = 1; i < d->r->index && at >= 0; i++)
		at = header_list_find_name(l, d->r->name, (uint32_t)at + 1);
	if (d->r->value.n)
		return put_field(d, at, l->count);
	if (at >= 0)
		header_list_delete(l, (uint32_t)at);
	return 0;
}

/* An address in brackets or without. */
static int
get_address(const struct edit *d, unsigned flags, struct view *out)
{
	struct view v = view_trim(d->r->name);
	struct addr a;
	int rc;

	if (v.n && v.p[0] == '<')
		rc = addr_path(&v, flags, &a, NULL) < 0 || v.n ? -1 : 0;
	else
		rc = addr_parse(v, flags & ~(unsigned)ADDR_NULL, &a, NULL);
	if (rc < 0)
		return refused(d, "a change of an address");
	*out = addr_whole(&a);
	return 0;
}

static ptrdiff_t
find_rcpt(const struct envelope *env, struct view addr)
{
	for (uint32_t i = 0; i < env->nrcpt; i++)
		if (view_ieq(env->rcpts[i].addr, addr))
			return i;
	return -1;
}

static int
add_rcpt(const struct edit *d)
{
	struct txn *t = &d->s->txn;
	struct view addr;

	if (get_address(d, 0, &addr) < 0)
		return -1;
	if (find_rcpt(&t->env, addr) >= 0)
		return 0;
	if (t->env.nrcpt >= RCPTS_MAX)
		return refused(d, "another recipient");
	txn_add_rcpt(t, addr, RCPT_NORMAL);
	return 0;
}

static int
delete_rcpt(const struct edit *d)
{
	struct envelope *env = &d->s->txn.env;
	struct view addr;

	if (get_address(d, 0, &addr) < 0)
		return -1;
	for (ptrdiff_t i; (i = find_rcpt(env, addr)) >= 0;) {
		size_t behind = --env->nrcpt - (size_t)i;
		memmove(env->rcpts + i, env->rcpts + i + 1, behind * sizeof(*env->rcpts));
	}
	return 0;
}

static int
change_sender(const struct edit *d)
{
	struct txn *t = &d->s->txn;
	struct view addr;

	if (get_address(d, ADDR_NULL, &addr) < 0)
		return -1;
	t->env.sender = arena_view(&t->arena, addr);
	return 0;
}

/* Queued, and held until somebody releases it. */
static int
quarantine(const struct edit *d)
{
	struct txn *t = &d->s->txn;
	struct buf text = BUF_INIT(REASON_MAX);

	buf_puts(&text, "held: quarantined: ");
	struct view reason = view_first(d->r->name, REASON_MAX - buf_len(&text));
	for (size_t i = 0; i < reason.n; i++)
		buf_putc(&text, reason.p[i] < 0x20 || reason.p[i] == 0x7f ? '?' : reason.p[i]);
	t->env.hold_reason = arena_view(&t->arena, buf_view(&text));
	t->grant.hold = true;
	buf_free(&text);
	return 0;
}

static const struct maker {
	char command;
	int (*make)(const struct edit *d);
} makers[] = {
	{ SMFIR_ADDHEADER, add_field },
	{ SMFIR_INSHEADER, insert_field },
	{ SMFIR_CHGHEADER, change_field },
	{ SMFIR_ADDRCPT, add_rcpt },
	{ SMFIR_ADDRCPT_PAR, add_rcpt },
	{ SMFIR_DELRCPT, delete_rcpt },
	{ SMFIR_CHGFROM, change_sender },
	{ SMFIR_QUARANTINE, quarantine },
};

static int
make(const struct edit *d)
{
	for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++)
		if (makers[i].command == d->r->command)
			return makers[i].make(d);
	return refused(d, "an unknown change");
}

/*
 * Lines end in CRLF in the spool: a line feed alone becomes one, a carriage return alone or a NUL is refused,
 * like a line that would be refused from a client.
 */
static bool
put_lines(struct view v, size_t line_max, struct buf *out, bool *dots)
{
	while (v.n) {
		struct view line = view_cut(&v, '\n');
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (memchr(line.p, '\r', line.n) || memchr(line.p, '\0', line.n) || line.n + 2 > line_max)
			return false;
		*dots |= line.n && line.p[0] == '.';
		buf_putv(out, line);
		buf_puts(out, "\r\n");
	}
	return !out->bad;
}

/* The new body stands in memory; milters_file() brings it to where it belongs. */
static int
replace_body(const struct milter_edits *e, struct session *s, struct err *err)
{
	const struct conf_limits *limits = session_limits(s);
	struct txn *t = &s->txn;
	struct buf body = { .max = t->content.max };
	bool dots = false;

	if (!put_lines(buf_view(&e->body), limits->line_length, &body, &dots) ||
	    buf_len(&body) > limits->message_size) {
		buf_free(&body);
		return err_set(err, ERR_PEER, ESC(4, 3, 0), "its new body cannot be taken");
	}
	txn_close_file(t, false);
	buf_free(&t->content);
	t->content = body;
	t->crc = 0;
	t->scan.dots |= dots;
	t->scan.eight_bit = t->scan.eight_bit_header || is_8bit(buf_view(&body));
	sign_body_again(t);
	stage_show(t, buf_view(&body));
	return 0;
}

int
milter_edits_apply(const struct milter_edits *e, struct session *s, const struct milter_terms *t,
    struct err *err)
{
	struct view v = buf_view(&e->packets);
	struct milter_response r;
	struct milter_packet p;
	struct edit d = { s, t, &r, err };

	while (milter_take(&v, &p) == MILTER_TAKEN)
		if (!milter_response_get(&p, t->actions, &r) || make(&d) < 0)
			return refused(&d, "one of its changes");
	return e->replaces_body ? replace_body(e, s, err) : 0;
}
