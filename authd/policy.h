/* SPDX-License-Identifier: ISC */
/*
 * Who may log in and who may use which sender: facts in, reply out. Nothing here reads a store, a
 * clock or a secret, so every row can be tested.
 */
#ifndef EKIDEN_AUTHD_POLICY_H
#define EKIDEN_AUTHD_POLICY_H

#include "lib/esc.h"

enum { POLICY_TEXT_MAX = 255 };

struct policy_reply {
	uint16_t code;
	struct esc esc;			/* may be none */
	char text[POLICY_TEXT_MAX + 1]; /* for the client: printable ASCII */
	char why[POLICY_TEXT_MAX + 1];	/* for the log only; "" when granted */
};

/* 421 for a connection that is one too many (A30), or for a client that has to wait. */
void policy_connect_many(struct view client, struct policy_reply *r);
void policy_connect_wait(const char *why, uint32_t wait_s, struct policy_reply *r);
/* 454: as many words for whoever has to wait, and whatever for. */
void policy_login_wait(const char *why, uint32_t wait_s, struct policy_reply *r);

struct policy_auth {
	bool store_failed;
	bool key_known, key_revoked;
	bool tenant_known, tenant_enabled;
	bool secret_ok;
	bool key_expired, key_frozen, tenant_frozen;
	bool no_right; /* the key may not send (G3) */
	bool outside;  /* the client's address is in no list of networks, where there is one (A8) */
};
/* 235; 535 with one and the same text for every refusal; 454. */
void policy_auth(const struct policy_auth *f, struct policy_reply *r);

struct policy_mail {
	struct view sender; /* as given, without brackets; empty: the null sender */
	bool store_failed;
	bool by_key; /* false: identified by network */
	bool key_known, key_revoked, key_of_tenant;
	bool tenant_known, tenant_enabled;
	bool domain_known; /* the sender has a domain that somebody registered */
	bool domain_of_tenant, domain_verified;
	bool key_expired, key_frozen, tenant_frozen, no_right, outside; /* as above */
};
/* 250; 550; 451. */
void policy_mail(const struct policy_mail *f, struct policy_reply *r);

/*
 * Over a quota (P20): the text names it and says when it frees. over: what the key's policy is
 * (enum over_quota); OVER_HOLD grants.
 */
struct policy_quota {
	struct view of; /* "tenant acme", "key app" */
	struct view quota; /* "messages an hour" */
	uint32_t max;
	uint64_t wait_s;
	uint32_t over;
};
void policy_over_quota(const struct policy_quota *q, struct policy_reply *r);

/* A tenant: 1-64 letters, digits, '.', '_', '-', the first one a letter or digit. */
bool policy_tenant_name_ok(struct view v);
/* A key's user name: 1-64 printable ASCII characters without blanks. */
bool policy_user_name_ok(struct view v);

#endif
