/* SPDX-License-Identifier: ISC */
/* What mtactl asks: the DNS as the suite sees it. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "dnsd/lookup.h"
#include "lib/ctl.h"

CTL_DNSD(CTL_PROTOTYPE)

static void
on_cancel(struct ctl_call *call)
{
	struct peer *p = call->cursor;

	/* The look-up goes on; nobody hears of it. The peer is freed when it is over. */
	call->cursor = NULL;
	p->call = NULL;
}

static const char *
status_name(uint8_t status)
{
	static const char *const names[] = { [DNS_OK] = "found",
		[DNS_NXDOMAIN] = "no such name",
		[DNS_NODATA] = "no such record",
		[DNS_NULLMX] = "null MX",
		[DNS_TEMP] = "no answer",
		[DNS_BOGUS] = "bogus" };

	return status < sizeof(names) / sizeof(names[0]) ? names[status] : "?";
}

static void
put_answer(struct ctl_call *call, const struct ipc_txt_answer *m)
{
	struct view strings = m->strings, texts[LOOKUP_TXT_MAX];
	struct ipc_txt_string s;
	size_t n = 0;

	while (n < LOOKUP_TXT_MAX && ipc_next(&ipc_desc_txt_string, &strings, &s))
		texts[n++] = s.text;
	ctl_text(call, "name", ctl_arg(call, "name"));
	ctl_str(call, "status", status_name(m->status));
	ctl_bool(call, "secure", m->secure);
	ctl_number(call, "ttl", m->ttl_s);
	ctl_list(call, "strings", texts, n);
	ctl_row_end(call);
}

/* The call that waits for it; NULL: nobody does any more. */
static struct ctl_call *
answered(struct peer *p)
{
	struct ctl_call *call = p->call;

	p->call = NULL;
	if (call) {
		call->cursor = NULL;
		call->cancel = NULL;
	}
	return call;
}

static void
on_answer(struct peer *p, const struct ipc_txt_answer *m)
{
	struct ctl_call *call = answered(p);

	if (call == NULL)
		return;
	put_answer(call, m);
	/* An answer that there is nothing is an answer. */
	if (m->status == DNS_TEMP || m->status == DNS_BOGUS)
		ctl_end(call, 1, VIEW_FMT, VIEW_ARG(m->text));
	ctl_finish(call);
}

static void
on_ptr(struct peer *p, const struct ipc_ptr_answer *m)
{
	struct ctl_call *call = answered(p);

	if (call == NULL)
		return;
	ctl_text(call, "address", ctl_arg(call, "address"));
	ctl_str(call, "status", status_name(m->status));
	ctl_text(call, "name", m->name);
	ctl_row_end(call);
	if (m->status == DNS_TEMP || m->status == DNS_BOGUS)
		ctl_end(call, 1, "no answer for " VIEW_FMT, VIEW_ARG(view_first(ctl_arg(call, "address"), 64)));
	ctl_finish(call);
}

/* Somebody who asks once. */
static struct peer *
asker(struct ctl_call *call)
{
	struct peer *p = x_calloc(1, sizeof(*p));

	p->d = call->daemon;
	p->call = call;
	call->cursor = p;
	call->cancel = on_cancel;
	return p;
}

/* It is not in the list of channels: with its last request it goes. */
static enum ctl_result
asked(struct peer *p)
{
	p->closed = true;
	peer_release(p);
	return CTL_WAIT;
}

enum ctl_result
ctl_dns_txt(struct ctl_call *call)
{
	struct peer *p = asker(call);

	p->txt = on_answer;
	lookup_txt(p, &(struct ipc_txt_query){ .name = ctl_arg(call, "name") });
	return asked(p);
}

enum ctl_result
ctl_dns_ptr(struct ctl_call *call)
{
	char text[INET6_ADDRSTRLEN + 1] = "";
	struct view v = ctl_arg(call, "address");
	unsigned char ip[16];
	size_t n = 0;

	if (v.n < sizeof(text))
		memcpy(text, v.p, v.n);
	if (inet_pton(AF_INET, text, ip) == 1)
		n = 4;
	else if (inet_pton(AF_INET6, text, ip) == 1)
		n = 16;
	if (n == 0)
		return ctl_end(call, 2, "an IP address is needed");
	struct peer *p = asker(call);
	p->ptr = on_ptr;
	lookup_ptr(p, &(struct ipc_ptr_query){ .ip = view_of((char *)ip, n) });
	return asked(p);
}

static const struct ctl_command commands[] = { CTL_DNSD(CTL_ROW){ NULL, NULL } };

void
dnsd_admin(struct daemon *daemon, uint32_t uid, int fd)
{
	struct dnsd *d = daemon->state;

	d->daemon = daemon;
	ctl_serve(daemon->loop, fd, uid, commands, d);
}
