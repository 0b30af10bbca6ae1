/* SPDX-License-Identifier: ISC */
/*
 * Mail domains of the Japanese mobile carriers (J10), as far as they are known: unverified, incomplete. Only for
 * warnings about groups; what counts for delivery is the editable etc/groups.d.
 */
#ifndef EKIDEN_CARRIER_H
#define EKIDEN_CARRIER_H

#include "lib/buf.h"

struct carrier_domain {
	const char *carrier; /* as its shipped group is named */
	const char *domain;  /* in lower case; with a dot in front: all below it */
};

enum { CARRIER_DOMAINS_MAX = 16 };
const struct carrier_domain *carrier_domains(size_t *count);
/* The entry that "example.jp" or ".example.jp" belongs to, in any case; NULL: none. */
const struct carrier_domain *carrier_find(struct view domain);

#endif
