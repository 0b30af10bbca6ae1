/* SPDX-License-Identifier: ISC */
/*
 * The server side of lib/tls against OpenSSL's own client: the waiting for signd is what is
 * tested.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "t/unit/tls_fixture.h"

/* 2 MiB both ways at once, so that both sides meet full sockets. */
static bool
exchange(struct pair *p)
{
	enum { TOTAL = 2 << 20, CHUNK = 100000 };
	static char out[CHUNK], in[CHUNK];
	size_t sent[2] = { 0 }, got[2] = { 0 };
	struct err e;

	for (int spins = 0; spins < 100000 && (got[0] < TOTAL || got[1] < TOTAL); spins++) {
		if (sent[0] < TOTAL) {
			ptrdiff_t n = tls_write(p->server.tls, out, CHUNK, &e);
			sent[0] += n > 0 ? (size_t)n : 0;
		}
		if (sent[1] < TOTAL) {
			int n = SSL_write(p->client.ssl, out, CHUNK);
			sent[1] += n > 0 ? (size_t)n : 0;
		}
		ptrdiff_t n = tls_read(p->server.tls, in, CHUNK, &e);
		got[1] += n > 0 ? (size_t)n : 0;
		int m = SSL_read(p->client.ssl, in, CHUNK);
		got[0] += m > 0 ? (size_t)m : 0;
	}
	return got[0] >= TOTAL && got[1] >= TOTAL;
}

static void
test_handshake(const char *kind, int version, const char *version_text)
{
	struct identity id;
	struct pair a, b;
	struct tls_info info;
	char one;

	identity_init(&id, kind);
	struct tls_ctx *ctx = identity_ctx(&id, false, VIEW(""));
	SSL_CTX *peer = peer_ctx(version, NULL);
	open_pair(&a, ctx, peer);
	open_pair(&b, ctx, peer);
	pump(&a, NULL);
	is_int(a.server.result, TLS_WANT_ASYNC, "B15 %s %s: parked while the key process works", kind,
	    version_text);
	is_int((long long)id.signer.count, 1, "... one operation was asked");
	is_int(tls_handshake(a.server.tls, &a.server.e), TLS_WANT_ASYNC,
	    "... a socket event in between changes nothing");
	pump(&b, NULL);
	is_int(b.server.result, TLS_WANT_ASYNC, "... and does not block another handshake");
	ok(id.signer.ops[0]->key == 7 && id.signer.ops[0]->pin != 0, "... asked by number and pin");
	pump(&b, &id.signer);
	ok(a.server.woken == 1 && b.server.woken == 1, "... each was woken once");
	pump(&a, &id.signer);
	ok(a.server.result == TLS_DONE && a.client.result == TLS_DONE, "... a: finished");
	ok(b.server.result == TLS_DONE && b.client.result == TLS_DONE, "... b: finished");
	tls_info(a.server.tls, &info);
	is_str(info.version, version_text, "... version for the log");
	ok(info.bits >= 128 && strstr(info.cipher, "GCM") && !info.resumed, "... cipher: %s %d/%d",
	    info.cipher, info.bits, info.alg_bits);
	tls_ctx_free(&ctx);
	ok(exchange(&a), "... 2 MiB each way, sessions survive their context");
	SSL_shutdown(b.client.ssl);
	is_int(tls_read(b.server.tls, &one, 1, &b.server.e), TLS_CLOSED, "... close_notify");
	ok(tls_clean(b.server.tls), "... is a clean end");
	close(a.client.fd);
	a.client.fd = -1;
	ptrdiff_t n;
	do
		n = tls_read(a.server.tls, &one, 1, &a.server.e);
	while (n > 0);
	is_int(n, TLS_CLOSED, "B... a cut is an end too");
	ok(!tls_clean(a.server.tls), "... but not a clean one");
	n = tls_write(a.server.tls, "x", 1, &a.server.e);
	ok(n == TLS_CLOSED || n == TLS_FAILED, "... writing then fails without SIGPIPE");
	close_pair(&a);
	close_pair(&b);
	SSL_CTX_free(peer);
	identity_clear(&id);
}

static void
test_free_parked(void)
{
	struct identity id;
	struct pair p;
	char left[4096];

	identity_init(&id, "P-256");
	struct tls_ctx *ctx = identity_ctx(&id, false, VIEW(""));
	SSL_CTX *peer = peer_ctx(TLS1_3_VERSION, NULL);
	open_pair(&p, ctx, peer);
	pump(&p, NULL);
	while (recv(p.client.fd, left, sizeof(left), 0) > 0)
		;
	tls_free(&p.server.tls);
	is_int((long long)id.signer.cancelled, 1, "free of a parked session cancels its operation");
	ok(id.signer.base.parked == 0, "... and gives its place back");
	ok(recv(p.client.fd, left, sizeof(left), 0) < 0 && errno == EAGAIN, "... without any I/O");
	close_pair(&p);

	/* Answered, but freed before it was called again: the owner's wake may do that. */
	open_pair(&p, ctx, peer);
	pump(&p, NULL);
	struct tls *t = p.server.tls;
	p.server.tls = NULL; /* on_wake() does nothing */
	answer(&id.signer);
	tls_free(&t);
	ok(id.signer.base.parked == 0 && id.signer.cancelled == 1, "free between answer and handshake");
	close_pair(&p);
	tls_ctx_free(&ctx);
	SSL_CTX_free(peer);
	identity_clear(&id);
}

static void
test_refusals(void)
{
	struct identity id;
	struct pair p;

	identity_init(&id, "RSA");
	struct tls_ctx *ctx = identity_ctx(&id, false, VIEW(""));
	SSL_CTX *peer = peer_ctx(TLS1_2_VERSION, NULL);
	id.signer.refuse = true;
	open_pair(&p, ctx, peer);
	pump(&p, &id.signer);
	is_int(p.server.result, TLS_FAILED, "no key process: the handshake fails");
	ok(strstr(p.server.e.text, "no signature") != NULL, "... and says so: %s", p.server.e.text);
	close_pair(&p);
	id.signer.refuse = false;
	id.signer.fail = true;
	open_pair(&p, ctx, peer);
	pump(&p, &id.signer);
	is_int(p.server.result, TLS_FAILED, "the key process refuses: the handshake fails");
	ok(p.server.e.class == ERR_TEMP, "... as a temporary error");
	close_pair(&p);
	id.signer.fail = false;
	SSL_CTX_free(peer);

	peer = peer_ctx(TLS1_2_VERSION, "kRSA");
	open_pair(&p, ctx, peer);
	pump(&p, &id.signer);
	is_int(p.server.result, TLS_FAILED, "T06 key exchange by RSA is refused");
	ok(strstr(p.server.e.text, "no shared cipher") != NULL, "... %s", p.server.e.text);
	close_pair(&p);
	SSL_CTX_free(peer);
	tls_ctx_free(&ctx);
	identity_clear(&id);
}

static void
test_legacy(void)
{
	struct identity id;
	struct pair p;
	struct tls_info info;

	identity_init(&id, "RSA");
	for (int legacy = 0; legacy < 2; legacy++) {
		struct tls_ctx *ctx = identity_ctx(&id, legacy, VIEW(""));
		for (int v = TLS1_VERSION; v <= TLS1_1_VERSION; v++) {
			SSL_CTX *peer = peer_ctx(v, "ALL:@SECLEVEL=0");
			open_pair(&p, ctx, peer);
			pump(&p, &id.signer);
			is_int(p.server.result, legacy ? TLS_DONE : TLS_FAILED,
			    "G4 T06 TLS 1.%d legacy=%d", v - TLS1_VERSION, legacy);
			if (legacy && p.server.result == TLS_DONE) {
				tls_info(p.server.tls, &info);
				is_str(info.version, v == TLS1_VERSION ? "TLSv1" : "TLSv1.1", "...");
			}
			close_pair(&p);
			SSL_CTX_free(peer);
		}
		tls_ctx_free(&ctx);
	}
	identity_clear(&id);
}

static void
test_renegotiation(void)
{
	struct identity id;
	struct pair p;
	char one;

	identity_init(&id, "P-256");
	struct tls_ctx *ctx = identity_ctx(&id, false, VIEW(""));
	SSL_CTX *peer = peer_ctx(TLS1_2_VERSION, NULL);
	open_pair(&p, ctx, peer);
	pump(&p, &id.signer);
	SSL_renegotiate(p.client.ssl);
	for (int i = 0; i < 10; i++) {
		SSL_do_handshake(p.client.ssl);
		tls_read(p.server.tls, &one, 1, &p.server.e);
		answer(&id.signer);
	}
	is_int((long long)id.signer.started, 1, "atk-B7 renegotiation asks for no second signature");
	ok(SSL_renegotiate_pending(p.client.ssl), "... and does not happen");
	close_pair(&p);
	SSL_CTX_free(peer);
	tls_ctx_free(&ctx);
	identity_clear(&id);
}

static SSL_SESSION *ticket;

static int
keep_ticket(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(ticket);
	ticket = session;
	return 1;
}

static bool
resumes(struct tls_ctx *ctx, struct identity *id, SSL_CTX *peer)
{
	struct pair p;
	struct tls_info info = { 0 };
	char c;

	open_pair(&p, ctx, peer);
	if (ticket)
		SSL_set_session(p.client.ssl, ticket);
	pump(&p, &id->signer);
	tls_write(p.server.tls, "x", 1, &p.server.e);
	SSL_read(p.client.ssl, &c, 1); /* takes a TLS 1.3 ticket in passing */
	if (p.server.result == TLS_DONE)
		tls_info(p.server.tls, &info);
	tls_bye(p.server.tls);
	SSL_shutdown(p.client.ssl);
	close_pair(&p);
	return info.resumed;
}

static void
test_tickets(int version, const char *text)
{
	struct identity id;
	char k1[TLS_TICKET_KEY], k2[TLS_TICKET_KEY];

	memset(k1, 1, sizeof(k1));
	memset(k2, 2, sizeof(k2));
	identity_init(&id, "P-256");
	struct tls_ctx *w1 = identity_ctx(&id, false, view_of(k1, sizeof(k1)));
	struct tls_ctx *w2 = identity_ctx(&id, false, view_of(k1, sizeof(k1)));
	struct tls_ctx *other = identity_ctx(&id, false, view_of(k2, sizeof(k2)));
	struct tls_ctx *none = identity_ctx(&id, false, VIEW(""));
	struct tls_ctx *same_key = identity_ctx_of(&id, "another", false, view_of(k1, sizeof(k1)));
	SSL_CTX *peer = peer_ctx(version, NULL);
	SSL_CTX_set_session_cache_mode(peer, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(peer, keep_ticket);
	ok(!resumes(none, &id, peer) && ticket == NULL, "%s: no ticket key, no ticket", text);
	SSL_SESSION_free(ticket);
	ticket = NULL;
	ok(!resumes(w1, &id, peer) && ticket, "%s: a ticket is issued", text);
	size_t before = id.signer.started;
	ok(resumes(w2, &id, peer), "%s: and resumes at another worker of the listener", text);
	ok(id.signer.started == before, "%s: ... without a signature", text);
	ok(!resumes(other, &id, peer), "atk-B9 %s: but not at another listener", text);
	SSL_SESSION_free(ticket);
	ticket = NULL;
	/* Each hand-shake below leaves a fresh ticket, under the key of that moment. */
	resumes(w1, &id, peer);
	ok(!resumes(same_key, &id, peer), "atk-B9 %s: not even under the same key", text);
	resumes(w1, &id, peer);
	tls_ctx_ticket_key(w1, view_of(k2, sizeof(k2)));
	ok(resumes(w1, &id, peer), "%s: the key changed: the former one opens", text);
	SSL_SESSION_free(ticket);
	ticket = NULL;
	tls_ctx_ticket_key(w2, view_of(k2, sizeof(k2)));
	resumes(w2, &id, peer);
	ok(resumes(w1, &id, peer), "%s: workers share the new one", text);
	SSL_SESSION_free(ticket);
	ticket = NULL;
	resumes(w1, &id, peer);
	tls_ctx_ticket_key(w1, view_of(k1, sizeof(k1)));
	memset(k1, 3, sizeof(k1));
	tls_ctx_ticket_key(w1, view_of(k1, sizeof(k1)));
	ok(!resumes(w1, &id, peer), "%s: two changes later a ticket is void", text);
	SSL_SESSION_free(ticket);
	ticket = NULL;
	SSL_CTX_free(peer);
	tls_ctx_free(&same_key);
	tls_ctx_free(&w1);
	tls_ctx_free(&w2);
	tls_ctx_free(&other);
	tls_ctx_free(&none);
	identity_clear(&id);
}

static void
test_line(void)
{
	enum { N = TLS_PARKED_MAX + 50 };
	static struct pair p[N];
	struct identity id;
	unsigned parked = 0, done = 0;

	identity_init(&id, "P-256");
	struct tls_ctx *ctx = identity_ctx(&id, false, VIEW(""));
	SSL_CTX *peer = peer_ctx(TLS1_3_VERSION, NULL);
	for (int i = 0; i < N; i++) {
		open_pair(&p[i], ctx, peer);
		side_step(&p[i].client);
		side_step(&p[i].server);
		parked += p[i].server.result == TLS_WANT_ASYNC;
	}
	is_int((long long)id.signer.count, TLS_PARKED_MAX, "handshakes parked at a time are limited");
	is_int(parked, N, "... the others wait in line");
	for (int i = TLS_PARKED_MAX + 10; i < TLS_PARKED_MAX + 20; i++)
		tls_free(&p[i].server.tls);
	tls_free(&p[0].server.tls);
	is_int((long long)id.signer.count, TLS_PARKED_MAX, "... a place that is freed is taken");
	while (answer(&id.signer))
		;
	for (int i = 0; i < N; i++) {
		side_step(&p[i].client);
		side_step(&p[i].server);
		done += p[i].server.tls && p[i].server.result == TLS_DONE;
		close_pair(&p[i]);
	}
	is_int(done, N - 11, "... all that were not freed finish");
	is_int((long long)id.signer.most, TLS_PARKED_MAX, "... never more than the limit at once");
	ok(id.signer.base.parked == 0 && id.signer.base.first_waiting == NULL, "... nothing is left");
	SSL_CTX_free(peer);
	tls_ctx_free(&ctx);
	identity_clear(&id);
}

static long
resident_bytes(void)
{
	long pages = 0, size;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%ld %ld", &size, &pages) != 2)
		pages = 0;
	if (f)
		fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

/* The peers are in a child, so that only our side is counted. */
static void
memory_peers(int fds[], int n, int version)
{
	SSL_CTX *peer = peer_ctx(version, NULL);

	alarm(60);
	SSL_CTX_set_mode(peer, SSL_MODE_RELEASE_BUFFERS);
	for (int i = 0; i < n; i++) {
		char buf[100];
		SSL *ssl = SSL_new(peer);
		SSL_set_fd(ssl, fds[i]);
		if (SSL_connect(ssl) != 1)
			_exit(1);
		SSL_write(ssl, "EHLO x\r\n", 8);
		SSL_read(ssl, buf, sizeof(buf));
	}
	pause();
	_exit(0);
}

static void
serve_one(struct tls_ctx *ctx, struct side *s, struct slow_signer *signer)
{
	char buf[16384];

	s->tls = tls_server(ctx, s->fd, on_wake, s);
	s->result = TLS_WANT_READ;
	for (int i = 0; i < 20000 && s->result != TLS_DONE && s->result != TLS_FAILED; i++) {
		side_step(s);
		while (answer(signer))
			;
		if (s->result != TLS_DONE)
			usleep(200);
	}
	for (int i = 0; i < 20000; i++) {
		ptrdiff_t n = tls_read(s->tls, buf, sizeof(buf), &s->e);
		if (n > 0)
			break;
		usleep(200);
	}
	tls_write(s->tls, "250 x\r\n", 7, &s->e);
	tls_read(s->tls, buf, sizeof(buf), &s->e);
}

/* Bytes for each of 500 idle sessions, in a process that did nothing before. */
static long
measure(int version)
{
	enum { WARM = 20, N = 500 };
	static struct side s[WARM + N];
	static int ours[WARM + N], theirs[WARM + N];
	struct identity id;
	char key[TLS_TICKET_KEY] = { 1 };
	long before = 0;

	identity_init(&id, "P-256");
	struct tls_ctx *ctx = identity_ctx(&id, false, view_of(key, sizeof(key)));
	for (int i = 0; i < WARM + N; i++) {
		int fds[2];
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
			_exit(1);
		ours[i] = fds[0];
		theirs[i] = fds[1];
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
	}
	pid_t pid = fork();
	if (pid == 0)
		memory_peers(theirs, WARM + N, version);
	for (int i = 0; i < WARM + N; i++) {
		if (i == WARM)
			before = resident_bytes();
		s[i].fd = ours[i];
		serve_one(ctx, &s[i], &id.signer);
	}
	long each = (resident_bytes() - before) / N;
	kill(pid, SIGKILL);
	return s[WARM + N - 1].result == TLS_DONE ? each : -1;
}

static void
test_memory(int version, const char *text)
{
	int result[2];
	long each = -1;

	if (WITH_ASAN) {
		skip(1, "memory is not itself under AddressSanitizer");
		return;
	}
	if (pipe(result) < 0)
		exit(1);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		each = measure(version);
		_exit(write(result[1], &each, sizeof(each)) != sizeof(each));
	}
	close(result[1]);
	if (read(result[0], &each, sizeof(each)) != sizeof(each))
		each = -1;
	close(result[0]);
	waitpid(pid, NULL, 0);
	printf("# %s: %ld bytes resident for an idle session\n", text, each);
	ok(each > 0 && each <= 64 * 1024, "%s: an idle TLS session takes at most 64 KiB", text);
}

int
main(void)
{
	static const char *const kinds[] = { "RSA", "P-256", "P-384" };

	test_memory(TLS1_2_VERSION, "TLSv1.2"); /* before there is freed memory to reuse */
	test_memory(TLS1_3_VERSION, "TLSv1.3");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		test_handshake(kinds[i], TLS1_2_VERSION, "TLSv1.2");
		test_handshake(kinds[i], TLS1_3_VERSION, "TLSv1.3");
	}
	test_free_parked();
	test_refusals();
	test_legacy();
	test_renegotiation();
	test_tickets(TLS1_2_VERSION, "TLSv1.2");
	test_tickets(TLS1_3_VERSION, "TLSv1.3");
	test_line();
	return done_testing();
}
