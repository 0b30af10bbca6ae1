/* SPDX-License-Identifier: ISC */
/*
 * Domains of the configuration, looked up by recipient domain: "example.jp", or ".example.jp" for all below it.
 * Pure; filled once, then only read.
 */
#ifndef EKIDEN_QMGR_DOMAIN_MAP_H
#define EKIDEN_QMGR_DOMAIN_MAP_H

#include "lib/conf.h"

struct domain_map {
	struct domain_entry *v;
	size_t n;
};

/* U-labels are taken as A-labels; value is borrowed. */
void domain_map_add(struct domain_map *m, const struct conf_list *words, const void *value);
/* After the last add. A domain twice: the first one counts. */
void domain_map_sort(struct domain_map *m);
/* Of the canonical domain itself, else of its nearest parent with a dot in front; NULL: none. */
const void *domain_map_find(const struct domain_map *m, struct view domain);
void domain_map_free(struct domain_map *m);

#endif
