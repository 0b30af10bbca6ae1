/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <string.h>

#include "smtpd/milter.h"
#include "smtpd/milter_impl.h"
#include "smtpd/received.h"

enum { MACROS_MAX = 16384 };

/* What a value is made from. */
struct source {
	const struct session *s;
	struct view rcpt;
};

static void
put_host(const struct source *m, struct buf *b)
{
	buf_puts(b, m->s->listener->site->hostname);
}

static void
put_version(const struct source *m, struct buf *b)
{
	(void)m;
	buf_puts(b, "Ekiden " EKIDEN_VERSION);
}

/* "name [address]" */
static void
put_client(const struct source *m, struct buf *b)
{
	buf_printf(b, "%s [%s]", session_name(m->s), m->s->ip);
}

static void
put_client_name(const struct source *m, struct buf *b)
{
	buf_puts(b, session_name(m->s));
}

static void
put_client_addr(const struct source *m, struct buf *b)
{
	buf_printf(b, "%s%s", strchr(m->s->ip, ':') ? "IPv6:" : "", m->s->ip);
}

static uint16_t
port_of(const struct sockaddr_storage *sa)
{
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	return ntohs(sa->ss_family == AF_INET6 ? in6->sin6_port : in->sin_port);
}

static void
put_client_port(const struct source *m, struct buf *b)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	if (getpeername(io_fd(&m->s->io), (struct sockaddr *)&sa, &len) == 0)
		buf_printf(b, "%u", port_of(&sa));
}

/* Where the client connected to. */
static bool
own_address(const struct source *m, char text[static INET6_ADDRSTRLEN], uint16_t *port)
{
	struct sockaddr_storage sa = { 0 };
	const struct sockaddr_in *in = (const void *)&sa;
	const struct sockaddr_in6 *in6 = (const void *)&sa;
	socklen_t len = sizeof(sa);

	if (getsockname(io_fd(&m->s->io), (struct sockaddr *)&sa, &len) < 0)
		return false;
	*port = port_of(&sa);
	if (sa.ss_family == AF_INET)
		return inet_ntop(AF_INET, &in->sin_addr, text, INET6_ADDRSTRLEN) != NULL;
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], text, INET6_ADDRSTRLEN) != NULL;
	return inet_ntop(AF_INET6, &in6->sin6_addr, text, INET6_ADDRSTRLEN) != NULL;
}

static void
put_own_addr(const struct source *m, struct buf *b)
{
	char text[INET6_ADDRSTRLEN];
	uint16_t port;

	if (own_address(m, text, &port))
		buf_printf(b, "%s%s", strchr(text, ':') ? "IPv6:" : "", text);
}

static void
put_own_port(const struct source *m, struct buf *b)
{
	char text[INET6_ADDRSTRLEN];
	uint16_t port;

	if (own_address(m, text, &port))
		buf_printf(b, "%u", port);
}

static void
put_listener(const struct source *m, struct buf *b)
{
	buf_puts(b, m->s->listener->name);
}

static void
put_method(const struct source *m, struct buf *b)
{
	if (m->s->authenticated)
		buf_puts(b, m->s->method);
}

static void
put_user(const struct source *m, struct buf *b)
{
	if (m->s->authenticated)
		buf_puts(b, m->s->user);
}

static void
put_tls_version(const struct source *m, struct buf *b)
{
	struct tls_info info;

	if (m->s->tls) {
		tls_info(m->s->io.tls, &info);
		buf_puts(b, info.version);
	}
}

static void
put_cipher(const struct source *m, struct buf *b)
{
	struct tls_info info;

	if (m->s->tls) {
		tls_info(m->s->io.tls, &info);
		buf_puts(b, info.cipher);
	}
}

static void
put_cipher_bits(const struct source *m, struct buf *b)
{
	struct tls_info info;

	if (m->s->tls) {
		tls_info(m->s->io.tls, &info);
		buf_printf(b, "%d", info.bits);
	}
}

/* A queue id there is only when the message is stored: this is what Received fields call it. */
static void
put_id(const struct source *m, struct buf *b)
{
	if (m->s->txn.env.arrival_us)
		received_put_id(m->s, b);
}

static void
put_sender(const struct source *m, struct buf *b)
{
	buf_putv(b, m->s->txn.env.sender);
}

static void
put_rcpt(const struct source *m, struct buf *b)
{
	buf_putv(b, m->rcpt);
}

static void
put_domain(struct view addr, struct buf *b)
{
	for (ptrdiff_t at; (at = view_index(addr, '@')) >= 0;)
		addr = view_skip(addr, (size_t)at + 1);
	buf_putv(b, addr);
}

static void
put_sender_host(const struct source *m, struct buf *b)
{
	put_domain(m->s->txn.env.sender, b);
}

static void
put_rcpt_host(const struct source *m, struct buf *b)
{
	put_domain(m->rcpt, b);
}

static void
put_mailer(const struct source *m, struct buf *b)
{
	(void)m;
	buf_puts(b, "smtp");
}

#define AT(stage) (1u << SMFIM_##stage)

static const struct macro {
	const char *name;
	unsigned stages; /* where it is sent to who has not said what it wants */
	void (*put)(const struct source *m, struct buf *b);
} macros[] = {
	{ "j", AT(CONNECT), put_host },
	{ "_", AT(CONNECT), put_client },
	{ "v", AT(CONNECT), put_version },
	{ "{daemon_name}", AT(CONNECT), put_listener },
	{ "{daemon_addr}", AT(CONNECT), put_own_addr },
	{ "{daemon_port}", 0, put_own_port },
	{ "{if_addr}", AT(CONNECT), put_own_addr },
	{ "{if_name}", AT(CONNECT), put_host },
	{ "{client_addr}", AT(CONNECT), put_client_addr },
	{ "{client_name}", AT(CONNECT), put_client_name },
	{ "{client_port}", AT(CONNECT), put_client_port },
	{ "{client_ptr}", 0, put_client_name },
	{ "{tls_version}", AT(HELO), put_tls_version },
	{ "{cipher}", AT(HELO), put_cipher },
	{ "{cipher_bits}", AT(HELO), put_cipher_bits },
	{ "i", AT(ENVFROM) | AT(ENVRCPT) | AT(DATA) | AT(EOH) | AT(EOM), put_id },
	{ "{auth_type}", AT(ENVFROM), put_method },
	{ "{auth_authen}", AT(ENVFROM), put_user },
	{ "{mail_addr}", AT(ENVFROM), put_sender },
	{ "{mail_host}", AT(ENVFROM), put_sender_host },
	{ "{mail_mailer}", AT(ENVFROM), put_mailer },
	{ "{rcpt_addr}", AT(ENVRCPT), put_rcpt },
	{ "{rcpt_host}", AT(ENVRCPT), put_rcpt_host },
	{ "{rcpt_mailer}", AT(ENVRCPT), put_mailer },
};

/* Among the words of a list. */
static bool
listed(struct view list, const char *name)
{
	while (list.n) {
		struct view word = view_cut(&list, ' ');
		if (view_is(word, name) || (name[0] != '{' && word.n == 3 && word.p[0] == '{' &&
					      word.p[1] == name[0] && word.p[2] == '}'))
			return true;
	}
	return false;
}

void
milter_put_macros(struct buf *out, const struct session *s, const struct milter_terms *t, int stage,
    char command, struct view rcpt)
{
	struct source m = { s, rcpt };
	struct buf value = BUF_INIT(1024), all = BUF_INIT(MACROS_MAX);

	buf_putc(&all, command);
	for (size_t i = 0; stage >= 0 && i < sizeof(macros) / sizeof(macros[0]); i++) {
		struct view wanted = t->macros[stage];
		if (wanted.p ? !listed(wanted, macros[i].name) : !(macros[i].stages & 1u << stage))
			continue;
		buf_clear(&value);
		macros[i].put(&m, &value);
		if (buf_len(&value) == 0)
			continue;
		milter_put_str(&all, view_str(macros[i].name));
		milter_put_str(&all, buf_view(&value));
	}
	if (buf_len(&all) > 1 && !all.bad)
		milter_put(out, SMFIC_MACRO, buf_view(&all));
	buf_free(&value);
	buf_free(&all);
}
