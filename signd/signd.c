/* SPDX-License-Identifier: ISC */
/*
 * signd: the only process that holds private keys. It takes them from master when a configuration
 * comes, answers `sign`, and can do nothing else: no file, no network, no look at what it signs.
 */
#include <string.h>

#include "lib/daemon.h"
#include "signd/server.h"

struct signd {
	struct server server;
	struct keyring *staged; /* of a configuration that was not yet applied */
	struct dkim_ring *staged_dkim;
};

/* Before init as well as later. */
static struct server *
server_of(struct daemon *d)
{
	struct signd *s = d->state;

	if (s->server.loop == NULL)
		server_init(&s->server, d->loop);
	return &s->server;
}

static bool
take_key(struct signd *s, struct view body)
{
	struct ipc_key m;
	struct err e;

	if (!ipc_get(&ipc_desc_key, body, &m))
		return false;
	if (s->staged == NULL)
		s->staged = keyring_new();
	if (keyring_add(s->staged, m.key, m.pem, &e) < 0)
		log_warn("%s", e.text); /* the configuration that needs it is refused at apply */
	return true;
}

static bool
take_dkim_key(struct signd *s, struct view body)
{
	struct ipc_dkim_key m;
	struct err e;

	if (!ipc_get(&ipc_desc_dkim_key, body, &m))
		return false;
	if (s->staged_dkim == NULL)
		s->staged_dkim = dkim_ring_new();
	if (dkim_ring_add(s->staged_dkim, m.pin, m.algorithm, m.pem, &e) < 0)
		log_warn("%s", e.text);
	return true;
}

static bool
apply_dkim(struct daemon *d, struct view body)
{
	struct signd *s = d->state;
	struct ipc_dkim_apply m;

	if (!ipc_get(&ipc_desc_dkim_apply, body, &m))
		return false;
	server_use_dkim(server_of(d), s->staged_dkim ? s->staged_dkim : dkim_ring_new());
	s->staged_dkim = NULL;
	return true;
}

static bool
material(struct daemon *d, uint16_t type, struct view body, int *fd)
{
	bool good = false;

	(void)fd;
	if (type == IPC_TYPE_key)
		good = take_key(d->state, body);
	else if (type == IPC_TYPE_dkim_key)
		good = take_dkim_key(d->state, body);
	else if (type == IPC_TYPE_dkim_apply)
		good = apply_dkim(d, body);
	/* The text is not needed any more, and the buffer that it stands in would keep it. */
	explicit_bzero((void *)(uintptr_t)body.p, body.n);
	return good;
}

/* A new configuration: all of its certificates must have their keys, or the old keys stay. */
static int
apply(struct daemon *d, struct err *e)
{
	struct signd *s = d->state;
	struct server *server = server_of(d);
	struct keyring *keys = s->staged ? s->staged : keyring_new();
	size_t count = d->conf->certificate_count;

	s->staged = NULL;
	keyring_trim(keys, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		if (keyring_has(keys, (uint32_t)i + 1))
			continue;
		keyring_free(&keys);
		return err_set(e, ERR_PERM, ESC(5, 7, 5),
		    "certificate %s: no usable private key in %s", d->conf->certificate[i].name,
		    d->conf->certificate[i].key);
	}
	server_use(server, keys);
	return 0;
}

static void
peer(struct daemon *d, enum role role, uint32_t instance, int fd)
{
	server_peer(server_of(d), role, instance, fd);
}

static void
peer_gone(struct daemon *d, enum role role, uint32_t instance)
{
	server_peer_gone(server_of(d), role, instance);
}

static const struct daemon_spec spec = {
	.role = ROLE_SIGND,
	.state_size = sizeof(struct signd),
	.sandbox = SANDBOX_SIGND,
	.init = apply,
	.reload = apply,
	.material = material,
	.peer = peer,
	.peer_gone = peer_gone,
};

int
main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
