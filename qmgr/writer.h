/* SPDX-License-Identifier: ISC */
/* Processes that append to the spool: smtpd and bounce. */
#ifndef EKIDEN_QMGR_WRITER_H
#define EKIDEN_QMGR_WRITER_H

#include "qmgr/qmgr.h"

/* Takes fd; replaces the former process of this role and instance. */
void writer_attach(struct qmgr *q, enum role role, uint32_t instance, int fd);
/* Its segments are read to the end as soon as it lets go of them. */
void writer_detach(struct qmgr *q, enum role role, uint32_t instance);
void writers_close(struct qmgr *q);

#endif
