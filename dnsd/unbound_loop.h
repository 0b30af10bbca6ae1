/* SPDX-License-Identifier: ISC */
/*
 * libunbound's pluggable event base on our loop: fds are watched level-triggered, timeouts are loop
 * timers, an event freed inside its own callback is released when the turn is over. No thread, no
 * second loop.
 */
#ifndef EKIDEN_UNBOUND_LOOP_H
#define EKIDEN_UNBOUND_LOOP_H

#include "lib/loop.h"

struct ub_event_base;

/* The base for ub_ctx_create_ub_event(). Owned by the caller; must outlive the context. */
struct ub_event_base *unbound_base_new(struct loop *l);
/* After ub_ctx_delete(). Sets NULL. */
void unbound_base_free(struct ub_event_base **base);

#endif
