/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authd/admin.h"
#include "authd/secret.h"
#include "authd/txt.h"
#include "lib/addr.h"
#include "lib/log.h"

#define CHALLENGE_LABEL "_ekiden-challenge."
#define CHALLENGE_VALUE "ekiden-verify="

enum { DNS_NAME_MAX = 253 };

/* A look-up under way: the call's cursor. */
struct verification {
	struct txt_wait wait;
	struct ctl_call *call;
	char domain[DOMAIN_BYTES + 1];
};

/* The domain of the arguments in canonical form, owned by out. false: the call is over. */
static bool
named_domain(struct ctl_call *call, struct buf *out, enum ctl_result *result)
{
	if (domain_canonical(ctl_arg(call, "domain"), out) && buf_len(out) <= DNS_NAME_MAX)
		return true;
	*result = ctl_end(call, ADMIN_USAGE, "this is not a domain name");
	return false;
}

int
admin_domain(struct ctl_call *call, struct buf *name, struct record_domain *d,
    enum ctl_result *result)
{
	struct err e;

	if (!named_domain(call, name, result))
		return 0;
	int rc = store_get_domain(admin_store(call), buf_view(name), d, &e);
	if (rc < 0)
		*result = admin_fail(call, &e);
	else if (rc == 0)
		*result =
		    ctl_end(call, ADMIN_USAGE, "domain %s is not registered", buf_cstr(name));
	return rc == 1;
}

static const char *
state_of(const struct record_domain *d)
{
	return d->verified ? "verified" : "pending";
}

/* The TXT record that proves who runs the domain, as long as that is open. */
static void
put_challenge(struct ctl_call *call, const char *name, const struct record_domain *d)
{
	struct buf b = BUF_INIT(1024);

	if (d->verified)
		return;
	buf_printf(&b, CHALLENGE_LABEL "%s", name);
	ctl_text(call, "txt_name", buf_view(&b));
	buf_clear(&b);
	buf_printf(&b, CHALLENGE_VALUE "%s", d->token);
	ctl_text(call, "txt_value", buf_view(&b));
	buf_free(&b);
}

static void
short_row(struct ctl_call *call, const char *name, const struct record_domain *d)
{
	ctl_str(call, "domain", name);
	ctl_str(call, "tenant", d->tenant);
	ctl_str(call, "state", state_of(d));
	put_challenge(call, name, d);
	ctl_row_end(call);
}

static enum ctl_result
add(struct ctl_call *call, struct view tenant, struct buf *name)
{
	struct authd_store *s = admin_store(call);
	struct record_domain d = { .created_us = clock_wall_us(), .created_by = call->uid };
	struct err e;

	int rc = store_get_domain(s, buf_view(name), &d, &e);
	if (rc == 1)
		return ctl_end(call, ADMIN_USAGE,
		    "domain %s is registered for tenant %s already (%s)", buf_cstr(name), d.tenant,
		    state_of(&d));
	d.created_us = clock_wall_us();
	d.created_by = call->uid;
	memcpy(d.tenant, tenant.p, tenant.n);
	if (ctl_flag(call, "verified")) {
		d.verified = d.forced = true;
		d.verified_us = d.created_us;
		d.verified_by = call->uid;
	} else if (buf_len(name) + strlen(CHALLENGE_LABEL) > DNS_NAME_MAX) {
		return ctl_end(call, ADMIN_FAILED,
		    "no room for the TXT record before a name this long");
	}
	if (rc < 0 || secret_text(d.token, DOMAIN_TOKEN_CHARS, &e) < 0 || store_begin(s, &e) < 0 ||
	    store_put_domain(s, buf_view(name), &d, &e) < 0)
		return admin_fail(call, &e);
	if (admin_commit(call, d.tenant, "domain %s added to tenant %s, %s", buf_cstr(name), d.tenant,
		state_of(&d)))
		short_row(call, buf_cstr(name), &d);
	return CTL_DONE;
}

enum ctl_result
ctl_domain_add(struct ctl_call *call)
{
	struct buf name = BUF_INIT(DOMAIN_BYTES);
	struct record_tenant t;
	enum ctl_result result;
	struct view tenant;

	if (named_domain(call, &name, &result) &&
	    admin_tenant(call, "tenant", &tenant, &t, &result))
		result = add(call, tenant, &name);
	buf_free(&name);
	return result;
}

static void
domain_row(struct ctl_call *call, const char *name, const void *record)
{
	const struct record_domain *d = record;

	ctl_str(call, "domain", name);
	ctl_str(call, "tenant", d->tenant);
	ctl_str(call, "state", state_of(d));
	ctl_time(call, "created", d->created_us);
	ctl_row_end(call);
}

enum ctl_result
ctl_domain_list(struct ctl_call *call)
{
	struct record_domain d;

	return admin_list(call, STORE_domain, &d, domain_row);
}

enum ctl_result
ctl_domain_show(struct ctl_call *call)
{
	struct buf name = BUF_INIT(DOMAIN_BYTES);
	enum ctl_result result = CTL_DONE;
	struct record_domain d;

	if (admin_domain(call, &name, &d, &result)) {
		ctl_text(call, "domain", buf_view(&name));
		ctl_str(call, "tenant", d.tenant);
		ctl_str(call, "state", state_of(&d));
		put_challenge(call, buf_cstr(&name), &d);
		ctl_time(call, "created", d.created_us);
		ctl_number(call, "created_by", d.created_by);
		ctl_time(call, "verified", d.verified_us);
		ctl_bool(call, "forced", d.forced);
		admin_settings(call, STORE_domain, &d);
		ctl_row_end(call);
	}
	buf_free(&name);
	return result;
}

static enum ctl_result
mark_verified(struct ctl_call *call, const char *name, struct record_domain *d, bool forced)
{
	struct authd_store *s = admin_store(call);
	struct err e;

	d->verified = true;
	d->forced = forced;
	d->verified_us = clock_wall_us();
	d->verified_by = call->uid;
	if (store_begin(s, &e) < 0 || store_put_domain(s, view_str(name), d, &e) < 0)
		return admin_fail(call, &e);
	if (admin_commit(call, d->tenant, "domain %s of tenant %s verified%s", name, d->tenant,
		forced ? " by the admin's word" : ""))
		short_row(call, name, d);
	return CTL_DONE;
}

/* One of the strings is the challenge of this domain. */
static bool
has_challenge(struct view strings, const struct record_domain *d)
{
	struct ipc_txt_string t;
	char want[sizeof(CHALLENGE_VALUE) + TOKEN_BYTES];

	snprintf(want, sizeof(want), CHALLENGE_VALUE "%s", d->token);
	while (strings.n && ipc_next(&ipc_desc_txt_string, &strings, &t))
		if (view_is(view_trim(t.text), want))
			return true;
	return false;
}

static const char *
dns_problem(enum dns_status status)
{
	switch (status) {
	case DNS_OK:
		return "other TXT records are there, this one is not";
	case DNS_NXDOMAIN:
	case DNS_NODATA:
		return "there is no such record";
	case DNS_BOGUS:
		return "its DNSSEC signature is wrong";
	default:
		return "the look-up failed, try again";
	}
}

static void
judge(struct verification *v, enum dns_status status, struct view strings, struct view text)
{
	struct ctl_call *call = v->call;
	struct record_domain d;
	struct err e;
	/* Read again: the admin may have changed it while the look-up ran. */
	int rc = store_get_domain(admin_store(call), view_str(v->domain), &d, &e);

	if (rc < 0)
		admin_fail(call, &e);
	else if (rc == 0)
		ctl_end(call, ADMIN_FAILED, "domain %s is not registered any more", v->domain);
	else if (status == DNS_OK && has_challenge(strings, &d))
		mark_verified(call, v->domain, &d, false);
	else
		ctl_end(call, ADMIN_FAILED,
		    CHALLENGE_LABEL "%s TXT \"" CHALLENGE_VALUE "%s\": %s%s" VIEW_FMT, v->domain,
		    d.token, dns_problem(status), text.n ? ": " : "",
		    VIEW_ARG(view_first(text, 200)));
}

static void
on_txt(struct txt_wait *w, enum dns_status status, struct view strings, struct view text)
{
	struct verification *v = CONTAINER(w, struct verification, wait);
	struct ctl_call *call = v->call;

	judge(v, status, strings, text);
	ctl_finish(call); /* frees v */
}

static void
on_cancel(struct ctl_call *call)
{
	struct verification *v = call->cursor;

	txt_cancel(&v->wait);
}

static enum ctl_result
look_up(struct ctl_call *call, const char *name)
{
	struct txt_client *client = store_txt_client(admin_store(call));
	struct verification *v;
	struct buf query = BUF_INIT(DNS_NAME_MAX + 32);

	if (client == NULL)
		return ctl_end(call, ADMIN_FAILED,
		    "the TXT record can be looked up by the running suite only; --force takes your "
		    "word");
	v = x_calloc(1, sizeof(*v));
	v->call = call;
	v->wait.done = on_txt;
	snprintf(v->domain, sizeof(v->domain), "%s", name);
	call->cursor = v;
	call->cancel = on_cancel;
	buf_printf(&query, CHALLENGE_LABEL "%s", name);
	txt_query(client, &v->wait, buf_view(&query));
	buf_free(&query);
	return CTL_WAIT;
}

enum ctl_result
ctl_domain_verify(struct ctl_call *call)
{
	struct buf name = BUF_INIT(DOMAIN_BYTES);
	enum ctl_result result = CTL_DONE;
	struct record_domain d;

	if (admin_domain(call, &name, &d, &result)) {
		if (d.verified)
			short_row(call, buf_cstr(&name), &d);
		else if (ctl_flag(call, "force"))
			result = mark_verified(call, buf_cstr(&name), &d, true);
		else
			result = look_up(call, buf_cstr(&name));
	}
	buf_free(&name);
	return result;
}

enum ctl_result
ctl_domain_delete(struct ctl_call *call)
{
	struct authd_store *s = admin_store(call);
	struct buf name = BUF_INIT(DOMAIN_BYTES);
	enum ctl_result result = CTL_DONE;
	struct record_domain d;
	struct err e;

	if (admin_domain(call, &name, &d, &result)) {
		if (store_begin(s, &e) < 0 || store_del(s, STORE_domain, buf_view(&name), &e) < 0)
			admin_fail(call, &e);
		else
			admin_commit(call, d.tenant, "domain %s of tenant %s deleted",
			    buf_cstr(&name), d.tenant);
	}
	buf_free(&name);
	return result;
}
