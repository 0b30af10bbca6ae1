/* SPDX-License-Identifier: ISC */
#ifndef EKIDEN_MASTER_TRANSPORT_H
#define EKIDEN_MASTER_TRANSPORT_H

#include "lib/conf.h"
#include "lib/err.h"

/*
 * Puts the transport map of the configuration where the queue manager finds it:
 * <spool-dir>/maps/transport.db. btree:FILE is copied from FILE.db; text:FILE is built by `mtactl map
 * build` first (waits for it, up to a minute). Nothing to do when no map is set.
 */
int transport_install(const struct conf *c, const char *mtactl, struct err *e);

#endif
