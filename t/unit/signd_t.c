/* SPDX-License-Identifier: ISC */
/*
 * signd and its clients, joined by channels on one loop: keys, requests, fairness, reload, lost
 * channels, and handshakes through both ends with openssl s_client as the peer.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/signer.h"
#include "signd/server.h"
#include "t/unit/tls_fixture.h"

/* The loop runs until a condition holds, or ten seconds are over. */
struct waiter {
	struct loop *loop;
	struct loop_timer timer;
	bool (*check)(void *arg);
	void *arg;
	uint64_t end_ms;
	bool held;
};

static void
on_check(struct loop_timer *t)
{
	struct waiter *w = CONTAINER(t, struct waiter, timer);

	w->held = w->check(w->arg);
	if (w->held || loop_now_ms(w->loop) > w->end_ms)
		loop_stop(w->loop);
	else
		loop_timer_set(w->loop, t, 1);
}

static bool
run_until(struct loop *l, bool (*check)(void *arg), void *arg)
{
	struct waiter w = { .loop = l, .timer.fire = on_check, .check = check, .arg = arg,
		.end_ms = loop_now_ms(l) + 10000 };

	loop_timer_set(l, &w.timer, 0);
	loop_run(l);
	loop_timer_cancel(l, &w.timer);
	return w.held;
}

static bool
after_turns(void *arg)
{
	int *turns = arg;

	return --*turns <= 0;
}

static void
run_turns(struct loop *l, int turns)
{
	run_until(l, after_turns, &turns);
}

static uint64_t
pin_of(EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(key, &der);
	uint64_t pin = tls_key_pin(view_of(der, (size_t)n));

	OPENSSL_free(der);
	return pin;
}

static int
add(struct keyring *r, uint32_t number, EVP_PKEY *key, struct err *e)
{
	struct buf pem = BUF_INIT(65536);

	fixture_key_pem(key, &pem);
	int rc = keyring_add(r, number, buf_view(&pem), e);
	buf_wipe(&pem);
	buf_free(&pem);
	return rc;
}

/* The public operation gives back what was signed. */
static bool
rsa_matches(EVP_PKEY *key, struct view in, const unsigned char *sig, size_t len)
{
	unsigned char back[1024];
	size_t n = sizeof(back);
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	bool ok = EVP_PKEY_verify_recover_init(c) == 1 &&
	    EVP_PKEY_CTX_set_rsa_padding(c, RSA_NO_PADDING) == 1 &&
	    EVP_PKEY_verify_recover(c, back, &n, sig, len) == 1;

	EVP_PKEY_CTX_free(c);
	return ok && view_eq(view_of(back, n), in);
}

static bool
ec_matches(EVP_PKEY *key, struct view in, const unsigned char *sig, size_t len)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	bool ok = EVP_PKEY_verify_init(c) == 1 &&
	    EVP_PKEY_verify(c, sig, len, (const unsigned char *)in.p, in.n) == 1;

	EVP_PKEY_CTX_free(c);
	return ok;
}

static void
test_keyring_sign(EVP_PKEY *rsa, EVP_PKEY *ec)
{
	struct keyring *r = keyring_new();
	unsigned char out[KEYRING_SIGNATURE_MAX];
	char block[257];
	struct err e;
	size_t len;

	memset(block, 0x5a, sizeof(block));
	ok(add(r, 1, rsa, &e) == 0 && add(r, 2, ec, &e) == 0, "two keys");
	struct view in = view_of(block, 256), digest = view_of(block, 32);
	is_int(keyring_sign(r, 1, 0, SIGN_RSA_RAW, in, out, &len), KEYRING_SIGNED, "RSA signs");
	ok(rsa_matches(rsa, in, out, len), "... rightly");
	is_int(keyring_sign(r, 1, 0, SIGN_RSA_RAW, in, out, &len), KEYRING_SIGNED, "... and again");
	ok(rsa_matches(rsa, in, out, len), "... rightly");
	is_int(keyring_sign(r, 2, 0, SIGN_ECDSA, digest, out, &len), KEYRING_SIGNED, "ECDSA signs");
	ok(ec_matches(ec, digest, out, len), "... rightly");
	is_int(keyring_sign(r, 3, 0, SIGN_RSA_RAW, in, out, &len), KEYRING_UNKNOWN, "unknown number");
	is_int(keyring_sign(r, 0, 0, SIGN_RSA_RAW, in, out, &len), KEYRING_UNKNOWN, "number 0");
	is_int(keyring_sign(r, 1, 0, SIGN_ECDSA, digest, out, &len), KEYRING_REFUSED, "wrong scheme");
	is_int(keyring_sign(r, 1, 0, 9, in, out, &len), KEYRING_REFUSED, "unknown scheme");
	static const size_t lengths[] = { 0, 1, 255, 257 };
	for (size_t i = 0; i < 4; i++)
		is_int(keyring_sign(r, 1, 0, SIGN_RSA_RAW, view_of(block, lengths[i]), out, &len),
		    KEYRING_REFUSED, "RSA block of %zu bytes", lengths[i]);
	static const size_t digests[] = { 0, 19, 65, 257 };
	for (size_t i = 0; i < 4; i++)
		is_int(keyring_sign(r, 2, 0, SIGN_ECDSA, view_of(block, digests[i]), out, &len),
		    KEYRING_REFUSED, "digest of %zu bytes", digests[i]);
	memset(block, 0xff, sizeof(block));
	is_int(keyring_sign(r, 1, 0, SIGN_RSA_RAW, in, out, &len), KEYRING_REFUSED,
	    "a block above the modulus");
	is_int(keyring_sign(r, 2, pin_of(ec), SIGN_ECDSA, digest, out, &len), KEYRING_SIGNED, "pin");
	is_int(keyring_sign(r, 2, pin_of(rsa), SIGN_ECDSA, digest, out, &len), KEYRING_UNKNOWN,
	    "another key's pin");
	is_int(keyring_sign_pin(r, pin_of(ec), SIGN_ECDSA, digest, out, &len), KEYRING_SIGNED,
	    "by pin alone");
	is_int(keyring_sign_pin(r, 0, SIGN_ECDSA, digest, out, &len), KEYRING_UNKNOWN, "no pin 0");
	keyring_free(&r);
}

static void
test_keyring_add(EVP_PKEY *rsa, EVP_PKEY *ec)
{
	static const char *const bad_kinds[] = { "RSA-512", "ED25519" };
	struct keyring *r = keyring_new();
	struct buf pem = BUF_INIT(65536);
	struct err e;

	for (size_t i = 0; i < 2; i++) {
		EVP_PKEY *bad = fixture_key(bad_kinds[i]);
		ok(add(r, 1, bad, &e) < 0, "atk-F10 %s is refused: %s", bad_kinds[i], e.text);
		EVP_PKEY_free(bad);
	}
	ok(keyring_add(r, 1, VIEW("junk"), &e) < 0, "%s", e.text);
	ok(keyring_add(r, 1, VIEW(""), &e) < 0, "... also when empty");
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(b, ec, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL);
	fixture_pem(&pem, b);
	ok(keyring_add(r, 1, buf_view(&pem), &e) < 0, "an encrypted key asks nobody: %s", e.text);
	buf_free(&pem);
	ok(!keyring_has(r, 1), "nothing was added");
	ok(add(r, 0, ec, &e) < 0, "%s", e.text);
	unsigned char out[KEYRING_SIGNATURE_MAX];
	char digest[32] = { 1 };
	size_t len;
	ok(add(r, 1, rsa, &e) == 0 && add(r, 1, ec, &e) == 0, "a later key replaces");
	is_int(keyring_sign(r, 1, 0, SIGN_ECDSA, view_of(digest, 32), out, &len), KEYRING_SIGNED, "...");
	ok(add(r, 2, rsa, &e) == 0 && add(r, 3, rsa, &e) == 0, "more keys");
	keyring_trim(r, 2);
	ok(keyring_has(r, 1) && keyring_has(r, 2) && !keyring_has(r, 3), "trim");
	keyring_free(&r);
}

/* A bare client: sends requests, counts and keeps answers. */
struct client {
	struct channel ch;
	uint64_t last_req;
	bool last_ok, closed;
	size_t answers, oks, want;
	size_t others; /* answers of another client when ours came */
	struct client *other;
};

static bool
client_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct client *c = ch->ctx;
	struct ipc_signature m;

	(void)fd;
	if (type != IPC_TYPE_signature || !ipc_get(&ipc_desc_signature, body, &m))
		return false;
	c->last_req = m.req;
	c->last_ok = m.ok;
	c->oks += m.ok;
	if (c->answers++ == 0 && c->other)
		c->others = c->other->answers;
	return true;
}

static void
client_closed(struct channel *ch, const struct err *e)
{
	struct client *c = ch->ctx;

	(void)e;
	c->closed = true;
	channel_close(ch);
}

static bool
client_answered(void *arg)
{
	struct client *c = arg;

	return c->answers >= c->want || c->closed;
}

static void
client_open(struct client *c, struct loop *l, struct server *s, uint32_t instance)
{
	static const struct channel_ops ops = { client_frame, client_closed };
	int fds[2];

	*c = (struct client){ 0 };
	if (channel_pair(fds) < 0 ||
	    channel_open(&c->ch, l, fds[0], &ops, c, ROLE_SIGND, 0) < 0)
		exit(1);
	server_peer(s, ROLE_SMTPD, instance, fds[1]);
}

static bool
ask(struct client *c, struct loop *l, uint32_t key, uint64_t pin, size_t n)
{
	static char block[256] = { 0, 1, 2 };

	c->want = c->answers + 1;
	IPC_SEND(&c->ch, sign, .req = 0x1234, .key = key, .pin = pin,
	    .scheme = n == 32 ? SIGN_ECDSA : SIGN_RSA_RAW, .in = view_of(block, n));
	return run_until(l, client_answered, c) && c->last_ok && c->last_req == 0x1234;
}

static struct keyring *
ring(EVP_PKEY *one, EVP_PKEY *two)
{
	struct keyring *r = keyring_new();
	struct err e;

	if ((one && add(r, 1, one, &e) < 0) || (two && add(r, 2, two, &e) < 0))
		exit(1);
	return r;
}

static void
test_server(struct loop *l, EVP_PKEY *rsa, EVP_PKEY *ec)
{
	struct server s = { 0 };
	struct client a, b;
	EVP_PKEY *fresh = fixture_key("P-256");

	server_init(&s, l);
	client_open(&a, l, &s, 0);
	client_open(&b, l, &s, 1);
	ok(!ask(&a, l, 1, 0, 256) && a.answers == 1, "before any configuration: ok = false");
	server_use(&s, ring(rsa, ec));
	ok(ask(&a, l, 1, 0, 256) && ask(&b, l, 2, pin_of(ec), 32), "both peers get signatures");
	ok(!ask(&a, l, 3, 0, 256), "an unknown key: ok = false");
	ok(!ask(&a, l, 1, 0, 255), "a wrong length: ok = false");
	ok(ask(&a, l, 1, 0, 256), "... and the channel goes on");

	a.answers = b.answers = a.oks = 0;
	for (int i = 0; i < 200; i++)
		IPC_SEND(&a.ch, sign, .req = (uint64_t)i, .key = 1, .scheme = SIGN_RSA_RAW,
		    .in = view_of((char[256]){ 0, 1 }, 256));
	run_turns(l, 2);
	b.other = &a;
	ok(ask(&b, l, 2, 0, 32), "atk-I12 beside a long queue of one peer");
	ok(b.others <= 100, "... another is served soon (after %zu of 200)", b.others);
	a.want = 200;
	run_until(l, client_answered, &a);
	is_int((long long)a.oks, 200, "... and the long queue to its end");

	server_use(&s, ring(fresh, rsa)); /* renewed, and in another order */
	ok(ask(&a, l, 2, pin_of(ec), 32), "reload: the former certificate still works");
	ok(ask(&a, l, 1, pin_of(rsa), 256), "... also when the numbers moved");
	ok(ask(&a, l, 1, pin_of(fresh), 32), "... beside the new one");
	ok(!ask(&a, l, 2, 0, 32), "... without a pin only the number counts");
	server_use(&s, ring(fresh, NULL));
	ok(!ask(&a, l, 2, pin_of(ec), 32), "... and one reload later it is gone");

	IPC_SEND(&b.ch, report_done, .req = 1);
	b.want = SIZE_MAX;
	run_until(l, client_answered, &b);
	ok(b.closed, "atk-I12 a frame that is not for signd ends that channel");
	ok(ask(&a, l, 1, 0, 32), "... and no other");
	for (int i = 0; i < 50; i++)
		IPC_SEND(&a.ch, sign, .req = 1, .key = 1, .scheme = SIGN_ECDSA, .in = VIEW("x"));
	run_turns(l, 2);
	server_peer_gone(&s, ROLE_SMTPD, 0);
	run_until(l, client_answered, &(struct client){ .want = 0 });
	ok(s.peers == NULL, "a peer that goes with requests waiting");
	server_close(&s);
	channel_close(&a.ch);
	channel_close(&b.ch);
	run_turns(l, 2);
	EVP_PKEY_free(fresh);
}

struct op {
	struct tls_sign_op op;
	unsigned done, ok;
};

static void
op_done(struct tls_sign_op *op, bool good, struct view signature)
{
	struct op *o = CONTAINER(op, struct op, op);

	o->done++;
	o->ok += good && signature.n > 0;
}

static bool
op_decided(void *arg)
{
	return ((struct op *)arg)->done > 0;
}

static void
signer_join(struct signer *s, struct server *server)
{
	int fds[2];

	if (channel_pair(fds) < 0)
		exit(1);
	server_peer(server, ROLE_SMTPD, 0, fds[0]);
	signer_attach(s, fds[1], 0);
}

static void
test_signer(struct loop *l, EVP_PKEY *rsa, EVP_PKEY *ec)
{
	struct server server = { 0 };
	struct signer *s = signer_new(l);
	struct tls_signer *ts = signer_tls(s);
	struct op ops[100];

	server_init(&server, l);
	server_use(&server, ring(rsa, ec));
	for (size_t i = 0; i < 100; i++)
		ops[i] = (struct op){ .op = { .key = 2, .pin = pin_of(ec), .scheme = SIGN_ECDSA,
			.in = VIEW("01234567890123456789012345678901"), .done = op_done } };
	is_int(ts->start(ts, &ops[0].op), -1, "without a channel nothing starts");
	signer_join(s, &server);
	ok(ts->start(ts, &ops[0].op) == 0 && ops[0].done == 0, "a request is not answered within start");
	ok(run_until(l, op_decided, &ops[0]) && ops[0].ok == 1, "... but later");
	for (size_t i = 0; i < 100; i++) {
		ops[i].done = ops[i].ok = 0;
		ts->start(ts, &ops[i].op);
	}
	for (size_t i = 0; i < 99; i += 2)
		ts->cancel(ts, &ops[i].op);
	run_until(l, op_decided, &ops[99]);
	unsigned even = 0, odd = 0;
	for (size_t i = 0; i < 100; i++)
		*(i % 2 ? &odd : &even) += ops[i].ok == 1 && ops[i].done == 1;
	ok(even == 0 && odd == 50, "cancelled ones are not called, the others are, once each");
	ops[0].done = ops[1].done = 0;
	ts->start(ts, &ops[0].op);
	ts->start(ts, &ops[1].op);
	ops[1].op.key = 9;
	run_turns(l, 1);
	server_peer_gone(&server, ROLE_SMTPD, 0);
	run_until(l, op_decided, &ops[1]);
	ok(ops[0].done == 1 && ops[1].done == 1, "the end of the channel decides what pends");
	run_turns(l, 2);
	ok(!signer_attached(s) && ts->start(ts, &ops[0].op) < 0, "... and nothing starts");
	signer_join(s, &server);
	ops[0].done = ops[0].ok = 0;
	ts->start(ts, &ops[0].op);
	run_until(l, op_decided, &ops[0]);
	ok(ops[0].ok == 1, "until a new channel comes");
	ops[0].done = ops[0].ok = 0;
	ts->start(ts, &ops[0].op);
	signer_free(&s);
	ok(ops[0].done == 1 && ops[0].ok == 0, "free fails what pends");
	server_close(&server);
	run_turns(l, 3);
}

/* One TLS session on the loop, greeted when secured. */
struct session {
	struct io io;
	struct tls_ctx *ctx;
	struct loop_fd listener;
	struct loop *loop;
	bool secured, over;
	struct tls_info info;
	char why[ERR_TEXT_MAX];
	int status; /* of the client */
	pid_t pid;
};

static void
session_secured(struct io *io, const struct err *e)
{
	struct session *s = CONTAINER(io, struct session, io);

	if (e) {
		snprintf(s->why, sizeof(s->why), "%s", e->text);
		s->over = true;
		io_close(io);
		return;
	}
	s->secured = true;
	tls_info(io->tls, &s->info);
	buf_puts(io_out(io), "220 hello\r\n");
	io_finish(io);
}

static void
session_closed(struct io *io, const struct err *e)
{
	struct session *s = CONTAINER(io, struct session, io);

	if (e)
		snprintf(s->why, sizeof(s->why), "%s", e->text);
	s->over = true;
	io_close(io);
}

static void
session_input(struct io *io)
{
	buf_clear(&io->in);
}

static void
session_accept(struct loop_fd *lf, unsigned events)
{
	static const struct io_ops ops = { .input = session_input, .secured = session_secured,
		.closed = session_closed };
	struct session *s = CONTAINER(lf, struct session, listener);
	int fd = accept4(lf->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	if (io_open(&s->io, s->loop, fd, &ops, 65536, 65536) < 0)
		exit(1);
	io_tls(&s->io, tls_server(s->ctx, fd, io_tls_wake, &s->io));
}

static bool
session_over(void *arg)
{
	struct session *s = arg;

	if (s->pid && waitpid(s->pid, &s->status, WNOHANG) == s->pid)
		s->pid = 0;
	return s->over && s->pid == 0;
}

static int
listen_loopback(uint16_t *port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, len) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		exit(1);
	*port = ntohs(sin.sin_port);
	return fd;
}

static pid_t
s_client(uint16_t port, const char *version, int out)
{
	char to[32];
	int held[2];

	snprintf(to, sizeof(to), "127.0.0.1:%u", port);
	if (pipe(held) < 0)
		exit(1);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(15);
		dup2(held[0], 0); /* open and silent: s_client stays until the server closes */
		dup2(out, 1);
		dup2(out, 2);
		execlp("openssl", "openssl", "s_client", "-connect", to, version, "-brief",
		    "-servername", "mx.example.jp", (char *)NULL);
		_exit(127);
	}
	close(held[0]);
	return pid;
}

static void
test_s_client(struct loop *l, struct signer *signer, struct view chain, uint32_t key,
    const char *version, const char *kind)
{
	struct session s = { .loop = l };
	struct err e;
	char text[8192];
	uint16_t port;
	FILE *out = tmpfile();

	s.ctx = tls_server_ctx(&(struct tls_server_conf){ .certs = &(struct tls_cert_conf){ chain, key },
		.cert_count = 1, .signer = signer_tls(signer) }, &e);
	s.listener = (struct loop_fd){ .fd = listen_loopback(&port), .ready = session_accept };
	int listener = s.listener.fd;
	loop_add_listener(l, &s.listener);
	s.pid = s_client(port, version, fileno(out));
	bool over = run_until(l, session_over, &s);
	rewind(out);
	text[fread(text, 1, sizeof(text) - 1, out)] = '\0';
	fclose(out);
	ok(over && s.secured, "%s %s: s_client finishes its handshake %s", kind, version, s.why);
	ok(strstr(text, "CONNECTION ESTABLISHED") && strstr(text, "220 hello"), "... and is greeted");
	if (!s.secured)
		printf("# %s\n", text);
	else
		printf("# %s with cipher %s (%d/%d bits)\n", s.info.version, s.info.cipher,
		    s.info.bits, s.info.alg_bits);
	loop_del(l, &s.listener);
	close(listener);
	tls_ctx_free(&s.ctx);
	run_turns(l, 2);
}

static void
test_handshakes(struct loop *l, EVP_PKEY *rsa, EVP_PKEY *ec)
{
	struct buf chain[2] = { BUF_INIT(65536), BUF_INIT(65536) };
	struct server server = { 0 };
	struct signer *signer = signer_new(l);

	X509_free(fixture_cert(rsa, "mx", GEN_DNS, "mx.example.jp", 13, NULL, NULL, &chain[0]));
	X509_free(fixture_cert(ec, "mx", GEN_DNS, "mx.example.jp", 13, NULL, NULL, &chain[1]));
	server_init(&server, l);
	server_use(&server, ring(rsa, ec));
	signer_join(signer, &server);
	if (system("openssl version >/dev/null 2>&1") != 0) {
		skip(8, "no openssl command");
	} else {
		test_s_client(l, signer, buf_view(&chain[0]), 1, "-tls1_2", "B15 RSA-2048");
		test_s_client(l, signer, buf_view(&chain[0]), 1, "-tls1_3", "B15 RSA-2048");
		test_s_client(l, signer, buf_view(&chain[1]), 2, "-tls1_2", "B15 P-256");
		test_s_client(l, signer, buf_view(&chain[1]), 2, "-tls1_3", "B15 P-256");
	}
	signer_free(&signer);
	server_close(&server);
	run_turns(l, 3);
	buf_free(&chain[0]);
	buf_free(&chain[1]);
}

int
main(void)
{
	struct loop *l = loop_new();
	EVP_PKEY *rsa = fixture_key("RSA"), *ec = fixture_key("P-256");

	signal(SIGPIPE, SIG_IGN);
	log_init("test/signd", "localhost", LOG_LEVEL_ERROR);
	test_keyring_sign(rsa, ec);
	test_keyring_add(rsa, ec);
	test_server(l, rsa, ec);
	test_signer(l, rsa, ec);
	test_handshakes(l, rsa, ec);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	loop_free(l);
	return done_testing();
}
