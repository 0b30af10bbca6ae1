/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/regex.h"
#include "lib/throttle.h"

struct rule {
	const struct conf_throttle *conf;
	struct regex *text; /* NULL: any */
	bool told;	    /* that it was cut */
};

struct throttles {
	struct rule *v;
	size_t n;
};

void
throttles_free(struct throttles **t)
{
	for (size_t i = 0; *t && i < (*t)->n; i++)
		regex_free(&(*t)->v[i].text);
	if (*t)
		free((*t)->v);
	free(*t);
	*t = NULL;
}

struct throttles *
throttles_new(const struct conf *c, struct err *e)
{
	struct throttles *t = x_calloc(1, sizeof(*t));

	t->v = x_calloc(c->throttle_count, sizeof(*t->v));
	for (; t->n < c->throttle_count; t->n++) {
		struct rule *r = &t->v[t->n];
		r->conf = &c->throttle[t->n];
		if (*r->conf->text && (r->text = regex_new(view_str(r->conf->text), e)) == NULL) {
			err_wrap(e, "throttle %s", r->conf->name);
			throttles_free(&t);
			return NULL;
		}
	}
	return t;
}

/* Any of the list, or an empty list. */
static bool
code_fits(const struct conf_list *list, uint16_t code)
{
	char text[8];

	snprintf(text, sizeof(text), "%u", code);
	for (size_t i = 0; i < list->n; i++)
		if (view_starts(view_str(text), list->v[i]))
			return true;
	return list->n == 0;
}

static bool
stage_fits(const struct conf_list *list, enum smtp_stage stage)
{
	enum smtp_stage s;

	for (size_t i = 0; i < list->n; i++)
		if (throttle_stage_get(view_str(list->v[i]), &s) && s == stage)
			return true;
	return list->n == 0;
}

static bool
text_fits(struct rule *r, struct view text)
{
	enum regex_result got = r->text ? regex_match(r->text, text) : REGEX_YES;

	if (got == REGEX_CUT && !r->told) {
		r->told = true;
		log_warn("throttle %s: its text takes too long on a reply and does not count there",
		    r->conf->name);
	}
	return got == REGEX_YES;
}

const char *
throttles_match(struct throttles *t, const struct throttle_facts *f)
{
	char esc[ESC_TEXT_MAX];

	if (t == NULL || f->code < 400)
		return NULL;
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_throttle *c = t->v[i].conf;
		if (code_fits(&c->code, f->code) && stage_fits(&c->stage, f->stage) &&
		    glob_list_match(&c->enhanced, view_str(esc_text(f->esc, esc))) &&
		    glob_list_match(&c->group, f->group) && glob_list_match(&c->mx, f->host) &&
		    text_fits(&t->v[i], f->text))
			return c->action == CONF_ACTION_none ? NULL : c->name;
	}
	return NULL;
}
