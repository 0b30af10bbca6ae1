/* SPDX-License-Identifier: ISC */
#include <sys/stat.h>
#include <unistd.h>

#include "authd/return_key.h"
#include "lib/loop.h"
#include "t/tap.h"

enum { DAY_S = 86400 };
#define DAY_US (DAY_S * UINT64_C(1000000))

static struct buf
made(const struct return_keys *k, uint64_t now_us, uint16_t days)
{
	struct token t = { .qid = 5, .rcpt = 1, .key_serial = 2, .last_day = (uint16_t)(token_day(now_us) + days) };
	struct buf b = BUF_INIT(100);

	token_make(return_keys_current(k), &t, &b);
	return b;
}

static void
is_reply(const struct return_keys *k, struct view local, uint64_t now_us, const char *want, const char *name)
{
	struct policy_reply r;
	char esc[ESC_TEXT_MAX], got[32];

	return_keys_check(k, local, now_us, &r);
	snprintf(got, sizeof(got), "%u %s", r.code, esc_text(r.esc, esc));
	is_str(got, want, "A17 %s", name);
}

int
main(void)
{
	char dir[] = "/tmp/ekiden-return-XXXXXX", command[64];
	uint64_t now = 20000 * DAY_US;
	struct return_keys k, again;
	struct err e;

	if (mkdtemp(dir) == NULL)
		return 1;
	struct authd_store *s = store_open(dir, &e);
	if (s == NULL) {
		printf("Bail out! %s\n", e.text);
		return 1;
	}
	is_int(return_keys_load(&k, s, &e), 0, "an empty store");
	ok(return_keys_current(&k) == NULL, "has no secret");
	is_int(return_keys_rotate(&k, s, now, 14 * DAY_S, &e), 1, "the first is made");
	is_int(return_keys_rotate(&k, s, now + 13 * DAY_US, 14 * DAY_S, &e), 0, "and used");
	struct buf old = made(&k, now, 14), first = made(&k, now + 13 * DAY_US, 14);
	is_reply(&k, buf_view(&old), now + 14 * DAY_US, "250 2.1.5", "good on its last day");
	is_reply(&k, buf_view(&old), now + 15 * DAY_US, "550 5.7.1", "expired");
	is_reply(&k, VIEW("somebody"), now, "550 5.1.1", "no return address");
	is_int(return_keys_rotate(&k, s, now + 14 * DAY_US, 14 * DAY_S, &e), 1, "a new secret when the first is old");
	struct buf second = made(&k, now + 14 * DAY_US, 14);
	ok(!view_eq(buf_view(&first), buf_view(&second)), "A17 it makes others");
	is_reply(&k, buf_view(&first), now + 27 * DAY_US, "250 2.1.5", "what the former one signed stays good to its end");
	is_int(return_keys_load(&again, s, &e), 0, "loaded again");
	ok(memcmp(&k, &again, sizeof(k)) == 0, "A17 the same as before a restart");
	for (int i = 2; i < 300; i++)
		if (return_keys_rotate(&k, s, now + (uint64_t)i * 14 * DAY_US, 14 * DAY_S, &e) != 1)
			ok(false, "rotation %d: %s", i, e.text);
	is_reply(&k, buf_view(&second), now + 14 * DAY_US, "550 5.7.1", "a secret that is gone signs nothing");
	ok(k.secrets[0].id != 0 && k.secrets[0].id != k.secrets[1].id, "numbers go round and are never 0");
	is_int(return_keys_load(&again, s, &e), 0, "loaded again");
	ok(memcmp(&k, &again, sizeof(k)) == 0, "and only what is needed is kept");
	is_int(return_keys_rotate(&k, s, now, 14 * DAY_S, &e), 0, "a clock that went back makes none");
	return_keys_wipe(&k);
	ok(return_keys_current(&k) == NULL, "wiped");
	store_close(&s);
	buf_free(&old);
	buf_free(&first);
	buf_free(&second);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) == 0 ? done_testing() : 1;
}
