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

/* 220, or 421 for the connection that is one too many (A30); max 0: there is no limit. */
void policy_connect(uint32_t open, uint64_t max, struct view client, struct policy_reply *r);

struct policy_auth {
	bool store_failed;
	bool key_known, key_revoked;
	bool tenant_known, tenant_enabled;
	bool secret_ok;
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
};
/* 250; 550; 451. */
void policy_mail(const struct policy_mail *f, struct policy_reply *r);

/* A tenant: 1-64 letters, digits, '.', '_', '-', the first one a letter or digit. */
bool policy_tenant_name_ok(struct view v);
/* A key's user name: 1-64 printable ASCII characters without blanks. */
bool policy_user_name_ok(struct view v);

#endif
