/* SPDX-License-Identifier: ISC */
/* The authd process, confined, with this test in the place of master, smtpd, dnsd and mtactl. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/channel.h"
#include "t/tap.h"

enum { UID = 54321, BATCH = 2000 };

static char top[] = "/tmp/ekiden-authd-XXXXXX";

struct suite {
	char program[4096], dir[64];
	pid_t pid;
	int master, smtpd, admin;
	struct buf store; /* of the last frame received */
	struct buf rows;  /* of the last command: "field=value " */
	char end[512];	  /* its text */
	struct ipc_auth_result auth;
};

static _Noreturn void
bail(const char *what, const struct err *e)
{
	printf("Bail out! %s: %s\n", what, e ? e->text : strerror(errno));
	exit(1);
}

#define SEND(sock, name, ...)                                                                      \
	send_frame((sock), &ipc_desc_##name, &(struct ipc_##name){ __VA_ARGS__ }, -1)
#define SEND_FD(sock, fd, name, ...)                                                               \
	send_frame((sock), &ipc_desc_##name, &(struct ipc_##name){ __VA_ARGS__ }, (fd))

static void
send_frame(int sock, const struct ipc_desc *d, const void *m, int fd)
{
	struct err e;

	if (channel_sync_send(sock, d, m, fd, &e) < 0)
		bail(d->name, &e);
	if (fd >= 0)
		close(fd);
}

/* The next frame must be this one; false: another one, or the end. */
static bool
recv_frame(struct suite *s, int sock, const struct ipc_desc *d, void *m)
{
	struct view body;
	struct err e;
	uint16_t type;
	int fd;

	if (channel_sync_recv(sock, &s->store, &type, &body, &fd, &e) < 0)
		return false;
	if (fd >= 0)
		close(fd);
	return type == d->type && ipc_get(d, body, m);
}

/* A channel to authd as `role`; returns our end. */
static int
connect_as(struct suite *s, enum role role, uint32_t instance)
{
	struct timeval limit = { 20, 0 };
	struct ipc_hello h;
	int fds[2];

	if (channel_pair(fds) < 0)
		bail("socketpair", NULL);
	setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	SEND(fds[0], hello, .digest = ipc_digest());
	if (role == ROLE_MTACTL)
		SEND_FD(s->master, fds[1], admin, .uid = 4711, .pid = 1);
	else
		SEND_FD(s->master, fds[1], peer, .role = (uint8_t)role, .instance = instance);
	if (!recv_frame(s, fds[0], &ipc_desc_hello, &h))
		bail("no hello from authd", NULL);
	return fds[0];
}

static void
start(struct suite *s)
{
	struct timeval limit = { 20, 0 };
	struct ipc_hello h;
	struct ipc_ready r;
	int fds[2], conf = memfd_create("conf", MFD_CLOEXEC);
	static const char text[] = "hostname mx.example.com\n";

	if (channel_pair(fds) < 0 || conf < 0 || write(conf, text, strlen(text)) < 0)
		bail("start", NULL);
	s->pid = fork();
	if (s->pid == 0) {
		dup2(fds[1], 3);
		execl(s->program, "authd", NULL);
		_exit(127);
	}
	close(fds[1]);
	s->master = fds[0];
	setsockopt(s->master, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	SEND(s->master, hello, .digest = ipc_digest());
	SEND(s->master, setup, .role = ROLE_AUTHD, .instances = 1, .uid = UID, .gid = UID,
	    .confine = geteuid() == 0, .dir = view_str(s->dir));
	SEND_FD(s->master, conf, config, .serial = 1);
	SEND(s->master, apply, .serial = 1);
	if (!recv_frame(s, s->master, &ipc_desc_hello, &h) ||
	    !recv_frame(s, s->master, &ipc_desc_ready, &r))
		bail("authd is not ready", NULL);
	s->smtpd = connect_as(s, ROLE_SMTPD, 0);
	s->admin = connect_as(s, ROLE_MTACTL, 0);
}

/* How the process ended: the exit status, or 256 + signal. */
static int
ended(struct suite *s)
{
	int status = 0;

	/* Its end of the channel closes with it; the wait for that is bounded. */
	char c;
	while (recv(s->master, &c, 1, 0) > 0)
		;
	if (waitpid(s->pid, &status, WNOHANG) != s->pid) {
		usleep(500000);
		if (waitpid(s->pid, &status, WNOHANG) != s->pid) {
			kill(s->pid, SIGKILL);
			waitpid(s->pid, &status, 0);
		}
	}
	close(s->master);
	close(s->smtpd);
	close(s->admin);
	return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void
call(struct suite *s, const char *command, const char *a, const char *av, const char *b,
    const char *bv)
{
	struct buf args = BUF_INIT(4096);

	IPC_RECORD(&args, ctl_arg, .name = view_str(a), .value = view_str(av));
	if (b)
		IPC_RECORD(&args, ctl_arg, .name = view_str(b), .value = view_str(bv));
	SEND(s->admin, ctl_call, .command = view_str(command), .args = buf_view(&args));
	buf_free(&args);
}

/* Rows and text of a call; its exit status, or -1. */
static int
result(struct suite *s)
{
	struct ipc_ctl_field field;
	struct ipc_ctl_row row;
	struct ipc_ctl_end end;
	struct view body;
	struct err e;
	uint16_t type;
	int fd;

	buf_clear(&s->rows);
	while (channel_sync_recv(s->admin, &s->store, &type, &body, &fd, &e) == 0) {
		if (type == IPC_TYPE_ctl_end && ipc_get(&ipc_desc_ctl_end, body, &end)) {
			snprintf(s->end, sizeof(s->end), "%.*s", (int)end.text.n, end.text.p);
			return end.status;
		}
		if (type != IPC_TYPE_ctl_row || !ipc_get(&ipc_desc_ctl_row, body, &row))
			return -1;
		while (row.fields.n && ipc_next(&ipc_desc_ctl_field, &row.fields, &field))
			buf_printf(&s->rows, "%.*s=%.*s ", (int)field.name.n, field.name.p,
			    (int)field.value.n, field.value.p);
	}
	return -1;
}

static char *
field_of(struct suite *s, const char *name)
{
	const char *at = strstr(buf_cstr(&s->rows), name);

	return at ? x_strndup(view_of(at + strlen(name), strcspn(at + strlen(name), " "))) :
		    x_strdup("");
}

static int
auth(struct suite *s, int sock, const char *user, const char *secret)
{
	SEND(sock, auth, .req = 7, .client = VIEW("192.0.2.1"), .method = VIEW("PLAIN"),
	    .user = view_str(user), .secret = view_str(secret));
	if (!recv_frame(s, sock, &ipc_desc_auth_result, &s->auth))
		return -1;
	return s->auth.code;
}

static int
mail(struct suite *s, int sock, const char *sender)
{
	struct ipc_mail_result r;

	SEND(sock, mail_check, .req = 8, .client = VIEW("192.0.2.1"), .tenant = VIEW("acme"),
	    .user = VIEW("alice"), .sender = view_str(sender));
	return recv_frame(s, sock, &ipc_desc_mail_result, &r) ? r.code : -1;
}

static char *
test_questions(struct suite *s)
{
	struct ipc_mail_result m;

	call(s, "tenant add", "name", "acme", "enabled", "");
	is_int(result(s), 0, "tenant add over the control connection");
	call(s, "key issue", "tenant", "acme", "user", "alice");
	is_int(result(s), 0, "key issue");
	char *secret = field_of(s, "secret=");
	call(s, "nonsense", "a", "b", NULL, NULL);
	is_int(result(s), 2, "no such command");

	is_int(auth(s, s->smtpd, "alice", secret), 235, "the key works (A2, A5)");
	is_view(s->auth.tenant, "acme", "tenant");
	is_view(s->auth.user, "alice", "user");
	is_int((long long)s->auth.req, 7, "number of the question");
	is_int(auth(s, s->smtpd, "alice", "x"), 535, "a wrong secret");
	is_view(s->auth.text, "Error: authentication failed", "what the client is told");
	is_view(s->auth.why, "wrong secret", "what the log is told");
	ok(s->auth.tenant.n == 0 && s->auth.user.n == 0, "no identity");
	is_int(auth(s, s->smtpd, "bob", "x"), 535, "an unknown user");
	is_view(s->auth.text, "Error: authentication failed", "is told the same (atk-E1)");

	SEND(s->smtpd, mail_check, .req = 9, .tenant = VIEW("acme"), .user = VIEW("alice"));
	ok(recv_frame(s, s->smtpd, &ipc_desc_mail_result, &m) && m.code == 550 && m.esc == 0 &&
		view_is(m.text, "Syntax Error"), "null sender: 550 Syntax Error (A21)");
	is_int(mail(s, s->smtpd, "a@example.com"), 550, "no domain yet (G8)");
	return secret;
}

static void
test_verify(struct suite *s)
{
	struct ipc_txt_query q;
	struct buf strings = BUF_INIT(4096);

	call(s, "domain add", "tenant", "acme", "domain", "example.com");
	is_int(result(s), 0, "domain add");
	char *value = field_of(s, "txt_value=");
	is_int(mail(s, s->smtpd, "a@example.com"), 550, "pending (G2)");

	call(s, "domain verify", "domain", "example.com", NULL, NULL);
	is_int(result(s), 1, "verify without dnsd");
	ok(strstr(s->end, "resolver is not there") != NULL, "says so: %s", s->end);

	int dnsd = connect_as(s, ROLE_DNSD, 0);
	call(s, "domain verify", "domain", "example.com", NULL, NULL);
	ok(recv_frame(s, dnsd, &ipc_desc_txt_query, &q), "dnsd is asked (G2)");
	is_view(q.name, "_ekiden-challenge.example.com", "for the challenge (G2)");
	is_int(mail(s, s->smtpd, "a@example.com"), 550, "others are answered meanwhile");
	SEND(dnsd, txt_answer, .req = q.req + 99, .status = DNS_OK);
	IPC_RECORD(&strings, txt_string, .text = VIEW("ekiden-verify=wrong"));
	SEND(dnsd, txt_answer, .req = q.req, .status = DNS_OK, .strings = buf_view(&strings));
	is_int(result(s), 1, "another text is not enough (G2)");
	ok(strstr(s->end, "this one is not") != NULL, "says so: %s", s->end);

	call(s, "domain verify", "domain", "example.com", NULL, NULL);
	recv_frame(s, dnsd, &ipc_desc_txt_query, &q);
	SEND(dnsd, txt_answer, .req = q.req, .status = DNS_TEMP, .text = VIEW("SERVFAIL"));
	is_int(result(s), 1, "a failed look-up");
	ok(strstr(s->end, "try again: SERVFAIL") != NULL, "says so: %s", s->end);

	call(s, "domain verify", "domain", "example.com", NULL, NULL);
	recv_frame(s, dnsd, &ipc_desc_txt_query, &q);
	close(dnsd);
	is_int(result(s), 1, "dnsd dies during the look-up");

	/* The admin leaves before the answer. */
	dnsd = connect_as(s, ROLE_DNSD, 0);
	call(s, "domain verify", "domain", "example.com", NULL, NULL);
	recv_frame(s, dnsd, &ipc_desc_txt_query, &q);
	close(s->admin);
	s->admin = connect_as(s, ROLE_MTACTL, 0);
	IPC_RECORD(&strings, txt_string, .text = view_str(value));
	SEND(dnsd, txt_answer, .req = q.req, .status = DNS_OK, .strings = buf_view(&strings));
	is_int(mail(s, s->smtpd, "a@example.com"), 550, "an answer that nobody waits for");

	call(s, "domain verify", "domain", "EXAMPLE.com", NULL, NULL);
	recv_frame(s, dnsd, &ipc_desc_txt_query, &q);
	SEND(dnsd, txt_answer, .req = q.req, .status = DNS_OK, .strings = buf_view(&strings));
	is_int(result(s), 0, "the record is there (G2)");
	ok(strstr(buf_cstr(&s->rows), "state=verified") != NULL, "verified: %s",
	    buf_cstr(&s->rows));
	is_int(mail(s, s->smtpd, "any.body@Example.COM"), 250, "mail passes (G2, G8)");
	close(dnsd);
	buf_free(&strings);
	free(value);
}

/* Many questions at once, several workers, one that misbehaves. */
static void
test_channels(struct suite *s)
{
	struct buf out = BUF_INIT(1 << 20);
	struct ipc_mail_result m;
	int good = 0, other = connect_as(s, ROLE_SMTPD, 1);
	char c;

	for (uint64_t i = 0; i < BATCH; i++)
		SEND(s->smtpd, mail_check, .req = i, .tenant = VIEW("acme"), .user = VIEW("alice"),
		    .sender = i % 2 ? VIEW("a@example.com") : VIEW("a@example.net"));
	for (uint64_t i = 0; i < BATCH; i++)
		good += recv_frame(s, s->smtpd, &ipc_desc_mail_result, &m) && m.req == i &&
		    m.code == (i % 2 ? 250 : 550);
	is_int(good, BATCH, "%d questions at once, answered in order", BATCH);

	SEND(other, txt_answer, .req = 1);
	is_int(recv(other, &c, 1, 0), 0, "a frame that is none of smtpd's ends its channel");
	close(other);
	is_int(mail(s, s->smtpd, "a@example.com"), 250, "and no other");
	other = connect_as(s, ROLE_SMTPD, 1);
	is_int(mail(s, other, "a@example.com"), 250, "a new worker in its place");
	int third = connect_as(s, ROLE_SMTPD, 1);
	is_int(recv(other, &c, 1, 0), 0, "its successor replaces it");
	is_int(mail(s, third, "a@example.com"), 250, "and is served");
	SEND(s->master, peer_gone, .role = ROLE_SMTPD, .instance = 1);
	is_int(recv(third, &c, 1, 0), 0, "gone when master says so");
	close(other);
	close(third);
	buf_free(&out);
}

/* How many more messages need not be asked about; -1: refused. */
static int
leased(struct suite *s)
{
	struct ipc_mail_result r;

	SEND(s->smtpd, mail_check, .req = 8, .client = VIEW("192.0.2.1"), .tenant = VIEW("acme"),
	    .user = VIEW("alice"), .sender = VIEW("a@example.com"));
	return recv_frame(s, s->smtpd, &ipc_desc_mail_result, &r) && r.code == 250 ? (int)r.lease : -1;
}

static bool
leases_ended(struct suite *s)
{
	struct ipc_lease_end m;

	return recv_frame(s, s->smtpd, &ipc_desc_lease_end, &m);
}

static void
set_key(struct suite *s, const char *name, const char *value)
{
	call(s, "key set", "user", "alice", name, value);
	if (result(s) != 0)
		bail("key set", NULL);
}

static int
used_of(struct suite *s, const char *unit)
{
	call(s, "quota show", "name", "alice", NULL, NULL);
	result(s);
	const char *row = strstr(buf_cstr(&s->rows), unit);
	const char *at = row ? strstr(row, " used=") : NULL;
	return at ? atoi(at + 6) : -1;
}

static void
test_leases(struct suite *s)
{
	struct ipc_connect_result r;
	struct ipc_mail_result m;
	char few[16], enough[16];

	is_int(leased(s), 32, "A22 no limit: further messages of the session need no question");
	set_key(s, "note", "x");
	ok(leases_ended(s), "A22 a change of any record ends what was given in advance");
	set_key(s, "quota-minute", "1000000");
	snprintf(few, sizeof(few), "%d", used_of(s, "quota=quota-hour") + 33);
	set_key(s, "quota-hour", few);
	is_int(leased(s), 0, "A29 none near a limit");
	set_key(s, "quota-hour", "1000000");
	is_int(leased(s), 32, "A29 far from it there is");
	set_key(s, "quota-hour", "none");
	ok(leases_ended(s), "nothing was told of changes when none was out");

	/* Each of 40 sessions could have 32 out, and one under way. */
	for (int i = 0; i < 40; i++) {
		SEND(s->smtpd, connect, .req = 1, .client = VIEW("192.0.2.1"), .listener = VIEW("x"));
		recv_frame(s, s->smtpd, &ipc_desc_connect_result, &r);
	}
	int used = used_of(s, "quota=quota-minute");
	ok(used > 0, "A29 %d were counted", used);
	snprintf(few, sizeof(few), "%d", used + 1 + 41 * 33 - 1);
	snprintf(enough, sizeof(enough), "%d", used + 2 + 41 * 33);
	set_key(s, "quota-minute", few);
	is_int(leased(s), 0, "A29 many sessions: more room is needed");
	set_key(s, "quota-minute", enough);
	is_int(leased(s), 32, "A29 and with that room all may have one");
	SEND(s->smtpd, mail_check, .req = 8, .client = VIEW("192.0.2.1"), .tenant = VIEW("acme"),
	    .user = VIEW("alice"), .sender = VIEW("a@example.com"));
	ok(leases_ended(s), "A29 less room than that: what is out is called back");
	ok(recv_frame(s, s->smtpd, &ipc_desc_mail_result, &m) && m.code == 250 && m.lease == 0, "A29 and no more given");
	is_int(leased(s), 0, "A29 called back once");
	set_key(s, "quota-minute", "none");

	set_key(s, "expires", "1s");
	is_int(leased(s), 0, "A22 not of a key that ends meanwhile");
	set_key(s, "expires", "never");
	set_key(s, "rcpt-hour", "1000000");
	is_int(leased(s), 0, "A29 nor where recipients are counted one by one");
	set_key(s, "rcpt-hour", "none");

	used = used_of(s, "quota=quota-minute");
	int rcpts = used_of(s, "quota=rcpt-minute");
	SEND(s->smtpd, txn_end, .tenant = VIEW("acme"), .user = VIEW("alice"), .stored = true,
	    .leased = 20, .rcpts = 25);
	is_int(leased(s), 32, "another question");
	is_int(used_of(s, "quota=quota-minute"), used + 21, "A29 what was used of it is counted then");
	is_int(used_of(s, "quota=rcpt-minute"), rcpts + 25, "A29 its recipients, too");
	for (int i = 0; i < 40; i++)
		SEND(s->smtpd, disconnect, .client = VIEW("192.0.2.1"));
}

static void
test_crash(struct suite *s, const char *secret)
{
	call(s, "key issue", "tenant", "acme", "user", "last-moment");
	is_int(result(s), 0, "a key is issued");
	char *other = field_of(s, "secret=");
	kill(s->pid, SIGKILL);
	is_int(ended(s), 256 + SIGKILL, "kill -9 right behind the answer");
	start(s);
	is_int(auth(s, s->smtpd, "last-moment", other), 235, "the key is there afterwards");
	is_int(auth(s, s->smtpd, "alice", secret), 235, "the older one too");
	is_int(mail(s, s->smtpd, "a@example.com"), 250, "and the domain");
	free(other);
}

static void
test_drain(struct suite *s)
{
	SEND(s->master, drain, .deadline_s = 20);
	is_int(mail(s, s->smtpd, "a@example.com"), 250, "sessions that finish are served");
	close(s->smtpd);
	s->smtpd = -1;
	is_int(ended(s), 0, "stops by itself when the last one is gone");
}

static void
test_damage(struct suite *s)
{
	struct buf path = BUF_INIT(256);

	buf_printf(&path, "%s/keys.db", s->dir);
	int fd = open(buf_cstr(&path), O_WRONLY);
	if (fd < 0 || pwrite(fd, "damage", 6, 4096 + 2000) != 6)
		bail("damage", NULL);
	close(fd);
	start(s);
	is_int(auth(s, s->smtpd, "alice", "x"), 454, "a damaged database refuses for now only");
	is_view(s->auth.text, "Temporary authentication failure", "and says so");
	is_int(mail(s, s->smtpd, "a@example.com"), 451, "senders, too");
	call(s, "key show", "user", "alice", NULL, NULL);
	is_int(result(s), 1, "commands fail");
	ok(strstr(s->end, "keys") != NULL, "with what is damaged: %s", s->end);
	SEND(s->master, drain, .deadline_s = 20);
	close(s->smtpd);
	s->smtpd = -1;
	is_int(ended(s), 0, "it serves so until it is told to stop: a new process would find the same");
	buf_free(&path);
}

int
main(int argc, char **argv)
{
	struct suite s = { .store = BUF_INIT(IPC_FRAME_MAX + IPC_HEADER), .rows = BUF_INIT(65536) };
	char command[64], self[4096];

	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	snprintf(self, sizeof(self) - 32, "%s", argv[0]);
	if (getenv("EKIDEN_BUILD"))
		snprintf(s.program, sizeof(s.program), "%s/authd/authd", getenv("EKIDEN_BUILD"));
	else
		snprintf(s.program, sizeof(s.program), "%.4000s/../../authd/authd", dirname(self));
	if (access(s.program, X_OK) < 0) {
		printf("1..0 # SKIP %s is not there\n", s.program);
		return 0;
	}
	if (mkdtemp(top) == NULL || chmod(top, 0755) < 0)
		return 1;
	snprintf(s.dir, sizeof(s.dir), "%s/authd", top);
	if (mkdir(s.dir, 0700) < 0 || (geteuid() == 0 && chown(s.dir, UID, UID) < 0))
		return 1;
	start(&s);
	char *secret = test_questions(&s);
	test_verify(&s);
	test_channels(&s);
	test_leases(&s);
	test_crash(&s, secret);
	test_drain(&s);
	test_damage(&s);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	if (system(command) != 0)
		return 1;
	free(secret);
	buf_free(&s.store);
	buf_free(&s.rows);
	return done_testing();
}
