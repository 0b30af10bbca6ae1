/* SPDX-License-Identifier: ISC */
/* The parts of struct groups that files of their own build. Private to qmgr/group*.c. */
#ifndef EKIDEN_QMGR_GROUP_PRIVATE_H
#define EKIDEN_QMGR_GROUP_PRIVATE_H

#include "qmgr/group.h"

void group_routes_init(struct groups *g);
void group_routes_free(struct groups *g);

#endif
