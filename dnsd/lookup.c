/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "dnsd/lookup_impl.h"

static void on_part(void *arg, const struct resolver_result *result);

static struct lookup **
bucket(struct dnsd *d, enum lookup_kind kind, const char *name)
{
	uint32_t h = 2166136261u ^ (uint32_t)kind;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return &d->lookups[h % LOOKUP_BUCKETS];
}

static struct lookup *
find(struct dnsd *d, enum lookup_kind kind, const struct answer_name *name)
{
	struct lookup *l = *bucket(d, kind, name->text);

	while (l && (l->kind != kind || l->generation != d->generation ||
			strcmp(l->name.text, name->text) != 0))
		l = l->next;
	return l;
}

static void
lookup_free(struct lookup *l)
{
	for (size_t i = 0; i < l->host_count; i++) {
		buf_free(&l->hosts[i].addr[V4]);
		buf_free(&l->hosts[i].addr[V6]);
	}
	free(l->hosts);
	buf_free(&l->strings);
	free(l);
}

static void
request_reaped(struct loop_reap *r)
{
	free(CONTAINER(r, struct request, reap));
}

/* Answers one request, which is no longer on a list. */
static void
request_answer(struct request *q)
{
	struct loop *loop = q->peer->d->daemon->loop;

	lookup_reply(q->lookup, q->peer, q->req);
	loop_timer_cancel(loop, &q->timer);
	q->peer->requests--;
	peer_release(q->peer);
	q->reap.free = request_reaped;
	loop_reap(loop, &q->reap);
}

/* The deadline: the rest of the look-up counts as failed. */
static void
request_expired(struct loop_timer *t)
{
	struct request *q = CONTAINER(t, struct request, timer);
	struct request **at = &q->lookup->requests;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	request_answer(q);
}

/* The last question is answered. */
static void
lookup_finish(struct lookup *l)
{
	struct lookup **at = bucket(l->d, l->kind, l->name.text);

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	l->d->lookup_count--;
	for (struct request *q; (q = l->requests) != NULL;) {
		l->requests = q->next;
		request_answer(q);
	}
	lookup_free(l);
}

static void
lookup_put(struct lookup *l)
{
	if (--l->pending == 0)
		lookup_finish(l);
}

static void
ask(struct lookup *l, struct part *part, const char *name)
{
	l->pending++;
	resolver_ask(l->d->resolver, name, part->type, on_part, part);
}

static void
ask_family(struct lookup *l, struct host *h, int family)
{
	h->part[family] = (struct part){ l, h, family == V4 ? TYPE_A : TYPE_AAAA };
	h->asked[family] = true;
	ask(l, &h->part[family], h->name.text);
}

static void
hosts_alloc(struct lookup *l, size_t count)
{
	l->hosts = x_calloc(count, sizeof(*l->hosts));
	for (size_t i = 0; i < count; i++)
		for (int f = 0; f < FAMILIES; f++) {
			buf_init(&l->hosts[i].addr[f], LOOKUP_ADDR_MAX * (f == V4 ? 4u : 16u));
			l->hosts[i].status[f] = DNS_TEMP; /* until it is answered */
		}
}

static void
ask_hosts(struct lookup *l)
{
	for (size_t i = 0; i < l->host_count; i++)
		for (int f = 0; f < FAMILIES; f++)
			if (l->kind != LOOKUP_PTR || (f == V4) == (l->ip_len == 4))
				ask_family(l, &l->hosts[i], f);
}

static void
single_host(struct lookup *l, uint16_t pref)
{
	hosts_alloc(l, 1);
	l->hosts[0].name = l->name;
	l->hosts[0].pref = pref;
	l->host_count = 1;
	ask_hosts(l);
}

struct exchange {
	uint16_t pref;
	struct answer_name name;
};

static int
exchange_order(const void *a, const void *b)
{
	const struct exchange *x = a, *y = b;

	return x->pref != y->pref ? (x->pref < y->pref ? -1 : 1)
				  : strcmp(x->name.text, y->name.text);
}

static bool
already_listed(const struct lookup *l, const struct answer_name *name)
{
	for (size_t i = 0; i < l->host_count; i++)
		if (strcmp(l->hosts[i].name.text, name->text) == 0)
			return true;
	return false;
}

/* Sorted by preference, each host once with its best one, at most LOOKUP_MX_MAX. */
static void
take_exchanges(struct lookup *l, struct exchange *x, size_t count)
{
	qsort(x, count, sizeof(*x), exchange_order);
	hosts_alloc(l, count < LOOKUP_MX_MAX ? count : LOOKUP_MX_MAX);
	for (size_t i = 0; i < count && l->host_count < LOOKUP_MX_MAX; i++)
		if (!already_listed(l, &x[i].name)) {
			struct host *h = &l->hosts[l->host_count++];
			h->pref = x[i].pref;
			h->name = x[i].name;
		}
}

/*
 * RFC 5321, 5.1 and RFC 7505: with MX records there is no fallback to the name itself; a null MX
 * beside others says nothing. Exchanges that are no host names are left out.
 */
static void
take_mx(struct lookup *l, struct answer *a)
{
	size_t count = 0, cap = 0, records = 0;
	struct exchange *x = NULL, one;
	struct answer_record r;
	bool null_mx = false;

	for (; answer_next(a, &r); records++) {
		if (!answer_mx(a, &r, &one.pref, &one.name))
			continue;
		if (one.name.text[0] == '\0') {
			null_mx = true;
			continue;
		}
		if (count == cap) {
			cap = cap ? cap * 2 : 16;
			x = x_realloc(x, cap, sizeof(*x));
		}
		x[count++] = one;
	}
	if (count)
		take_exchanges(l, x, count);
	else
		l->status = null_mx && records == 1 ? DNS_NULLMX : DNS_NODATA;
	free(x);
	ask_hosts(l);
}

static void
take_ptr(struct lookup *l, struct answer *a)
{
	struct answer_record r;

	hosts_alloc(l, LOOKUP_PTR_MAX);
	l->host_count = LOOKUP_PTR_MAX; /* all buffers are freed */
	size_t n = 0;
	while (n < LOOKUP_PTR_MAX && answer_next(a, &r))
		if (answer_ptr(a, &r, &l->hosts[n].name))
			n++;
	l->host_count = n;
	ask_hosts(l);
}

static void
take_txt(struct lookup *l, struct answer *a)
{
	struct buf one = BUF_INIT(LOOKUP_TXT_BYTES);
	struct answer_record r;

	for (size_t n = 0; n < LOOKUP_TXT_MAX && answer_next(a, &r); n++) {
		buf_clear(&one);
		size_t before = buf_len(&l->strings);
		if (!answer_txt(&r, &one) || one.bad)
			continue;
		IPC_RECORD(&l->strings, txt_string, .text = buf_view(&one));
		if (l->strings.bad) {
			l->strings.bad = false;
			buf_truncate(&l->strings, before);
			break;
		}
	}
	buf_free(&one);
}

static void
take_addresses(struct host *h, int family, struct answer *a)
{
	struct answer_record r;

	while (answer_next(a, &r))
		if (r.rdata.n == (family == V4 ? 4u : 16u))
			buf_putv(&h->addr[family], r.rdata);
	h->addr[family].bad = false; /* those over the limit are left out */
}

/* The first question; no MX record is the implicit one. */
static void
on_first(struct lookup *l, struct answer *a, bool secure)
{
	l->status = a->status;
	l->secure = secure;
	if (a->ttl_s < l->ttl_s)
		l->ttl_s = a->ttl_s;
	if (l->kind == LOOKUP_MX && l->status == DNS_NODATA) {
		l->status = DNS_OK;
		l->implicit = true;
		single_host(l, 0);
	} else if (l->status == DNS_OK && l->kind == LOOKUP_MX) {
		take_mx(l, a);
	} else if (l->status == DNS_OK && l->kind == LOOKUP_PTR) {
		take_ptr(l, a);
	} else if (l->status == DNS_OK) {
		take_txt(l, a);
	}
}

static void
on_part(void *arg, const struct resolver_result *result)
{
	struct part *part = arg;
	struct lookup *l = part->lookup;
	struct host *h = part->host;
	struct answer a;

	answer_open(&a, result->packet, part->type);
	if (result->status != DNS_OK)
		a.status = result->status;
	if (h == NULL) {
		on_first(l, &a, result->secure);
	} else {
		int family = part->type == TYPE_A ? V4 : V6;
		h->status[family] = a.status;
		h->insecure = h->insecure || !result->secure;
		if (a.status == DNS_OK)
			take_addresses(h, family, &a);
		if (a.status == DNS_OK && a.ttl_s < l->ttl_s)
			l->ttl_s = a.ttl_s;
	}
	lookup_put(l);
}

static void
lookup_start(struct lookup *l)
{
	static const uint16_t first_type[] = {
		[LOOKUP_MX] = TYPE_MX, [LOOKUP_PTR] = TYPE_PTR, [LOOKUP_TXT] = TYPE_TXT
	};

	if (l->kind == LOOKUP_HOST) {
		l->status = DNS_OK;
		l->secure = true; /* each host has its own mark */
		single_host(l, 0);
		return;
	}
	l->first = (struct part){ l, NULL, first_type[l->kind] };
	ask(l, &l->first, l->name.text);
}

static struct lookup *
lookup_new(struct dnsd *d, enum lookup_kind kind, const struct answer_name *name)
{
	struct lookup *l = x_calloc(1, sizeof(*l)), **at = bucket(d, kind, name->text);

	*l = (struct lookup){ .d = d,
		.next = *at,
		.kind = kind,
		.generation = d->generation,
		.name = *name,
		.status = DNS_TEMP,
		.ttl_s = UINT32_MAX,
		.strings = BUF_INIT(IPC_BULK_MAX),
		.pending = 1 };
	*at = l;
	d->lookup_count++;
	return l;
}

/* Joins the look-up that is under way, or starts one. */
static void
request(struct peer *p, uint64_t req, enum lookup_kind kind, const struct answer_name *name,
    struct view ip)
{
	struct dnsd *d = p->d;
	struct lookup *l = find(d, kind, name);
	bool fresh = l == NULL;

	if (fresh)
		l = lookup_new(d, kind, name);
	struct request *q = x_calloc(1, sizeof(*q));
	*q = (struct request){ .req = req,
		.peer = p,
		.lookup = l,
		.next = l->requests,
		.timer.fire = request_expired };
	l->requests = q;
	p->requests++;
	loop_timer_set(d->daemon->loop, &q->timer, d->daemon->conf->resolver.timeout * 1000);
	if (!fresh)
		return;
	if (ip.n) {
		memcpy(l->ip, ip.p, ip.n);
		l->ip_len = ip.n;
	}
	lookup_start(l);
	lookup_put(l);
}

static bool
overloaded(const struct peer *p)
{
	return p->d->lookup_count >= LOOKUPS_MAX;
}

void
lookup_mx(struct peer *p, const struct ipc_mx_query *m)
{
	struct answer_name name;

	if (!answer_name_parse(m->name, &name))
		IPC_SEND(&p->ch, mx_answer, .req = m->req, .status = DNS_NXDOMAIN,
		    .text =
			VIEW("Host or domain name not found. The name is not valid in the DNS"));
	else if (overloaded(p))
		IPC_SEND(&p->ch, mx_answer, .req = m->req, .status = DNS_TEMP,
		    .text = VIEW("Name service is overloaded"));
	else
		request(p, m->req, m->mx ? LOOKUP_MX : LOOKUP_HOST, &name, VIEW(""));
}

static bool
is_loopback(struct view ip)
{
	static const uint8_t one[16] = { [15] = 1 };

	return ip.n == 4 ? ip.p[0] == 127 : memcmp(ip.p, one, sizeof(one)) == 0;
}

void
lookup_ptr(struct peer *p, const struct ipc_ptr_query *m)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct view ip = m->ip;
	struct answer_name name;

	if (ip.n == 16 && memcmp(ip.p, mapped, sizeof(mapped)) == 0)
		ip = view_skip(ip, 12);
	if ((ip.n != 4 && ip.n != 16) || overloaded(p)) {
		ptr_answered(p, &(struct ipc_ptr_answer){ .req = m->req, .status = DNS_TEMP });
	} else if (is_loopback(ip)) {
		ptr_answered(p, &(struct ipc_ptr_answer){ .req = m->req, .status = DNS_OK,
		    .name = VIEW("localhost") });
	} else {
		answer_reverse((const uint8_t *)ip.p, ip.n, &name);
		request(p, m->req, LOOKUP_PTR, &name, ip);
	}
}

void
lookup_txt(struct peer *p, const struct ipc_txt_query *m)
{
	struct answer_name name;

	if (!answer_name_parse(m->name, &name))
		txt_answered(p, &(struct ipc_txt_answer){ .req = m->req, .status = DNS_NXDOMAIN });
	else if (overloaded(p))
		txt_answered(p, &(struct ipc_txt_answer){ .req = m->req, .status = DNS_TEMP });
	else
		request(p, m->req, LOOKUP_TXT, &name, VIEW(""));
}
