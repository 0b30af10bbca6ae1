/* SPDX-License-Identifier: ISC */
/* Rules across directives for what paces and routes mail: groups, sources, pools, routes, patterns, retries. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/addr.h"
#include "lib/carrier.h"
#include "lib/conf_table.h"
#include "lib/near.h"
#include "lib/throttle.h"

bool (*conf_regex_check)(struct view pattern, struct buf *why);

/* One block of the kind, as its name and index; where its errors are told. */
struct at {
	struct conf_parse *p;
	const struct conf_instance *in;
	const char *block, *name;
};

static struct at
block_at(struct conf_parse *p, const char *block, size_t index, const char *name)
{
	return (struct at){ p, conf_instance_of(p, block, index), block, name };
}

static void wrong(const struct at *a, const char *directive, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void
wrong(const struct at *a, const char *directive, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	conf_error(a->p, conf_where(a->p, a->in, directive), "%s%s%s: %s: %s", a->block,
	    *a->name ? " " : "", a->name, directive, text);
}

/* A name that must be one of a kind of block. */
static void
check_name(const struct at *a, const char *directive, const char *kind, const char *name)
{
	const struct conf_block *b = conf_block_find(view_str(kind));
	struct near near;

	near_init(&near, view_str(name));
	for (size_t i = 0; i < conf_block_count(a->p->conf, b); i++) {
		const char *other = *(char **)conf_block_get(a->p->conf, b, i);
		if (!strcmp(other, name))
			return;
		near_offer(&near, other);
	}
	wrong(a, directive, "there is no %s \"%s\"%s%s%s", kind, name,
	    near.best ? "; did you mean \"" : "", near.best ? near.best : "", near.best ? "\"?" : "");
}

static void
check_name_or_none(const struct at *a, const char *directive, const char *kind, const char *name)
{
	if (*name)
		check_name(a, directive, kind, name);
}

/* "example.jp", ".example.jp". */
static void
check_domain_words(const struct at *a, const char *directive, const struct conf_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct view v = view_str(list->v[i]);
		if (!domain_valid(view_skip(v, view_starts(v, ".")), true))
			wrong(a, directive, "\"%s\" is not a domain", list->v[i]);
	}
}

/* "user@example.jp", "@example.jp". */
static void
check_address_words(const struct at *a, const char *directive, const struct conf_list *list)
{
	struct addr addr;

	for (size_t i = 0; i < list->n; i++) {
		struct view v = view_str(list->v[i]);
		if (!(view_starts(v, "@") && domain_valid(view_skip(v, 1), true)) &&
		    addr_parse(v, ADDR_UTF8, &addr, NULL) < 0)
			wrong(a, directive, "\"%s\" is not an address or @domain", list->v[i]);
	}
}

/* "mx*.example.net". */
static void
check_patterns(const struct at *a, const char *directive, const struct conf_list *list)
{
	static const char marks[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*";

	for (size_t i = 0; i < list->n; i++)
		if (*list->v[i] == '\0' || list->v[i][strspn(list->v[i], marks)])
			wrong(a, directive, "\"%s\" is not a host name or a pattern of one", list->v[i]);
}

/* A minute of the day at which something may be sent: full-hour leaves some of each hour. */
static bool
ever_open(const struct conf_spans *quiet)
{
	for (uint16_t m = 0; m < 24 * 60; m++) {
		bool closed = m % 60 != 30;
		for (size_t i = 0; i < quiet->n; i++) {
			uint16_t from = quiet->v[i].from_min, to = quiet->v[i].to_min;
			closed |= from < to ? m >= from && m < to : m >= from || m < to;
		}
		if (!closed)
			return true;
	}
	return false;
}

/* Each domain is in one group. Quadratic in names of a bounded configuration would be slow: by sorting. */
struct place {
	const char *domain, *group;
	size_t index;
};

static int
by_domain(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int rc = strcasecmp(x->domain, y->domain);

	return rc ? rc : (x->index > y->index) - (x->index < y->index);
}

static void
check_domains_once(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	size_t n = 0;

	for (size_t i = 0; i < c->group_count; i++)
		n += c->group[i].domains.n;
	struct place *all = x_calloc(n, sizeof(*all));
	n = 0;
	for (size_t i = 0; i < c->group_count; i++)
		for (size_t k = 0; k < c->group[i].domains.n; k++)
			all[n++] = (struct place){ c->group[i].domains.v[k], c->group[i].name, i };
	qsort(all, n, sizeof(*all), by_domain);
	for (size_t i = 1; i < n; i++) {
		struct at a = block_at(p, "group", all[i].index, all[i].group);
		if (!strcasecmp(all[i].domain, all[i - 1].domain))
			wrong(&a, "domains", "\"%s\" is in group %s already", all[i].domain, all[i - 1].group);
	}
	free(all);
}

static void
check_group(struct conf_parse *p, size_t i)
{
	const struct conf_group *g = &p->conf->group[i];
	struct at a = block_at(p, "group", i, g->name);

	check_domain_words(&a, "domains", &g->domains);
	check_patterns(&a, "mx", &g->mx);
	check_name_or_none(&a, "retry", "retry-schedule", g->retry);
	check_name_or_none(&a, "pool", "pool", g->pool);
	if (!ever_open(&g->quiet))
		wrong(&a, "quiet", "nothing could ever be sent");
}

static void
check_source(struct conf_parse *p, size_t i)
{
	const struct conf_source *s = &p->conf->source[i];
	struct at a = block_at(p, "source", i, s->name);
	unsigned char raw[16];
	unsigned v4 = 0, v6 = 0;
	uint32_t day;

	for (size_t k = 0; k < s->address.n; k++) {
		bool is4 = inet_pton(AF_INET, s->address.v[k], raw) == 1;
		bool is6 = !is4 && inet_pton(AF_INET6, s->address.v[k], raw) == 1;
		v4 += is4;
		v6 += is6;
		if (!is4 && !is6)
			wrong(&a, "address", "\"%s\" is not an address", s->address.v[k]);
	}
	if (v4 > 1 || v6 > 1)
		wrong(&a, "address", "more than one of a family: make it two sources");
	if (*s->helo && !conf_host_valid(view_str(s->helo)))
		wrong(&a, "helo", "\"%s\" is not a host name", s->helo);
	check_name_or_none(&a, "warm-up", "warm-up", s->warm_up);
	if (*s->warm_up && !conf_parse_date(view_str(s->warm_up_start), &day))
		wrong(&a, "warm-up-start", "\"%s\" is not a day such as 2026-12-31", s->warm_up_start);
	if (!*s->warm_up && *s->warm_up_start)
		wrong(&a, "warm-up-start", "needs warm-up");
}

static void
check_plan(struct conf_parse *p, size_t i)
{
	const struct conf_warm_up *w = &p->conf->warm_up[i];
	struct at a = block_at(p, "warm-up", i, w->name);
	uint64_t x;

	for (size_t k = 0; k < w->daily.n; k++)
		if (!view_u64(view_str(w->daily.v[k]), UINT32_MAX - 1, &x) || x == 0)
			wrong(&a, "daily", "\"%s\" is not a number over 0", w->daily.v[k]);
}

static void
check_to(const struct at *a, const struct conf_list *to)
{
	struct conf_list domains = *to;

	if (to->n == 0 || strcmp(to->v[0], "group")) {
		check_domain_words(a, "to", &domains);
		return;
	}
	if (to->n == 1)
		wrong(a, "to", "the name of a group is missing");
	for (size_t i = 1; i < to->n; i++)
		check_name(a, "to", "group", to->v[i]);
}

static void
check_route(struct conf_parse *p, size_t i)
{
	const struct conf_route *r = &p->conf->route[i];
	struct at a = block_at(p, "route", i, r->name);

	check_to(&a, &r->to);
	check_address_words(&a, "from", &r->from);
	check_address_words(&a, "header-from", &r->header_from);
	check_name_or_none(&a, "source", "source", r->source);
	check_name_or_none(&a, "pool", "pool", r->pool);
	check_name_or_none(&a, "group", "group", r->group);
	if (*r->source && *r->pool)
		wrong(&a, "pool", "not together with source");
	if (r->relay.host == NULL && !*r->source && !*r->pool && !*r->group)
		conf_error(p, conf_where(p, a.in, NULL),
		    "route %s: says nothing: give relay, source, pool or group", r->name);
}

static void
check_throttle(struct conf_parse *p, size_t i)
{
	const struct conf_throttle *t = &p->conf->throttle[i];
	struct at a = block_at(p, "throttle", i, t->name);
	struct buf why = BUF_INIT(256);
	enum smtp_stage stage;

	for (size_t k = 0; k < t->code.n; k++)
		if (!throttle_code_valid(view_str(t->code.v[k])))
			wrong(&a, "code", "\"%s\" is not a code from 400 to 599, 4 or 5", t->code.v[k]);
	for (size_t k = 0; k < t->enhanced.n; k++)
		if (!throttle_enhanced_valid(view_str(t->enhanced.v[k])))
			wrong(&a, "enhanced", "\"%s\" is not a code such as 4.7.28 or 4.7.*", t->enhanced.v[k]);
	for (size_t k = 0; k < t->stage.n; k++)
		if (!throttle_stage_get(view_str(t->stage.v[k]), &stage))
			wrong(&a, "stage", "\"%s\" is none of connect greeting ehlo starttls auth mail rcpt data end-of-data",
			    t->stage.v[k]);
	check_patterns(&a, "mx", &t->mx);
	for (size_t k = 0; k < t->group.n; k++)
		check_name(&a, "group", "group", t->group.v[k]);
	if (t->code.n + t->enhanced.n == 0 && !*t->text)
		conf_error(p, conf_where(p, a.in, NULL),
		    "throttle %s: any reply would fit: give code, enhanced or text", t->name);
	if (conf_regex_check && *t->text && !conf_regex_check(view_str(t->text), &why))
		wrong(&a, "text", "%s", buf_cstr(&why));
	buf_free(&why);
}

/* C12; the directives of `retry` and of each `retry-schedule`. */
static void
check_steps(const struct at *a, const struct conf_list *steps, enum conf_method method, uint64_t period)
{
	for (size_t i = 0; i < steps->n; i++) {
		uint64_t x;
		if (!conf_parse_duration(view_str(steps->v[i]), &x))
			wrong(a, "steps", "\"%s\" is not a duration", steps->v[i]);
		else if (x == 0 || x >= period)
			wrong(a, "steps", "0 < %s < period (%" PRIu64 ") does not hold", steps->v[i], period);
	}
	if (method == CONF_METHOD_steps && steps->n == 0)
		conf_error(a->p, conf_where(a->p, a->in, "method"), "%s%s%s: method steps needs steps", a->block,
		    *a->name ? " " : "", a->name);
}

/* The directive to blame for a formula: the first of these that was written. */
static const char *
formula_directive(const struct at *a)
{
	static const char *const names[] = { "a", "b", "period", "method" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct conf_pos at = conf_where(a->p, a->in, names[i]);
		if (at.line != a->in->begin.line || at.column != a->in->begin.column)
			return names[i];
	}
	return "method";
}

/* a cannot be negative: its minimum is 0. */
static void
check_formula(const struct at *a, enum conf_method method, uint64_t x, int64_t b, uint64_t period)
{
	int64_t first = (int64_t)x + b;
	struct conf_pos at = conf_where(a->p, a->in, formula_directive(a));
	const char *space = *a->name ? " " : "";

	if (method == CONF_METHOD_linear && (x == 0 || x >= period))
		conf_error(a->p, at, "%s%s%s: linear needs 0 < a < period; a is %" PRIu64 ", period %" PRIu64,
		    a->block, space, a->name, x, period);
	if (method == CONF_METHOD_exponential && (first <= 0 || first >= (int64_t)period))
		conf_error(a->p, at,
		    "%s%s%s: exponential needs 0 < a + b < period; a + b is %" PRId64 ", period %" PRIu64,
		    a->block, space, a->name, first, period);
}

#define CHECK_RETRY(at, r)                                                                         \
	do {                                                                                       \
		check_steps(at, &(r)->steps, (r)->method, (r)->period);                            \
		check_formula(at, (r)->method, (r)->a, (r)->b, (r)->period);                       \
	} while (0)

static void
check_retries(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	struct at a = block_at(p, "retry", 0, "");

	CHECK_RETRY(&a, &c->retry);
	for (size_t i = 0; i < c->retry_schedule_count; i++) {
		a = block_at(p, "retry-schedule", i, c->retry_schedule[i].name);
		CHECK_RETRY(&a, &c->retry_schedule[i]);
	}
}

static bool
is_carrier(const char *name)
{
	size_t n;
	const struct carrier_domain *known = carrier_domains(&n);

	for (; n--; known++)
		if (!strcmp(known->carrier, name))
			return true;
	return false;
}

/* J10. The group of a carrier: the one of its name, else the first with a domain of it that is no other carrier's. */
static const struct conf_group *
carrier_group(const struct conf *c, const char *carrier)
{
	const struct conf_group *found = NULL;

	for (size_t i = 0; i < c->group_count; i++) {
		const struct conf_group *g = &c->group[i];
		if (!strcmp(g->name, carrier))
			return g;
		for (size_t k = 0; k < g->domains.n && found == NULL && !is_carrier(g->name); k++) {
			const struct carrier_domain *known = carrier_find(view_str(g->domains.v[k]));
			if (known && !strcmp(known->carrier, carrier))
				found = g;
		}
	}
	return found;
}

/* Is mail for `domain` the group's? Of all below a name one is enough. */
static bool
holds_domain(const struct conf_group *g, const char *domain)
{
	for (size_t i = 0; i < g->domains.n; i++) {
		struct view word = view_str(g->domains.v[i]), name = view_str(domain);
		struct view small = *domain == '.' ? word : name, large = *domain == '.' ? name : word;
		bool below = view_starts(large, ".") && small.n > large.n;
		if (view_ieq(large, below ? view_skip(small, small.n - large.n) : small))
			return true;
	}
	return false;
}

/* Domains of carriers in groups of others; homes: the group of each known domain's carrier. */
static void
check_carrier_words(struct conf_parse *p, size_t i, const struct conf_group *const *homes)
{
	const struct conf_group *g = &p->conf->group[i];
	size_t n;
	const struct carrier_domain *all = carrier_domains(&n);

	for (size_t k = 0; k < g->domains.n; k++) {
		const struct carrier_domain *known = carrier_find(view_str(g->domains.v[k]));
		const struct conf_group *home = known ? homes[known - all] : NULL;
		if (known && home != g)
			conf_warn(p, conf_where(p, conf_instance_of(p, "group", i), "domains"),
			    "group %s: %s is a domain of %s%s%s", g->name, g->domains.v[k], known->carrier,
			    home ? ", whose group is " : "", home ? home->name : "");
	}
}

/* And domains of a carrier that are in no group, while it has one. */
static void
check_carriers(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	const struct conf_group *homes[CARRIER_DOMAINS_MAX];
	size_t n;
	const struct carrier_domain *known = carrier_domains(&n);

	for (size_t i = 0; i < n; i++)
		homes[i] = carrier_group(c, known[i].carrier);
	for (size_t i = 0; i < c->group_count; i++)
		check_carrier_words(p, i, homes);
	for (size_t k = 0; k < n; k++) {
		bool held = homes[k] == NULL;
		for (size_t i = 0; i < c->group_count && !held; i++)
			held = holds_domain(&c->group[i], known[k].domain);
		if (!held)
			conf_warn(p,
			    conf_where(p, conf_instance_of(p, "group", (size_t)(homes[k] - c->group)), "domains"),
			    "group %s: %s, a domain of %s, is in no group", homes[k]->name, known[k].domain,
			    known[k].carrier);
	}
}

static void
check_pool(struct conf_parse *p, size_t i)
{
	const struct conf_pool *pool = &p->conf->pool[i];
	struct at a = block_at(p, "pool", i, pool->name);

	for (size_t k = 0; k < pool->source.n; k++)
		check_name(&a, "source", "source", pool->source.v[k].name);
}

void
conf_check_queue(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	struct at delivery = block_at(p, "delivery", 0, "");
	const struct {
		size_t count;
		void (*check)(struct conf_parse *p, size_t i);
	} blocks[] = { { c->group_count, check_group }, { c->source_count, check_source },
		{ c->pool_count, check_pool }, { c->warm_up_count, check_plan },
		{ c->route_count, check_route }, { c->throttle_count, check_throttle } };

	check_retries(p);
	check_name_or_none(&delivery, "pool", "pool", c->delivery.pool);
	for (size_t b = 0; b < sizeof(blocks) / sizeof(blocks[0]); b++)
		for (size_t i = 0; i < blocks[b].count; i++)
			blocks[b].check(p, i);
	check_domains_once(p);
	check_carriers(p);
}
