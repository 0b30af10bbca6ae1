/* SPDX-License-Identifier: ISC */
/*
 * The commands of `mtactl tenant`, `key` and `domain`, in authd and in mtactl --offline alike:
 * call->daemon is a struct authd_store. Every change is on disk before its answer, and in the log
 * with the user id of the admin.
 */
#ifndef EKIDEN_AUTHD_ADMIN_H
#define EKIDEN_AUTHD_ADMIN_H

#include "authd/setting.h"
#include "lib/ctl.h"

extern const struct ctl_command authd_commands[];

CTL_AUTHD(CTL_PROTOTYPE)

/* What the files of authd/admin*.c share. */

enum { DOMAIN_TOKEN_CHARS = 32 };
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
/* The same for the key of the argument "user": any, and one that is not revoked. */
int admin_key(struct ctl_call *call, struct view *user, struct record_key *k,
    enum ctl_result *result);
int admin_active_key(struct ctl_call *call, struct view *user, struct record_key *k,
    enum ctl_result *result);
/* The same for the argument "domain", whose canonical form is put into name. */
int admin_domain(struct ctl_call *call, struct buf *name, struct record_domain *d,
    enum ctl_result *result);
/* The running queue hears what it needs of the tenant's record, as every commit of its business tells it. */
void admin_tell_tenant(struct ctl_call *call, struct view tenant);
/*
 * Commits, with an entry of the audit trail, and says it in the log ("admin uid=N: what") and as an
 * event. tenant: whose business it is, or "". false: the call is over with a failure.
 */
bool admin_commit(struct ctl_call *call, const char *tenant, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what changed no record. */
bool admin_note(struct ctl_call *call, const char *tenant, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Puts the settings among the arguments into the record and appends "name=value ..." to changes. 0, or
 * -1: one is wrong or there is none, and the call is over.
 */
int admin_set(struct ctl_call *call, enum store_table t, void *record, struct buf *changes,
    enum ctl_result *result);
/* All settings of a record as fields of a row. */
void admin_settings(struct ctl_call *call, enum store_table t, const void *record);
/* The fields of containment. */
void admin_frozen(struct ctl_call *call, bool frozen, const char *reason, uint64_t since_us);
/* The field quota_use; empty offline. */
void admin_quota_use(struct ctl_call *call, const char *tenant, const char *user);

/*
 * One step of a list: calls row() for up to ADMIN_ROWS_PER_STEP records of the table, of one
 * tenant's when the argument TENANT was given.
 */
enum ctl_result admin_list(struct ctl_call *call, enum store_table t, void *record,
    void (*row)(struct ctl_call *call, const char *name, const void *record));

#endif
