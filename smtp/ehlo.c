/* SPDX-License-Identifier: ISC */
#include "smtp/ehlo.h"

static void
size_param(struct view rest, struct caps *c)
{
	uint64_t x;

	/* Out of range is as good as no limit. */
	c->flags |= CAP_SIZE;
	c->size_max = view_u64(view_trim(rest), UINT64_MAX, &x) ? x : 0;
}

static void
auth_params(struct view rest, struct caps *c)
{
	while (rest.n) {
		struct view word = view_cut(&rest, ' ');
		if (view_iis(word, "PLAIN"))
			c->flags |= CAP_AUTH_PLAIN;
		else if (view_iis(word, "LOGIN"))
			c->flags |= CAP_AUTH_LOGIN;
	}
}

static void
limit(struct view value, uint32_t *out)
{
	uint64_t x;

	if (view_u64(value, UINT32_MAX, &x) && x > 0)
		*out = (uint32_t)x;
}

static void
limits_params(struct view rest, struct caps *c)
{
	while (rest.n) {
		struct view value = view_cut(&rest, ' '), name = view_cut(&value, '=');
		if (view_iis(name, "MAILMAX"))
			limit(value, &c->mails_max);
		else if (view_iis(name, "RCPTMAX"))
			limit(value, &c->rcpts_max);
	}
}

static const struct keyword {
	const char *word;
	unsigned flag;
	void (*params)(struct view rest, struct caps *c);
} keywords[] = {
	{ "PIPELINING", CAP_PIPELINING, NULL },
	{ "8BITMIME", CAP_8BITMIME, NULL },
	{ "SMTPUTF8", CAP_SMTPUTF8, NULL },
	{ "STARTTLS", CAP_STARTTLS, NULL },
	{ "DSN", CAP_DSN, NULL },
	{ "MT-PRIORITY", CAP_MT_PRIORITY, NULL }, /* a policy's name may follow: it says what values mean there */
	{ "SIZE", 0, size_param },
	{ "AUTH", 0, auth_params },
	{ "LIMITS", 0, limits_params },
};

static void
take_line(struct view line, struct caps *c)
{
	struct view rest = line, word = view_cut(&rest, ' ');

	/* "AUTH=PLAIN LOGIN" is from before the standard; the words behind it mean the same. */
	if (view_istarts(word, "AUTH=")) {
		rest = view_skip(line, 5);
		word = view_first(line, 4);
	}
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		if (!view_iis(word, keywords[i].word))
			continue;
		c->flags |= keywords[i].flag;
		if (keywords[i].params)
			keywords[i].params(rest, c);
	}
}

void
ehlo_parse(struct view text, struct caps *out)
{
	*out = (struct caps){ 0 };
	(void)view_cut(&text, '\n');
	while (text.n)
		take_line(view_trim(view_cut(&text, '\n')), out);
}
