/* SPDX-License-Identifier: ISC */
/* Simulator addresses (P25): their local parts, which smtpd accepts and the queue manager acts out. */
#ifndef EKIDEN_SIMULATOR_H
#define EKIDEN_SIMULATOR_H

#include "lib/buf.h"

#define SIMULATOR_NAMES(S) S(success) S(hard) S(soft) S(complaint) S(suppressed)
#define SIMULATOR_ENUM(name) SIMULATOR_##name,
enum simulator { SIMULATOR_NAMES(SIMULATOR_ENUM) };

/* enum simulator of "name" or "name+anything", in any letter case, with or without a domain; -1: none. */
static inline int
simulator_find(struct view addr)
{
#define SIMULATOR_TEXT(name) #name,
	static const char *const names[] = { SIMULATOR_NAMES(SIMULATOR_TEXT) };
	struct view local = view_cut(&addr, '@');

	local = view_cut(&local, '+');
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (view_iis(local, names[i]))
			return (int)i;
	return -1;
}

#endif
