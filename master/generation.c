/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/tls.h"
#include "master/certificate.h"
#include "master/files.h"
#include "master/generation.h"
#include "master/listen.h"
#include "master/transport.h"

enum { CONF_TEXT_MAX = 16 << 20, BUNDLE_MAX = 8 << 20, RESOLV_CONF_MAX = 65536 };

/* A file that daemons get the content of: read, kept as a memory file. */
static int
keep_file(const char *path, size_t max, bool secret, struct err *e)
{
	struct buf b = BUF_INIT(max + 2 * 65536);
	int fd = -1;

	if (file_read(path, max, secret, &b, e) == 0)
		fd = memfile_make("ekiden-file", buf_view(&b), e);
	buf_wipe(&b);
	buf_free(&b);
	return fd;
}

static int
check_pair(const struct gen_certificate *c, const char *where, struct buf *errors, struct err *e)
{
	struct buf chain = BUF_INIT(IPC_BULK_MAX + 32768), key = BUF_INIT(IPC_BULK_MAX + 32768),
		   warning = BUF_INIT(256);
	int rc = memfile_read(c->chain, &chain, e);

	if (rc == 0)
		rc = memfile_read(c->key, &key, e);
	if (rc == 0)
		rc = certificate_check(buf_view(&chain), buf_view(&key), &warning, e);
	if (buf_len(&warning))
		buf_printf(errors, "%s: warning: certificate %s: %s\n", where, c->name,
		    buf_cstr(&warning));
	buf_wipe(&key);
	buf_free(&key);
	buf_free(&chain);
	buf_free(&warning);
	return rc;
}

static int
read_certificate(const struct conf_certificate *c, struct gen_certificate *out,
    struct buf *errors, struct err *e)
{
	out->name = x_strdup(c->name);
	out->chain = keep_file(c->chain, IPC_BULK_MAX, false, e);
	if (out->chain >= 0)
		out->key = keep_file(c->key, IPC_BULK_MAX, true, e);
	if (out->key < 0 || check_pair(out, c->where, errors, e) < 0)
		return err_wrap(e, "%s: certificate %s", c->where, c->name);
	return 0;
}

/* Only what this configuration uses: a default place may be empty. */
static int
read_bundles(struct generation *g, struct buf *errors)
{
	const struct conf *c = g->conf;
	struct err e;
	int bad = 0;

	if (*c->relay_secret) {
		g->relay_secret = keep_file(c->relay_secret, 1024, true, &e);
		if (g->relay_secret < 0 && ++bad)
			buf_printf(errors, "relay-secret: %s\n", e.text);
	}
	if (*c->delivery.trust) {
		g->trust = keep_file(c->delivery.trust, BUNDLE_MAX, false, &e);
		if (g->trust < 0) {
			bad += c->delivery.tls == CONF_POLICY_verify;
			buf_printf(errors, "delivery trust: %s\n", e.text);
		}
	}
	if (c->resolver.dnssec && *c->resolver.root_key) {
		g->anchor = keep_file(c->resolver.root_key, BUNDLE_MAX, false, &e);
		if (g->anchor < 0 && ++bad)
			buf_printf(errors, "resolver root-key: %s\n", e.text);
	}
	/* Without servers of its own the resolver uses those of the host; dnsd sees no /etc. */
	if (c->resolver.server.n == 0) {
		g->nameservers = keep_file("/etc/resolv.conf", RESOLV_CONF_MAX, false, &e);
		if (g->nameservers < 0)
			buf_printf(errors, "resolver: %s\n", e.text);
	}
	return bad ? -1 : 0;
}

/* Names of ciphers are OpenSSL's business; a list without any would refuse every client. */
static int
check_ciphers(const struct conf *c, struct buf *errors)
{
	struct err e;
	int rc = 0;

	for (size_t i = 0; i < c->listen_count; i++) {
		const struct conf_listen *l = &c->listen[i];
		if (l->tls == CONF_TLS_none || tls_ciphers_check(l->ciphers, l->ciphersuites, &e) == 0)
			continue;
		buf_printf(errors, "%s: listen %s: %s\n", l->where, l->name, e.text);
		rc = -1;
	}
	return rc;
}

static int
read_material(struct generation *g, struct buf *errors)
{
	const struct conf *c = g->conf;
	struct err e;
	int rc = 0;

	g->certificates = x_calloc(c->certificate_count + 1, sizeof(*g->certificates));
	for (size_t i = 0; i < c->certificate_count; i++)
		g->certificates[i] = (struct gen_certificate){ NULL, -1, -1 };
	for (size_t i = 0; i < c->certificate_count; i++)
		if (read_certificate(&c->certificate[i], &g->certificates[i], errors, &e) < 0) {
			buf_printf(errors, "%s\n", e.text);
			rc = -1;
		}
	if (read_bundles(g, errors) < 0 || check_ciphers(c, errors) < 0)
		rc = -1;
	g->dkim = dkim_set_read(c, NULL, errors);
	if (g->dkim == NULL)
		rc = -1;
	g->listens = x_calloc(c->listen_count + 1, sizeof(*g->listens));
	for (size_t i = 0; i < c->listen_count; i++)
		if (getrandom(&g->listens[i], sizeof(g->listens[i]), 0) != sizeof(g->listens[i]))
			abort();
	return rc;
}

static int
keep_conf(struct generation *g, struct buf *errors)
{
	struct buf text = BUF_INIT(CONF_TEXT_MAX);
	struct err e;

	conf_print(g->conf, true, &text);
	if (text.bad)
		err_set(&e, ERR_PERM, ESC(5, 3, 5), "configuration too large");
	else
		g->conf_fd = memfile_make("ekiden-conf", buf_view(&text), &e);
	buf_free(&text);
	if (g->conf_fd < 0)
		buf_printf(errors, "%s\n", e.text);
	return g->conf_fd < 0 ? -1 : 0;
}

struct generation *
generation_read(const char *path, uint32_t serial, struct buf *errors)
{
	struct generation *g = x_calloc(1, sizeof(*g));

	g->serial = serial;
	g->conf_fd = g->relay_secret = g->trust = g->anchor = g->nameservers = -1;
	g->conf = conf_read_file(path, errors);
	if (g->conf == NULL || read_material(g, errors) < 0 || keep_conf(g, errors) < 0)
		generation_free(&g);
	return g;
}

enum { START_WAIT_MS = 3000 };

static int
take_sockets(struct generation *g, const struct generation *former, struct err *e)
{
	struct plan_socket *plan;
	size_t count;
	int rc = 0;

	plan = plan_sockets(former ? former->conf : NULL, g->conf, &count);
	g->sockets = x_calloc(count + 1, sizeof(*g->sockets));
	for (size_t i = 0; rc == 0 && i < count; i++) {
		const struct plan_socket *p = &plan[i];
		int fd = p->keep >= 0 ? fcntl(former->sockets[p->keep].fd, F_DUPFD_CLOEXEC, 4) :
					listen_open(p->at, former ? 0 : START_WAIT_MS, e);
		if (fd < 0) {
			if (p->keep >= 0)
				err_errno(e, "%s: dup", p->at->text);
			rc = err_wrap(e, "listen %s", g->conf->listen[p->listener].name);
			break;
		}
		g->sockets[g->socket_count++] =
		    (struct gen_socket){ p->listener, x_strdup(p->at->text), fd,
			    p->keep >= 0 ? former->sockets[p->keep].state : LISTENER_OPEN };
	}
	free(plan);
	return rc;
}

void
generation_keep_tickets(struct generation *g, const struct generation *former)
{
	for (size_t i = 0; i < g->conf->listen_count; i++)
		for (size_t k = 0; former && k < former->conf->listen_count; k++)
			if (!strcmp(g->conf->listen[i].name, former->conf->listen[k].name))
				g->listens[i] = former->listens[k];
}

static int
try_logs(const struct conf *c, bool foreground, struct err *e)
{
	enum log_kind kind;
	int fd = log_target_open(c, foreground, &kind, e);

	if (fd < 0)
		return -1;
	close(fd);
	if (*c->log.events == '\0')
		return 0;
	fd = append_open(c->log.events, e);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

int
generation_prepare(struct generation *g, const struct generation *former, const char *mtactl,
    bool foreground, struct err *e)
{
	generation_keep_tickets(g, former);
	if (try_logs(g->conf, foreground, e) < 0 || take_sockets(g, former, e) < 0)
		return -1;
	return transport_install(g->conf, mtactl, e);
}

static void
close_if(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
generation_unlisten(struct generation *g)
{
	for (size_t i = 0; i < g->socket_count; i++) {
		close(g->sockets[i].fd);
		free(g->sockets[i].address);
	}
	free(g->sockets);
	g->sockets = NULL;
	g->socket_count = 0;
}

void
generation_free(struct generation **gp)
{
	struct generation *g = *gp;

	*gp = NULL;
	if (g == NULL)
		return;
	generation_unlisten(g);
	for (size_t i = 0; g->certificates && i < g->conf->certificate_count; i++) {
		close_if(g->certificates[i].chain);
		close_if(g->certificates[i].key);
		free(g->certificates[i].name);
	}
	free(g->certificates);
	if (g->listens)
		explicit_bzero(g->listens, g->conf->listen_count * sizeof(*g->listens));
	free(g->listens);
	close_if(g->conf_fd);
	close_if(g->relay_secret);
	close_if(g->trust);
	close_if(g->anchor);
	close_if(g->nameservers);
	dkim_set_free(&g->dkim);
	conf_free(&g->conf);
	free(g);
}
