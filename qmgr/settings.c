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
	const struct conf_list *steps = &c->retry.steps;

	s->retry = (struct retry_rule){ .method = methods[c->retry.method],
		.a = (int64_t)c->retry.a, .b = c->retry.b, .period_s = c->retry.period,
		.attempts = (uint32_t)c->retry.attempts };
	s->steps = x_calloc(steps->n, sizeof(*s->steps));
	for (size_t i = 0; i < steps->n; i++) {
		uint64_t seconds;
		if (!conf_parse_duration(view_str(steps->v[i]), &seconds) || seconds > UINT32_MAX)
			return err_set(e, ERR_PERM, ESC(5, 3, 5), "retry.steps: \"%s\" is no duration",
			    steps->v[i]);
		s->steps[i] = (uint32_t)seconds;
	}
	s->retry.steps = s->steps;
	s->retry.nsteps = steps->n;
	return 0;
}

int
settings_load(struct settings *out, const struct conf *c, struct err *e)
{
	struct settings s = {
		.helo = c->hostname,
		.connections = (uint32_t)c->delivery.connections,
		.connections_total = (uint32_t)c->delivery.connections_total,
		.messages_per_connection = (uint32_t)c->delivery.messages_per_connection,
		.recipients_per_message = (uint32_t)c->delivery.recipients_per_message,
		.idle_s = (uint32_t)c->delivery.idle,
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
	free(s->steps);
	s->steps = NULL;
}
