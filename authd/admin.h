/* SPDX-License-Identifier: ISC */
/*
 * The commands of `mtactl tenant`, `key` and `domain`, in authd and in mtactl --offline alike:
 * call->daemon is a struct authd_store. Every change is on disk before its answer, and in the log
 * with the user id of the admin.
 */
#ifndef EKIDEN_AUTHD_ADMIN_H
#define EKIDEN_AUTHD_ADMIN_H

#include "authd/store.h"
#include "lib/ctl.h"

extern const struct ctl_command authd_commands[];

CTL_AUTHD(CTL_PROTOTYPE)

/* What the files of authd/admin*.c share. */

enum { ADMIN_DONE = 0, ADMIN_FAILED = 1, ADMIN_USAGE = 2, ADMIN_ROWS_PER_STEP = 100 };

static inline struct authd_store *
admin_store(const struct ctl_call *call)
{
	return call->daemon;
}

/* Ends the call with what the store said. */
enum ctl_result admin_fail(struct ctl_call *call, const struct err *e);
/* The tenant named in the arguments. 1; else the call is over: 0 and *result. */
int admin_tenant(struct ctl_call *call, const char *arg, struct view *name,
    struct record_tenant *t, enum ctl_result *result);
/* Commits and logs "admin uid=N: what". false: the call is over with a failure. */
bool admin_commit(struct ctl_call *call, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * One step of a list: calls row() for up to ADMIN_ROWS_PER_STEP records of the table, of one
 * tenant's when the argument TENANT was given.
 */
enum ctl_result admin_list(struct ctl_call *call, enum store_table t, void *record,
    void (*row)(struct ctl_call *call, const char *name, const void *record));

#endif
