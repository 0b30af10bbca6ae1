/* SPDX-License-Identifier: ISC */
/* The configuration in the form in which the queue manager uses it. */
#include <stdlib.h>

#include "qmgr/qmgr.h"

static const enum retry_method methods[] = {
	[CONF_METHOD_exponential] = RETRY_EXPONENTIAL,
	[CONF_METHOD_linear] = RETRY_LINEAR,
	[CONF_METHOD_steps] = RETRY_STEPS,
};
static const uint8_t policies[] = {
	[CONF_POLICY_none] = TLS_POLICY_NONE,
	[CONF_POLICY_may] = TLS_POLICY_MAY,
	[CONF_POLICY_encrypt] = TLS_POLICY_ENCRYPT,
	[CONF_POLICY_verify] = TLS_POLICY_VERIFY,
};

static int
load_retry(struct settings *s, const struct conf *c, struct err *e)
{
	s->retry = (struct retry_rule){ .method = methods[c->retry.method],
		.a = (int64_t)c->retry.a, .b = c->retry.b, .period_s = c->retry.period,
		.attempts = (uint32_t)c->retry.attempts };
	if (retry_steps(&c->retry.steps, &s->steps, e) < 0)
		return -1;
	s->retry.steps = s->steps;
	s->retry.nsteps = c->retry.steps.n;
	return 0;
}

int
settings_load(struct settings *out, const struct conf *c, struct err *e)
{
	struct settings s = {
		.helo = c->hostname,
		.connections_total = (uint32_t)c->delivery.connections_total,
		.copy_to = &c->bcc_forward,
		.token_days = (uint16_t)(c->envelope_sender.token_lifetime / 86400),
		.active = c->delivery.active,
		.segment_size = c->spool.segment_size & ~(uint64_t)(SEGMENT_ALIGN - 1),
		.spare_segments = (uint32_t)c->spool.spare_segments,
		.compact_percent = (uint32_t)c->spool.compact_percent,
	};

	s.route = (struct route_rules){ .relayhost = &c->relayhost,
		.relay_auth = *c->relay_user != '\0', .port = (uint16_t)c->delivery.port,
		.tls = policies[c->delivery.tls] };
	if (load_retry(&s, c, e) < 0) {
		settings_free(&s);
		return -1;
	}
	*out = s;
	return 0;
}

void
settings_free(struct settings *s)
{
	groups_free(&s->groups);
	free(s->steps);
	s->steps = NULL;
}
