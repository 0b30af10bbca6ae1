/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "authd/record.h"
#include "authd/settings.h"

static void
load_quotas(struct quota_limits *q, const struct conf_limits *l)
{
	q->max[QUOTA_MESSAGES][QUOTA_MINUTE] = (uint32_t)l->messages_per_minute;
	q->max[QUOTA_MESSAGES][QUOTA_HOUR] = (uint32_t)l->messages_per_hour;
	q->max[QUOTA_MESSAGES][QUOTA_DAY] = (uint32_t)l->messages_per_day;
	q->max[QUOTA_RCPTS][QUOTA_MINUTE] = (uint32_t)l->recipients_per_minute;
	q->max[QUOTA_RCPTS][QUOTA_HOUR] = (uint32_t)l->recipients_per_hour;
	q->max[QUOTA_RCPTS][QUOTA_DAY] = (uint32_t)l->recipients_per_day;
}

void
settings_load(struct settings *out, const struct conf *c)
{
	const struct conf_reputation *r = &c->reputation;
	struct ratio_settings ratio = { .window_s = (uint32_t)r->window,
		.sample = (uint32_t)r->sample };
	struct settings s = {
		.connections_per_client = c->limits.connections_per_client,
		.brute = { .failures = (uint32_t)c->limits.auth_failures,
		    .backoff_s = (uint32_t)c->limits.auth_backoff,
		    .backoff_max_s = (uint32_t)c->limits.auth_backoff_max },
		.slow = ratio,
		.freeze = ratio,
		.slow_to = (uint32_t)r->slow_to,
		.freeze_volume = (uint32_t)r->freeze_volume,
		.freeze_floor = (uint32_t)r->freeze_floor,
		.header_from_tenant = c->header_from == CONF_HEADER_FROM_tenant,
	};

	s.slow.threshold = (uint32_t)r->slow_at;
	s.freeze.threshold = (uint32_t)r->freeze_at;
	load_quotas(&s.tenant, &c->limits);
	/* The check of the configuration has let nothing else through. */
	if (!rewrite_parse(view_str(c->envelope_sender.rewrite), &s.rewrite))
		s.rewrite.mode = REWRITE_KEEP;
	s.token_lifetime_s = c->envelope_sender.token_lifetime;
	snprintf(s.bounce_domain, sizeof(s.bounce_domain), "%s", c->envelope_sender.bounce_domain);
	*out = s;
}

/* A record's value over the default: 0 says nothing, QUOTA_NONE says "no limit". */
static void
override(uint32_t *max, uint32_t value)
{
	if (value)
		*max = value == QUOTA_NONE ? 0 : value;
}

/* The same fields in both records. */
#define OVERRIDE(out, r)                                                                           \
	do {                                                                                       \
		override(&(out)->max[QUOTA_MESSAGES][QUOTA_MINUTE], (r)->quota_minute);            \
		override(&(out)->max[QUOTA_MESSAGES][QUOTA_HOUR], (r)->quota_hour);                \
		override(&(out)->max[QUOTA_MESSAGES][QUOTA_DAY], (r)->quota_day);                  \
		override(&(out)->max[QUOTA_RCPTS][QUOTA_MINUTE], (r)->rcpt_minute);                \
		override(&(out)->max[QUOTA_RCPTS][QUOTA_HOUR], (r)->rcpt_hour);                    \
		override(&(out)->max[QUOTA_RCPTS][QUOTA_DAY], (r)->rcpt_day);                      \
	} while (0)

void
settings_tenant_limits(const struct settings *s, const struct record_tenant *t,
    struct quota_limits *out)
{
	*out = s->tenant;
	OVERRIDE(out, t);
}

void
settings_key_limits(const struct record_key *k, struct quota_limits *out)
{
	*out = (struct quota_limits){ 0 };
	OVERRIDE(out, k);
}
