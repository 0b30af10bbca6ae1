/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "authd/policy.h"
#include "authd/record.h"
#include "lib/log.h"

enum { NAME_CHARS = 64, SHOWN_ADDR_CHARS = 120 };

#define FAILED "Error: authentication failed"
#define NOT_ALLOWED "Sender address rejected: sending is not enabled for this account"
#define NOT_REGISTERED "Sender address rejected: domain not registered for this account"

/* The first row that applies decides; the last one always applies, and refuses. */
struct auth_row {
	bool (*applies)(const struct policy_auth *f);
	uint16_t code;
	struct esc esc;
	const char *text, *why;
};

struct mail_row {
	bool (*applies)(const struct policy_mail *f);
	uint16_t code;
	struct esc esc;
	bool addressed; /* "<sender>: " in front of the text */
	const char *text, *why;
};

#define AUTH_WHEN(name, condition)                                                                 \
	static bool auth_##name(const struct policy_auth *f)                                       \
	{                                                                                          \
		return condition;                                                                  \
	}
AUTH_WHEN(store_failed, f->store_failed)
AUTH_WHEN(unknown, !f->key_known)
AUTH_WHEN(wrong, !f->secret_ok)
AUTH_WHEN(revoked, f->key_revoked)
AUTH_WHEN(no_tenant, !f->tenant_known)
AUTH_WHEN(disabled, !f->tenant_enabled)
AUTH_WHEN(expired, f->key_expired)
AUTH_WHEN(frozen, f->key_frozen)
AUTH_WHEN(tenant_frozen, f->tenant_frozen)
AUTH_WHEN(no_right, f->no_right)
AUTH_WHEN(outside, f->outside)
AUTH_WHEN(granted, f->secret_ok && f->key_known && !f->key_revoked && f->tenant_enabled)
AUTH_WHEN(always, f != NULL)

/* A revoked key has no hash left to be right about, so it comes before the wrong secret. */
static const struct auth_row auth_rows[] = {
	{ auth_store_failed, 454, { 4, 7, 0 }, "Temporary authentication failure", "store failed" },
	{ auth_unknown, 535, { 5, 7, 8 }, FAILED, "unknown user" },
	{ auth_revoked, 535, { 5, 7, 8 }, FAILED, "key is revoked" },
	{ auth_wrong, 535, { 5, 7, 8 }, FAILED, "wrong secret" },
	{ auth_no_tenant, 535, { 5, 7, 8 }, FAILED, "tenant does not exist" },
	{ auth_disabled, 535, { 5, 7, 8 }, FAILED, "tenant is disabled" },
	{ auth_tenant_frozen, 535, { 5, 7, 8 }, FAILED, "tenant is frozen" },
	{ auth_expired, 535, { 5, 7, 8 }, FAILED, "key has expired" },
	{ auth_frozen, 535, { 5, 7, 8 }, FAILED, "key is frozen" },
	{ auth_no_right, 535, { 5, 7, 8 }, FAILED, "key has no right to send" },
	{ auth_outside, 535, { 5, 7, 8 }, FAILED, "address is outside of the allowed networks" },
	{ auth_granted, 235, { 2, 7, 0 }, "Authentication successful", "" },
	{ auth_always, 535, { 5, 7, 8 }, FAILED, "no rule grants it" },
};

#define MAIL_WHEN(name, condition)                                                                 \
	static bool mail_##name(const struct policy_mail *f)                                       \
	{                                                                                          \
		return condition;                                                                  \
	}
MAIL_WHEN(null_sender, f->sender.n == 0)
MAIL_WHEN(store_failed, f->store_failed)
MAIL_WHEN(no_tenant, !f->tenant_known)
MAIL_WHEN(disabled, !f->tenant_enabled)
MAIL_WHEN(no_key, f->by_key && (!f->key_known || !f->key_of_tenant))
MAIL_WHEN(revoked, f->by_key && f->key_revoked)
MAIL_WHEN(tenant_frozen, f->tenant_frozen)
MAIL_WHEN(expired, f->by_key && f->key_expired)
MAIL_WHEN(frozen, f->by_key && f->key_frozen)
MAIL_WHEN(no_right, f->by_key && f->no_right)
MAIL_WHEN(outside, f->outside)
MAIL_WHEN(no_domain, !f->domain_known)
MAIL_WHEN(foreign, !f->domain_of_tenant)
MAIL_WHEN(pending, !f->domain_verified)
MAIL_WHEN(granted, f->tenant_enabled && f->domain_of_tenant && f->domain_verified)
MAIL_WHEN(always, f != NULL)

/*
 * One text for a domain that nobody has and one that another tenant has, and one for a tenant that
 * is off and one that does not exist: a client learns nothing about others.
 */
static const struct mail_row mail_rows[] = {
	{ mail_null_sender, 550, { 0, 0, 0 }, false, "Syntax Error", "null sender" },
	{ mail_store_failed, 451, { 4, 3, 0 }, false, "Temporary lookup failure", "store failed" },
	{ mail_no_tenant, 550, { 5, 7, 1 }, true, NOT_ALLOWED, "tenant does not exist" },
	{ mail_disabled, 550, { 5, 7, 1 }, true, NOT_ALLOWED, "tenant is disabled" },
	{ mail_no_key, 550, { 5, 7, 1 }, true, NOT_ALLOWED, "key is not one of the tenant" },
	{ mail_revoked, 550, { 5, 7, 1 }, true, NOT_ALLOWED, "key is revoked" },
	{ mail_tenant_frozen, 550, { 5, 7, 1 }, true, NOT_ALLOWED, "tenant is frozen" },
	{ mail_expired, 550, { 5, 7, 1 }, true, NOT_ALLOWED, "key has expired" },
	{ mail_frozen, 550, { 5, 7, 1 }, true, NOT_ALLOWED, "key is frozen" },
	{ mail_no_right, 550, { 5, 7, 1 }, true, NOT_ALLOWED, "key has no right to send" },
	{ mail_outside, 550, { 5, 7, 1 }, true, NOT_ALLOWED,
	    "address is outside of the allowed networks" },
	{ mail_no_domain, 550, { 5, 7, 1 }, true, NOT_REGISTERED, "domain is not registered" },
	{ mail_foreign, 550, { 5, 7, 1 }, true, NOT_REGISTERED, "domain is another tenant's" },
	{ mail_pending, 550, { 5, 7, 1 }, true, "Sender address rejected: domain not verified yet",
	    "domain is pending" },
	{ mail_granted, 250, { 2, 1, 0 }, false, "Ok", "" },
	{ mail_always, 550, { 5, 7, 1 }, true, NOT_ALLOWED, "no rule grants it" },
};

void
policy_connect_many(struct view client, struct policy_reply *r)
{
	*r = (struct policy_reply){ .code = 421, .esc = ESC(4, 7, 0), .why = "connection limit" };
	snprintf(r->text, sizeof(r->text), "Error: too many connections from %.*s",
	    VIEW_ARG(view_first(client, NAME_CHARS)));
}

void
policy_connect_wait(const char *why, uint32_t wait_s, struct policy_reply *r)
{
	*r = (struct policy_reply){ .code = 421, .esc = ESC(4, 7, 0) };
	snprintf(r->text, sizeof(r->text),
	    "Error: too many failed authentications, try again in %u s", wait_s);
	snprintf(r->why, sizeof(r->why), "%s", why);
}

void
policy_login_wait(const char *why, uint32_t wait_s, struct policy_reply *r)
{
	policy_connect_wait(why, wait_s, r);
	r->code = 454;
}

void
policy_auth(const struct policy_auth *f, struct policy_reply *r)
{
	const struct auth_row *row = auth_rows;

	while (!row->applies(f))
		row++;
	r->code = row->code;
	r->esc = row->esc;
	snprintf(r->text, sizeof(r->text), "%s", row->text);
	snprintf(r->why, sizeof(r->why), "%s", row->why);
}

/* "<sender>: " for a reply line: cut when long, and ASCII, whatever the sender was. */
static void
put_sender(struct view sender, struct buf *out)
{
	buf_putc(out, '<');
	for (size_t i = 0; i < sender.n && i < SHOWN_ADDR_CHARS; i++)
		buf_putc(out, sender.p[i] >= 0x20 && sender.p[i] < 0x7f ? sender.p[i] : '?');
	if (sender.n > SHOWN_ADDR_CHARS)
		buf_puts(out, "...");
	buf_puts(out, ">: ");
}

void
policy_mail(const struct policy_mail *f, struct policy_reply *r)
{
	const struct mail_row *row = mail_rows;
	struct buf text = BUF_INIT(POLICY_TEXT_MAX);

	while (!row->applies(f))
		row++;
	if (row->addressed)
		put_sender(f->sender, &text);
	buf_puts(&text, row->text);
	r->code = row->code;
	r->esc = row->esc;
	snprintf(r->text, sizeof(r->text), "%s", buf_cstr(&text));
	snprintf(r->why, sizeof(r->why), "%s", row->why);
	buf_free(&text);
}

void
policy_over_quota(const struct policy_quota *q, struct policy_reply *r)
{
	static const struct {
		uint16_t code;
		struct esc esc;
	} rows[] = {
		[OVER_DEFER] = { 452, { 4, 7, 0 } },
		[OVER_REJECT] = { 550, { 5, 7, 0 } },
		[OVER_HOLD] = { 250, { 2, 1, 0 } },
	};
	uint32_t row = q->over < sizeof(rows) / sizeof(rows[0]) ? q->over : OVER_DEFER;

	r->code = rows[row].code;
	r->esc = rows[row].esc;
	snprintf(r->text, sizeof(r->text),
	    "Error: quota of %u %.*s for %.*s is used up; the next is taken in %llu s", q->max,
	    VIEW_ARG(q->quota), VIEW_ARG(q->of), (unsigned long long)q->wait_s);
	snprintf(r->why, sizeof(r->why), "quota");
}

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool
policy_tenant_name_ok(struct view v)
{
	if (v.n == 0 || v.n > NAME_CHARS || !is_alnum(v.p[0]))
		return false;
	for (size_t i = 0; i < v.n; i++)
		if (!is_alnum(v.p[i]) && v.p[i] != '.' && v.p[i] != '_' && v.p[i] != '-')
			return false;
	return true;
}

bool
policy_user_name_ok(struct view v)
{
	if (v.n == 0 || v.n > NAME_CHARS)
		return false;
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] <= 0x20 || v.p[i] >= 0x7f)
			return false;
	return true;
}
