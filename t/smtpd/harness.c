/* SPDX-License-Identifier: ISC */
/*
 * Runs the smtpd executable and plays all its peers: master, authd, qmgr, dnsd and signd. The test
 * that started it speaks SMTP to smtpd's ports, gives orders on standard input and reads what happened
 * on standard output.
 *
 *	harness SMTPD CONFIG DIR [CERTIFICATE KEY]
 *
 * Orders: "qmgr hold|full|give|drop|new", "qmgr write-fails|sync-fails" (segments on a full or a broken
 * disk), "authd drop|new", "signd drop|new", "log stuck|file", "reload FILE", "drain SECONDS", "quiet",
 * "room N" (for connections). Lines: "ready SERIAL", "refused TEXT", "auth ...", "mail ...", "ptr",
 * "stored N QID ...", "big N", "big_drop N", "exit STATUS". Message N stands in DIR/msg.N.
 *
 * authd: the secret "good" opens user U for tenant "acme" (user "foreign": tenant "other"; user "vip" has all
 * rights, but not for the sender norights.example), "temp" is 454, "silent" is never answered, all else 535. Senders: <> is refused with A21's text, refused.example
 * with 550 5.7.1, silent.example is never answered; checked.example: recipients are asked about, those at
 * full.example are over quota. dnsd: 192.0.2.10 is client.example, 192.0.2.11 is
 * never answered.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/conf.h"
#include "lib/durable.h"
#include "lib/log.h"
#include "lib/segment.h"

enum { SEGMENT_BYTES = 16 << 20, MASTER_FD = 3, TEXT_MAX = 64 << 20 };
#define SCRAM_SALT "0123456789abcdef"
enum supply { GIVE, HOLD, FULL, WRITE_FAILS, SYNC_FAILS };

struct harness {
	struct loop *loop;
	struct channel master, authd, qmgr, dnsd, signd;
	const char *dir, *cert;
	EVP_PKEY *key;
	pid_t child;
	struct loop_fd orders;
	struct buf order_text;
	uint32_t serial;
	/* The qmgr that is played. */
	enum supply supply;
	uint32_t wanted;
	uint64_t next_gen, last_gen, last_big;
	struct { uint64_t gen; int fd; } segments[64];
	unsigned segments_count, messages;
	bool quiet; /* messages are only counted */
	unsigned room, here; /* for connections, 0: any number; how many there are */
	int stuck;  /* where nobody reads the log */
};

static void
die(const char *what)
{
	fprintf(stderr, "harness: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void __attribute__((format(printf, 1, 2)))
say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* authd */

static void
answer_auth(struct channel *ch, uint64_t req, uint16_t code, struct esc esc, const char *text,
    const char *tenant, struct view user)
{
	IPC_SEND(ch, auth_result, .req = req, .code = code, .esc = esc_pack(esc), .text = view_str(text),
	    .tenant = view_str(tenant), .user = user, .why = view_str(code == 235 ? "" : "because"),
	    .may_future = view_is(user, "vip"), .may_priority = view_is(user, "vip"));
}

/* As in authd's store: no other name was ever issued. */
static bool
issued(struct view user)
{
	for (size_t i = 0; i < user.n; i++)
		if (user.p[i] < 0x20 || user.p[i] >= 0x7f)
			return false;
	return true;
}

static bool
on_auth(struct harness *d, struct channel *ch, struct ipc_auth *m, int *fd)
{
	struct buf user = BUF_INIT(4096);

	(void)d, (void)fd;
	log_escape(&user, m->user, 600, " ");
	say("auth %.*s %.*s %zu", VIEW_ARG(m->method), VIEW_ARG(buf_view(&user)), m->secret.n);
	buf_free(&user);
	if (view_is(m->secret, "temp"))
		answer_auth(ch, m->req, 454, ESC(4, 7, 0), "Try later", "", VIEW(""));
	else if ((view_is(m->secret, "good") || view_starts(m->secret, "long")) && issued(m->user))
		answer_auth(ch, m->req, 235, ESC(2, 7, 0), "", view_is(m->user, "foreign") ? "other" : "acme",
		    m->user);
	else if (!view_is(m->secret, "silent"))
		answer_auth(ch, m->req, 535, ESC(5, 7, 8), "Error: authentication failed", "", VIEW(""));
	return true;
}

static bool
on_mail_check(struct harness *d, struct channel *ch, struct ipc_mail_check *m, int *fd)
{
	uint16_t code = 250;
	struct esc esc = ESC(2, 0, 0);
	struct view text = VIEW("");

	(void)d, (void)fd;
	if (!d->quiet)
		say("mail <%.*s> tenant=%.*s user=%.*s size=%llu", VIEW_ARG(m->sender), VIEW_ARG(m->tenant),
	    VIEW_ARG(m->user), (unsigned long long)m->size);
	struct view domain = m->sender;
	view_cut(&domain, '@');
	if (view_is(domain, "silent.example"))
		return true;
	if (m->sender.n == 0) {
		code = 550;
		esc = ESC(0, 0, 0);
		text = VIEW("Syntax Error");
	} else if (view_is(domain, "refused.example")) {
		code = 550;
		esc = ESC(5, 7, 1);
		text = VIEW("Sender domain not registered");
	}
	bool checked = view_is(domain, "checked.example"), fixed = view_is(domain, "fixed.example");
	bool verp = view_is(domain, "verp.example");
	bool rights = view_is(m->user, "vip") && !view_is(domain, "norights.example");
	IPC_SEND(ch, mail_result, .req = m->req, .code = code, .esc = esc_pack(esc), .text = text,
	    .check_rcpts = checked, .reserved_s = checked ? 77 : 0,
	    .header_from_tenant = view_is(domain, "strict.example"),
	    .hold = view_is(domain, "held.example"), .key_serial = verp ? 42 : 0,
	    .rewrite = fixed ? SENDER_REPLACE : verp ? SENDER_TOKEN : SENDER_KEEP,
	    .sender = fixed ? VIEW("bounce@other.example") : verp ? VIEW("@bounce.example") : VIEW(""),
	    .may_future = rights, .may_priority = rights, .priority = rights ? 2 : 0,
	    .retry = rights ? VIEW("gentle") : VIEW(""),
	    .lease = view_is(domain, "leased.example") ? 3 : 0);
	return true;
}

static bool
on_connect(struct harness *d, struct channel *ch, struct ipc_connect *m, int *fd)
{
	bool full = d->room && d->here >= d->room;

	(void)fd;
	d->here++;
	if (m->req)
		IPC_SEND(ch, connect_result, .req = m->req, .code = full ? 421 : 220,
		    .esc = esc_pack(full ? ESC(4, 7, 0) : ESC(0, 0, 0)),
		    .text = full ? VIEW("Error: too many connections") : VIEW(""));
	return true;
}

static bool
on_disconnect(struct harness *d, struct channel *ch, struct ipc_disconnect *m, int *fd)
{
	(void)ch, (void)m, (void)fd;
	d->here--;
	return true;
}

/* The secret is "good" for every user. */
static void
scram_key(unsigned char stored[32], unsigned char server[32])
{
	unsigned char salted[32], client[32];

	PKCS5_PBKDF2_HMAC("good", 4, (const unsigned char *)SCRAM_SALT, 16, 4096, EVP_sha256(), 32, salted);
	HMAC(EVP_sha256(), salted, 32, (const unsigned char *)"Client Key", 10, client, NULL);
	HMAC(EVP_sha256(), salted, 32, (const unsigned char *)"Server Key", 10, server, NULL);
	EVP_Digest(client, 32, stored, NULL, EVP_sha256(), NULL);
}

static bool
on_scram_start(struct harness *d, struct channel *ch, struct ipc_scram_start *m, int *fd)
{
	(void)d, (void)fd;
	say("scram %.*s", VIEW_ARG(m->user));
	if (!view_is(m->user, "silent"))
		IPC_SEND(ch, scram_salt, .req = m->req, .salt = VIEW(SCRAM_SALT), .iterations = 4096);
	return true;
}

static bool
on_scram_finish(struct harness *d, struct channel *ch, struct ipc_scram_finish *m, int *fd)
{
	unsigned char stored[32], server[32], key[32], got[32];

	(void)d, (void)fd;
	scram_key(stored, server);
	HMAC(EVP_sha256(), stored, 32, (const unsigned char *)m->message.p, m->message.n, key, NULL);
	for (int i = 0; i < 32; i++)
		key[i] ^= (unsigned char)m->proof.p[i];
	EVP_Digest(key, 32, got, NULL, EVP_sha256(), NULL);
	HMAC(EVP_sha256(), server, 32, (const unsigned char *)m->message.p, m->message.n, key, NULL);
	if (memcmp(got, stored, 32))
		answer_auth(ch, m->req, 535, ESC(5, 7, 8), "Error: authentication failed", "", VIEW(""));
	else
		IPC_SEND(ch, auth_result, .req = m->req, .code = 235, .esc = esc_pack(ESC(2, 7, 0)),
		    .tenant = VIEW("acme"), .user = m->user, .server_signature = view_of(key, 32));
	return true;
}

/* Recipients at full.example are over quota. */
static bool
on_rcpt_check(struct harness *d, struct channel *ch, struct ipc_rcpt_check *m, int *fd)
{
	struct buf results = BUF_INIT(IPC_BULK_MAX);
	struct view names = m->rcpts;
	struct ipc_rcpt_name name;

	(void)d, (void)fd;
	say("rcpts %u", m->count);
	while (ipc_next(&ipc_desc_rcpt_name, &names, &name)) {
		struct view domain = name.addr;
		view_cut(&domain, '@');
		struct reply { uint16_t code; struct esc esc; const char *text; } r = { 250, ESC(2, 1, 5), "Ok" };
		if (view_is(domain, "full.example"))
			r = (struct reply){ 452, ESC(4, 7, 0), "Quota exceeded" };
		else if (view_is(domain, "bounce.example") && !view_starts(name.addr, "b-good@"))
			r = (struct reply){ 550, ESC(5, 7, 1), "No such return address" };
		else if (m->tenant.n == 0 && !view_is(domain, "hosted.example") &&
		    !view_is(domain, "bounce.example"))
			r = (struct reply){ 554, ESC(5, 7, 1), "Relay access denied" };
		IPC_RECORD(&results, rcpt_verdict, .code = r.code, .esc = esc_pack(r.esc), .text = view_str(r.text));
	}
	IPC_SEND(ch, rcpt_result, .req = m->req, .results = buf_view(&results));
	buf_free(&results);
	return true;
}

static bool
on_txn_end(struct harness *d, struct channel *ch, struct ipc_txn_end *m, int *fd)
{
	(void)ch, (void)fd;
	if (!d->quiet)
		say("txn_end at=%llu stored=%d rcpts=%u %s=%u", (unsigned long long)m->reserved_s,
		    m->stored, m->rcpts, m->leased ? "leased" : "reserved",
		    m->leased ? m->leased : m->reserved);
	return true;
}

static bool
on_from_check(struct harness *d, struct channel *ch, struct ipc_from_check *m, int *fd)
{
	struct view domains = m->domains, other = VIEW("");
	struct ipc_from_domain at;
	bool hang = false, silent = false;

	(void)fd;
	while (ipc_next(&ipc_desc_from_domain, &domains, &at)) {
		hang |= view_is(at.domain, "hang.example");
		silent |= view_is(at.domain, "silent.example");
		if (!view_iis(at.domain, "strict.example") && other.n == 0)
			other = at.domain;
	}
	if (!d->quiet)
		say("from_check");
	if (!hang)
		IPC_SEND(ch, from_result, .req = m->req, .ok = other.n == 0, .failed = silent, .domain = other);
	return true;
}

/* "b-good" is a return address of ours. */
static bool
authd_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct harness *d = ch->ctx;

	switch (type) {
		IPC_SMTPD_TO_AUTHD(IPC_CASE)
	default:
		return false;
	}
}

/* qmgr */

static int
make_file(struct harness *d, const char *kind, uint64_t number)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s.%llu", d->dir, kind, (unsigned long long)number);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die(path);
	return fd;
}

/* Devices behave as disks do: writes to the one have no space, those to the other cannot be synced. */
static void
give_device(struct harness *d, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(path);
	IPC_SEND_FD(&d->qmgr, fd, segment, .gen = ++d->next_gen, .start = SEGMENT_DATA, .size = SEGMENT_BYTES);
}

static void
give_segment(struct harness *d)
{
	struct segment_header h = { .gen = ++d->next_gen, .size = SEGMENT_BYTES, .created_us = 1,
		.writer = ROLE_SMTPD << 16 };
	struct buf b = BUF_INIT(SEGMENT_DATA);
	int fd = make_file(d, "seg", h.gen);

	segment_header_put(&b, &h);
	if (ftruncate(fd, SEGMENT_BYTES) < 0 || durable_pwrite(fd, buf_view(&b).p, buf_len(&b), 0, NULL) < 0)
		die("segment");
	buf_free(&b);
	unsigned at = d->segments_count++ % 64;
	d->segments[at].gen = h.gen;
	d->segments[at].fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	IPC_SEND_FD(&d->qmgr, fd, segment, .gen = h.gen, .start = SEGMENT_DATA, .size = SEGMENT_BYTES);
}

static void
supply(struct harness *d)
{
	if (d->supply == FULL && d->wanted)
		IPC_SEND(&d->qmgr, no_space, .count = d->wanted);
	for (; d->supply == GIVE && d->wanted; d->wanted--)
		give_segment(d);
	for (; (d->supply == WRITE_FAILS || d->supply == SYNC_FAILS) && d->wanted; d->wanted--)
		give_device(d, d->supply == WRITE_FAILS ? "/dev/full" : "/dev/null");
}

static bool
on_segment_want(struct harness *d, struct channel *ch, struct ipc_segment_want *m, int *fd)
{
	(void)ch, (void)fd;
	d->wanted += m->count;
	supply(d);
	return true;
}

static bool
on_segment_release(struct harness *d, struct channel *ch, struct ipc_segment_release *m, int *fd)
{
	(void)d, (void)ch, (void)fd;
	say("segment_release failed=%d", m->failed);
	return true;
}

static struct view
read_at(int fd, struct buf *b, uint64_t at, size_t n)
{
	buf_clear(b);
	char *room = buf_reserve(b, n);
	if (room == NULL || pread(fd, room, n, (off_t)at) != (ssize_t)n)
		die("read back");
	buf_commit(b, n);
	return buf_view(b);
}

static void
save_message(struct harness *d, struct view front, struct view content)
{
	int fd = make_file(d, "msg", d->messages);

	if (durable_write(fd, front.p, front.n, NULL) < 0 || durable_write(fd, content.p, content.n, NULL) < 0)
		die("msg");
	close(fd);
}

static void
print_stored(struct harness *d, const struct record *r, const struct envelope *env, bool crc_good)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	char qid[QID_CHARS + 1];

	buf_printf(&b, "stored %u %s crc=%s from=<%.*s> tenant=%.*s user=%.*s client=%.*s session=%.*s "
	    "size=%llu flags=%u front=%u message-id=%.*s original=%.*s return=%.*s serial=%u tag=%.*s batch=%.*s "
	    "label=%.*s header-from=%.*s release=%llu priority=%u mt=%u retry=%.*s kinds=", d->messages, qid_text(env->qid, qid),
	    crc_good ? "good" : "BAD", VIEW_ARG(env->sender), VIEW_ARG(env->tenant), VIEW_ARG(env->user),
	    VIEW_ARG(env->client), VIEW_ARG(env->session), (unsigned long long)env->size, env->flags,
	    r->front_len, VIEW_ARG(env->message_id), VIEW_ARG(env->sender_original),
	    VIEW_ARG(env->return_domain), env->key_serial, VIEW_ARG(env->tag), VIEW_ARG(env->batch),
	    VIEW_ARG(env->label), VIEW_ARG(env->header_from), (unsigned long long)env->release_us, env->priority,
	    env->mt_priority, VIEW_ARG(env->retry));
	for (uint32_t i = 0; i < env->nrcpt; i++)
		buf_printf(&b, "%u", env->rcpts[i].kind);
	buf_puts(&b, " to=");
	for (uint32_t i = 0; i < env->nrcpt; i++)
		buf_printf(&b, "%s<%.*s>", i ? "," : "", VIEW_ARG(env->rcpts[i].addr));
	say("%s", buf_cstr(&b));
	buf_free(&b);
}

/* Reads the record back from the file, as a qmgr after a crash would. */
static void
read_record(struct harness *d, int fd, uint64_t gen, uint64_t offset)
{
	struct buf head = BUF_INIT(TEXT_MAX), envelope = BUF_INIT(TEXT_MAX), data = BUF_INIT(TEXT_MAX);
	struct arena a = { 0 };
	struct envelope env;
	struct record r;
	bool damaged = false;

	if (!record_header_get(read_at(fd, &head, offset, RECORD_HEADER), gen, &r, &damaged))
		die("no record where one was told");
	if (!record_envelope_get(&r, read_at(fd, &envelope, offset + RECORD_HEADER, r.envelope_len), &a, &env))
		die("bad envelope");
	struct view all = read_at(fd, &data, offset + record_front_at(&r), r.front_len + r.content_len);
	uint32_t crc = crc32c(0, all.p, all.n);
	struct view content = view_skip(all, r.front_len);
	struct buf big = BUF_INIT(TEXT_MAX);
	if (env.flags & SEGMENT_BIG) {
		char path[4096];
		snprintf(path, sizeof(path), "%s/big.%llu", d->dir, (unsigned long long)env.big);
		int bfd = open(path, O_RDONLY | O_CLOEXEC);
		if (bfd < 0)
			die(path);
		content = read_at(bfd, &big, 0, env.size);
		crc = crc32c(crc, content.p, content.n);
		close(bfd);
	}
	d->messages++;
	save_message(d, view_first(all, r.front_len), content);
	print_stored(d, &r, &env, crc == r.content_crc);
	arena_free(&a);
	buf_free(&big);
	buf_free(&head);
	buf_free(&envelope);
	buf_free(&data);
}

static bool
on_stored(struct harness *d, struct channel *ch, struct ipc_stored *m, int *fd)
{
	(void)ch, (void)fd;
	if (d->quiet) {
		d->messages++;
		return true;
	}
	for (unsigned i = 0; i < 64 && i < d->segments_count; i++)
		if (d->segments[i].gen == m->gen) {
			read_record(d, d->segments[i].fd, m->gen, m->offset);
			return true;
		}
	return false;
}

static bool
on_big_want(struct harness *d, struct channel *ch, struct ipc_big_want *m, int *fd)
{
	(void)fd;
	if (d->supply == HOLD)
		return true;
	if (d->supply == FULL) {
		IPC_SEND(ch, big, .req = m->req, .big = 0);
		return true;
	}
	uint64_t number = ++d->last_big;
	say("big %llu", (unsigned long long)number);
	IPC_SEND_FD(ch, make_file(d, "big", number), big, .req = m->req, .big = number);
	return true;
}

static bool
on_big_drop(struct harness *d, struct channel *ch, struct ipc_big_drop *m, int *fd)
{
	(void)d, (void)ch, (void)fd;
	say("big_drop %llu", (unsigned long long)m->big);
	return true;
}

static bool
qmgr_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct harness *d = ch->ctx;

	switch (type) {
		IPC_WRITER_TO_QMGR(IPC_CASE)
	default:
		return false;
	}
}

/* dnsd */

static bool
dnsd_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct ipc_ptr_query m;

	(void)fd;
	if (type != IPC_TYPE_ptr_query || !ipc_get(&ipc_desc_ptr_query, body, &m))
		return false;
	say("ptr %zu", m.ip.n);
	if (view_eq(m.ip, VIEW("\300\0\2\012")))
		IPC_SEND(ch, ptr_answer, .req = m.req, .status = DNS_OK, .name = VIEW("client.example"));
	else if (!view_eq(m.ip, VIEW("\300\0\2\013")))
		IPC_SEND(ch, ptr_answer, .req = m.req, .status = DNS_NXDOMAIN);
	return true;
}

/* signd */

static bool
signd_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct harness *d = ch->ctx;
	unsigned char sig[1024];
	size_t len = sizeof(sig);
	struct ipc_sign m;

	(void)fd;
	if (type != IPC_TYPE_sign || !ipc_get(&ipc_desc_sign, body, &m) || m.key != 1)
		return false;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(d->key, NULL);
	bool good = m.scheme == SIGN_ECDSA && EVP_PKEY_sign_init(ctx) > 0 &&
	    EVP_PKEY_sign(ctx, sig, &len, (const unsigned char *)m.in.p, m.in.n) > 0;
	EVP_PKEY_CTX_free(ctx);
	IPC_SEND(ch, signature, .req = m.req, .ok = good, .signature = view_of(sig, good ? len : 0));
	return true;
}

/* master */

static void
peer_closed(struct channel *ch, const struct err *e)
{
	if (e)
		say("closed %s: %s", role_name(ch->role), e->text);
	channel_close(ch);
}

static void
open_peer(struct harness *d, struct channel *ch, bool (*frame)(struct channel *, uint16_t, struct view, int *),
    enum role role)
{
	static struct channel_ops ops[ROLES];
	int fds[2];

	ops[role] = (struct channel_ops){ frame, peer_closed };
	channel_close(ch);
	if (channel_pair(fds) < 0 || channel_open(ch, d->loop, fds[0], &ops[role], d, ROLE_SMTPD, 0) < 0)
		die("channel");
	IPC_SEND_FD(&d->master, fds[1], peer, .role = (uint8_t)role, .instance = 0);
}

static void
drop_peer(struct harness *d, struct channel *ch, enum role role)
{
	channel_close(ch);
	IPC_SEND(&d->master, peer_gone, .role = (uint8_t)role, .instance = 0);
}

static void
exited(struct harness *d)
{
	int status;

	waitpid(d->child, &status, 0);
	say("exit %d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	exit(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1);
}

static bool
master_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct ipc_ready ready;
	struct ipc_refused refused;

	(void)ch, (void)fd;
	if (type == IPC_TYPE_ready && ipc_get(&ipc_desc_ready, body, &ready))
		say("ready %u", ready.serial);
	else if (type == IPC_TYPE_refused && ipc_get(&ipc_desc_refused, body, &refused))
		say("refused %.*s", VIEW_ARG(refused.why));
	else
		return false;
	return true;
}

static void
master_closed(struct channel *ch, const struct err *e)
{
	(void)e;
	exited(ch->ctx);
}

static void
read_file(const char *path, struct buf *b)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	read_at(fd, b, 0, (size_t)st.st_size);
	close(fd);
}

static int
listen_on(const struct hostport *hp)
{
	int one = 1, fd = socket(hp->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)); /* a reload binds it again */
	if (fd < 0 || bind(fd, (const struct sockaddr *)&hp->addr, hp->len) < 0 || listen(fd, 4096) < 0)
		die(hp->text);
	return fd;
}

static void
send_config(struct harness *d, const char *path)
{
	struct buf text = BUF_INIT(TEXT_MAX), errors = BUF_INIT(TEXT_MAX), chain = BUF_INIT(IPC_BULK_MAX);
	int mem = memfd_create("config", MFD_CLOEXEC);

	read_file(path, &text);
	struct conf *c = conf_read_text(buf_view(&text), path, &errors);
	if (c == NULL) {
		fprintf(stderr, "%s", buf_cstr(&errors));
		exit(2);
	}
	if (durable_write(mem, buf_view(&text).p, buf_len(&text), NULL) < 0)
		die("memfd");
	IPC_SEND_FD(&d->master, mem, config, .serial = ++d->serial);
	for (uint32_t i = 0; i < c->listen_count; i++) {
		char ticket[80];
		memset(ticket, 'a' + (int)i, sizeof(ticket));
		for (size_t k = 0; k < c->listen[i].address.n; k++)
			IPC_SEND_FD(&d->master, listen_on(&c->listen[i].address.v[k]), listener, .listener = i,
			    .address = view_str(c->listen[i].address.v[k].text));
		IPC_SEND(&d->master, ticket_key, .listener = i, .key = view_of(ticket, sizeof(ticket)));
	}
	if (d->cert) {
		read_file(d->cert, &chain);
		IPC_SEND(&d->master, cert, .key = 1, .name = VIEW("default"), .chain = buf_view(&chain));
	}
	IPC_SEND(&d->master, apply, .serial = d->serial);
	conf_free(&c);
	buf_free(&text);
	buf_free(&errors);
	buf_free(&chain);
}

static void
open_qmgr(struct harness *d)
{
	d->wanted = 0;
	open_peer(d, &d->qmgr, qmgr_frame, ROLE_QMGR);
}

static void
log_to_file(struct harness *d)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/log", d->dir);
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	IPC_SEND_FD(&d->master, log, log, .kind = LOG_KIND_FILE);
}

/* A system log that takes nothing: a socket that nobody reads. */
static void
log_stuck(struct harness *d)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0)
		die("socketpair");
	d->stuck = fds[0];
	IPC_SEND_FD(&d->master, fds[1], log, .kind = LOG_KIND_SYSLOG);
}

static void
start(struct harness *d, const char *program, const char *config)
{
	static const struct channel_ops ops = { master_frame, master_closed };
	char path[4096];
	int fds[2];

	if (channel_pair(fds) < 0)
		die("socketpair");
	d->child = fork();
	if (d->child == 0) {
		if (fds[1] == MASTER_FD)
			fcntl(MASTER_FD, F_SETFD, 0);
		else
			dup2(fds[1], MASTER_FD);
		execl(program, program, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	if (channel_open(&d->master, d->loop, fds[0], &ops, d, ROLE_SMTPD, 0) < 0)
		die("channel");
	IPC_SEND(&d->master, setup, .role = ROLE_SMTPD, .instances = 1, .dir = view_str(d->dir));
	log_to_file(d);
	snprintf(path, sizeof(path), "%s/events", d->dir);
	int events = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	IPC_SEND_FD(&d->master, events, log, .kind = LOG_KIND_EVENTS);
	open_peer(d, &d->authd, authd_frame, ROLE_AUTHD);
	open_qmgr(d);
	open_peer(d, &d->dnsd, dnsd_frame, ROLE_DNSD);
	open_peer(d, &d->signd, signd_frame, ROLE_SIGND);
	send_config(d, config);
}

static void
order(struct harness *d, const char *text)
{
	static const char *const supplies[] = { [GIVE] = "qmgr give", [HOLD] = "qmgr hold",
		[FULL] = "qmgr full", [WRITE_FAILS] = "qmgr write-fails", [SYNC_FAILS] = "qmgr sync-fails" };

	for (unsigned i = 0; i <= SYNC_FAILS; i++)
		if (strcmp(text, supplies[i]) == 0)
			d->supply = i;
	if (strcmp(text, "quiet") == 0)
		d->quiet = true;
	else if (strcmp(text, "qmgr drop") == 0)
		drop_peer(d, &d->qmgr, ROLE_QMGR);
	else if (strcmp(text, "qmgr new") == 0)
		open_qmgr(d);
	else if (strcmp(text, "authd drop") == 0)
		drop_peer(d, &d->authd, ROLE_AUTHD), d->here = 0;
	else if (strcmp(text, "authd new") == 0)
		open_peer(d, &d->authd, authd_frame, ROLE_AUTHD);
	else if (strcmp(text, "authd change") == 0)
		IPC_SEND(&d->authd, lease_end, .changes = 1);
	else if (strcmp(text, "signd drop") == 0)
		drop_peer(d, &d->signd, ROLE_SIGND);
	else if (strcmp(text, "signd new") == 0)
		open_peer(d, &d->signd, signd_frame, ROLE_SIGND);
	else if (strcmp(text, "log stuck") == 0)
		log_stuck(d);
	else if (strcmp(text, "log file") == 0)
		log_to_file(d);
	else if (strncmp(text, "reload ", 7) == 0)
		send_config(d, text + 7);
	else if (strncmp(text, "room ", 5) == 0)
		d->room = (unsigned)atoi(text + 5);
	else if (strncmp(text, "drain ", 6) == 0)
		IPC_SEND(&d->master, drain, .deadline_s = (uint32_t)atoi(text + 6));
	if (channel_is_open(&d->qmgr))
		supply(d);
	say("did %s", text);
}

static void
on_orders(struct loop_fd *lf, unsigned events)
{
	struct harness *d = CONTAINER(lf, struct harness, orders);
	char bytes[1024];
	ssize_t n = read(lf->fd, bytes, sizeof(bytes));

	(void)events;
	if (n <= 0) { /* the test is over */
		kill(d->child, SIGKILL);
		exit(0);
	}
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			buf_putc(&d->order_text, bytes[i]);
			continue;
		}
		order(d, buf_cstr(&d->order_text));
		buf_clear(&d->order_text);
	}
}

int
main(int argc, char **argv)
{
	static struct harness d = { .order_text = BUF_INIT(4096) };

	if (argc != 4 && argc != 6) {
		fprintf(stderr, "usage: harness SMTPD CONFIG DIR [CERTIFICATE KEY]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	d.loop = loop_new();
	d.dir = argv[3];
	d.next_gen = clock_wall_us() / 1000;
	if (argc == 6) {
		d.cert = argv[4];
		FILE *f = fopen(argv[5], "r");
		d.key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
		if (d.key == NULL)
			die(argv[5]);
		fclose(f);
	}
	start(&d, argv[1], argv[2]);
	say("pid %d", (int)d.child);
	d.orders = (struct loop_fd){ .fd = STDIN_FILENO, .ready = on_orders };
	loop_add_level(d.loop, &d.orders, LOOP_READ);
	return loop_run(d.loop) < 0;
}
