/* SPDX-License-Identifier: ISC */
/* What comes from master beside the configuration: CA certificates, and credentials for smarthosts.
 */
#ifndef EKIDEN_SMTP_MATERIAL_H
#define EKIDEN_SMTP_MATERIAL_H

#include "smtp/smtp.h"

/* As daemon_spec.material: collects what belongs to the next configuration. */
bool material_take(struct daemon *daemon, uint16_t type, struct view body, int *fd);
/* As daemon_spec.reload: what was collected takes the place of the former set. */
int material_apply(struct daemon *daemon, struct err *e);

#endif
