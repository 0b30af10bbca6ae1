/* SPDX-License-Identifier: ISC */
/* The questions of smtpd, one channel for each of its processes. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authd/authd.h"
#include "authd/check.h"
#include "authd/grant.h"

/* A channel from an smtpd process. */
struct client {
	struct channel ch;
	struct authd *d;
	struct client *next;
	struct loop_reap reap;
	struct counts connections; /* of this worker */
	uint32_t connected;	   /* their sum */
};

static uint32_t
now_s(const struct authd *d)
{
	return (uint32_t)(loop_wall_us(d->daemon->loop) / 1000000);
}

static void
may_connect(struct authd *d, struct view client, struct policy_reply *r)
{
	uint32_t wait;
	const char *why = brute_connect(&d->brute, &d->set.brute, client, now_s(d), &wait);

	*r = (struct policy_reply){ .code = 220 };
	if (why)
		policy_connect_wait(why, wait, r);
}

void
clients_end_leases(struct authd *d)
{
	if (!d->leased)
		return;
	d->leased = false;
	for (struct client *c = d->clients; c; c = c->next)
		IPC_SEND(&c->ch, lease_end, .changes = store_changes(d->store));
}

static uint32_t
surplus(const struct client *of)
{
	uint32_t fewest = of->connected;

	for (const struct client *c = of->d->clients; c; c = c->next)
		if (c->connected < fewest)
			fewest = c->connected;
	return of->connected - fewest;
}

static bool
on_connect(struct client *c, struct channel *ch, const struct ipc_connect *m, int *fd)
{
	struct authd *d = c->d;
	struct policy_reply r;

	(void)fd;
	c->connected++;
	d->sessions++;
	counts_add(&c->connections, m->client, 1);
	uint32_t n = counts_add(&d->connections, m->client, 1);
	if (m->req == 0)
		return true;
	if (n <= d->set.connections_per_client || d->set.connections_per_client == 0)
		may_connect(d, m->client, &r);
	else
		policy_connect_many(m->client, &r);
	IPC_SEND(ch, connect_result, .req = m->req, .code = r.code, .esc = esc_pack(r.esc),
	    .text = view_str(r.text), .surplus = surplus(c));
	return true;
}

static bool
on_disconnect(struct client *c, struct channel *ch, const struct ipc_disconnect *m, int *fd)
{
	(void)ch, (void)fd;
	if (c->connected) {
		c->connected--;
		c->d->sessions--;
	}
	counts_sub(&c->connections, m->client, 1);
	counts_sub(&c->d->connections, m->client, 1);
	return true;
}

static bool
send_auth(struct channel *ch, uint64_t req, const struct check_identity *id,
    const struct policy_reply *r, struct view signature)
{
	IPC_SEND(ch, auth_result, .req = req, .code = r->code, .esc = esc_pack(r->esc),
	    .text = view_str(r->text), .tenant = view_str(id->tenant), .user = view_str(id->user),
	    .why = view_str(r->why), .server_signature = signature,
	    .may_future = id->rights & RIGHT_FUTURE, .may_priority = id->rights & RIGHT_PRIORITY);
	return true;
}

/*
 * Guessing is slowed before anything of the secret is looked at. Who has the right secret of a key that
 * may not send did not guess.
 */
static void
judge(struct authd *d, struct check_login *login, struct check_identity *id, struct policy_reply *r)
{
	uint32_t wait;
	const char *why = brute_login(&d->brute, &d->set.brute, login->client, login->user, now_s(d),
	    &wait);

	*id = (struct check_identity){ .tenant = "" };
	if (why) {
		policy_login_wait(why, wait, r);
		return;
	}
	check_auth(d->store, &d->hasher, login, id, r);
	if (r->code == 235)
		brute_good(&d->brute, login->client, login->user, now_s(d));
	else if (r->code == 535 && login->guessed)
		brute_failed(&d->brute, &d->set.brute, login->client, login->user, now_s(d));
}

static bool
on_auth(struct client *c, struct channel *ch, const struct ipc_auth *m, int *fd)
{
	struct check_login login = { .user = m->user, .client = m->client, .secret = m->secret,
		.now_us = clock_wall_us() };
	struct check_identity id;
	struct policy_reply r;

	(void)fd;
	judge(c->d, &login, &id, &r);
	return send_auth(ch, m->req, &id, &r, VIEW(""));
}

static bool
on_scram_start(struct client *c, struct channel *ch, const struct ipc_scram_start *m, int *fd)
{
	unsigned char salt[SALT_BYTES];
	uint32_t iterations;

	(void)fd;
	check_salt(c->d->store, &c->d->hasher, m->user, salt, &iterations);
	IPC_SEND(ch, scram_salt, .req = m->req, .salt = view_of(salt, sizeof(salt)),
	    .iterations = iterations);
	return true;
}

static bool
on_scram_finish(struct client *c, struct channel *ch, const struct ipc_scram_finish *m, int *fd)
{
	struct check_login login = { .user = m->user, .client = m->client, .scram = true,
		.message = m->message, .secret = m->proof, .now_us = clock_wall_us() };
	struct check_identity id;
	struct policy_reply r;

	(void)fd;
	judge(c->d, &login, &id, &r);
	return send_auth(ch, m->req, &id, &r,
	    r.code == 235 ? view_of(login.signature, DIGEST_BYTES) : VIEW(""));
}

static bool
on_mail_check(struct client *c, struct channel *ch, const struct ipc_mail_check *m, int *fd)
{
	const struct check_sender q = { .tenant = m->tenant, .user = m->user, .client = m->client,
		.sender = m->sender, .now_us = loop_wall_us(c->d->daemon->loop) };
	struct check_records found;
	struct policy_reply r;
	struct grant g = { .rewrite = SENDER_KEEP };

	(void)fd;
	check_mail(c->d->store, &q, &found, &r);
	if (r.code == 250)
		grant_mail(c->d, &q, &found, &g, &r);
	if (g.end_leases)
		clients_end_leases(c->d);
	c->d->leased |= g.lease != 0;
	IPC_SEND(ch, mail_result, .req = m->req, .code = r.code, .esc = esc_pack(r.esc),
	    .text = view_str(r.text), .why = view_str(r.why), .rewrite = g.rewrite,
	    .sender = view_str(g.sender), .key_serial = g.key_serial,
	    .header_from_tenant = g.header_from_tenant, .hold = g.hold,
	    .check_rcpts = g.check_rcpts, .priority = g.priority, .reserved_s = g.reserved_s,
	    .may_future = g.may_future, .may_priority = g.may_priority, .retry = view_str(g.retry),
	    .lease = g.lease);
	explicit_bzero(&found, sizeof(found));
	return true;
}

/* Once for all recipients of a frame. -1: the store failed. */
static int
find_records(struct authd *d, struct view tenant, struct view user, struct check_records *found)
{
	struct err e;

	*found = (struct check_records){ .tenant = { .enabled = false } };
	int rc = store_get_tenant(d->store, tenant, &found->tenant, &e);
	if (rc >= 0 && user.n)
		rc = store_get_key(d->store, user, &found->key, &e);
	if (rc < 0)
		log_error("%s", e.text);
	return rc < 0 ? -1 : 0;
}

/* Mail of a client that nobody knows: for hosted domains only (G11). */
static void
judge_stranger(struct authd *d, struct view addr, struct policy_reply *r)
{
	static const struct policy_reply replies[] = {
		{ .code = 554, .esc = { 5, 7, 1 }, .text = "Relay access denied" },
		{ .code = 250, .esc = { 2, 1, 5 }, .text = "Ok" },
	};
	int rc = check_hosted(d->store, check_domain_of(addr));

	if (rc >= 0)
		*r = replies[rc];
}

static void
judge_returned(struct authd *d, struct view addr, struct policy_reply *r)
{
	return_keys_check(&d->return_keys, view_cut(&addr, '@'), clock_wall_us(), r);
}

static bool
is_return_address(const struct authd *d, struct view addr)
{
	return *d->set.bounce_domain && view_iis(check_domain_of(addr), d->set.bounce_domain);
}

static bool
on_rcpt_check(struct client *c, struct channel *ch, const struct ipc_rcpt_check *m, int *fd)
{
	const struct policy_reply failed = { .code = 451, .esc = ESC(4, 3, 0),
		.text = "Temporary lookup failure" };
	struct buf results = BUF_INIT(IPC_BULK_MAX);
	struct view names = m->rcpts;
	struct ipc_rcpt_name name;
	struct check_records found = { .tenant = { .enabled = false } };
	struct policy_reply r;
	bool hold = false;

	(void)fd;
	if (!ipc_records_ok(&ipc_desc_rcpt_name, names))
		return false;
	int rc = m->tenant.n ? find_records(c->d, m->tenant, m->user, &found) : 0;
	while (ipc_next(&ipc_desc_rcpt_name, &names, &name)) {
		r = failed;
		if (is_return_address(c->d, name.addr))
			judge_returned(c->d, name.addr, &r);
		else if (m->tenant.n == 0)
			judge_stranger(c->d, name.addr, &r);
		else if (rc == 0)
			grant_rcpt(c->d, &found, m->tenant, m->user, &hold, &r);
		IPC_RECORD(&results, rcpt_verdict, .code = r.code, .esc = esc_pack(r.esc),
		    .text = view_str(r.text));
	}
	IPC_SEND(ch, rcpt_result, .req = m->req, .hold = hold, .results = buf_view(&results));
	buf_free(&results);
	explicit_bzero(&found, sizeof(found));
	return true;
}

static bool
on_txn_end(struct client *c, struct channel *ch, const struct ipc_txn_end *m, int *fd)
{
	(void)ch, (void)fd;
	grant_end(c->d, m);
	return true;
}

static bool
on_from_check(struct client *c, struct channel *ch, const struct ipc_from_check *m, int *fd)
{
	struct view domains = m->domains;
	struct ipc_from_domain at = { .domain = VIEW("") };
	int rc = 1;

	(void)fd;
	if (!ipc_records_ok(&ipc_desc_from_domain, domains))
		return false;
	while (rc == 1 && ipc_next(&ipc_desc_from_domain, &domains, &at))
		rc = check_domain(c->d->store, m->tenant, at.domain);
	IPC_SEND(ch, from_result, .req = m->req, .ok = rc == 1, .failed = rc < 0,
	    .domain = rc == 1 ? VIEW("") : at.domain);
	return true;
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct client *d = ch->ctx;

	switch (type) {
		IPC_SMTPD_TO_AUTHD(IPC_CASE)
	default:
		return false;
	}
}

static void
client_reaped(struct loop_reap *r)
{
	free(CONTAINER(r, struct client, reap));
}

/* What the worker's sessions held is free again: they ended with it. */
static void
client_close(struct client *c)
{
	struct authd *d = c->d;
	struct client **at = &d->clients;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at == NULL)
		return; /* closed before */
	*at = c->next;
	channel_close(&c->ch);
	counts_give_back(&d->connections, &c->connections);
	d->sessions -= c->connected;
	c->reap.free = client_reaped;
	loop_reap(d->daemon->loop, &c->reap);
	if (d->daemon->draining && d->clients == NULL)
		authd_leave(d); /* the last one that could ask is gone */
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	if (e)
		log_warn("channel from %s %u: %s", role_name(ch->role), ch->instance, e->text);
	client_close(ch->ctx);
}

static struct client *
find_client(struct authd *d, uint32_t instance)
{
	struct client *c = d->clients;

	while (c && c->ch.instance != instance)
		c = c->next;
	return c;
}

void
client_attach(struct authd *d, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { on_frame, on_closed };
	struct client *former = find_client(d, instance), *c = x_calloc(1, sizeof(*c));

	c->d = d;
	c->next = d->clients;
	d->clients = c;
	if (channel_open(&c->ch, d->daemon->loop, fd, &ops, c, ROLE_SMTPD, instance) < 0) {
		log_error("channel to smtpd %u could not be opened", instance);
		close(fd);
	}
	if (former)
		client_close(former);
}

void
client_detach(struct authd *d, uint32_t instance)
{
	struct client *c = find_client(d, instance);

	if (c)
		client_close(c);
}
