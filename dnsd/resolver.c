/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>
#include <unbound-event.h>

#include "dnsd/resolver.h"
#include "dnsd/unbound_loop.h"
#include "lib/log.h"
#include "lib/loop.h"

enum { CLASS_IN = 1, ANCHOR_LINE_MAX = 4096, SEC_BOGUS = 1, SEC_SECURE = 2 };

struct resolver {
	struct loop *loop;
	struct ub_event_base *base;
	struct ub_ctx *ctx;
	size_t pending;
	bool closing;
	struct loop_task delete_task;
	struct loop_reap reap;
};

struct question {
	struct resolver *resolver;
	resolver_fn *fn;
	void *ctx;
};

/*
 * libunbound's defaults are those of a library that looks up one name: 16 ports, 1 MB of cache, and
 * no server on this host.
 */
static const struct option {
	const char *name, *value;
} options[] = {
	{ "do-not-query-localhost:", "no" },
	{ "outgoing-range:", "1024" },
	{ "outgoing-num-tcp:", "64" },
	{ "num-queries-per-thread:", "4096" },
	{ "edns-buffer-size:", "1232" },
	{ "infra-cache-numhosts:", "20000" },
	{ "cache-max-negative-ttl:", "900" },
	{ "prefetch:", "yes" },
	{ "trust-anchor-signaling:", "no" },
	/* Reverse zones of private networks belong to the site's own server. */
	{ "unblock-lan-zones:", "yes" },
	{ "insecure-lan-zones:", "yes" },
	{ "verbosity:", "0" },
};

static int
refused(struct err *e, const char *what, int rc)
{
	return err_set(e, ERR_PERM, ESC(5, 3, 5), "resolver: %s: %s", what, ub_strerror(rc));
}

static int
set_option(struct resolver *r, const char *name, const char *value, struct err *e)
{
	int rc = ub_ctx_set_option(r->ctx, name, value);

	return rc == 0 ? 0 : refused(e, name, rc);
}

static int
set_size(struct resolver *r, const char *name, uint64_t bytes, struct err *e)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	return set_option(r, name, text, e);
}

static int
set_options(struct resolver *r, const struct resolver_conf *c, struct err *e)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (set_option(r, options[i].name, options[i].value, e) < 0)
			return -1;
	bool validate = c->dnssec && c->anchor.n;
	if (set_option(r, "module-config:", validate ? "validator iterator" : "iterator", e) < 0 ||
	    set_option(r, "val-permissive-mode:", c->permissive ? "yes" : "no", e) < 0 ||
	    set_size(r, "rrset-cache-size:", c->cache_bytes / 2, e) < 0 ||
	    set_size(r, "msg-cache-size:", c->cache_bytes / 4, e) < 0 ||
	    set_size(r, "key-cache-size:", c->cache_bytes / 8, e) < 0 ||
	    set_size(r, "neg-cache-size:", c->cache_bytes / 16, e) < 0)
		return -1;
	return 0;
}

static int
set_servers(struct resolver *r, const struct resolver_conf *c, struct err *e)
{
	for (size_t i = 0; i < c->server_count; i++) {
		const struct sockaddr *sa = (const struct sockaddr *)&c->servers[i].addr;
		bool v6 = sa->sa_family == AF_INET6;
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
		unsigned port = ntohs(v6 ? in6->sin6_port : in->sin_port);
		char ip[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 8];

		inet_ntop(sa->sa_family, v6 ? (const void *)&in6->sin6_addr : &in->sin_addr, ip,
		    sizeof(ip));
		snprintf(text, sizeof(text), "%s@%u", ip, port ? port : 53);
		int rc = ub_ctx_set_fwd(r->ctx, text);
		if (rc)
			return refused(e, text, rc);
	}
	return 0;
}

/* One record a line; comments and blank lines are skipped. */
static int
set_anchors(struct resolver *r, struct view text, struct err *e)
{
	while (text.n) {
		struct view line = view_cut(&text, '\n');
		line = view_trim(view_cut(&line, ';'));
		if (line.n && line.p[line.n - 1] == '\r')
			line = view_trim(view_first(line, line.n - 1));
		if (line.n == 0)
			continue;
		if (line.n > ANCHOR_LINE_MAX)
			return err_set(
			    e, ERR_PERM, ESC(5, 3, 5), "resolver: root key: line too long");
		char *s = x_strndup(line);
		int rc = ub_ctx_add_ta(r->ctx, s);
		free(s);
		if (rc)
			return refused(e, "root key", rc);
	}
	return 0;
}

/*
 * What was set is parsed only now, so now it must be found wrong. The zone is one that libunbound
 * answers by itself, but a site may well serve names below it.
 */
static int
finish_settings(struct resolver *r, struct err *e)
{
	int rc = ub_ctx_zone_remove(r->ctx, "test.");

	return rc == 0 ? 0 : refused(e, "settings or root key", rc);
}

static void
resolver_delete(struct loop_reap *reap)
{
	struct resolver *r = CONTAINER(reap, struct resolver, reap);

	if (r->ctx)
		ub_ctx_delete(r->ctx);
	unbound_base_free(&r->base);
	free(r);
}

/* Never inside one of libunbound's callbacks: the turn is over when this runs. */
static void
delete_run(struct loop_task *t)
{
	struct resolver *r = CONTAINER(t, struct resolver, delete_task);

	ub_ctx_delete(r->ctx);
	r->ctx = NULL;
	r->reap.free = resolver_delete;
	loop_reap(r->loop, &r->reap);
}

struct resolver *
resolver_new(struct loop *l, const struct resolver_conf *c, struct err *e)
{
	struct resolver *r = x_calloc(1, sizeof(*r));

	r->loop = l;
	r->delete_task.run = delete_run;
	r->base = unbound_base_new(l);
	r->ctx = ub_ctx_create_ub_event(r->base);
	if (r->ctx == NULL)
		err_set(e, ERR_TEMP, ESC(4, 3, 0), "resolver: libunbound does not start");
	if (r->ctx && set_options(r, c, e) == 0 && set_servers(r, c, e) == 0 &&
	    set_anchors(r, c->dnssec ? c->anchor : VIEW(""), e) == 0 && finish_settings(r, e) == 0)
		return r;
	resolver_delete(&r->reap);
	return NULL;
}

static void
close_if_idle(struct resolver *r)
{
	if (r->closing && r->pending == 0)
		loop_post(r->loop, LOOP_AFTER, &r->delete_task);
}

void
resolver_free(struct resolver **rp)
{
	struct resolver *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	r->closing = true;
	close_if_idle(r);
}

static void
finish(struct question *q, const struct resolver_result *result)
{
	struct resolver *r = q->resolver;

	q->fn(q->ctx, result);
	free(q);
	r->pending--;
	close_if_idle(r);
}

static void
answered(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int ratelimited)
{
	struct resolver_result result = { .status = DNS_TEMP };

	(void)ratelimited;
	if (sec == SEC_BOGUS || (rcode && why_bogus)) {
		result.status = DNS_BOGUS;
	} else if (rcode == 0 && packet && len > 0) {
		result.status = DNS_OK;
		result.packet = view_of(packet, (size_t)len);
		result.secure = sec == SEC_SECURE;
	}
	finish(arg, &result);
}

void
resolver_ask(struct resolver *r, const char *name, uint16_t type, resolver_fn *fn, void *ctx)
{
	struct question *q = x_calloc(1, sizeof(*q));

	*q = (struct question){ r, fn, ctx };
	r->pending++;
	int rc = ub_resolve_event(r->ctx, name, type, CLASS_IN, q, answered, NULL);
	if (rc) {
		log_warn("resolver: %s: %s", name, ub_strerror(rc));
		finish(q, &(struct resolver_result){ .status = DNS_TEMP });
	}
}
