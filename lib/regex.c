/* SPDX-License-Identifier: ISC */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "lib/regex.h"

struct regex {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *limits;
};

struct regex *
regex_new(struct view pattern, struct err *e)
{
	int number;
	size_t offset;
	unsigned char why[128];
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n,
	    PCRE2_CASELESS | PCRE2_DOTALL | PCRE2_NEVER_BACKSLASH_C, &number, &offset, NULL);

	if (code == NULL) {
		pcre2_get_error_message(number, why, sizeof(why));
		err_set(e, ERR_PERM, ESC(5, 3, 5), "%s at byte %zu", (const char *)why, offset);
		return NULL;
	}
	struct regex *r = x_calloc(1, sizeof(*r));
	r->code = code;
	r->data = pcre2_match_data_create(1, NULL);
	r->limits = pcre2_match_context_create(NULL);
	if (r->data == NULL || r->limits == NULL)
		abort();
	pcre2_set_match_limit(r->limits, REGEX_STEPS);
	pcre2_set_depth_limit(r->limits, REGEX_DEPTH);
	pcre2_set_heap_limit(r->limits, REGEX_HEAP_KIB);
	return r;
}

void
regex_free(struct regex **r)
{
	if (*r == NULL)
		return;
	pcre2_match_context_free((*r)->limits);
	pcre2_match_data_free((*r)->data);
	pcre2_code_free((*r)->code);
	free(*r);
	*r = NULL;
}

enum regex_result
regex_match(const struct regex *r, struct view text)
{
	PCRE2_SPTR subject = (PCRE2_SPTR)(text.n ? text.p : "");
	int rc = pcre2_match(r->code, subject, view_first(text, REGEX_TEXT).n, 0, 0, r->data, r->limits);

	if (rc >= 0)
		return REGEX_YES;
	return rc == PCRE2_ERROR_NOMATCH ? REGEX_NO : REGEX_CUT;
}

bool
regex_check(struct view pattern, struct buf *why)
{
	struct err e;
	struct regex *r = regex_new(pattern, &e);

	if (r == NULL)
		buf_puts(why, e.text);
	bool good = r != NULL;
	regex_free(&r);
	return good;
}
