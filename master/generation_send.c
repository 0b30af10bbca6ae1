/* SPDX-License-Identifier: ISC */
/* What each role gets of a generation: by master/plan.c's table, nothing more. */
#include <fcntl.h>
#include <unistd.h>

#include "lib/log.h"
#include "master/files.h"
#include "master/generation.h"

static int
dup_for(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 4);
}

void
generation_send_logs(const struct generation *g, struct channel *ch, bool foreground)
{
	const struct conf *c = g->conf;
	enum log_kind kind;
	struct err e;

	int fd = log_target_open(c, foreground, &kind, &e);
	if (fd >= 0)
		IPC_SEND_FD(ch, fd, log, .kind = (uint8_t)kind);
	else
		log_error("%s", e.text);
	if (*c->log.events == '\0')
		return;
	fd = append_open(c->log.events, &e);
	if (fd >= 0)
		IPC_SEND_FD(ch, fd, log, .kind = LOG_KIND_EVENTS);
	else
		log_error("%s", e.text);
}

static int
send_listeners(const struct generation *g, struct channel *ch)
{
	for (size_t i = 0; i < g->socket_count; i++) {
		const struct gen_socket *s = &g->sockets[i];
		int fd = dup_for(s->fd);
		if (fd < 0)
			return -1;
		IPC_SEND_FD(ch, fd, listener, .listener = s->listener,
		    .address = view_str(s->address), .state = s->state);
	}
	/* The one that makes tickets comes last. */
	for (uint32_t i = 0; i < g->conf->listen_count; i++) {
		const struct gen_listen *l = &g->listens[i];
		if (g->conf->listen[i].tls == CONF_TLS_none)
			continue;
		IPC_SEND(ch, ticket_key, .listener = i,
		    .key = view_of(l->former_ticket_key, TICKET_KEY_BYTES));
		IPC_SEND(ch, ticket_key, .listener = i, .key = view_of(l->ticket_key, TICKET_KEY_BYTES));
	}
	return 0;
}

/* key at signd = index of the certificate block + 1 */
static int
send_chains(const struct generation *g, struct channel *ch)
{
	for (size_t i = 0; i < g->conf->certificate_count; i++) {
		struct buf pem = BUF_INIT(IPC_BULK_MAX + 16384);
		int rc = memfile_read(g->certificates[i].chain, &pem, NULL);
		if (rc == 0)
			IPC_SEND(ch, cert, .key = (uint32_t)i + 1,
			    .name = view_str(g->certificates[i].name), .chain = buf_view(&pem));
		buf_free(&pem);
		if (rc < 0)
			return -1;
	}
	return 0;
}

static int
send_keys(const struct generation *g, struct channel *ch)
{
	for (size_t i = 0; i < g->conf->certificate_count; i++) {
		struct buf pem = BUF_INIT(IPC_BULK_MAX + 16384);
		int rc = memfile_read(g->certificates[i].key, &pem, NULL);
		if (rc == 0)
			IPC_SEND(ch, key, .key = (uint32_t)i + 1, .pem = buf_view(&pem));
		buf_wipe(&pem);
		buf_free(&pem);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* The first line of the file is the secret. */
static int
send_secrets(const struct generation *g, struct channel *ch)
{
	struct buf text = BUF_INIT(32768);
	int rc = 0;

	if (g->relay_secret < 0)
		return 0;
	rc = memfile_read(g->relay_secret, &text, NULL);
	if (rc == 0) {
		struct view v = buf_view(&text), line = view_cut(&v, '\n');
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		IPC_SEND(ch, secret, .name = VIEW("relayhost"),
		    .user = view_str(g->conf->relay_user), .secret = line);
	}
	buf_wipe(&text);
	buf_free(&text);
	return rc;
}

static int
send_trust(const struct generation *g, struct channel *ch)
{
	int fd = g->trust < 0 ? -1 : memfile_open(g->trust);

	if (fd >= 0)
		IPC_SEND_FD(ch, fd, trust, .serial = g->serial);
	return g->trust >= 0 && fd < 0 ? -1 : 0;
}

static int
send_resolver(const struct generation *g, struct channel *ch)
{
	int anchor = g->anchor < 0 ? -1 : memfile_open(g->anchor);
	int servers = g->nameservers < 0 ? -1 : memfile_open(g->nameservers);

	if (anchor >= 0)
		IPC_SEND_FD(ch, anchor, anchor, .serial = g->serial);
	if (servers >= 0)
		IPC_SEND_FD(ch, servers, nameservers, .serial = g->serial);
	return (g->anchor >= 0 && anchor < 0) || (g->nameservers >= 0 && servers < 0) ? -1 : 0;
}

static int
send_dkim_keys(const struct generation *g, struct channel *ch)
{
	dkim_set_send_keys(g->dkim, ch);
	return 0;
}

static int
send_dkim_names(const struct generation *g, struct channel *ch)
{
	dkim_set_send_names(g->dkim, ch);
	return 0;
}

static const struct {
	enum plan_need need;
	int (*send)(const struct generation *g, struct channel *ch);
} senders[] = {
	{ NEED_LISTENERS, send_listeners },
	{ NEED_CHAINS, send_chains },
	{ NEED_KEYS, send_keys },
	{ NEED_SECRETS, send_secrets },
	{ NEED_TRUST, send_trust },
	{ NEED_RESOLVER, send_resolver },
	{ NEED_DKIM_KEYS, send_dkim_keys },
	{ NEED_DKIM_NAMES, send_dkim_names },
};

int
generation_send(const struct generation *g, struct channel *ch, bool foreground)
{
	int fd = memfile_open(g->conf_fd);

	if (fd < 0)
		return -1;
	IPC_SEND_FD(ch, fd, config, .serial = g->serial);
	generation_send_logs(g, ch, foreground);
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++)
		if (plan_role(ch->role)->needs & senders[i].need && senders[i].send(g, ch) < 0)
			return -1;
	return 0;
}
