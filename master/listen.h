/* SPDX-License-Identifier: ISC */
#ifndef EKIDEN_MASTER_LISTEN_H
#define EKIDEN_MASTER_LISTEN_H

#include "lib/conf.h"
#include "lib/err.h"

/* A listening, non-blocking TCP socket; IPv6 ones take IPv6 only. -1 on failure. */
int listen_open(const struct hostport *at, struct err *e);

#endif
