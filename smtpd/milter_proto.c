/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "smtpd/milter_proto.h"

size_t
milter_begin(struct buf *out, char command)
{
	size_t at = buf_len(out);

	buf_put_u32(out, 0);
	buf_putc(out, command);
	return at;
}

void
milter_end(struct buf *out, size_t at)
{
	if (!out->bad)
		buf_patch_u32(out, at, (uint32_t)(buf_len(out) - at - MILTER_LEN_BYTES));
}

void
milter_put(struct buf *out, char command, struct view data)
{
	buf_put_u32(out, (uint32_t)data.n + 1);
	buf_putc(out, command);
	buf_putv(out, data);
}

void
milter_put_str(struct buf *out, struct view v)
{
	ptrdiff_t nul = view_index(v, '\0');

	buf_putv(out, nul < 0 ? v : view_first(v, (size_t)nul));
	buf_putc(out, '\0');
}

void
milter_put_negotiate(struct buf *out)
{
	size_t at = milter_begin(out, SMFIC_OPTNEG);

	buf_put_u32(out, MILTER_VERSION);
	buf_put_u32(out, MILTER_ACTIONS);
	buf_put_u32(out, MILTER_STEPS);
	milter_end(out, at);
}

void
milter_put_header(struct buf *out, uint32_t steps, struct view name, struct view value)
{
	if (!(steps & SMFIP_HDR_LEADSPC) && value.n && value.p[0] == ' ')
		value = view_skip(value, 1);
	value = view_first(value, MILTER_CHUNK_SIZE - 2 - name.n);
	size_t at = milter_begin(out, SMFIC_HEADER);
	milter_put_str(out, name);
	while (value.n) {
		struct view part = view_cut(&value, '\r');
		buf_putv(out, part);
	}
	buf_putc(out, '\0');
	milter_end(out, at);
}

enum milter_taken
milter_take(struct view *in, struct milter_packet *p)
{
	struct view v = *in;

	if (v.n < MILTER_LEN_BYTES)
		return MILTER_MORE;
	uint32_t n = view_get_u32(&v);
	if (n == 0 || n > MILTER_PACKET_MAX)
		return MILTER_BROKEN;
	if (v.n < n)
		return MILTER_MORE;
	struct view packet = view_get(&v, n);
	p->command = (char)view_get_u8(&packet);
	p->data = packet;
	*in = v;
	return MILTER_TAKEN;
}

/* Up to a NUL, which is taken, too; p NULL: there is none. */
static struct view
get_str(struct view *v)
{
	ptrdiff_t nul = view_bad(*v) ? -1 : view_index(*v, '\0');

	if (nul < 0) {
		*v = (struct view){ NULL, 0 };
		return *v;
	}
	struct view s = view_first(*v, (size_t)nul);
	*v = view_skip(*v, (size_t)nul + 1);
	return s;
}

bool
milter_terms_get(const struct milter_packet *p, struct milter_terms *t)
{
	struct view v = p->data;

	*t = (struct milter_terms){ 0 };
	if (p->command != SMFIC_OPTNEG || v.n < MILTER_OPTLEN)
		return false;
	t->version = view_get_u32(&v);
	t->actions = view_get_u32(&v);
	t->steps = view_get_u32(&v);
	if (t->version < MILTER_VERSION_MIN || t->version > MILTER_VERSION ||
	    t->actions & ~MILTER_ACTIONS || t->steps & ~MILTER_STEPS)
		return false;
	while (v.n) {
		uint32_t stage = view_get_u32(&v);
		struct view names = get_str(&v);
		if (view_bad(v) || stage >= MILTER_STAGES || !(t->actions & SMFIF_SETSYMLIST))
			return false;
		t->macros[stage] = names;
	}
	return true;
}

/* What stands behind the command byte. */
enum shape {
	NOTHING,
	TEXT,	    /* one string */
	TWO,	    /* two strings */
	INDEX_TWO,  /* u32, two strings */
	ADDRESS,    /* a string, perhaps a second one */
	BYTES,
	REPLY
};

static const struct known {
	char command;
	uint8_t meaning, shape;
	uint32_t action; /* that allows it; 0: always allowed */
} known[] = {
	{ SMFIR_CONTINUE, MILTER_CONTINUE, NOTHING, 0 },
	{ SMFIR_ACCEPT, MILTER_ACCEPT, NOTHING, 0 },
	{ SMFIR_REJECT, MILTER_REJECT, NOTHING, 0 },
	{ SMFIR_DISCARD, MILTER_DISCARD, NOTHING, 0 },
	{ SMFIR_TEMPFAIL, MILTER_TEMPFAIL, NOTHING, 0 },
	{ SMFIR_SHUTDOWN, MILTER_SHUTDOWN, NOTHING, 0 },
	{ SMFIR_CONN_FAIL, MILTER_SHUTDOWN, NOTHING, 0 },
	{ SMFIR_REPLYCODE, MILTER_REPLY, REPLY, 0 },
	{ SMFIR_SKIP, MILTER_SKIP, NOTHING, 0 },
	{ SMFIR_PROGRESS, MILTER_PROGRESS, NOTHING, 0 },
	{ SMFIR_ADDHEADER, MILTER_EDIT, TWO, SMFIF_ADDHDRS },
	{ SMFIR_INSHEADER, MILTER_EDIT, INDEX_TWO, SMFIF_ADDHDRS },
	{ SMFIR_CHGHEADER, MILTER_EDIT, INDEX_TWO, SMFIF_CHGHDRS },
	{ SMFIR_REPLBODY, MILTER_EDIT, BYTES, SMFIF_CHGBODY },
	{ SMFIR_ADDRCPT, MILTER_EDIT, TEXT, SMFIF_ADDRCPT },
	{ SMFIR_ADDRCPT_PAR, MILTER_EDIT, ADDRESS, SMFIF_ADDRCPT_PAR },
	{ SMFIR_DELRCPT, MILTER_EDIT, TEXT, SMFIF_DELRCPT },
	{ SMFIR_CHGFROM, MILTER_EDIT, ADDRESS, SMFIF_CHGFROM },
	{ SMFIR_QUARANTINE, MILTER_EDIT, TEXT, SMFIF_QUARANTINE },
};

/* "550 5.7.1 text"; per cent signs are doubled. */
static bool
get_reply_line(struct view line, struct milter_response *r, size_t *at)
{
	uint64_t code;
	struct esc esc = { 0 };

	if (line.n < 3 || !view_u64(view_first(line, 3), 599, &code) || code < 400)
		return false;
	line = view_skip(line, 3);
	if (line.n && line.p[0] != ' ' && line.p[0] != '-')
		return false;
	line = view_trim(view_skip(line, 1));
	if (esc_take(&line, &esc) && esc.class != code / 100)
		return false;
	if (r->code && r->code != code)
		return false;
	r->code = (uint16_t)code;
	if (esc.class)
		r->esc = esc;
	if (*at && *at + 1 < MILTER_REPLY_MAX)
		r->text[(*at)++] = ' ';
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] < 0x20 || line.p[i] >= 0x7f)
			return false;
		if (line.p[i] == '%' && i + 1 < line.n && line.p[i + 1] == '%')
			i++;
		if (*at + 1 < MILTER_REPLY_MAX)
			r->text[(*at)++] = line.p[i];
	}
	return true;
}

static bool
get_reply(struct view v, struct milter_response *r)
{
	struct view text = get_str(&v);
	size_t at = 0;

	if (!view_done(v) || text.n == 0)
		return false;
	while (text.n) {
		struct view line = view_cut(&text, '\n');
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (!get_reply_line(line, r, &at))
			return false;
	}
	r->text[at] = '\0';
	return true;
}

static bool
get_shape(enum shape shape, struct view v, struct milter_response *r)
{
	switch (shape) {
	case REPLY:
		return get_reply(v, r);
	case BYTES:
		r->name = v;
		return true;
	case NOTHING:
		break;
	case ADDRESS:
		r->name = get_str(&v);
		if (v.n)
			r->value = get_str(&v);
		break;
	case INDEX_TWO:
		r->index = view_get_u32(&v);
		/* FALLTHROUGH */
	case TWO:
		r->name = get_str(&v);
		r->value = get_str(&v);
		break;
	case TEXT:
		r->name = get_str(&v);
		break;
	}
	return view_done(v);
}

bool
milter_response_get(const struct milter_packet *p, uint32_t actions, struct milter_response *r)
{
	*r = (struct milter_response){ .command = p->command };
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const struct known *k = &known[i];
		if (k->command != p->command)
			continue;
		r->meaning = k->meaning;
		return (k->action & ~actions) == 0 && get_shape(k->shape, p->data, r);
	}
	return false;
}
