/* SPDX-License-Identifier: ISC */
/* The words of throttle blocks: what the check of a configuration needs, without PCRE2. */
#include "lib/throttle.h"

bool
throttle_code_valid(struct view v)
{
	uint64_t x;

	if (v.n != 1 && v.n != 3)
		return false;
	return view_u64(v, 599, &x) && (v.n == 1 ? x == 4 || x == 5 : x >= 400);
}

bool
throttle_enhanced_valid(struct view v)
{
	if (v.n < 3 || (v.p[0] != '4' && v.p[0] != '5') || v.p[1] != '.')
		return false;
	for (size_t i = 2; i < v.n; i++)
		if (v.p[i] != '.' && v.p[i] != '*' && (v.p[i] < '0' || v.p[i] > '9'))
			return false;
	return true;
}

bool
throttle_stage_get(struct view v, enum smtp_stage *stage)
{
	static const struct {
		const char *word;
		enum smtp_stage stage;
	} stages[] = { { "connect", STAGE_CONNECT }, { "greeting", STAGE_GREETING }, { "ehlo", STAGE_EHLO },
		{ "starttls", STAGE_TLS }, { "auth", STAGE_AUTH }, { "mail", STAGE_MAIL },
		{ "rcpt", STAGE_RCPT }, { "data", STAGE_DATA }, { "end-of-data", STAGE_EOD } };

	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
		if (view_is(v, stages[i].word)) {
			*stage = stages[i].stage;
			return true;
		}
	return false;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Behind a mismatch only the last star needs another try: linear in pattern times text. */
bool
glob_match(struct view pattern, struct view text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, from = 0;

	while (t < text.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			from = t;
		} else if (p < pattern.n && lower(pattern.p[p]) == lower(text.p[t])) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++from;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

bool
glob_list_match(const struct conf_list *patterns, struct view text)
{
	for (size_t i = 0; i < patterns->n; i++)
		if (glob_match(view_str(patterns->v[i]), text))
			return true;
	return patterns->n == 0;
}
