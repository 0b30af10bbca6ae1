/* SPDX-License-Identifier: ISC */
/*
 * The `throttle` blocks of the configuration as patterns for replies: which one a reply meets. What follows from
 * that is not decided here. The first that fits, in the order of the configuration.
 */
#ifndef EKIDEN_THROTTLE_H
#define EKIDEN_THROTTLE_H

#include "lib/conf.h"
#include "lib/esc.h"
#include "lib/ipc_schema.h"

struct throttles;

struct throttle_facts {
	uint16_t code; /* 0: no reply */
	struct esc esc;
	enum smtp_stage stage;
	struct view text;  /* without codes, or with */
	struct view group; /* of the destination; empty: none */
	struct view host;  /* MX host */
};

/* NULL with *e when a pattern cannot be compiled. */
struct throttles *throttles_new(const struct conf *c, struct err *e);
void throttles_free(struct throttles **t); /* NULL is fine */
/* The name of the block, which lives as long as t; NULL: none, or one of `action none`. A pattern that is cut is logged once. */
const char *throttles_match(struct throttles *t, const struct throttle_facts *f);

/* Words of the directives, for the check of a configuration too. */
bool throttle_code_valid(struct view v);     /* "421", "4" */
bool throttle_enhanced_valid(struct view v); /* "4.7.28", "4.7.*", "4.*" */
bool throttle_stage_get(struct view v, enum smtp_stage *stage);
/* '*' stands for any bytes, also none; letters match in any case. */
bool glob_match(struct view pattern, struct view text);
/* One of them, or there are none. */
bool glob_list_match(const struct conf_list *patterns, struct view text);

#endif
