/* SPDX-License-Identifier: ISC */
/* Who changed what, and when: kept with the records, written in the transaction of the change itself. */
#ifndef EKIDEN_AUTHD_AUDIT_H
#define EKIDEN_AUTHD_AUDIT_H

#include "authd/store.h"

/* Inside a transaction. tenant: whose business it was; may be "". 0 or -1. */
int audit_put(struct authd_store *s, uint32_t uid, const char *command, const char *tenant,
    const char *what, struct err *e);
/* Deletes up to AUDIT_PRUNE_ROWS entries from before that time. The number of them, or -1. */
int audit_prune(struct authd_store *s, uint64_t before_us, struct err *e);
/* Where the entries from this time on begin, for store_next(). */
void audit_place(uint64_t from_us, char name[static DOMAIN_BYTES + 1]);

enum { AUDIT_PRUNE_ROWS = 1000 };

#endif
