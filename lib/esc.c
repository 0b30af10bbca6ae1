/* SPDX-License-Identifier: ISC */
#include "lib/esc.h"

/* One to three digits into *out. */
static bool
take_number(struct view *v, uint16_t *out)
{
	size_t n = 0;
	unsigned x = 0;

	while (n < v->n && v->p[n] >= '0' && v->p[n] <= '9' && n < 4)
		x = x * 10 + (unsigned)(v->p[n++] - '0');
	if (n == 0 || n > 3)
		return false;
	*out = (uint16_t)x;
	*v = view_skip(*v, n);
	return true;
}

static bool
take_dot(struct view *v)
{
	if (v->n == 0 || v->p[0] != '.')
		return false;
	*v = view_skip(*v, 1);
	return true;
}

bool
esc_take(struct view *v, struct esc *out)
{
	struct view r = *v;
	uint16_t c, s, d;

	if (!take_number(&r, &c) || (c != 2 && c != 4 && c != 5) || !take_dot(&r))
		return false;
	if (!take_number(&r, &s) || !take_dot(&r) || !take_number(&r, &d))
		return false;
	if (r.n && r.p[0] != ' ' && r.p[0] != '\t')
		return false;
	while (r.n && (r.p[0] == ' ' || r.p[0] == '\t'))
		r = view_skip(r, 1);
	*out = ESC((uint8_t)c, s, d);
	*v = r;
	return true;
}

const char *
esc_text(struct esc e, char out[static ESC_TEXT_MAX])
{
	struct buf b = { .p = out, .cap = ESC_TEXT_MAX, .max = ESC_TEXT_MAX - 1 };

	if (e.class)
		buf_printf(&b, "%u.%u.%u", e.class % 10u, e.subject % 1000u, e.detail % 1000u);
	out[buf_len(&b)] = '\0';
	return out;
}

uint32_t
esc_pack(struct esc e)
{
	return (uint32_t)e.class << 20 | (uint32_t)(e.subject & 0x3ffu) << 10 | (e.detail & 0x3ffu);
}

struct esc
esc_unpack(uint32_t x)
{
	return ESC((uint8_t)(x >> 20 & 0xf), (uint16_t)(x >> 10 & 0x3ff), (uint16_t)(x & 0x3ff));
}
