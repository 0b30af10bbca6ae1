/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/signer.h"
#include "smtp/material.h"

enum { CA_BYTES_MAX = 8 << 20, SECRET_BYTES_MAX = 1024 };

const struct secret *
smtp_secret(const struct smtp *p, const char *name)
{
	const struct secret *c = p->secrets;

	while (c && strcmp(c->name, name) != 0)
		c = c->next;
	return c;
}

uint32_t
smtp_random(struct smtp *p)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 17;
	p->random ^= p->random << 5;
	return p->random;
}

struct signer *
smtp_signer(struct daemon *daemon)
{
	struct smtp *p = daemon->state;

	if (p->signer == NULL)
		p->signer = signer_new(daemon->loop);
	return p->signer;
}

static void
secrets_free(struct secret **list)
{
	for (struct secret *c; (c = *list) != NULL;) {
		*list = c->next;
		buf_wipe(&c->secret);
		buf_free(&c->secret);
		free(c->name);
		free(c->user);
		free(c);
	}
}

static bool
take_secret(struct smtp *p, struct view body)
{
	struct ipc_secret m;

	if (!ipc_get(&ipc_desc_secret, body, &m))
		return false;
	struct secret *c = x_calloc(1, sizeof(*c));
	*c = (struct secret){ .next = p->next_secrets,
		.name = x_strndup(m.name),
		.user = x_strndup(m.user),
		.secret = BUF_INIT(SECRET_BYTES_MAX) };
	buf_putv(&c->secret, m.secret);
	p->next_secrets = c;
	return true;
}

static bool
take_trust(struct smtp *p, int fd)
{
	struct stat st;

	if (fd < 0)
		return false;
	buf_init(&p->next_ca, CA_BYTES_MAX);
	if (fstat(fd, &st) < 0 || st.st_size > CA_BYTES_MAX) {
		log_warn("CA certificates: cannot be used");
		return true;
	}
	size_t want = (size_t)st.st_size;
	while (want) {
		size_t at = buf_len(&p->next_ca);
		ssize_t n = pread(fd, buf_reserve(&p->next_ca, want), want, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_commit(&p->next_ca, (size_t)n);
		want -= (size_t)n;
	}
	return true;
}

static bool
take_cert(struct smtp *p, struct view body)
{
	struct ipc_cert m;

	if (!ipc_get(&ipc_desc_cert, body, &m))
		return false;
	struct cert *c = x_calloc(1, sizeof(*c));
	*c = (struct cert){ p->next_certs, m.key, x_strndup(m.name), BUF_INIT(IPC_BULK_MAX) };
	buf_putv(&c->chain, m.chain);
	p->next_certs = c;
	return true;
}

static void
certs_free(struct cert **list)
{
	for (struct cert *c; (c = *list) != NULL;) {
		*list = c->next;
		buf_free(&c->chain);
		free(c->name);
		free(c);
	}
}

/* The certificate that this configuration shows to servers. */
static struct tls_cert_conf
client_cert(const struct smtp *p, const char *name)
{
	for (const struct cert *c = p->next_certs; c && *name; c = c->next)
		if (!strcmp(c->name, name))
			return (struct tls_cert_conf){ buf_view(&c->chain), c->key };
	return (struct tls_cert_conf){ VIEW(""), 0 };
}

bool
material_take(struct daemon *daemon, uint16_t type, struct view body, int *fd)
{
	struct smtp *p = daemon->state;

	if (type == IPC_TYPE_secret)
		return take_secret(p, body);
	if (type == IPC_TYPE_cert)
		return take_cert(p, body);
	return type == IPC_TYPE_trust && take_trust(p, *fd);
}

int
material_apply(struct daemon *daemon, struct err *e)
{
	struct smtp *p = daemon->state;
	struct tls_client_conf c = { .ca_pem = buf_view(&p->next_ca),
		.cert = client_cert(p, daemon->conf->delivery.certificate),
		.signer = signer_tls(smtp_signer(daemon)) };
	struct throttles *throttles = throttles_new(daemon->conf, e);
	struct tls_ctx *tls = throttles ? tls_client_ctx(&c, e) : NULL;

	certs_free(&p->next_certs);
	if (tls == NULL) {
		throttles_free(&throttles);
		secrets_free(&p->next_secrets);
		buf_free(&p->next_ca);
		return -1;
	}
	tls_ctx_free(&p->tls);
	p->tls = tls;
	throttles_free(&p->throttles);
	p->throttles = throttles;
	buf_free(&p->ca);
	p->ca = p->next_ca;
	buf_init(&p->next_ca, CA_BYTES_MAX);
	secrets_free(&p->secrets);
	p->secrets = p->next_secrets;
	p->next_secrets = NULL;
	return 0;
}
