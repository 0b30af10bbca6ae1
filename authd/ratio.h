/* SPDX-License-Identifier: ISC */
/*
 * How much of a tenant's or key's mail fails for good, within a rolling window (A28). Pure: the caller
 * brings the clock. Over the threshold, and with enough mail to tell, it is "bad"; it recovers by itself
 * as failures leave the window or deliveries come.
 */
#ifndef EKIDEN_AUTHD_RATIO_H
#define EKIDEN_AUTHD_RATIO_H

#include <stdbool.h>
#include <stdint.h>

enum { RATIO_SLOTS = 12 };

struct ratio_settings {
	uint32_t window_s, sample; /* sample: fewer recipients than this say nothing */
	uint32_t threshold;	   /* percent; 0: never bad */
};

/* Zeroed: nothing is known. */
struct ratio {
	uint64_t newest; /* number of the slot that time has reached */
	uint32_t slot_s; /* with which the slots were filled */
	uint32_t sent[RATIO_SLOTS + 1], failed[RATIO_SLOTS + 1];
};

struct ratio_state {
	bool bad;
	uint64_t failed, total;
	uint64_t until_s; /* when the oldest slot with a failure is forgotten; 0: there is none */
};

void ratio_add(struct ratio *r, const struct ratio_settings *set, uint32_t sent, uint32_t failed,
    uint64_t now_s);
struct ratio_state ratio_look(struct ratio *r, const struct ratio_settings *set, uint64_t now_s);

/* The usual daily volume of a key: a mean over days, the last week counting most. */
struct volume {
	uint64_t day;	     /* number of the day that `today` is of */
	uint32_t today;	     /* messages */
	uint32_t usual_x8;   /* eight times the usual volume of a day */
	uint32_t days;	     /* known ones */
};
void volume_add(struct volume *v, uint32_t n, uint64_t now_s);
uint32_t volume_usual(struct volume *v, uint64_t now_s);
/* More than `factor` times the usual in 24 hours, and more than `floor`; factor 0: never. */
bool volume_unusual(struct volume *v, uint32_t used_24h, uint32_t factor, uint32_t floor,
    uint64_t now_s);

#endif
