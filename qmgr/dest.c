/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmgr/dest.h"
#include "qmgr/lane.h"
#include "qmgr/list.h"

static struct dest *
find(struct qmgr *q, struct view name, uint64_t hash)
{
	for (struct table_node *n = table_first(&q->dests.names, hash); n; n = table_next(n)) {
		struct dest *d = CONTAINER(n, struct dest, node);
		if (view_is(name, d->name))
			return d;
	}
	return NULL;
}

/* Where it goes. */

/* Takes over the reference to `site`. */
static void
set_site(struct dest *d, struct site *site)
{
	struct site *old = d->site;

	d->site = site;
	if (old && old != site)
		lanes_rehome(d, old);
	if (old)
		site_unref(d->q, old);
}

/* Its mail is looked up by smtp, which tells the sender what is wrong. */
static void
set_own(struct dest *d)
{
	struct site *own = site_of_domain(d->q, view_str(d->name), SITE_OWN);

	set_site(d, own);
	lanes_wake_site(own);
}

/* Questions. */

static void
ask_more(struct qmgr *q)
{
	struct dests *all = &q->dests;

	while (!list_empty(&all->ask) && all->queries.count < DEST_QUERIES_MAX && channel_is_open(&all->dnsd)) {
		struct dest *d = CONTAINER(all->ask.next, struct dest, ask);
		link_cut(&d->ask);
		d->req = qmgr_id(q);
		if (IPC_SEND(&all->dnsd, mx_query, .req = d->req, .name = view_str(d->name), .mx = true) == 0) {
			table_put(&all->queries, &d->query, hash_u64(d->req));
			continue;
		}
		d->req = 0; /* no name at all */
		d->fresh_until_ms = UINT64_MAX;
		set_own(d);
	}
}

static void
unask(struct dest *d)
{
	if (d->req)
		table_del(&d->q->dests.queries, &d->query);
	d->req = 0;
	link_cut(&d->ask);
}

static void
ask(struct dest *d)
{
	if (d->req || link_in(&d->ask))
		return;
	list_put(&d->q->dests.ask, &d->ask);
	ask_more(d->q);
}

/* Answers. */

static uint64_t
keep_ms(uint32_t ttl_s)
{
	uint64_t ms = (uint64_t)ttl_s * 1000;

	return ms < DEST_TTL_MIN_MS ? DEST_TTL_MIN_MS : ms > DEST_TTL_MAX_MS ? DEST_TTL_MAX_MS : ms;
}

static void
answered(struct dest *d, const struct ipc_mx_answer *m)
{
	uint64_t now = loop_now_ms(d->q->loop);
	struct site *site = m->status == DNS_OK ? site_of_answer(d->q, m) : NULL;
	bool passing = m->status == DNS_TEMP || m->status == DNS_BOGUS;

	d->fresh_until_ms = now + keep_ms(site ? m->ttl_s : 0);
	if (site) {
		d->good_at_ms = now;
		set_site(d, site);
	} else if (!passing || d->site->state != SITE_KNOWN || now - d->good_at_ms > DEST_TTL_MAX_MS) {
		set_own(d);
	}
}

static struct dest *
find_query(const struct qmgr *q, uint64_t req)
{
	for (struct table_node *n = table_first(&q->dests.queries, hash_u64(req)); n; n = table_next(n)) {
		struct dest *d = CONTAINER(n, struct dest, query);
		if (d->req == req)
			return d;
	}
	return NULL;
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct qmgr *q = ch->ctx;
	struct ipc_mx_answer m;

	(void)fd;
	if (type != IPC_TYPE_mx_answer || !ipc_get(&ipc_desc_mx_answer, body, &m) ||
	    !ipc_records_ok(&ipc_desc_mx_host, m.hosts))
		return false;
	struct dest *d = find_query(q, m.req);
	if (d == NULL)
		return true; /* forgotten meanwhile */
	unask(d);
	answered(d, &m);
	ask_more(q);
	return true;
}

/* The cache. */

struct dest *
dest_get(struct qmgr *q, struct view name)
{
	struct dests *all = &q->dests;
	uint64_t now = loop_now_ms(q->loop);
	struct dest *d = all->last;

	if (d == NULL || !view_is(name, d->name)) {
		uint64_t hash = hash_view(name, 0);
		d = find(q, name, hash);
		if (d == NULL) {
			d = x_calloc(1, sizeof(*d) + name.n + 1);
			d->q = q;
			memcpy(d->name, name.p, name.n);
			d->site = site_of_domain(q, name, all->attached ? SITE_RESOLVING : SITE_OWN);
			table_put(&all->names, &d->node, hash);
		}
		all->last = d;
	}
	d->used_ms = now;
	if (now >= d->fresh_until_ms && all->attached)
		ask(d);
	return d;
}

const struct site *
dest_site(struct qmgr *q, struct view name)
{
	const struct dest *d = find(q, name, hash_view(name, 0));

	return d && d->site->state == SITE_KNOWN ? d->site : NULL;
}

static void
dest_free(struct dest *d)
{
	struct qmgr *q = d->q;

	unask(d);
	if (q->dests.last == d)
		q->dests.last = NULL;
	table_del(&q->dests.names, &d->node);
	site_unref(q, d->site);
	free(d);
}

static void
sweep_one(void *ctx, struct table_node *n)
{
	struct dest *d = CONTAINER(n, struct dest, node);
	uint64_t now = loop_now_ms(d->q->loop);

	(void)ctx;
	if (d->waiting == 0 && now - d->used_ms >= DEST_IDLE_MS)
		dest_free(d);
	else if (d->waiting && now >= d->fresh_until_ms && d->q->dests.attached)
		ask(d);
}

void
dests_sweep(struct qmgr *q)
{
	table_each(&q->dests.names, sweep_one, NULL);
}

static void
stale_one(void *ctx, struct table_node *n)
{
	(void)ctx;
	CONTAINER(n, struct dest, node)->fresh_until_ms = 0;
}

void
dests_stale(struct qmgr *q)
{
	table_each(&q->dests.names, stale_one, NULL);
}

/* The resolver's process. */

static void
on_closed(struct channel *ch, const struct err *e)
{
	struct qmgr *q = ch->ctx;

	if (!q->draining)
		log_warn("dnsd is gone%s%s", e ? ": " : "", e ? e->text : "");
	dnsd_detach(q);
}

/* What it did not answer is asked again. */
static void
ask_again(void *ctx, struct table_node *n)
{
	struct dest *d = CONTAINER(n, struct dest, query);

	(void)ctx;
	unask(d);
	list_put(&d->q->dests.ask, &d->ask);
}

void
dnsd_detach(struct qmgr *q)
{
	channel_close(&q->dests.dnsd);
	table_each(&q->dests.queries, ask_again, NULL);
}

void
dnsd_attach(struct qmgr *q, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { on_frame, on_closed };

	dnsd_detach(q);
	if (channel_open(&q->dests.dnsd, q->loop, fd, &ops, q, ROLE_DNSD, instance) < 0) {
		log_error("channel to dnsd: %s", strerror(errno));
		close(fd);
		return;
	}
	q->dests.attached = true;
	ask_more(q);
}
