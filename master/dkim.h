/* SPDX-License-Identifier: ISC */
/*
 * The DKIM keys as master holds them between the disk and the daemons: signd gets every private key, smtpd
 * the names of those that are active. They are not part of the configuration: a change of keys replaces
 * them alone. A key is with signd from the day it is made, so that the moment it becomes active needs no
 * agreement between processes.
 */
#ifndef EKIDEN_MASTER_DKIM_H
#define EKIDEN_MASTER_DKIM_H

#include "lib/channel.h"
#include "lib/conf.h"

struct dkim_set;

/*
 * Reads state-dir/dkim and checks every key; those that `former` (may be NULL) has with the same text were
 * checked before. NULL: a line "FILE:LINE: what is wrong" is in errors.
 */
struct dkim_set *dkim_set_read(const struct conf *c, const struct dkim_set *former, struct buf *errors);
/* Wipes. */
void dkim_set_free(struct dkim_set **s);
size_t dkim_set_count(const struct dkim_set *s);
/* To signd. */
void dkim_set_send_keys(const struct dkim_set *s, struct channel *ch);
/* To smtpd. */
void dkim_set_send_names(const struct dkim_set *s, struct channel *ch);

#endif
