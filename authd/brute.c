/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "authd/brute.h"
#include "lib/table.h"

enum kind { ADDRESS = 1, NETWORK = 2, USER = 3, ADDRESS_OF_USER = 4 };

void
brute_init(struct brute *b, uint64_t seed)
{
	b->seed = seed;
	b->entry = x_calloc(BRUTE_SETS * BRUTE_WAYS, sizeof(*b->entry));
}

void
brute_free(struct brute *b)
{
	free(b->entry);
	b->entry = NULL;
}

static uint64_t
id_of(const struct brute *b, enum kind kind, struct view name)
{
	uint64_t id = hash_view(name, hash_u64(b->seed + kind));

	return id ? id : 1;
}

/* /24 or /64; what is no address is its own network. */
static struct view
network_of(struct view client, unsigned char out[16])
{
	char text[INET6_ADDRSTRLEN];

	if (client.n >= sizeof(text))
		return client;
	memcpy(text, client.p, client.n);
	text[client.n] = '\0';
	if (inet_pton(AF_INET, text, out) == 1)
		return view_of(out, 3);
	if (inet_pton(AF_INET6, text, out) == 1)
		return view_of(out, 8);
	return client;
}

static struct brute_entry *
set_of(const struct brute *b, uint64_t id)
{
	return &b->entry[hash_u64(id) % BRUTE_SETS * BRUTE_WAYS];
}

static const struct brute_entry *
find(const struct brute *b, enum kind kind, struct view name)
{
	static const struct brute_entry none;
	uint64_t id = id_of(b, kind, name);
	const struct brute_entry *set = set_of(b, id);

	for (int i = 0; i < BRUTE_WAYS; i++)
		if (set[i].id == id)
			return &set[i];
	return &none;
}

/* Halved for each BRUTE_FORGET_S that passed. */
static uint32_t
failures_now(const struct brute_entry *e, uint32_t now_s)
{
	uint32_t halves = now_s > e->last_s ? (now_s - e->last_s) / BRUTE_FORGET_S : 0;

	return halves < 32 ? e->failures >> halves : 0;
}

/* What an entry says: the less, the sooner its place is another's. */
static uint64_t
weight(const struct brute_entry *e, uint32_t now_s)
{
	uint32_t seen = e->last_s > e->good_s ? e->last_s : e->good_s;

	return e->id ? (uint64_t)failures_now(e, now_s) << 32 | seen : 0;
}

static struct brute_entry *
find_or_make(struct brute *b, enum kind kind, struct view name, uint32_t now_s)
{
	uint64_t id = id_of(b, kind, name);
	struct brute_entry *set = set_of(b, id), *least = set;

	for (int i = 0; i < BRUTE_WAYS; i++) {
		if (set[i].id == id)
			return &set[i];
		if (weight(&set[i], now_s) < weight(least, now_s))
			least = &set[i];
	}
	*least = (struct brute_entry){ .id = id };
	return least;
}

static void
fail(struct brute *b, enum kind kind, struct view name, uint32_t times,
    const struct brute_settings *set, uint32_t now_s)
{
	struct brute_entry *e = find_or_make(b, kind, name, now_s);
	uint64_t wait = set->backoff_s, free_ones = (uint64_t)set->failures * times;

	e->failures = failures_now(e, now_s) + 1;
	e->last_s = now_s;
	if (e->failures < free_ones)
		return;
	uint64_t over = (e->failures - free_ones) / times;
	wait = over < 32 ? wait << over : set->backoff_max_s;
	e->until_s = now_s + (uint32_t)(wait < set->backoff_max_s ? wait : set->backoff_max_s);
}

/* The pair of an address and a user, as one name. */
static struct view
pair(struct view client, struct view user, char out[static 192])
{
	struct buf b = { .p = out, .cap = 192, .max = 192 };

	buf_putv(&b, view_first(client, 64));
	buf_putc(&b, '\0');
	buf_putv(&b, view_first(user, 64));
	return buf_view(&b);
}

void
brute_failed(struct brute *b, const struct brute_settings *set, struct view client, struct view user,
    uint32_t now_s)
{
	unsigned char net[16];

	if (set->failures == 0)
		return;
	fail(b, ADDRESS, client, 1, set, now_s);
	fail(b, NETWORK, network_of(client, net), BRUTE_NETWORK_TIMES, set, now_s);
	fail(b, USER, user, BRUTE_USER_TIMES, set, now_s);
}

void
brute_good(struct brute *b, struct view client, struct view user, uint32_t now_s)
{
	char both[192];
	struct brute_entry *e = find_or_make(b, ADDRESS, client, now_s);

	e->failures = e->until_s = 0;
	e->good_s = now_s;
	find_or_make(b, ADDRESS_OF_USER, pair(client, user, both), now_s)->good_s = now_s;
}

static bool
trusted(const struct brute_entry *e, uint32_t now_s)
{
	return e->good_s && now_s - e->good_s < BRUTE_TRUST_S;
}

static bool
waits(const struct brute_entry *e, uint32_t now_s, uint32_t *wait_s)
{
	if (e->until_s <= now_s)
		return false;
	*wait_s = e->until_s - now_s;
	return true;
}

const char *
brute_connect(const struct brute *b, const struct brute_settings *set, struct view client,
    uint32_t now_s, uint32_t *wait_s)
{
	const struct brute_entry *address = find(b, ADDRESS, client);
	unsigned char net[16];

	if (set->failures == 0)
		return NULL;
	if (waits(address, now_s, wait_s))
		return "address in back-off";
	if (!trusted(address, now_s) &&
	    waits(find(b, NETWORK, network_of(client, net)), now_s, wait_s))
		return "network in back-off";
	return NULL;
}

const char *
brute_login(const struct brute *b, const struct brute_settings *set, struct view client,
    struct view user, uint32_t now_s, uint32_t *wait_s)
{
	const char *why = brute_connect(b, set, client, now_s, wait_s);
	char both[192];
	unsigned char net[16];

	if (why || set->failures == 0 || !waits(find(b, USER, user), now_s, wait_s))
		return why;
	/* Under attack: who has shown that secret from here, or did nothing wrong yet, may try. */
	if (trusted(find(b, ADDRESS_OF_USER, pair(client, user, both)), now_s) ||
	    (failures_now(find(b, ADDRESS, client), now_s) == 0 &&
		failures_now(find(b, NETWORK, network_of(client, net)), now_s) == 0))
		return NULL;
	return "user in back-off";
}
