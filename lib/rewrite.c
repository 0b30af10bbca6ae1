/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "lib/rewrite.h"

static bool
put_domain(struct view v, struct buf *out)
{
	return !domain_is_literal(v) && domain_canonical(v, out);
}

bool
rewrite_parse(struct view v, struct rewrite *out)
{
	struct buf to = BUF_INIT(ADDR_MAX);
	struct rewrite r = {.mode = REWRITE_KEEP};
	struct addr a;
	bool good = true;

	if (view_starts(v, "@")) {
		r.mode = REWRITE_DOMAIN;
		good = put_domain(view_skip(v, 1), &to);
	} else if (!view_is(v, "keep")) {
		r.mode = REWRITE_FIXED;
		good = addr_parse(v, 0, &a, NULL) == 0 && a.domain.n;
		if (good) {
			buf_putv(&to, a.local);
			buf_putc(&to, '@');
			good = put_domain(a.domain, &to);
		}
	}
	good = good && !to.bad;
	if (good) {
		memcpy(r.to, buf_cstr(&to), buf_len(&to) + 1);
		*out = r;
	}
	buf_free(&to);
	return good;
}

void
rewrite_print(uint32_t mode, const char *to, struct buf *out)
{
	static const char *const before[REWRITE_MODES] = {"default", "keep", "", "@"};

	buf_puts(out, before[mode < REWRITE_MODES ? mode : REWRITE_UNSET]);
	if (mode == REWRITE_FIXED || mode == REWRITE_DOMAIN)
		buf_puts(out, to);
}

bool
rewrite_apply(uint32_t mode, const char *to, struct view sender, struct buf *out)
{
	size_t before = buf_len(out), n = sender.n;

	if (mode == REWRITE_FIXED) {
		buf_puts(out, to);
	} else if (mode == REWRITE_DOMAIN) {
		while (n && sender.p[n - 1] != '@')
			n--;
		if (n == 0)
			return false;
		buf_putv(out, view_first(sender, n));
		buf_puts(out, to);
	} else {
		return false;
	}
	return !out->bad && buf_len(out) - before <= ADDR_MAX;
}
