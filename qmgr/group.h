/* SPDX-License-Identifier: ISC */
/*
 * Destinations' settings in the form in which they are used: the configuration's groups with what they leave out
 * filled in from `delivery`, conditional routes, throttle rules, retry schedules. Pure; built
 * anew by each reload.
 */
#ifndef EKIDEN_QMGR_GROUP_H
#define EKIDEN_QMGR_GROUP_H

#include "qmgr/backoff.h"
#include "qmgr/domain_map.h"
#include "qmgr/hours.h"
#include "qmgr/retry.h"

struct group {
	const char *name; /* "": the default, of all domains in no group */
	uint32_t connections, messages_per_connection, recipients_per_message;
	uint32_t interval_ms, idle_s, pool_size, tenant_connections; /* 0: no limit */
	struct pace_limit rate, connect_rate, tenant_rate;
	struct hours hours;
	bool local_hours; /* hours.offset_s is that of the host at the moment */
	bool fixed;
	enum conf_reset on_reset;
	const struct relay *relay; /* host NULL: none */
	const char *pool;	   /* "": the system's choice of address */
	uint8_t tls;		   /* enum tls_policy */
	const struct retry_rule *retry;
};

struct throttle_rule {
	const char *name;
	struct backoff_order order;
};

struct groups {
	const struct conf *conf;
	struct group general, *v;
	size_t n;
	struct domain_map domains; /* struct group of each */
	struct throttle_rule *throttles;
	bool by_mx; /* some group names hosts */
	struct route_rule *routes;
	struct retry_rule *retries; /* of retry-schedules, in their order */
	uint32_t **steps;
};

/* `retry`: of the block of that name. The configuration is checked and outlives the result. */
struct groups *groups_new(const struct conf *c, const struct retry_rule *retry);
void groups_free(struct groups **g);
/* By recipient domain, canonical (lower case, A-labels): itself, else the nearest parent with a dot in front. */
const struct group *group_of_domain(const struct groups *g, struct view domain);
/* By the hosts of a domain in no group (mx_host records): of the best of them. NULL: none. */
const struct group *group_of_mx(const struct groups *g, struct view hosts);
const struct group *group_by_name(const struct groups *g, struct view name); /* NULL: none */
const struct throttle_rule *throttle_by_name(const struct groups *g, struct view name); /* NULL: none */
const struct retry_rule *retry_by_name(const struct groups *g, struct view name); /* NULL: none */
/* One wait list of durations as seconds; owned by the caller. */
int retry_steps(const struct conf_list *list, uint32_t **out, struct err *e);
enum retry_method retry_method_of(enum conf_method method);
uint8_t tls_policy_of(enum conf_policy policy); /* enum tls_policy */
/* Of a conf_retry or a conf_retry_schedule, with its steps as seconds. */
#define RETRY_RULE(c, waits)                                                                       \
	((struct retry_rule){ .method = retry_method_of((c)->method), .a = (int64_t)(c)->a,        \
	    .b = (c)->b, .steps = (waits), .nsteps = (c)->steps.n, .period_s = (c)->period,        \
	    .attempts = (uint32_t)(c)->attempts })

/* What a conditional route may ask about a recipient (J9). */
struct route_facts {
	struct view domain; /* canonical */
	const struct group *group;
	struct view sender, header_from; /* addresses; empty: none */
	struct view tenant, key, tag;
};
/* The first route whose conditions all hold; NULL: none. */
const struct conf_route *route_choose(const struct groups *g, const struct route_facts *f);

#endif
