/* SPDX-License-Identifier: ISC */
#ifndef EKIDEN_MASTER_CERTIFICATE_H
#define EKIDEN_MASTER_CERTIFICATE_H

#include "lib/err.h"

/*
 * The chain's first certificate and the private key are readable, belong together, and the key is of
 * a kind that signd serves (RSA of 2048 bits or more, EC). A certificate that has expired or will do
 * so within 14 days is worth a line in `warning`.
 */
int certificate_check(struct view chain_pem, struct view key_pem, struct buf *warning,
    struct err *e);

#endif
