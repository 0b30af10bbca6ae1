/* SPDX-License-Identifier: ISC */
/*
 * Starts the signd executable and plays its master and an smtpd: harness SIGND DIR. TAP on standard
 * output. As root signd runs confined, as another user without.
 */
#include "t/signd/world.h"

/* Asks for a signature by key `number`; true when it came and is the one of `key`. */
static bool
signs(struct world *w, uint32_t number, EVP_PKEY *key)
{
	unsigned char in[256] = { 0, 1, 2, 3 }, back[256];
	bool rsa = EVP_PKEY_is_a(key, "RSA");
	size_t n = rsa ? 256 : 32, len = sizeof(back);

	IPC_SEND(&w->smtpd, sign, .req = 9, .key = number, .pin = pin_of(key),
	    .scheme = rsa ? SIGN_RSA_RAW : SIGN_ECDSA, .in = view_of(in, n));
	if (!reaches(w, &w->answers, w->answers + 1) || !w->last_ok)
		return false;
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	bool good;
	if (rsa)
		good = EVP_PKEY_verify_recover_init(c) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(c, RSA_NO_PADDING) == 1 &&
		    EVP_PKEY_verify_recover(c, back, &len, w->signature, w->signature_len) == 1 &&
		    memcmp(back, in, n) == 0;
	else
		good = EVP_PKEY_verify_init(c) == 1 &&
		    EVP_PKEY_verify(c, w->signature, w->signature_len, in, n) == 1;
	EVP_PKEY_CTX_free(c);
	return good;
}

/* Occurrences of a text in the writable memory of a process; -1: that cannot be read. */
static int
count_in_memory(pid_t pid, const char *what, size_t n)
{
	char path[64], line[512];
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	int mem = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *maps = fopen(path, "r");
	if (mem < 0 || maps == NULL)
		return -1;
	while (fgets(line, sizeof(line), maps)) {
		unsigned long from, to;
		char mode[5];
		if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || mode[1] != 'w' ||
		    to - from > 64 << 20)
			continue;
		char *copy = x_malloc(to - from);
		ssize_t got = pread(mem, copy, to - from, (off_t)from);
		for (char *p = copy; got > 0 && (p = memmem(p, (size_t)(copy + got - p), what, n)); p++)
			found++;
		free(copy);
	}
	fclose(maps);
	close(mem);
	return found;
}

static void
test_memory(struct world *w)
{
	struct buf pem = BUF_INIT(65536);

	if (WITH_ASAN || geteuid() != 0) {
		skip(2, "needs root, and no AddressSanitizer: it keeps freed memory as it was");
		return;
	}
	int sane = count_in_memory(w->pid, "mta1.example.jp", 15);
	ok(sane > 0, "signd's memory can be read (%d)", sane);
	fixture_key_pem(w->rsa, &pem);
	struct view rest = buf_view(&pem), line;
	view_cut(&rest, '\n');
	int found = 0, lines = 0;
	while ((line = view_cut(&rest, '\n')).n == 64) {
		found += count_in_memory(w->pid, line.p, line.n);
		lines++;
	}
	ok(lines > 10 && found == 0, "B15 no line of the PEM text is left in it (%d of %d)", found, lines);
	buf_wipe(&pem);
	buf_free(&pem);
}

static void
test_reload(struct world *w)
{
	send_config(w, 2);
	send_key(w, 1, w->fresh);
	send_key(w, 2, w->ec);
	ok(signs(w, 1, w->rsa) && !signs(w, 1, w->fresh), "new keys are not used before apply");
	apply(w);
	ok(reaches(w, &w->ready, 2), "reload: ready");
	ok(signs(w, 1, w->fresh), "... with the new key");
	ok(signs(w, 1, w->rsa), "... and the former one for sessions of the former certificate");

	send_config(w, 3);
	send_key(w, 1, w->rsa);
	send_key(w, 2, w->rsa);
	IPC_SEND(&w->master, key, .key = 3, .pem = VIEW("not a key"));
	apply(w);
	ok(reaches(w, &w->refused, 1), "C26 a configuration with a bad key is refused");
	ok(strstr(w->why, "c2") && strstr(w->why, "/nowhere/c2.key"), "... by name: %s", w->why);
	ok(signs(w, 1, w->fresh) && signs(w, 2, w->ec), "... and the old keys stay");

	send_config(w, 1);
	send_key(w, 1, w->fresh);
	apply(w);
	ok(reaches(w, &w->ready, 3) && signs(w, 1, w->fresh), "reload to fewer keys");
	send_config(w, 1);
	send_key(w, 1, w->fresh);
	apply(w);
	ok(reaches(w, &w->ready, 4) && !signs(w, 2, w->ec), "... a removed key is gone one reload later");
}

/* Asks for a DKIM signature over a digest of n bytes. */
static bool
signs_mail(struct world *w, uint64_t pin, uint8_t scheme, size_t n)
{
	static const unsigned char digest[256] = { 5, 6, 7 };

	IPC_SEND(&w->smtpd, sign, .req = 9, .pin = pin, .scheme = scheme, .in = view_of(digest, n));
	return reaches(w, &w->answers, w->answers + 1) && w->last_ok;
}

static bool
verifies(const struct world *w, EVP_PKEY *key, enum dkim_algorithm a)
{
	static const unsigned char digest[DKIM_HASH] = { 5, 6, 7 };
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	bool good;

	if (a == DKIM_ED25519_SHA256)
		good = EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) == 1 &&
		    EVP_DigestVerify(md, w->signature, w->signature_len, digest, DKIM_HASH) == 1;
	else
		good = EVP_PKEY_verify_init(c) == 1 &&
		    EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()) == 1 &&
		    EVP_PKEY_verify(c, w->signature, w->signature_len, digest, DKIM_HASH) == 1;
	EVP_MD_CTX_free(md);
	EVP_PKEY_CTX_free(c);
	return good;
}

static void
test_dkim(struct world *w)
{
	EVP_PKEY *rsa, *ed;

	ok(!signs_mail(w, 1, SIGN_DKIM_RSA, DKIM_HASH), "no DKIM key: ok = false");
	uint64_t r = send_dkim_key(w, DKIM_RSA_SHA256, 2048, &rsa);
	uint64_t x = send_dkim_key(w, DKIM_ED25519_SHA256, 0, &ed);
	ok(!signs_mail(w, r, SIGN_DKIM_RSA, DKIM_HASH), "keys are not used before the set is whole");
	IPC_SEND(&w->master, dkim_apply, .count = 2);
	for (int i = 0; i < 2; i++) {
		ok(signs_mail(w, r, SIGN_DKIM_RSA, DKIM_HASH) && verifies(w, rsa, DKIM_RSA_SHA256),
		    "K05 rsa-sha256 over a digest");
		ok(signs_mail(w, x, SIGN_DKIM_ED25519, DKIM_HASH) && verifies(w, ed, DKIM_ED25519_SHA256),
		    "K05 ed25519-sha256 over a digest");
	}
	ok(!signs_mail(w, r, SIGN_DKIM_ED25519, DKIM_HASH) && !signs_mail(w, x, SIGN_DKIM_RSA, DKIM_HASH),
	    "F10 not with a key of the other kind");
	ok(!signs_mail(w, r, SIGN_DKIM_RSA, 31) && !signs_mail(w, x, SIGN_DKIM_ED25519, 64),
	    "... nor over what is no SHA-256");
	ok(!signs_mail(w, pin_of(w->rsa), SIGN_DKIM_RSA, DKIM_HASH), "a key for TLS signs no mail");
	ok(!signs_mail(w, r, SIGN_RSA_RAW, 256) && !signs_mail(w, x, SIGN_ECDSA, 32),
	    "... and one for mail no handshake");
	ok(!signs_mail(w, r + 1, SIGN_DKIM_RSA, DKIM_HASH), "an unknown pin");
	IPC_SEND(&w->master, dkim_key, .pin = 4711, .algorithm = 1, .pem = VIEW("garbage"));
	IPC_SEND(&w->master, dkim_key, .pin = 4712, .algorithm = 7, .pem = VIEW("garbage"));
	IPC_SEND(&w->master, dkim_apply, .count = 2);
	ok(!signs_mail(w, 4711, SIGN_DKIM_RSA, DKIM_HASH) && !signs_mail(w, 4712, SIGN_DKIM_RSA, DKIM_HASH),
	    "F10 garbage signs nothing");
	ok(!signs_mail(w, r, SIGN_DKIM_RSA, DKIM_HASH), "a key that is not in the new set is gone");
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ed);
}

int
main(int argc, char **argv)
{
	struct world w = { .loop = loop_new(), .timer.fire = on_timer };
	int status = -1;

	if (argc != 3)
		return 2;
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	log_init("test/signd", "localhost", LOG_LEVEL_ERROR + 1);
	w.rsa = fixture_key("RSA");
	w.ec = fixture_key("P-256");
	w.fresh = fixture_key("P-256");
	start(&w, argv[1], argv[2]);
	ok(reaches(&w, &w.ready, 1), "signd is ready behind its sandbox %s", w.why);
	ok(signs(&w, 1, w.rsa) && signs(&w, 2, w.ec), "B15 it signs with RSA and ECDSA");
	ok(!signs(&w, 2, w.fresh) && !signs(&w, 7, w.fresh), "but not for a key it does not hold");
	test_dkim(&w);
	test_reload(&w);
	test_memory(&w);
	IPC_SEND(&w.smtpd, report_done, .req = 1);
	ok(reaches(&w, &w.smtpd_ends, 1), "atk-I4 a wrong frame closes that channel");
	send_peer(&w);
	ok(signs(&w, 1, w.fresh), "... and signd serves a new one");
	IPC_SEND(&w.master, drain, .deadline_s = 5);
	ok(!reaches(&w, &w.ready, UINT32_MAX) && w.master_end, "drain");
	waitpid(w.pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "... exit 0 (%#x)", (unsigned)status);
	channel_close(&w.smtpd);
	EVP_PKEY_free(w.rsa);
	EVP_PKEY_free(w.ec);
	EVP_PKEY_free(w.fresh);
	loop_free(w.loop);
	return done_testing();
}
