/* SPDX-License-Identifier: ISC */
#include "lib/carrier.h"

static const struct carrier_domain domains[] = {
	{ "docomo", "docomo.ne.jp" },
	{ "au", "au.com" },
	{ "au", "ezweb.ne.jp" },
	{ "softbank", "softbank.ne.jp" },
	{ "softbank", "i.softbank.jp" },
	{ "softbank", ".vodafone.ne.jp" },
	{ "softbank", "emnet.ne.jp" },
	{ "softbank", "willcom.com" },
};

_Static_assert(sizeof(domains) / sizeof(domains[0]) <= CARRIER_DOMAINS_MAX, "carriers");

const struct carrier_domain *
carrier_domains(size_t *count)
{
	*count = sizeof(domains) / sizeof(domains[0]);
	return domains;
}

const struct carrier_domain *
carrier_find(struct view domain)
{
	for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++) {
		struct view known = view_str(domains[i].domain), tail = domain;
		if (view_starts(known, ".") && domain.n > known.n)
			tail = view_skip(domain, domain.n - known.n);
		if (view_ieq(known, tail))
			return &domains[i];
	}
	return NULL;
}
