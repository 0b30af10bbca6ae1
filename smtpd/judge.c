/* SPDX-License-Identifier: ISC */
/* What makes a whole message unacceptable: its bytes, its header, who it says it is from. */
#include <string.h>

#include "lib/ipc.h"
#include "lib/log.h"
#include "smtpd/session.h"
#include "smtpd/steps.h"

/* The scanner's fault wins over all else: it is about what the bytes mean. */
static struct verdict
fault_verdict(enum header_fault fault)
{
	static const struct verdict verdicts[] = {
		[HEADER_GOOD] = { 0, { 0 }, NULL },
		[HEADER_TOO_LARGE] = { 552, { 5, 3, 4 }, "Message header size exceeds fixed limit" },
		[HEADER_LINE] = { 500, { 5, 5, 2 }, "Line too long" },
		[HEADER_FRAMING] = { 550, { 5, 5, 2 },
		    "Bare CR, bare LF or NUL in message: lines end in CRLF" },
	};

	return verdicts[fault];
}

enum step_result
step_refuse(struct verdict *v, uint16_t code, struct esc esc, const char *text)
{
	*v = (struct verdict){ code, esc, text };
	return STEP_REFUSE;
}

enum step_result
step_content(struct session *s, struct verdict *v)
{
	const struct txn *t = &s->txn;

	if (t->scan.fault != HEADER_GOOD || t->discard) {
		*v = t->scan.fault != HEADER_GOOD ? fault_verdict(t->scan.fault) : t->refused;
		return STEP_REFUSE;
	}
	if (t->content.bad || t->header.bytes.bad)
		return step_refuse(v, 451, ESC(4, 3, 0), "Error: content does not fit");
	s->txn.hops = header_list_hops(&t->header);
	if (t->hops >= session_limits(s)->hops)
		return step_refuse(v, 554, ESC(5, 4, 6), "Error: too many hops");
	return STEP_GO_ON;
}

/* Domains of the header's authors, each once in a row, as records for authd. */
struct authors {
	bool qualified; /* all of them (U03) */
	bool collect;
	struct buf records;
	struct txn *txn;
	char last[ADDR_DOMAIN_MAX + 1];
};

static void
meet_author(void *ctx, const struct addr *a)
{
	struct authors *all = ctx;
	struct view d = a->domain;

	if (all->txn->env.header_from.n == 0 && view_is_text(addr_whole(a)))
		all->txn->env.header_from = arena_view(&all->txn->arena, addr_whole(a));
	all->qualified &= domain_is_literal(d) || view_index(d, '.') >= 0;
	if (!all->collect || d.n >= sizeof(all->last) || view_iis(d, all->last))
		return;
	memcpy(all->last, d.p, d.n);
	all->last[d.n] = '\0';
	IPC_RECORD(&all->records, from_domain, .domain = d);
}

/* A22: exactly one From field, every address in it valid. */
static bool
read_from(const struct header_list *l, struct authors *all)
{
	ptrdiff_t i = header_list_find(l, HEADER_FROM, 0);

	return l->counts[HEADER_FROM] == 1 &&
	    header_from_read(header_list_value(l, (uint32_t)i), meet_author, all) && all->qualified;
}

static void
got_domains(struct session *s, const struct ipc_from_result *m)
{
	struct buf text = BUF_INIT(512);
	struct verdict v = { 451, ESC(4, 3, 0), "Temporary lookup failure" };

	if (s->state != ST_FINISH)
		return;
	if (m && m->ok) {
		finish_continue(s, NULL);
		return;
	}
	if (m && !m->failed) {
		buf_printf(&text,
		    "Header From rejected: domain not registered for this account: " VIEW_FMT,
		    VIEW_ARG(view_first(m->domain, ADDR_DOMAIN_MAX)));
		v = (struct verdict){ 550, ESC(5, 7, 1), buf_cstr(&text) };
	}
	finish_continue(s, &v);
	buf_free(&text);
}

/* Twice what may be there once: readers disagree about which one counts (P26). */
static enum step_result
judge_duplicates(struct session *s, struct verdict *v)
{
	enum conf_duplicates setting = s->listener->site->duplicates;
	const char *twice = setting == CONF_DUPLICATES_accept ? NULL :
								  header_list_twice(&s->txn.header);

	if (twice == NULL)
		return STEP_GO_ON;
	if (setting == CONF_DUPLICATES_refuse)
		return step_refuse(v, 550, ESC(5, 6, 0),
		    "Header field that may be there once is there twice");
	trace_odd(s, "header field that may be there once is there twice", view_str(twice));
	return STEP_GO_ON;
}

enum step_result
step_header(struct session *s, struct verdict *v)
{
	struct txn *t = &s->txn;
	struct authors all = { .qualified = true, .collect = t->grant.header_from_tenant,
		.records = BUF_INIT(IPC_BULK_MAX), .txn = t };
	enum step_result r = STEP_GO_ON;

	if (t->right != RIGHT_RELAY)
		return STEP_GO_ON; /* what strangers send to our domains is for these to judge */
	if (!read_from(&t->header, &all))
		/* The wording is the contract of the service, without enhanced code. */
		r = step_refuse(v, 500, ESC(0, 0, 0), "Valid Header From Required");
	else
		r = judge_duplicates(s, v);
	if (r == STEP_GO_ON && all.collect) {
		if (all.records.bad)
			r = step_refuse(v, 550, ESC(5, 7, 1),
			    "Header From rejected: too many addresses");
		else if (peers_ask_from(s, buf_view(&all.records), got_domains))
			r = STEP_WAIT;
		else
			r = step_refuse(v, 451, ESC(4, 3, 0), "Temporary lookup failure");
	}
	buf_free(&all.records);
	return r;
}
