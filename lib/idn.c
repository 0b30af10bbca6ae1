/* SPDX-License-Identifier: ISC */
/* The only caller of libidn2, apart so that programs that do not compare domains do not link it. */
#include <idn2.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"

static bool
put_lower(struct view v, struct buf *out)
{
	if (!domain_valid(v, false))
		return false;
	for (size_t i = 0; i < v.n; i++)
		buf_putc(out, v.p[i] >= 'A' && v.p[i] <= 'Z' ? (char)(v.p[i] | 0x20) : v.p[i]);
	return !out->bad;
}

static bool
has_8bit(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] >= 0x80)
			return true;
	return false;
}

bool
domain_canonical(struct view v, struct buf *out)
{
	char text[ADDR_DOMAIN_MAX + 1];
	uint8_t *ascii = NULL;
	bool done;

	if (v.n && v.p[v.n - 1] == '.')
		v.n--;
	if (!has_8bit(v))
		return put_lower(v, out);
	if (v.n > ADDR_DOMAIN_MAX || !utf8_valid(v) || memchr(v.p, '\0', v.n))
		return false;
	memcpy(text, v.p, v.n);
	text[v.n] = '\0';
	done = idn2_lookup_u8((const uint8_t *)text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) ==
		IDN2_OK &&
	    put_lower(view_str((const char *)ascii), out);
	idn2_free(ascii);
	return done;
}
