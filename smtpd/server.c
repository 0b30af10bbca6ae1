/* SPDX-License-Identifier: ISC */
#include <limits.h>
#include <sys/resource.h>

#include "smtpd/session.h"

/* For channels, segments, message files and the listeners of the next configuration. */
enum { FDS_RESERVED = 64 };

static int
session_fd_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur > INT_MAX)
		return INT_MAX;
	int limit = (int)r.rlim_cur;
	return limit - (limit / 4 < FDS_RESERVED ? limit / 4 : FDS_RESERVED);
}

void
smtpd_setup(struct smtpd *d, struct loop *l, uint32_t instance)
{
	if (d->loop)
		return;
	d->loop = l;
	d->instance = instance;
	d->fd_limit = session_fd_limit();
	d->started_s = (uint32_t)(clock_wall_us() / 1000000);
	d->signer = signer_new(l);
	d->watch = (struct watch){ .loop = l, .role = ROLE_SMTPD, .instance = instance };
	d->spool = spool_new(l, (uint32_t)ROLE_SMTPD << 16 | instance);
}

void
smtpd_drain(struct smtpd *d)
{
	d->draining = true;
	listeners_close(d);
	for (uint32_t i = 0; i < d->slots_count; i++)
		if (d->slots[i].s)
			session_drain(d->slots[i].s);
	if (d->sessions == 0)
		d->drained(d);
}

const char *
smtpd_date(struct smtpd *d)
{
	uint64_t now_s = loop_wall_us(d->loop) / 1000000;

	if (now_s != d->date_s) {
		header_date(now_s * 1000000, d->date);
		d->date_s = now_s;
	}
	return d->date;
}
