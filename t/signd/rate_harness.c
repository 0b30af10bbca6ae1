/* SPDX-License-Identifier: ISC */
/*
 * How many signatures a second one signd process gives, for messages of 4 KiB that are hashed here as smtpd does:
 * rate_harness SIGND DIR SECONDS. A line for each algorithm: name, signatures a second, microseconds of
 * processor time a signature in signd and here.
 */
#include "t/signd/world.h"

enum { MESSAGE = 4096, FLIGHT = 128 };

struct job {
	struct buf field;
};

struct rate {
	struct world w; /* first: answered() gets it */
	struct job jobs[FLIGHT];
	struct dkim_rules rules;
	enum dkim_algorithm algorithm;
	uint64_t pin;
	unsigned done, failed;
	bool stop;
	char body[MESSAGE];
};

static const char *const fields[] = { "From: <a@signed.test>\r\n", "To: <b@rcpt.test>\r\n",
	"Subject: a message of 4 KiB\r\n", "Date: Thu, 26 Nov 2026 12:00:00 +0000\r\n",
	"Message-ID: <1.2.3@signed.test>\r\n", "MIME-Version: 1.0\r\n",
	"Content-Type: text/plain; charset=utf-8\r\n" };

static void
ask(struct rate *r, uint64_t number)
{
	struct dkim_signature s = { VIEW("signed.test"), VIEW("s1"), r->algorithm, 1790000000 };
	struct job *j = &r->jobs[number];
	uint8_t hash[DKIM_HASH], digest[DKIM_HASH];
	struct dkim_body body;
	struct dkim_fields f;
	struct err e;

	dkim_body_init(&body, r->rules.body);
	dkim_body_put(&body, view_of(r->body, sizeof(r->body)));
	dkim_body_end(&body, hash);
	dkim_fields_init(&f, &r->rules);
	for (size_t i = sizeof(fields) / sizeof(fields[0]); i-- > 0;) {
		struct view raw = view_str(fields[i]), rest = raw;
		dkim_fields_put(&f, view_cut(&rest, ':'), raw);
	}
	dkim_fields_end(&f, &e);
	buf_clear(&j->field);
	dkim_field_begin(&f, &s, hash, &j->field, digest, &e);
	dkim_fields_free(&f);
	IPC_SEND(&r->w.smtpd, sign, .req = number, .pin = r->pin,
	    .scheme = r->algorithm == DKIM_RSA_SHA256 ? SIGN_DKIM_RSA : SIGN_DKIM_ED25519,
	    .in = view_of(digest, sizeof(digest)));
}

static void
answered(struct world *w, const struct ipc_signature *m)
{
	struct rate *r = CONTAINER(w, struct rate, w);

	r->done++;
	r->failed += !m->ok;
	dkim_field_end(&r->jobs[m->req].field, m->signature);
	if (!r->stop)
		ask(r, m->req);
}

static void
on_end(struct loop_timer *t)
{
	struct rate *r = CONTAINER(t, struct rate, w.timer);

	r->stop = true;
	loop_stop(r->w.loop);
}

/* Nanoseconds that a process has spent on a processor. */
static uint64_t
cpu_ns(pid_t pid)
{
	char path[64];
	unsigned long long ns = 0;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	FILE *f = fopen(path, "r");
	if (f && fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f)
		fclose(f);
	return ns;
}

static void
measure(struct rate *r, const char *name, enum dkim_algorithm a, unsigned seconds)
{
	EVP_PKEY *key;

	r->algorithm = a;
	r->pin = send_dkim_key(&r->w, a, 2048, &key);
	IPC_SEND(&r->w.master, dkim_apply, .count = 1);
	r->w.answered = answered;
	r->stop = false;
	for (uint64_t i = 0; i < FLIGHT; i++)
		ask(r, i);
	/* The first turn parses the key; then the clock runs. */
	r->w.timer.fire = on_timer;
	reaches(&r->w, &r->done, 2 * FLIGHT);
	uint64_t start_ms = loop_now_ms(r->w.loop), start_ns = cpu_ns(r->w.pid), own_ns = cpu_ns(getpid());
	r->done = 0;
	r->w.timer.fire = on_end;
	loop_timer_set(r->w.loop, &r->w.timer, seconds * 1000);
	loop_run(r->w.loop);
	uint64_t took_ms = loop_now_ms(r->w.loop) - start_ms;
	printf("%s %llu %.1f %.1f\n", name, (unsigned long long)(r->done * 1000ull / (took_ms ? took_ms : 1)),
	    (double)(cpu_ns(r->w.pid) - start_ns) / 1e3 / r->done,
	    (double)(cpu_ns(getpid()) - own_ns) / 1e3 / r->done);
	fflush(stdout);
	/* What is under way comes in before the next. */
	r->w.timer.fire = on_timer;
	reaches(&r->w, &r->done, r->done + FLIGHT);
	r->done = 0;
	EVP_PKEY_free(key);
}

int
main(int argc, char **argv)
{
	struct rate *r = x_calloc(1, sizeof(*r));
	static const char *const over[] = { "from", "to", "subject", "date", "message-id" };

	if (argc != 4)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	log_init("bench/signd", "localhost", LOG_LEVEL_WARNING);
	r->w.loop = loop_new();
	r->w.timer.fire = on_timer;
	r->rules = (struct dkim_rules){ DKIM_RELAXED, DKIM_RELAXED, true, { 0 }, { over, 5 }, 0 };
	for (size_t i = 0; i < sizeof(r->body); i++)
		r->body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : i % 7 == 0 ? ' ' : 'x';
	for (int i = 0; i < FLIGHT; i++)
		buf_init(&r->jobs[i].field, DKIM_FIELD_MAX);
	r->w.rsa = fixture_key("RSA");
	r->w.ec = fixture_key("P-256");
	start(&r->w, argv[1], argv[2]);
	if (!reaches(&r->w, &r->w.ready, 1))
		return 1;
	unsigned seconds = (unsigned)atoi(argv[3]);
	measure(r, "rsa2048", DKIM_RSA_SHA256, seconds);
	measure(r, "ed25519", DKIM_ED25519_SHA256, seconds);
	kill(r->w.pid, SIGKILL);
	waitpid(r->w.pid, NULL, 0);
	return r->failed ? 1 : 0;
}
