/* SPDX-License-Identifier: ISC */
#ifndef EKIDEN_MASTER_LISTEN_H
#define EKIDEN_MASTER_LISTEN_H

#include "lib/conf.h"
#include "lib/err.h"

/*
 * A listening, non-blocking TCP socket; IPv6 ones take IPv6 only. An address in use is waited for, up to
 * wait_ms: processes of an instance that was killed may still be about to end. -1 on failure.
 */
int listen_open(const struct hostport *at, unsigned wait_ms, struct err *e);

#endif
