/* SPDX-License-Identifier: ISC */
/*
 * Look-ups made of several DNS questions, answered in one message: the mail hosts of a domain with
 * all their addresses, the confirmed name of an address, the TXT strings of a name. A request that
 * finds the same look-up under way joins it. Each request has its deadline (resolver.timeout); what
 * is known by then is the answer, the rest counts as a temporary failure.
 */
#ifndef EKIDEN_LOOKUP_H
#define EKIDEN_LOOKUP_H

#include "dnsd/dnsd.h"
#include "lib/ipc.h"

enum {
	LOOKUP_MX_MAX = 100,  /* mail hosts of a domain, the most preferred ones */
	LOOKUP_ADDR_MAX = 64, /* addresses of a host, of each family */
	LOOKUP_PTR_MAX = 8,   /* names of an address that are tried */
	LOOKUP_TXT_MAX = 64,  /* strings of a name */
	LOOKUP_TXT_BYTES = 4096
};

/* Handlers of the requests; each leads to exactly one answer unless the channel goes away. */
void lookup_mx(struct peer *p, const struct ipc_mx_query *m);
void lookup_ptr(struct peer *p, const struct ipc_ptr_query *m);
void lookup_txt(struct peer *p, const struct ipc_txt_query *m);

#endif
