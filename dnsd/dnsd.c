/* SPDX-License-Identifier: ISC */
/*
 * The resolver process: answers the other daemons' DNS questions from libunbound's cache. Untrusted
 * bytes from the network are read only here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dnsd/dnsd.h"
#include "dnsd/lookup.h"

enum { MATERIAL_MAX = 256 << 10, SERVERS_MAX = 16 };

static void
peer_reaped(struct loop_reap *r)
{
	free(CONTAINER(r, struct peer, reap));
}

void
peer_release(struct peer *p)
{
	if (!p->closed || p->requests)
		return;
	p->reap.free = peer_reaped;
	loop_reap(p->d->daemon->loop, &p->reap);
}

static void
peer_close(struct peer *p)
{
	struct peer **at = &p->d->peers;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at == NULL)
		return; /* closed before */
	*at = p->next;
	channel_close(&p->ch);
	p->closed = true;
	peer_release(p);
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	if (e)
		log_warn("channel from %s %u: %s", role_name(ch->role), ch->instance, e->text);
	peer_close(ch->ctx);
}

static bool
on_mx_query(struct peer *p, struct channel *ch, const struct ipc_mx_query *m, int *fd)
{
	(void)ch, (void)fd;
	lookup_mx(p, m);
	return true;
}

static bool
on_ptr_query(struct peer *p, struct channel *ch, const struct ipc_ptr_query *m, int *fd)
{
	(void)ch, (void)fd;
	lookup_ptr(p, m);
	return true;
}

static bool
on_txt_query(struct peer *p, struct channel *ch, const struct ipc_txt_query *m, int *fd)
{
	(void)ch, (void)fd;
	lookup_txt(p, m);
	return true;
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct peer *d = ch->ctx;

	switch (type) {
		IPC_TO_DNSD(IPC_CASE)
	default:
		return false;
	}
}

static void
dnsd_peer(struct daemon *daemon, enum role role, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { .frame = on_frame, .closed = on_closed };
	struct dnsd *d = daemon->state;

	for (struct peer *p = d->peers; p; p = p->next)
		if (p->ch.role == role && p->ch.instance == instance) {
			peer_close(p);
			break;
		}
	struct peer *p = x_calloc(1, sizeof(*p));
	p->d = d;
	d->daemon = daemon;
	p->next = d->peers;
	d->peers = p;
	if (channel_open(&p->ch, daemon->loop, fd, &ops, p, role, instance) < 0) {
		log_error("channel from %s: cannot be watched", role_name(role));
		peer_close(p);
	}
}

static bool
read_all(int fd, struct buf *out)
{
	ssize_t n;

	buf_clear(out);
	for (;;) {
		char *room = buf_reserve(out, 4096);
		if (room == NULL)
			return false;
		n = pread(fd, room, 4096, (off_t)buf_len(out));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_commit(out, (size_t)n);
	}
	return n == 0;
}

/* It comes with every configuration, mostly unchanged. */
static bool
dnsd_material(struct daemon *daemon, uint16_t type, struct view body, int *fd)
{
	struct dnsd *d = daemon->state;
	struct buf *old = type == IPC_TYPE_anchor ? &d->anchor : &d->nameservers;
	struct buf fresh = BUF_INIT(MATERIAL_MAX);

	(void)body;
	if ((type != IPC_TYPE_anchor && type != IPC_TYPE_nameservers) || *fd < 0)
		return false;
	if (!read_all(*fd, &fresh)) {
		log_warn("%s: cannot be read", ipc_desc_of(type)->name);
		buf_free(&fresh);
		return true;
	}
	if (!view_eq(buf_view(&fresh), buf_view(old)))
		d->changed = true;
	buf_free(old);
	*old = fresh;
	return true;
}

/* The "nameserver" lines of a resolv.conf; the texts of the results are owned. */
static size_t
host_servers(struct view text, struct hostport *out)
{
	size_t n = 0;

	while (text.n && n < SERVERS_MAX) {
		struct view line = view_trim(view_cut(&text, '\n'));
		char ip[80];
		if (!view_starts(line, "nameserver ") && !view_starts(line, "nameserver\t"))
			continue;
		line = view_trim(view_skip(line, sizeof("nameserver")));
		if (line.n > 60)
			continue;
		snprintf(ip, sizeof(ip), view_index(line, ':') >= 0 ? "[%.*s]:53" : "%.*s:53",
		    VIEW_ARG(line));
		if (conf_parse_hostport(view_str(ip), &out[n]))
			n++;
	}
	return n;
}

static int
new_resolver(struct dnsd *d, const struct conf *conf, struct err *e)
{
	struct hostport own[SERVERS_MAX] = { 0 };
	size_t own_count = 0;
	struct resolver_conf c = { .servers = conf->resolver.server.v,
		.server_count = conf->resolver.server.n,
		.cache_bytes = conf->resolver.cache,
		.dnssec = conf->resolver.dnssec,
		.anchor = buf_view(&d->anchor) };

	if (c.server_count == 0) {
		own_count = host_servers(buf_view(&d->nameservers), own);
		c.servers = own;
		c.server_count = own_count;
		c.permissive = own_count > 0;
	}
	struct resolver *r = resolver_new(d->daemon->loop, &c, e);
	for (size_t i = 0; i < own_count; i++)
		free(own[i].text);
	if (r == NULL)
		return -1;
	resolver_free(&d->resolver);
	d->resolver = r;
	d->generation++;
	d->changed = false;
	return 0;
}

static int
dnsd_init(struct daemon *daemon, struct err *e)
{
	struct dnsd *d = daemon->state;

	d->daemon = daemon;
	return new_resolver(d, daemon->conf, e);
}

/* A new resolver starts with an empty cache, so it is made only for new settings. */
static bool
same_resolver(const struct conf_resolver *a, const struct conf_resolver *b)
{
	if (a->server.n != b->server.n || a->dnssec != b->dnssec || a->cache != b->cache)
		return false;
	for (size_t i = 0; i < a->server.n; i++)
		if (!view_is(view_str(a->server.v[i].text), b->server.v[i].text))
			return false;
	return true;
}

static int
dnsd_reload(struct daemon *daemon, struct err *e)
{
	struct dnsd *d = daemon->state;

	if (!d->changed && same_resolver(&daemon->conf->resolver, &daemon->old_conf->resolver))
		return 0;
	return new_resolver(d, daemon->conf, e);
}

static const struct daemon_spec spec = {
	.role = ROLE_DNSD,
	.state_size = sizeof(struct dnsd),
	.sandbox = SANDBOX_DNSD,
	.init = dnsd_init,
	.reload = dnsd_reload,
	.material = dnsd_material,
	.peer = dnsd_peer,
	.admin = dnsd_admin,
};

int
main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
