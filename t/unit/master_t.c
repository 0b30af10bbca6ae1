/* SPDX-License-Identifier: ISC */
/* What master decides without doing it: master/plan.h. */
#include <string.h>

#include "lib/ipc.h"
#include "master/plan.h"
#include "t/tap.h"

static struct conf *
conf_of(const char *text)
{
	struct buf errors = BUF_INIT(65536);
	struct conf *c = conf_read_text(view_str(text), "test", &errors);

	if (c == NULL)
		printf("Bail out! %s\n", buf_cstr(&errors));
	buf_free(&errors);
	return c;
}

#define CERTIFICATE "hostname h.test\ncertificate default { chain /c; key /k; }\n"

static void
roles(void)
{
	unsigned keys = 0, listeners = 0, secrets = 0;

	for (unsigned r = 0; r < ROLES; r++) {
		const struct plan_role *p = plan_role(r);
		ok((p != NULL) == (r >= PLAN_FIRST_ROLE && r <= PLAN_LAST_ROLE),
		    "%s: a daemon of master, or not", role_name(r));
		if (p == NULL)
			continue;
		is_int(p->role, r, "%s stands for itself", role_name(r));
		ok(p->drain_step < PLAN_DRAIN_STEPS, "%s has a step in the end", role_name(r));
		keys += p->needs & NEED_KEYS ? r : 0;
		listeners += p->needs & NEED_LISTENERS ? r : 0;
		secrets += p->needs & NEED_SECRETS ? r : 0;
	}
	is_int(keys, ROLE_SIGND, "atk-B15 signd alone gets private keys");
	is_int(listeners, ROLE_SMTPD, "smtpd alone gets listeners");
	is_int(secrets, ROLE_SMTP, "smtp alone gets the smarthost's secret");
	is_int(plan_role(ROLE_SMTPD)->drain_step, 0, "sessions end first");
	ok(plan_role(ROLE_QMGR)->drain_step < plan_role(ROLE_SMTP)->drain_step,
	    "the queue manager hears of deliveries that end");
}

static void
channels(void)
{
	/* Rows and columns: smtpd authd signd qmgr smtp bounce dnsd. */
	static const char *const want[] = {
		".xxx..x", "x..x..x", "x...x..", "xx..xxx", "..xx..x", "...x...", "xx.xx..",
	};

	for (unsigned a = ROLE_SMTPD; a <= ROLE_DNSD; a++)
		for (unsigned b = ROLE_SMTPD; b <= ROLE_DNSD; b++) {
			is_int(plan_linked(a, b), want[a - ROLE_SMTPD][b - ROLE_SMTPD] == 'x',
			    "%s may %stalk to %s", role_name(a),
			    plan_linked(a, b) ? "" : "not ", role_name(b));
			ok(plan_linked(a, b) == plan_linked(b, a), "both ways");
		}
	ok(!plan_linked(ROLE_MASTER, ROLE_QMGR), "master is no peer");
}

static void
counts(void)
{
	struct conf *c = conf_of(CERTIFICATE);

	is_int(plan_instances(ROLE_SMTPD, c, 8), 8, "one smtpd per core by default");
	is_int(plan_instances(ROLE_SMTP, c, 8), 8, "one smtp per core by default");
	is_int(plan_instances(ROLE_QMGR, c, 8), 1, "one queue manager");
	is_int(plan_instances(ROLE_SMTPD, c, 0), 1, "never none");
	is_int(plan_instances(ROLE_SMTPD, c, 4096), 256, "nor too many");
	is_int(plan_instances(ROLE_MASTER, c, 8), 0, "master does not start itself");
	conf_free(&c);
	c = conf_of(CERTIFICATE "smtpd-processes 3\nsmtp-processes 5\n");
	is_int(plan_instances(ROLE_SMTPD, c, 8), 3, "as configured");
	is_int(plan_instances(ROLE_SMTP, c, 8), 5, "each");
	conf_free(&c);
}

static void
back_off(void)
{
	static const uint64_t want[] = { 0, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };
	struct backoff b = { 0 };

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		is_int((long long)backoff_died(&b, 10), (long long)want[i], "death %zu", i + 1);
	for (int i = 0; i < 200; i++)
		if (backoff_died(&b, 59999) != 60000)
			ok(false, "the limit holds");
	is_int((long long)backoff_died(&b, 60000), 0, "a stable minute is forgiven");
	is_int((long long)backoff_died(&b, 10), 1000, "once");
}

static void
sockets(void)
{
	struct conf *a = conf_of(CERTIFICATE
	    "listen one { address 127.0.0.1:25 [::1]:25; auth required; }\n"
	    "listen two { address 127.0.0.1:587; auth required; }\n");
	struct conf *b = conf_of(CERTIFICATE
	    "listen two { address 127.0.0.1:587 127.0.0.1:2525; auth required; }\n"
	    "listen three { address [::1]:25; auth required; }\n");
	size_t n;

	struct plan_socket *p = plan_sockets(NULL, a, &n);
	is_int((long long)n, 3, "first start: three sockets");
	for (size_t i = 0; i < n; i++)
		is_int(p[i].keep, -1, "bound afresh");
	is_int(p[2].listener, 1, "by the number of their block");
	free(p);
	p = plan_sockets(a, b, &n);
	is_int((long long)n, 3, "reload");
	is_int(p[0].keep, 2, "the same address in another place is kept");
	is_int(p[1].keep, -1, "a new one is bound");
	is_int(p[2].keep, 1, "an address that changed its block is kept");
	is_str(p[2].at->text, "[::1]:25", "under its own name");
	is_int(p[2].listener, 1, "with the new number");
	free(p);
	conf_free(&a);
	conf_free(&b);
}

static void
fixed(void)
{
	static const char *const names[] = { "state-dir /x\n", "spool-dir /x\n", "run-dir /x\n",
		"uid-base 5000\n", NULL };
	struct conf *a = conf_of(CERTIFICATE);

	ok(plan_fixed(a, a) == NULL, "C26 the same: nothing in the way");
	for (size_t i = 0; names[i]; i++) {
		char text[256];
		snprintf(text, sizeof(text), CERTIFICATE "%s", names[i]);
		struct conf *b = conf_of(text);
		const char *got = plan_fixed(a, b);
		ok(got && !strncmp(got, names[i], strlen(got)), "C26 %s cannot change",
		    got ? got : "?");
		conf_free(&b);
	}
	struct conf *c = conf_of(CERTIFICATE "smtpd-processes 3\npostmaster p@h.test\n");
	ok(plan_fixed(a, c) == NULL, "others can");
	conf_free(&c);
	conf_free(&a);
}

int
main(void)
{
	roles();
	channels();
	counts();
	back_off();
	sockets();
	fixed();
	return done_testing();
}
