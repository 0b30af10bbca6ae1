/* SPDX-License-Identifier: ISC */
/*
 * What a listener allows: pure decisions from its policy and a few facts about the session. Callers
 * carry them out.
 */
#ifndef EKIDEN_SMTPD_POLICY_H
#define EKIDEN_SMTPD_POLICY_H

#include "lib/conf.h"
#include "lib/err.h"

struct policy {
	enum conf_tls tls;
	enum conf_auth_mode auth;
	struct conf_cidrs networks; /* owned by the listener */
	char *tenant;		    /* of the networks; owned by the listener */
};

struct policy_facts {
	bool can_tls; /* the listener has a certificate */
	bool tls;     /* the session is encrypted */
	bool trusted; /* the client's address is in the networks */
	bool authenticated;
};

/* A reply, or code 0: go on. */
struct verdict {
	uint16_t code;
	struct esc esc;
	const char *text; /* static */
};

/* What an accepted MAIL may lead to. */
enum right {
	RIGHT_LOCAL, /* mail for our own domains only: authd says which they are */
	RIGHT_RELAY  /* any recipient, in the name of a tenant */
};

/* Nothing but the commands that lead to TLS is answered (A3, A9). */
bool policy_tls_first(const struct policy *p, const struct policy_facts *f);
bool policy_offers_tls(const struct policy *p, const struct policy_facts *f);
/* AUTH is announced and accepted: never in plain on a listener that has TLS (A01). */
bool policy_offers_auth(const struct policy *p, const struct policy_facts *f);
struct verdict policy_auth(const struct policy *p, const struct policy_facts *f);
/* Whether mail is taken at all, and with which right. */
struct verdict policy_mail(const struct policy *p, const struct policy_facts *f, enum right *right);
/*
 * *rcpt with its domain; without one it is <postmaster>, who is ours in every name (RFC 5321, 4.5.1):
 * *rcpt then becomes the address given for him.
 */
struct verdict policy_rcpt(enum right right, struct view *rcpt, struct view domain,
    const char *postmaster);
/* May a key of this tenant be used here? On a listener for networks and keys both must agree. */
bool policy_tenant(const struct policy *p, struct view tenant);
/* Clients must wait for the greeting and for the reply to EHLO (D3). */
bool policy_strict_order(const struct policy *p);

#endif
