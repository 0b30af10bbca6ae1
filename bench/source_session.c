/* SPDX-License-Identifier: ISC */
/* A client session's connection: opening, TLS, reading, losing it, using it up. */
#include "bench/source_session.h"

#include <sys/epoll.h>

#include <stdlib.h>
#include <unistd.h>

enum {
	REPLY_BUFFER = 8192,
	GATHER_BATCH = 50, /* connects at a time, so that no listen queue overflows */
};

/* -- leaving -- */

static void
session_done(struct session *s)
{
	conn_free(&s->c);
	free(s->cmd);
	s->cmd = NULL;
	s->src->slots_done += s->state != ST_REST;
	s->state = ST_CLOSED;
}

void
session_rest(struct session *s)
{
	s->state = ST_REST;
	s->src->slots_done++;
}

/* Reconnects while there is work; ends the slot otherwise. */
void
session_again(struct session *s)
{
	conn_close(&s->c);
	if (s->src->opt.idle == 0 && s->src->go && s->src->next_message < s->src->opt.messages)
		session_open(s);
	else
		session_done(s);
}

/* A connection that breaks before its first message uses one up, so a dead target ends the run. */
void
session_lost(struct session *s, enum source_error why)
{
	struct source *src = s->src;

	if (s->state == ST_QUIT || s->state == ST_REST) {
		session_again(s);
		return;
	}
	if (why != SOURCE_ERR_MAX)
		src->errors[why]++;
	if (src->opt.idle > 0 || !src->go) {
		src->idle_now -= s->state == ST_IDLE;
		src->idle_lost++;
	} else if (!s->has_message && s->sent_here == 0 && src->next_message < src->opt.messages) {
		src->next_message++;
		src->failed++;
	}
	session_message_failed(s);
	session_again(s);
}

/* -- events -- */

void
session_open(struct session *s)
{
	struct source *src = s->src;
	const struct net_addr *a = &src->opt.target;
	int fd;

	s->state = ST_CONNECT;
	s->secured = s->offers_pipelining = s->offers_tls = s->has_message = false;
	s->sent_here = s->mail_max = 0;
	s->cmd_len = 0;
	s->t_connect = net_now_ns();
	if (src->t_first == 0)
		src->t_first = s->t_connect;
	src->connections++;
	fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1) {
		perror("mailsource: socket");
		exit(1);
	}
	conn_open(&s->c, fd);
	/* The result, good or bad, comes as an event: no recursion however long a target is dead.
	 */
	(void)connect(fd, (const struct sockaddr *)&a->ss, a->len);
	s->c.want_write = true;
	conn_arm(&s->c, src->ep, s);
}

/* false: the session was lost. */
static bool
session_connected(struct session *s)
{
	struct source *src = s->src;
	int e = 0;
	socklen_t len = sizeof(e);
	struct sockaddr_storage peer;
	socklen_t peer_len = sizeof(peer);

	if (getsockopt(s->c.fd, SOL_SOCKET, SO_ERROR, &e, &len) == -1 || e != 0 ||
	    getpeername(s->c.fd, (struct sockaddr *)&peer, &peer_len) == -1) {
		session_lost(s, SOURCE_ERR_CONNECT);
		return false;
	}
	s->state = ST_BANNER;
	s->c.want_write = false;
	if (src->opt.implicit_tls && conn_tls_start(&s->c, src->tls, false,
					 src->opt.tls_resume ? src->ticket : NULL) == -1) {
		session_lost(s, SOURCE_ERR_TLS);
		return false;
	}
	return true;
}

/* true: the handshake is over and the session goes on. */
static bool
session_handshake(struct session *s)
{
	struct source *src = s->src;
	int rc = conn_handshake(&s->c);

	if (rc == -1)
		session_lost(s, SOURCE_ERR_TLS);
	if (rc != 1)
		return false;
	s->secured = true;
	src->handshakes++;
	src->resumed += SSL_session_reused(s->c.ssl) == 1;
	if (!src->opt.implicit_tls)
		session_ehlo(s);
	return true;
}

/* Keeps the newest ticket; in TLS 1.3 it arrives with the first data after the handshake. */
static void
ticket_keep(struct session *s)
{
	struct source *src = s->src;
	SSL_SESSION *ticket;

	if (!src->opt.tls_resume || s->c.ssl == NULL || s->state != ST_EHLO)
		return;
	ticket = SSL_get1_session(s->c.ssl);
	if (ticket == NULL || SSL_SESSION_is_resumable(ticket) != 1) {
		SSL_SESSION_free(ticket);
		return;
	}
	SSL_SESSION_free(src->ticket);
	src->ticket = ticket;
}

static void
session_flush(struct session *s)
{
	int rc = conn_flush(&s->c);

	if (rc == -1)
		session_lost(s, SOURCE_ERR_LOST);
	else if (rc == 1 && s->state == ST_BODY && s->t_data == 0)
		s->t_data = net_now_ns();
}

static bool
session_waiting(const struct session *s)
{
	return s->state == ST_CLOSED || s->state == ST_CONNECT || s->c.handshaking;
}

/* Reads and answers until nothing is left; stops when the connection changes its nature. */
static void
session_read(struct session *s)
{
	size_t len;
	char *line;
	ssize_t n;

	do {
		n = conn_read(&s->c);
		if (n == -1) {
			session_lost(s, SOURCE_ERR_LOST);
			return;
		}
		ticket_keep(s);
		while (!session_waiting(s) && (line = conn_line(&s->c, &len)) != NULL)
			session_line(s, line, len);
		if (session_waiting(s))
			return;
		if (conn_line_too_long(&s->c)) {
			session_lost(s, SOURCE_ERR_PROTOCOL);
			return;
		}
		session_flush(s);
	} while (!session_waiting(s) && conn_more(&s->c));
}

static void
session_step(struct session *s)
{
	if (s->state == ST_CONNECT && !session_connected(s))
		return;
	if (s->c.handshaking && !session_handshake(s))
		return;
	if (conn_unsent(&s->c))
		session_flush(s);
	if (!session_waiting(s))
		session_read(s);
	if (s->c.handshaking)
		session_handshake(s);
}

static void
slot_open(struct source *src)
{
	struct session *s = &src->session[src->slots_opened++];

	s->src = src;
	s->cmd_cap = (size_t)(src->opt.recipients + 4) * (SOURCE_ADDR_MAX + 32);
	s->cmd = malloc(s->cmd_cap);
	if (s->cmd == NULL)
		abort();
	conn_init(&s->c, REPLY_BUFFER);
	session_open(s);
}

/* Idle and gather mode open a batch at a time, so the backlog of the target never fills. */
static void
slots_fill(struct source *src)
{
	unsigned batch = src->opt.idle > 0 ? src->opt.sessions
			 : src->go	   ? src->slots
					   : GATHER_BATCH;

	while (src->slots_opened < src->slots &&
	       (batch == src->slots || src->slots_opened - src->idle_now - src->idle_lost < batch))
		slot_open(src);
}

void
source_begin(struct source *src)
{
	src->go = !src->opt.gather;
	src->slots = src->opt.idle > 0 ? src->opt.idle : src->opt.sessions;
	if (src->opt.idle == 0 && src->slots > src->opt.messages)
		src->slots = (unsigned)src->opt.messages;
	src->session = calloc(src->slots, sizeof(*src->session));
	if (src->session == NULL)
		abort();
	slots_fill(src);
}

void
source_event(struct source *src, void *ptr, uint32_t events)
{
	struct session *s = ptr;

	(void)events;
	if (s->state == ST_CLOSED)
		return;
	session_step(s);
	if (s->state != ST_CLOSED)
		conn_arm(&s->c, src->ep, s);
	slots_fill(src);
}

bool
source_gathered(const struct source *src)
{
	return src->idle_now + src->idle_lost >= src->slots;
}

/* What was queued outside an event. */
static void
session_push(struct session *s)
{
	session_flush(s);
	if (s->state != ST_CLOSED)
		conn_arm(&s->c, s->src->ep, s);
}

void
source_go(struct source *src)
{
	unsigned i;

	src->go = true;
	src->t_first = net_now_ns();
	for (i = 0; i < src->slots; i++) {
		session_next(&src->session[i]);
		session_push(&src->session[i]);
	}
}

void
source_tick(struct source *src)
{
	uint64_t now = net_now_ns();
	unsigned i;

	for (i = 0; i < src->slots_opened; i++) {
		struct session *s = &src->session[i];

		if (s->state == ST_IDLE && now >= s->t_next) {
			session_next(s);
			session_push(s);
		}
	}
}

void
source_stop(struct source *src)
{
	unsigned i;

	src->opt.messages = src->next_message;
	for (i = 0; i < src->slots_opened; i++)
		src->session[i].t_next = 0;
}

bool
source_finished(const struct source *src)
{
	if (src->opt.idle > 0)
		return src->idle_now + src->idle_lost >= src->opt.idle;
	return src->slots_done == src->slots;
}
