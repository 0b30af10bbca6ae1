/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "authd/return_key.h"
#include "authd/secret.h"

enum { ID_MAX = 255, SECOND_US = 1000000 };

static void
name_of(uint8_t id, char out[static 4])
{
	snprintf(out, 4, "%03u", id);
}

/* Into its place: the newest first; what is behind the last place is dropped. */
static void
insert(struct return_keys *k, uint64_t made_us[TOKEN_SECRETS], const struct token_secret *secret,
    uint64_t made)
{
	unsigned i = 0;

	while (i < TOKEN_SECRETS && k->secrets[i].n && made_us[i] >= made)
		i++;
	if (i == TOKEN_SECRETS)
		return;
	memmove(&k->secrets[i + 1], &k->secrets[i],
	    (TOKEN_SECRETS - 1 - i) * sizeof(k->secrets[0]));
	memmove(&made_us[i + 1], &made_us[i], (TOKEN_SECRETS - 1 - i) * sizeof(made_us[0]));
	k->secrets[i] = *secret;
	made_us[i] = made;
}

static void
take_record(struct token_secret *out, uint64_t id, const struct record_return_key *r)
{
	*out = (struct token_secret){ .id = (uint8_t)id, .n = sizeof(r->secret) };
	memcpy(out->key, r->secret, sizeof(r->secret));
}

int
return_keys_load(struct return_keys *k, struct authd_store *s, struct err *e)
{
	char name[DOMAIN_BYTES + 1] = "";
	uint64_t made_us[TOKEN_SECRETS] = { 0 }, id;
	struct record_return_key r;
	struct token_secret secret;
	int rc;

	*k = (struct return_keys){ 0 };
	while ((rc = store_next_return_key(s, NULL, name, &r, e)) == 1) {
		if (!view_u64(view_str(name), ID_MAX, &id) || id == 0)
			continue;
		take_record(&secret, id, &r);
		insert(k, made_us, &secret, r.made_us);
	}
	k->made_us = made_us[0];
	explicit_bzero(&r, sizeof(r));
	explicit_bzero(&secret, sizeof(secret));
	return rc;
}

/* A number that no secret on disk has: its former token would be checked with the wrong one. */
static uint8_t
next_id(const struct return_keys *k)
{
	return k->secrets[0].id == ID_MAX ? 1 : (uint8_t)(k->secrets[0].id + 1);
}

static int
store_new(struct return_keys *k, struct authd_store *s, uint8_t id,
    const struct record_return_key *r, struct err *e)
{
	const struct token_secret *last = &k->secrets[TOKEN_SECRETS - 1];
	char name[4], old[4];

	name_of(id, name);
	name_of(last->id, old);
	if (store_begin(s, e) < 0)
		return -1;
	if (store_put_return_key(s, view_str(name), r, e) < 0 ||
	    (last->n && store_del(s, STORE_return_key, view_str(old), e) < 0)) {
		store_abort(s);
		return -1;
	}
	return store_commit(s, e);
}

int
return_keys_rotate(struct return_keys *k, struct authd_store *s, uint64_t now_us,
    uint64_t lifetime_s, struct err *e)
{
	uint64_t made_us[TOKEN_SECRETS] = { k->made_us, 0 };
	struct record_return_key r = { .made_us = now_us > k->made_us ? now_us : k->made_us + 1 };
	struct token_secret secret;
	uint8_t id = next_id(k);

	if (k->secrets[0].n && now_us < k->made_us + lifetime_s * SECOND_US)
		return 0;
	int rc = secret_bytes(r.secret, sizeof(r.secret), e);
	if (rc == 0)
		rc = store_new(k, s, id, &r, e);
	if (rc == 0) {
		take_record(&secret, id, &r);
		insert(k, made_us, &secret, r.made_us);
		k->made_us = r.made_us;
		explicit_bzero(&secret, sizeof(secret));
	}
	explicit_bzero(&r, sizeof(r));
	return rc < 0 ? -1 : 1;
}

const struct token_secret *
return_keys_current(const struct return_keys *k)
{
	return k->secrets[0].n ? &k->secrets[0] : NULL;
}

void
return_keys_check(const struct return_keys *k, struct view local, uint64_t now_us,
    struct policy_reply *r)
{
	static const struct {
		uint16_t code;
		struct esc esc;
		const char *text, *why;
	} replies[] = {
		[TOKEN_GOOD] = { 250, { 2, 1, 5 }, "Ok", "" },
		[TOKEN_MALFORMED] = { 550, { 5, 1, 1 },
		    "Recipient address rejected: no such return address", "not a return address" },
		[TOKEN_FORGED] = { 550, { 5, 7, 1 },
		    "Recipient address rejected: not a return address of ours", "forged return address" },
		[TOKEN_EXPIRED] = { 550, { 5, 7, 1 },
		    "Recipient address rejected: return address expired", "expired return address" },
	};
	struct token t;
	enum token_result at = token_parse(k->secrets, TOKEN_SECRETS, local, token_day(now_us), &t);

	*r = (struct policy_reply){ .code = replies[at].code, .esc = replies[at].esc };
	snprintf(r->text, sizeof(r->text), "%s", replies[at].text);
	snprintf(r->why, sizeof(r->why), "%s", replies[at].why);
}

void
return_keys_wipe(struct return_keys *k)
{
	explicit_bzero(k, sizeof(*k));
}
