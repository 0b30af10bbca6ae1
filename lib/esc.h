/* SPDX-License-Identifier: ISC */
/* RFC 3463 enhanced status codes: class.subject.detail.  The zero value means "none given". */
#ifndef EKIDEN_ESC_H
#define EKIDEN_ESC_H

#include "lib/buf.h"

struct esc {
	uint8_t class;		  /* 2, 4 or 5; 0 = none */
	uint16_t subject, detail; /* 0..999 */
};

#define ESC(c, s, d) ((struct esc){ (c), (s), (d) })
enum { ESC_TEXT_MAX = sizeof("5.999.999") };

/*
 * Takes "x.y.z" from the front of *v, with the blanks behind it.  False, and *v untouched, when the
 * text does not start with a valid code or the code is glued to other text.
 */
bool esc_take(struct view *v, struct esc *out);
/* Writes "x.y.z" into out and returns it; "" for none. */
const char *esc_text(struct esc e, char out[static ESC_TEXT_MAX]);
/* The code packed for storage and the wire: class << 20 | subject << 10 | detail. */
uint32_t esc_pack(struct esc e);
struct esc esc_unpack(uint32_t x);

#endif
