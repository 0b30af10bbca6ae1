/* SPDX-License-Identifier: ISC */
/* User ids of the roles, and the folders they live in. */
#ifndef EKIDEN_MASTER_FOLDERS_H
#define EKIDEN_MASTER_FOLDERS_H

#include "master/plan.h"

struct account {
	uint32_t uid, gid;
};

/*
 * As root: uid-base + role, or the account ekiden-<role>; never 0. Otherwise this process's own.
 * -1: there is no such account.
 */
int account_of(const struct conf *c, enum role role, struct account *out, struct err *e);
/* The folder a role is confined to; owned by the caller. */
char *home_of(const struct conf *c, enum role role);
/*
 * Makes what is missing (the parent of each folder must be there) and checks owner and mode of what is
 * there; nothing that somebody else owns is taken over.
 */
int folders_prepare(const struct conf *c, struct err *e);

/*
 * Inside a folder that a daemon owns we act as that daemon, so that nothing it may have planted there
 * (links, other people's files) can make us do more than it could itself.
 */
int become(const struct account *who, struct err *e);
void become_self(void);

/* Copies content to <spool-dir>/maps/<name>, durably, as the queue manager. */
int spool_map_store(const struct conf *c, const char *name, struct view content, struct err *e);

#endif
