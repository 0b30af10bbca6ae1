/* SPDX-License-Identifier: ISC */
/*
 * Listeners: what a configuration and its material make of them. A set is built whole before it takes
 * the place of the former one; sessions keep the listener that they came through.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "smtpd/gate.h"
#include "smtpd/session.h"

enum { ACCEPTS_A_TURN = 4, ACCEPT_PAUSE_MS = 1000 };
/* Clients beyond those of the process that has fewest, above which accepting is left to the others. */
enum { AHEAD_MAX = 4, AHEAD_PAUSE_MS = 1 };

struct door {
	struct loop_fd lf;
	struct smtpd *d;
	struct listener *listener; /* a reference */
	struct gate *gate;	   /* a reference */
	struct door *next;
	struct loop_reap reap;
	int fd; /* stays when lf is detached */
};

/* As it came from master. */
struct socket_piece {
	struct socket_piece *next;
	uint32_t listener;
	struct gate *gate; /* a reference */
	int fd;
};
struct cert_piece {
	struct cert_piece *next;
	uint32_t key;
	struct buf chain;
};
struct ticket_piece {
	struct ticket_piece *next;
	uint32_t listener;
	size_t len;
	char key[TLS_TICKET_KEY];
};
struct material {
	struct socket_piece *sockets;
	struct cert_piece *certs;
	struct ticket_piece *tickets;
};

static void
material_free(struct smtpd *d, struct material **mp)
{
	struct material *m = *mp;

	if (m == NULL)
		return;
	for (struct socket_piece *p; (p = m->sockets) != NULL;) {
		m->sockets = p->next;
		if (p->fd >= 0)
			close(p->fd);
		gate_unref(d, &p->gate);
		free(p);
	}
	for (struct cert_piece *p; (p = m->certs) != NULL;) {
		m->certs = p->next;
		buf_free(&p->chain);
		free(p);
	}
	for (struct ticket_piece *p; (p = m->tickets) != NULL;) {
		m->tickets = p->next;
		explicit_bzero(p->key, sizeof(p->key));
		free(p);
	}
	free(m);
	*mp = NULL;
}

static bool
take_socket(struct smtpd *d, struct material *m, struct view body, int *fd)
{
	struct ipc_listener in;

	if (!ipc_get(&ipc_desc_listener, body, &in) || *fd < 0 || in.state >= LISTENER_STATES)
		return false;
	struct socket_piece *p = x_calloc(1, sizeof(*p));
	*p = (struct socket_piece){ m->sockets, in.listener, gate_take(d, in.address), *fd };
	/* The state is the address's, whatever becomes of this configuration. */
	gate_set(d, p->gate, in.state);
	m->sockets = p;
	*fd = -1;
	return true;
}

static bool
take_cert(struct material *m, struct view body)
{
	struct ipc_cert in;

	if (!ipc_get(&ipc_desc_cert, body, &in))
		return false;
	struct cert_piece *p = x_calloc(1, sizeof(*p));
	*p = (struct cert_piece){ m->certs, in.key, BUF_INIT(IPC_BULK_MAX) };
	buf_putv(&p->chain, in.chain);
	m->certs = p;
	return true;
}

static bool
take_ticket(struct material *m, struct view body)
{
	struct ipc_ticket_key in;

	if (!ipc_get(&ipc_desc_ticket_key, body, &in))
		return false;
	struct ticket_piece *p = x_calloc(1, sizeof(*p));
	*p = (struct ticket_piece){ .next = m->tickets, .listener = in.listener, .len = in.key.n };
	memcpy(p->key, in.key.p, in.key.n);
	m->tickets = p;
	return true;
}

static bool
take_state(struct smtpd *d, struct view body)
{
	struct ipc_listener_state in;

	if (!ipc_get(&ipc_desc_listener_state, body, &in) || in.state >= LISTENER_STATES)
		return false;
	struct gate *g = gate_find(d, in.address);
	if (g)
		gate_set(d, g, in.state);
	return true;
}

bool
listeners_material(struct smtpd *d, uint16_t type, struct view body, int *fd)
{
	if (type == IPC_TYPE_listener_state)
		return take_state(d, body);
	if (type == IPC_TYPE_ticket_next)
		return listeners_ticket(d, body);
	if (type == IPC_TYPE_dkim_name || type == IPC_TYPE_dkim_apply)
		return sign_material(d, type, body);
	if (type == IPC_TYPE_milter)
		return milters_frame(d, body, fd);
	if (d->next == NULL)
		d->next = x_calloc(1, sizeof(*d->next));
	switch (type) {
	case IPC_TYPE_listener:
		return take_socket(d, d->next, body, fd);
	case IPC_TYPE_cert:
		return take_cert(d->next, body);
	case IPC_TYPE_ticket_key:
		return take_ticket(d->next, body);
	default:
		return false;
	}
}

/* Settings. */

static void
site_unref(struct site **sp)
{
	struct site *s = *sp;

	*sp = NULL;
	if (s == NULL || --s->refs)
		return;
	sign_rules_clear(&s->sign);
	free(s->hostname);
	free(s->postmaster);
	for (size_t i = 0; i < TAGS; i++)
		free(s->tags[i]);
	free(s->simulator);
	free(s->bounce_domain);
	for (size_t i = 0; i < s->legacy.n; i++)
		free(s->legacy.v[i]);
	free(s->legacy.v);
	free(s);
}

static struct site *
site_new(const struct conf *c)
{
	struct site *s = x_calloc(1, sizeof(*s));
	struct buf postmaster = BUF_INIT(1024);

	s->refs = 1;
	s->hostname = x_strdup(*c->hostname ? c->hostname : "localhost");
	if (*c->postmaster)
		buf_puts(&postmaster, c->postmaster);
	else
		buf_printf(&postmaster, "postmaster@%s", s->hostname);
	s->postmaster = x_strndup(buf_view(&postmaster));
	buf_free(&postmaster);
	s->limits = c->limits;
	s->received = c->received;
	s->duplicates = c->duplicate_fields;
	s->tags[TAG_TAG] = x_strdup(c->tag_header);
	s->tags[TAG_BATCH] = x_strdup(c->batch_header);
	s->tags[TAG_LABEL] = x_strdup(c->label_header);
	s->simulator = x_strdup(c->simulator_domain);
	s->bounce_domain = x_strdup(c->envelope_sender.bounce_domain);
	s->legacy.v = x_calloc(c->legacy_local_part_domains.n, sizeof(*s->legacy.v));
	for (; s->legacy.n < c->legacy_local_part_domains.n; s->legacy.n++)
		s->legacy.v[s->legacy.n] = x_strdup(c->legacy_local_part_domains.v[s->legacy.n]);
	s->copies = c->bcc_forward.host != NULL;
	sign_rules_init(&s->sign, &c->dkim);
	return s;
}

struct listener *
listener_ref(struct listener *l)
{
	l->refs++;
	return l;
}

void
listener_unref(struct listener **lp)
{
	struct listener *l = *lp;

	*lp = NULL;
	if (l == NULL || --l->refs)
		return;
	site_unref(&l->site);
	tls_ctx_free(&l->tls);
	milter_list_clear(&l->milters);
	free(l->policy.networks.v);
	free(l->policy.tenant);
	free(l->name);
	free(l);
}

static int
find_certificate(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->certificate_count; i++)
		if (strcmp(c->certificate[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* Frames are kept last first: the first one found makes tickets, the one behind it is the former. */
static struct view
ticket_key(const struct material *m, uint32_t listener, unsigned nth)
{
	for (const struct ticket_piece *p = m->tickets; p; p = p->next)
		if (p->listener == listener && nth-- == 0)
			return view_of(p->key, p->len);
	return VIEW("");
}

static const struct cert_piece *
find_chain(const struct conf *c, const struct material *m, const char *name)
{
	int number = find_certificate(c, name);

	for (const struct cert_piece *p = m->certs; p && number >= 0; p = p->next)
		if (p->key == (uint32_t)number + 1)
			return p;
	return NULL;
}

static int
make_tls(struct smtpd *d, const struct conf *c, const struct material *m, uint32_t number,
    struct listener *l, struct err *e)
{
	const struct conf_listen *conf = &c->listen[number];
	struct tls_cert_conf *certs = x_calloc(conf->certificate.n + 1, sizeof(*certs));
	struct tls_server_conf tc = { .certs = certs, .signer = signer_tls(d->signer),
		.legacy = conf->legacy_tls, .only_1_3 = conf->tls_version == CONF_VERSION_1_3,
		.ciphers = conf->ciphers, .ciphersuites = conf->ciphersuites,
		.alpn = (const char *const *)conf->alpn.v, .alpn_count = conf->alpn.n,
		.name = conf->name, .ticket_key = ticket_key(m, number, 0),
		.former_ticket_key = ticket_key(m, number, 1) };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < conf->certificate.n; i++) {
		const char *name = conf->certificate.v[i];
		const struct cert_piece *p = find_chain(c, m, name);
		if (p)
			certs[tc.cert_count++] = (struct tls_cert_conf){ buf_view(&p->chain), p->key };
		else
			rc = err_set(e, ERR_PERM, ESC(5, 3, 5), "no certificate %s", name);
	}
	l->by_name = tc.cert_count > 1;
	if (rc == 0)
		l->tls = tls_server_ctx(&tc, e);
	free(certs);
	return l->tls ? 0 : err_wrap(e, "listen %s", conf->name);
}

/* Applied at once: between configurations the listeners are those that master counts. */
bool
listeners_ticket(struct smtpd *d, struct view body)
{
	struct ipc_ticket_next m;

	if (!ipc_get(&ipc_desc_ticket_next, body, &m))
		return false;
	for (const struct door *door = d->doors; door; door = door->next)
		if (door->listener->number == m.listener && door->listener->tls) {
			tls_ctx_ticket_key(door->listener->tls, m.key);
			return true;
		}
	return true;
}

static int
make_listener(struct smtpd *d, const struct conf *c, const struct material *m, uint32_t number,
    struct site *site, struct listener **out, struct err *e)
{
	const struct conf_listen *conf = &c->listen[number];
	struct listener *l = x_calloc(1, sizeof(*l));
	size_t networks = conf->auth.networks.n;

	l->refs = 1;
	l->number = number;
	l->site = site;
	site->refs++;
	l->name = x_strdup(conf->name);
	l->reverse_lookup = conf->reverse_lookup;
	l->policy = (struct policy){ .tls = conf->tls, .auth = conf->auth.mode };
	l->policy.tenant = x_strdup(conf->auth.tenant ? conf->auth.tenant : "");
	if (networks) {
		l->policy.networks.v = x_calloc(networks, sizeof(struct cidr));
		memcpy(l->policy.networks.v, conf->auth.networks.v, networks * sizeof(struct cidr));
		l->policy.networks.n = networks;
	}
	milter_list_init(&l->milters, d, c, &conf->milters);
	*out = l;
	return conf->tls == CONF_TLS_none ? 0 : make_tls(d, c, m, number, l, e);
}

/* Sockets. */

static void
turn_away(struct door *door, int fd, const char *why)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "421 4.3.2 %s %s\r\n", door->listener->site->hostname,
	    why);

	if (door->listener->policy.tls != CONF_TLS_implicit && n > 0 && (size_t)n < sizeof(text))
		(void)!send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void
watch_doors(struct smtpd *d)
{
	for (struct door *door = d->doors; door; door = door->next) {
		if (door->lf.fd >= 0)
			continue;
		door->lf.fd = door->fd;
		if (loop_add_listener(d->loop, &door->lf) < 0) {
			log_error("cannot watch a listener: %s", strerror(errno));
			door->lf.fd = -1;
		}
	}
}

static void
on_accept_again(struct loop_timer *t)
{
	watch_doors(CONTAINER(t, struct smtpd, accept_timer));
}

static void
leave_doors(struct smtpd *d, uint64_t ms)
{
	for (struct door *door = d->doors; door; door = door->next)
		loop_del(d->loop, &door->lf);
	d->accept_timer.fire = on_accept_again;
	loop_timer_set(d->loop, &d->accept_timer, ms);
}

/* Without descriptors or memory a ready listener would spin: it rests for a while. */
static void
rest(struct smtpd *d, int error)
{
	log_warn("accept: %s; not accepting for %d s", strerror(error), ACCEPT_PAUSE_MS / 1000);
	leave_doors(d, ACCEPT_PAUSE_MS);
}

/* True when another accept makes sense. */
static bool
accept_one(struct door *door)
{
	struct smtpd *d = door->d;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int one = 1;

	int fd = accept4(door->lf.fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			rest(d, errno);
		return errno == ECONNABORTED || errno == EINTR;
	}
	/* A v4 client of a v6 socket is the v4 client that rules and logs know. */
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&sa;
	if (sa.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = in6->sin6_port };
		memcpy(&in.sin_addr, &in6->sin6_addr.s6_addr[12], 4);
		memcpy(&sa, &in, sizeof(in));
	}
	bool full = fd >= d->fd_limit || d->sessions >= door->listener->site->limits.sessions;
	if (full || door->gate->state != LISTENER_OPEN) {
		turn_away(door, fd, full ? "Error: too many connections" : "Service not available");
		return true;
	}
	/* Replies of different turns must not wait for each other's acknowledgement. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	session_new(d, door->listener, door->gate, fd, (struct sockaddr *)&sa);
	return true;
}

static void
on_door_ready(struct loop_fd *lf, unsigned events)
{
	struct door *door = CONTAINER(lf, struct door, lf);
	struct smtpd *d = door->d;

	(void)events;
	for (int i = 0; i < ACCEPTS_A_TURN && door->lf.fd >= 0; i++)
		if (!accept_one(door))
			break;
	if (door->lf.fd < 0)
		return;
	/*
	 * The kernel wakes one process for a connection, and whichever runs first finds all that are there. So
	 * who is ahead lets go for a moment; then it takes what is still left, for the others may hang.
	 */
	if (d->others && d->ahead + d->admitting > AHEAD_MAX)
		leave_doors(d, AHEAD_PAUSE_MS);
	else
		loop_requeue_listener(d->loop, &door->lf);
}

static void
free_door(struct loop_reap *r)
{
	free(CONTAINER(r, struct door, reap));
}

static void
close_doors(struct smtpd *d, struct door *list)
{
	for (struct door *door; (door = list) != NULL;) {
		list = door->next;
		loop_del(d->loop, &door->lf);
		close(door->fd);
		listener_unref(&door->listener);
		gate_unref(d, &door->gate);
		door->reap.free = free_door;
		loop_reap(d->loop, &door->reap);
	}
}

void
listeners_close(struct smtpd *d)
{
	struct door *list = d->doors;

	d->doors = NULL;
	loop_timer_cancel(d->loop, &d->accept_timer);
	close_doors(d, list);
}

static struct door *
make_doors(struct smtpd *d, struct material *m, struct listener *const *listeners, size_t count)
{
	struct door *list = NULL;

	for (struct socket_piece *p = m->sockets; p; p = p->next) {
		if (p->listener >= count)
			continue;
		struct door *door = x_calloc(1, sizeof(*door));
		*door = (struct door){ .lf = { .fd = -1, .ready = on_door_ready }, .d = d,
			.listener = listener_ref(listeners[p->listener]), .gate = gate_ref(p->gate),
			.next = list, .fd = p->fd };
		p->fd = -1;
		list = door;
	}
	return list;
}

int
listeners_apply(struct smtpd *d, const struct conf *c, struct err *e)
{
	struct material none = { NULL, NULL, NULL }, *m = d->next ? d->next : &none;
	struct listener **made = x_calloc(c->listen_count, sizeof(*made));
	struct site *site = site_new(c);
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < c->listen_count; i++)
		rc = make_listener(d, c, m, i, site, &made[i], e);
	if (rc == 0) {
		struct door *former = d->doors;
		d->doors = make_doors(d, m, made, c->listen_count);
		close_doors(d, former);
		if (!d->draining)
			watch_doors(d);
	}
	for (size_t i = 0; i < c->listen_count; i++)
		listener_unref(&made[i]);
	free(made);
	site_unref(&site);
	material_free(d, &d->next);
	return rc;
}
