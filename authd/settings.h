/* SPDX-License-Identifier: ISC */
/* The configuration in the form in which decisions use it. */
#ifndef EKIDEN_AUTHD_SETTINGS_H
#define EKIDEN_AUTHD_SETTINGS_H

#include "authd/brute.h"
#include "authd/quota.h"
#include "authd/ratio.h"
#include "lib/conf.h"
#include "lib/rewrite.h"

struct settings {
	uint64_t connections_per_client;
	struct quota_limits tenant; /* of a tenant without quotas of its own */
	struct brute_settings brute;
	struct ratio_settings slow, freeze;
	uint32_t slow_to, freeze_volume, freeze_floor;
	bool header_from_tenant;
	struct rewrite rewrite; /* of every sender whose domain says nothing */
	char bounce_domain[256]; /* of return addresses; empty: there are none */
	uint64_t token_lifetime_s;
};

void settings_load(struct settings *out, const struct conf *c);

struct record_tenant;
struct record_key;
/* What is in force: its own, or those of the configuration. */
void settings_tenant_limits(const struct settings *s, const struct record_tenant *t,
    struct quota_limits *out);
void settings_key_limits(const struct record_key *k, struct quota_limits *out);

#endif
