/* SPDX-License-Identifier: ISC */
#include "lib/near.h"

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment; three rows of the matrix are enough. */
unsigned
near_distance(struct view a, struct view b)
{
	unsigned rows[3][NEAR_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];

	if (a.n > NEAR_MAX || b.n > NEAR_MAX)
		return NEAR_MAX + 1;
	for (unsigned j = 0; j <= b.n; j++)
		last[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		now[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			bool same = a.p[i - 1] == b.p[j - 1];
			now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + !same);
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
				now[j] = least(now[j], before[j - 2] + 1);
		}
		unsigned *free_row = before;
		before = last;
		last = now;
		now = free_row;
	}
	return last[b.n];
}

void
near_init(struct near *n, struct view word)
{
	*n = (struct near){ .word = word, .distance = (unsigned)(word.n < 6 ? 2 : word.n / 3) + 1 };
	if (word.n < 3)
		n->distance = 2;
}

void
near_offer(struct near *n, const char *candidate)
{
	unsigned d = near_distance(n->word, view_str(candidate));

	if (d < n->distance && d < n->word.n) {
		n->distance = d;
		n->best = candidate;
	}
}
